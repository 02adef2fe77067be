"""What the core takes on an FPGA, block by block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple

from rich.box import SIMPLE
from rich.table import Table

from ...hw.config import AcceleratorConfig
from ...hw.core import Core
from ...hw.synthesis import Cells, ToolError, synthesise, synthesise_blocks
from ..errors import UsageError

# Blocks below this share of LUT4-equivalents are shown as one line.
_SMALL = 0.01


def measure(config: AcceleratorConfig, status: Callable[[str], None]) -> tuple[dict[str, Cells], Cells]:
    """Return the cells of each module of a core by its path, and those of the whole core.

    Raises:
        UsageError: a tool is missing or fails.
    """
    try:
        status("synthesising the blocks")
        blocks = synthesise_blocks(Core(config))
        status("synthesising the core")
        return blocks, synthesise(Core(config))
    except ToolError as problem:
        raise UsageError(str(problem)) from None


def by_block(modules: Mapping[str, Cells]) -> dict[str, Cells]:
    """Return the sums by unit and part of a unit, such as "vector.requant", largest first, with the small in one."""
    sums: dict[str, Cells] = {}
    for path, cells in modules.items():
        name = ".".join(path.split(".")[1:3]) or "core"
        sums[name] = _sum(sums[name], cells) if name in sums else cells
    least = _SMALL * sum(cells.lut4_equivalents for cells in sums.values())
    ordered = sorted(sums.items(), key=lambda item: -item[1].lut4_equivalents)
    large = {name: cells for name, cells in ordered if cells.lut4_equivalents >= least}
    small = [cells for name, cells in ordered if name not in large]
    return large | ({"others": _sum(*small)} if small else {})


def table(config: AcceleratorConfig, modules: Mapping[str, Cells], core: Cells) -> Table:
    """Return the blocks and the whole core as a table for `rich`."""
    made = Table(box=SIMPLE, pad_edge=False)
    for name in ("block", "LUT4", "CCU2C", "LUT4-eq.", "per MAC", "registers", "multipliers", "block RAMs", "LUT RAMs"):
        made.add_column(name, justify="left" if name == "block" else "right")
    blocks = by_block(modules)
    for name, cells in blocks.items():
        made.add_row(name, *_columns(config, cells), end_section=name == list(blocks)[-1])
    made.add_row("whole core", *_columns(config, core))
    return made


def _sum(*cells: Cells) -> Cells:
    return Cells(*map(sum, zip(*map(astuple, cells), strict=True)))


def _columns(config: AcceleratorConfig, cells: Cells) -> list[str]:
    per_mac = cells.lut4_equivalents / (config.rows * config.cols)
    return [f"{cells.lut4:,}", f"{cells.ccu2c:,}", f"{cells.lut4_equivalents:,}", f"{per_mac:.1f}", f"{cells.ff:,}",
            f"{cells.multipliers:,}", f"{cells.block_rams:,}", f"{cells.lut_rams:,}"]
