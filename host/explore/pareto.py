"""Configurations compared over all networks of a sweep, and the Pareto front of them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .points import OPTIONS, Row


@dataclass(frozen=True)
class Metric:
    """What a configuration is judged by; less is better.

    Attributes:
        label: heading, with the unit.
        columns: columns of a row whose sum it is.
    """

    label: str
    columns: tuple[str, ...]


METRICS: dict[str, Metric] = {
    "latency": Metric("cycles", ("cycles",)),
    "dram": Metric("DRAM bytes", ("dram_bytes_read", "dram_bytes_written")),
    "energy": Metric("energy/uJ", ("microjoules",)),
    "multipliers": Metric("multipliers", ("multipliers",)),
    "sram": Metric("SRAM KiB", ("sram_kib",)),
    "block_rams": Metric("block RAMs", ("block_rams",)),
}
# Objectives that are several metrics, because nothing but a process says what one is worth in the other.
_GROUPS: dict[str, tuple[str, ...]] = {"area": ("multipliers", "sram")}
OBJECTIVES = (*METRICS, *_GROUPS)
DEFAULT_OBJECTIVES = ("latency", "area")


def metrics_of(objectives: Iterable[str], columns: Container[str]) -> tuple[str, ...]:
    """Return the names in `METRICS` that objectives consist of, each once, for rows with `columns`.

    Raises:
        UsageError: there is no such objective, or it needs other columns.
    """
    found = list[str]()
    for name in objectives:
        if name not in OBJECTIVES:
            raise UsageError(f"objective must be one of {', '.join(OBJECTIVES)}, not {name!r}")
        if name in METRICS and not all(column in columns for column in METRICS[name].columns):
            raise UsageError(f"objective {name} must come with --{name}")
        found += _GROUPS.get(name, (name,))
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Design:
    """A configuration on which every network of a sweep runs.

    Attributes:
        options: values of all options.
        rows: row of each network, by name.
    """

    options: Mapping[str, int | str]
    rows: Mapping[str, Row]

    def metric(self, name: str) -> float:
        """Return the geometric mean over the networks of a metric."""
        sums = [sum(float(row[column] or 0) for column in METRICS[name].columns) for row in self.rows.values()]
        return prod(value ** (1 / len(sums)) for value in sums)

    @property
    def cpu_operators(self) -> tuple[int, ...]:
        """Operators that the accelerator leaves to the CPU, by network."""
        return tuple(int(row["cpu_operators"] or 0) for row in self.rows.values())

    @property
    def fits(self) -> bool:
        """Whether the core fits the part that the rows were made for; True where none was named."""
        return all(row.get("fits", True) for row in self.rows.values())


@dataclass(frozen=True)
class Comparison:
    """The designs of a sweep.

    Attributes:
        candidates: designs that are compared.
        front: those of them that no other dominates, by the first metric.
        metrics: names of the metrics of the comparison.
        too_large: designs that do not fit the FPGA.
        incomplete: designs that leave an operator to the CPU that another runs: their cycles miss that work.
    """

    candidates: tuple[Design, ...]
    front: tuple[Design, ...]
    metrics: tuple[str, ...]
    too_large: int
    incomplete: int


def compare(rows: Iterable[Row], metrics: Sequence[str]) -> Comparison:
    """Return the comparison of the configurations that all networks of `rows` run on."""
    by_config = dict[tuple[object, ...], dict[str, Row]]()
    names = dict[str, None]()
    for row in rows:
        names[str(row["model"])] = None
        if row["problem"] is None:
            by_config.setdefault(tuple(row[name] for name in OPTIONS), {})[str(row["model"])] = row
    designs = [Design(dict(zip(OPTIONS, options, strict=True)), {name: found[name] for name in names})  # type: ignore
               for options, found in by_config.items() if len(found) == len(names)]
    fitting = [design for design in designs if design.fits]
    least = np.min([design.cpu_operators for design in fitting], axis=0) if fitting else ()
    candidates = [design for design in fitting if tuple(least) == design.cpu_operators]
    values = np.array([[design.metric(name) for name in metrics] for design in candidates])
    front = [candidates[i] for i in np.flatnonzero(pareto(values))] if candidates else []
    front.sort(key=lambda design: [design.metric(name) for name in metrics])
    return Comparison(tuple(candidates), tuple(front), tuple(metrics), len(designs) - len(fitting),
                      len(fitting) - len(candidates))


def pareto(values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which points no other dominates, bool [points], for `values` [points, metrics], less being better.

    A point dominates another that it is nowhere worse than and somewhere better; equal points do not.
    """
    found = np.zeros(len(values), bool)
    # In lexicographic order a point is dominated by earlier ones only, and by one that is itself on the front.
    for i in np.lexsort(values.T[::-1]):
        front = values[found]
        found[i] = not ((front <= values[i]).all(axis=1) & (front < values[i]).any(axis=1)).any()
    return found
