"""Where the cycles of a run went: what each layer took and how long the array waited for DRAM.

Both come from the trace of a run, the cycles in which instructions started and in which their effects were complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..hw.compute import array_cycles
from ..hw.config import AcceleratorConfig
from ..hw.isa import INSTR_BYTES, Unit
from ..sim.decode import decode_instruction
from .devices.base import RunResult

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class InstructionTable:
    """What a profile needs to know of the instructions of one program, in program order.

    Attributes:
        units: the `Unit` of each instruction, int64 [instructions].
        waits: how many instructions of each unit it waits for, int64 [instructions, units].
        layers: index of the layer that it belongs to, int64 [instructions].
        array_cycles: cycles in which it keeps the array busy, 0 for other units, int64 [instructions].
    """

    units: IntArray
    waits: IntArray
    layers: IntArray
    array_cycles: IntArray

    @classmethod
    def of(cls, code: bytes, layers: Sequence[int] | npt.NDArray[np.integer],
           config: AcceleratorConfig) -> InstructionTable:
        """Return the table of `code`, valid instructions of `INSTR_BYTES` each."""
        instructions = [decode_instruction(code[at:at + INSTR_BYTES], at // INSTR_BYTES)
                        for at in range(0, len(code), INSTR_BYTES)]
        busy = [array_cycles(config, i.fields) if i.unit == Unit.COMPUTE else 0 for i in instructions]
        return cls(np.array([i.unit for i in instructions], np.int64), np.array([i.waits for i in instructions]),
                   np.asarray(layers, np.int64), np.array(busy, np.int64))


def layer_cycles(table: InstructionTable, result: RunResult, layers: int) -> IntArray | None:
    """Return the cycles of the run that belong to each of `layers` layers, int64 [layers], or None without a trace.

    Layers overlap, but every cycle is charged once: to the layer whose tiles the array works on; while the array is
    idle, to the layer without array work (a pooling, an addition) that the vector unit runs; otherwise to the layer
    that the array is about to begin, and after its last tile to the last layer. So the sum is the run's total, and a
    layer pays for its own fill, drain and waiting, but not for work that it hides behind another.
    """
    if result.issue is None or result.retire is None or result.cycles is None:
        return None
    compute = table.units == Unit.COMPUTE
    end = result.retire[Unit.COMPUTE].astype(np.int64)
    begin = np.maximum(end - table.array_cycles[compute], np.concatenate([[0], end])[:-1])
    vector = table.units == Unit.VECTOR
    alone = ~np.isin(table.layers[vector], table.layers[compute])
    # The unit accepts an instruction while it works on the one before.
    stops = result.retire[Unit.VECTOR].astype(np.int64)
    starts = np.maximum(result.issue[Unit.VECTOR], np.concatenate([[0], stops])[:-1])
    start, stop = starts[alone], stops[alone]

    charged = np.zeros(layers, np.int64)
    np.add.at(charged, table.layers[compute], end - begin)
    exposed = (stop - start) - (_covered(stop, begin, end) - _covered(start, begin, end))
    np.add.at(charged, table.layers[vector][alone], exposed)
    idle_from, idle_to = np.concatenate([[0], end]), np.concatenate([begin, [result.cycles]])
    rest = (idle_to - idle_from) - (_covered(idle_to, start, stop) - _covered(idle_from, start, stop))
    np.add.at(charged, np.append(table.layers[compute], table.layers.max()), rest)
    return charged


def _covered(times: IntArray, begin: IntArray, end: IntArray) -> IntArray:
    """Return how much of [0, t) the disjoint, ascending intervals [begin, end) cover, for each t in `times`."""
    before = np.searchsorted(begin, times, side="right")
    lengths = np.concatenate([[0], np.cumsum(end - begin)])
    beyond = np.maximum(0, np.concatenate([[0], end])[before] - times)
    return lengths[before] - np.where(before > 0, beyond, 0)


def dram_wait_cycles(table: InstructionTable, result: RunResult) -> int | None:
    """Return the cycles in which the array stood still only because data had not arrived, or None without a trace.

    That is, for each compute instruction, the time from when the array was free and every other unit had done what the
    instruction waits for until the loads that it waits for were complete.
    """
    if result.issue is None or result.retire is None:
        return None
    compute = table.units == Unit.COMPUTE
    issue, retire = result.issue[Unit.COMPUTE], result.retire[Unit.COMPUTE]
    ready = {unit: np.concatenate([[0], result.retire[unit]])[table.waits[compute, unit]] for unit in Unit}
    free = np.concatenate([[0], retire])[:-1]
    others = np.maximum.reduce([free, *(ready[unit] for unit in Unit if unit != Unit.LOAD)])
    return int(np.maximum(0, np.minimum(issue, ready[Unit.LOAD]) - others).sum())
