"""What the array and the DRAM port did over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...hw.isa import Unit
from ..devices.base import RunResult
from ..profile import Cause, InstructionTable, IntArray, Timeline, hardware_code, working
from ..program import Program

MOST_BINS = 240
"""Intervals that a run is divided into at most."""


@dataclass(frozen=True)
class Activity:
    """Intervals of `interval` cycles, the last of which may end after the run.

    Attributes:
        interval: cycles of each.
        causes: cycles of each interval by `profile.Cause`, in lower case; they sum to the cycles of the run.
        layer: the layer with most cycles of each interval.
        dram_read, dram_written: bytes of loads and stores in each interval, those of a transfer spread evenly over the
            time that it takes; without the instructions themselves.
    """

    interval: int
    causes: Mapping[str, tuple[int, ...]]
    layer: tuple[int, ...]
    dram_read: tuple[int, ...]
    dram_written: tuple[int, ...]


def activity(runs: Mapping[Program, Sequence[RunResult]], layers: Mapping[str, int], cycles: int) -> Activity:
    """Return the activity of the runs, one after the other, of `cycles` cycles in all."""
    interval = -(-cycles // MOST_BINS)
    edges = np.arange(0, cycles + interval, interval)
    causes, of_layer = np.zeros((len(Cause), len(edges))), np.zeros((len(layers), len(edges)))
    moved = {unit: np.zeros(len(edges)) for unit in (Unit.LOAD, Unit.STORE)}
    start = 0
    for program, results in runs.items():
        for (code, index), result in zip(hardware_code(program), results, strict=True):
            table = InstructionTable.of(code, index, program.config)
            timeline = Timeline.of(table, result)
            assert timeline is not None and result.cycles is not None, "views are of runs with a trace"
            for cause in np.unique(timeline.causes):
                causes[cause] += _spent(edges - start, timeline.edges, timeline.causes == cause)
            for layer in np.unique(timeline.layers):
                of_layer[layers[program.layers[layer].name]] += _spent(edges - start, timeline.edges,
                                                                       timeline.layers == layer)
            for unit, total in moved.items():
                total += _moved(edges - start, table.dram_bytes[table.units == unit], *working(result, unit))
            start += result.cycles
    read, written = (tuple(_differences(total)) for total in moved.values())
    return Activity(interval, {cause.name.lower(): tuple(_differences(causes[cause])) for cause in Cause},
                    tuple(np.diff(of_layer).argmax(axis=0).tolist()), read, written)


def _spent(times: IntArray, edges: IntArray, chosen: npt.NDArray[np.bool_]) -> np.ndarray:
    """Return the cycles until each of `times` that lie in the chosen ones of the spans between `edges`."""
    return np.interp(times, edges, np.append(0, np.cumsum(np.where(chosen, np.diff(edges), 0))))


def _moved(times: IntArray, amounts: IntArray, begins: IntArray, ends: IntArray) -> np.ndarray:
    """Return the bytes moved until each of `times` by transfers of `amounts` bytes, which do not overlap."""
    if not len(amounts):
        return np.zeros(len(times))
    until = np.cumsum(amounts)
    return np.interp(times, np.column_stack([begins, ends]).reshape(-1),
                     np.column_stack([until - amounts, until]).reshape(-1))


def _differences(totals: np.ndarray) -> list[int]:
    """Return what is added from each total to the next, rounded so that nothing is lost."""
    return [int(each) for each in np.diff(np.round(totals))]
