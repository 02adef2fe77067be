"""What the filter mode of the array costs on an FPGA: cells and clock frequency of the array alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from rich.box import SIMPLE
from rich.table import Table

from ...hw.array import SystolicArray
from ...hw.synthesis import Cells, ToolError, frequencies, synthesise
from ..errors import UsageError

# Above what the array reaches, so that the placer does not stop early.
_TARGET_MHZ = 120.0


@dataclass(frozen=True)
class Row:
    """One array: rows, rows that the filter mode reaches, cells, and the clock in MHz for each seed of placement."""

    rows: int
    filter_rows: int
    cells: Cells
    clocks: tuple[float, ...]

    @property
    def per_cell(self) -> float:
        """LUT4-equivalents per cell of the array."""
        return self.cells.lut4_equivalents / self.rows**2


def measure(rows: int, filter_rows: Iterable[int], seeds: int, status: Callable[[str], None]) -> Iterator[Row]:
    """Yield the array without filter mode, then with each of `filter_rows`, placed and routed `seeds` times.

    Raises:
        UsageError: a tool is missing or fails, or the array has fewer rows.
    """
    for count in dict.fromkeys((0, *filter_rows)):
        if not 0 <= count <= rows:
            raise UsageError(f"--filter-rows must be between 0 and {rows}, not {count}")
        array, name = SystolicArray(rows, count), f"{rows}x{rows} with {count} filter rows"
        try:
            status(f"synthesising {name}")
            cells, clocks = synthesise(array), list[float]()
            for seed in range(1, seeds + 1):
                status(f"placing {name}, {seed} of {seeds}")
                clocks += frequencies(array, _TARGET_MHZ, [seed])
        except ToolError as problem:
            raise UsageError(str(problem)) from None
        yield Row(rows, count, cells, tuple(clocks))


def table(rows: Sequence[Row]) -> Table:
    """Return the rows, the first of which has no filter mode, as a table for `rich`."""
    made = Table(box=SIMPLE, pad_edge=False)
    for name in ("array", "filter rows", "LUT4", "CCU2C", "LUT4-eq. per cell", "more", "registers", "multipliers",
                 "MHz, median", "MHz, best"):
        made.add_column(name, justify="right")
    for row in rows:
        clocks = (f"{median(row.clocks):.0f}", f"{max(row.clocks):.0f}") if row.clocks else ("", "")
        more = f"{100 * (row.per_cell / rows[0].per_cell - 1):.1f}%" if row.filter_rows else ""
        made.add_row(f"{row.rows}x{row.rows}", str(row.filter_rows), f"{row.cells.lut4:,}", f"{row.cells.ccu2c:,}",
                     f"{row.per_cell:.1f}", more, f"{row.cells.ff:,}", str(row.cells.multipliers), *clocks)
    return made
