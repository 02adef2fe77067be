"""All views of a run, as one record of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..devices.base import RunResult
from ..program import Program
from .activity import Activity, activity
from .memory import MemoryUse, memory_use
from .occupancy import LayerOccupancy, occupancy


@dataclass(frozen=True)
class Views:
    """One run of each program that the samples took, one after the other; layers are indices into the report's.

    Attributes:
        cycles: clock cycles of these runs.
        activity: what the array and the DRAM port did over time.
        memories: what lay in the memories of the core over time.
        occupancy: which cells of the array the weights of each layer fill; layers without array work are left out.
    """

    cycles: int
    activity: Activity
    memories: tuple[MemoryUse, ...]
    occupancy: tuple[LayerOccupancy, ...]


def views_of(runs: Mapping[Program, Sequence[RunResult]], layers: Mapping[str, int]) -> Views | None:
    """Return the views of one run of each program with a trace, or None where no cycle was counted.

    Args:
        runs: one result per hardware step.
        layers: index of each layer, by name.
    """
    cycles = sum(result.cycles or 0 for results in runs.values() for result in results)
    if not cycles:
        return None
    return Views(cycles, activity(runs, layers, cycles), memory_use(runs, layers, cycles), occupancy(runs, layers))
