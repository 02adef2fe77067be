"""Where the cycles of a run went: what each layer took and how long the array waited for DRAM.

Both come from the trace of a run, the cycles in which instructions started and in which their effects were complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..hw.isa import HEADER, INSTR_BYTES, UNIT_OF, Unit
from .devices.base import RunResult, Trace

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class InstructionTable:
    """What a profile needs to know of the instructions of one program, in program order.

    Attributes:
        units: the `Unit` of each instruction, int64 [instructions].
        waits: how many instructions of each unit it waits for, int64 [instructions, units].
        layers: index of the layer that it belongs to, int64 [instructions].
    """

    units: IntArray
    waits: IntArray
    layers: IntArray

    @classmethod
    def of(cls, code: bytes, layers: Sequence[int] | npt.NDArray[np.integer]) -> InstructionTable:
        """Return the table of `code`, valid instructions of `INSTR_BYTES` each."""
        words = np.frombuffer(code, np.uint8).reshape(-1, INSTR_BYTES)
        unit_of = np.full(256, -1)
        for opcode, unit in UNIT_OF.items():
            unit_of[opcode] = unit
        waits = [_header_field(words, f"wait_{unit.name.lower()}") for unit in Unit]
        return cls(unit_of[_header_field(words, "opcode")], np.stack(waits, axis=1), np.asarray(layers, np.int64))


def layer_cycles(table: InstructionTable, result: RunResult, layers: int) -> IntArray | None:
    """Return the cycles that each of `layers` layers added to the run, int64 [layers], or None without a trace.

    A layer ends with the last of its instructions. Layers overlap, so a layer is charged with what it adds to the
    latest end so far, and the last one with the rest of the run: the sum is the run's total.
    """
    if result.retire is None or result.cycles is None:
        return None
    ends = np.zeros(layers, np.int64)
    np.maximum.at(ends, table.layers, _in_program_order(table, result.retire))
    latest = np.minimum(np.maximum.accumulate(ends), result.cycles)
    latest[table.layers.max() :] = result.cycles
    return np.diff(latest, prepend=0)


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


def _in_program_order(table: InstructionTable, trace: Trace) -> IntArray:
    cycles = np.zeros(len(table.units), np.int64)
    for unit in Unit:
        cycles[table.units == unit] = trace[unit]
    return cycles


def _header_field(words: npt.NDArray[np.uint8], name: str) -> IntArray:
    field = HEADER[name]
    first, last = field.offset // 8, (field.offset + field.width) // 8
    assert field.offset % 8 == field.width % 8 == 0, "the header's fields are whole bytes"
    return sum(words[:, byte].astype(np.int64) << 8 * (byte - first) for byte in range(first, last))
