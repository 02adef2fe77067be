"""Dependency tracking: from the regions that instructions touch to the tokens that order them.

For every word of a memory the tracker keeps, per unit, when it was last written and last read since. A read depends on
the writer, a write on the writer and the readers. Older accesses need no record: the writer itself waited for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...hw.config import AcceleratorConfig
from ...hw.isa import Unit
from .instruction import Instruction, Region, Space

UNITS = len(Unit)
# DRAM is tracked in units of this many bytes; rounding outward only adds dependencies on earlier instructions.
DRAM_GRANULE = 256


def memory_sizes(config: AcceleratorConfig, tensor_bytes: int) -> dict[Space, int]:
    """Return the sizes that a tracker needs for a core whose programs use `tensor_bytes` of DRAM for tensors."""
    return {Space.ACT: config.act_words, Space.WGT: config.wgt_words, Space.PARAM: config.param_words,
            Space.ACC: config.acc_depth, Space.DRAM: tensor_bytes, Space.TABLE: 1}


class Tracker:
    """Finds on which earlier instructions each instruction depends.

    Args:
        sizes: words of each memory, bytes for DRAM.
    """

    def __init__(self, sizes: Mapping[Space, int]) -> None:
        # Rows 0..3: time of the last write, by unit; rows 4..7: of the last read since, by unit; 0 is none.
        self._marks = {space: np.zeros((2 * UNITS, self._cell(space, size, up=True)), np.int32)
                       for space, size in sizes.items()}
        self._counts = [0] * UNITS

    def conflicts(self, instruction: Instruction) -> list[int]:
        """Return, for each unit, the latest time recorded for an instruction that `instruction` depends on, else 0."""
        need = np.zeros(UNITS, np.int32)
        for region in instruction.reads:
            cells = self._cells(region)[:UNITS]
            if cells.size:
                np.maximum(need, cells.max(axis=(1, 2)), out=need)
        for region in instruction.writes:
            cells = self._cells(region)
            if cells.size:
                last = cells.max(axis=(1, 2))
                np.maximum(need, np.maximum(last[:UNITS], last[UNITS:]), out=need)
        return [int(time) for time in need]

    def record(self, instruction: Instruction, time: int) -> None:
        """Record the accesses of `instruction` at `time`, which is positive and not before any of its conflicts."""
        unit = instruction.unit
        for region in instruction.reads:
            last = self._cells(region)[UNITS + unit]
            np.maximum(last, time, out=last)
        for region in instruction.writes:
            cells = self._cells(region)
            cells[:] = 0
            cells[unit] = time

    def _cells(self, region: Region) -> np.ndarray:
        """Return the marks of the words of `region`, as a view [marks, planes, words]."""
        low, end = self._cell(region.space, region.low), self._cell(region.space, region.end, up=True)
        marks = self._marks[region.space]
        if not 0 <= low <= end <= marks.shape[1]:
            raise ValueError(f"region must lie within {region.space.name}, not be {region.low}..{region.end}")
        if region.planes == 1 or region.space == Space.DRAM:
            return marks[:, None, low:end:region.step]
        count = -(-(region.high - region.low) // region.step)
        rows, word = marks.strides
        return as_strided(marks[:, low:], (marks.shape[0], region.planes, count),
                          (rows, region.plane * word, region.step * word))

    @staticmethod
    def _cell(space: Space, address: int, *, up: bool = False) -> int:
        if space != Space.DRAM:
            return address
        return -(-address // DRAM_GRANULE) if up else address // DRAM_GRANULE


def tokens(instructions: Iterable[Instruction], tracker: Tracker) -> list[list[int]]:
    """Return the waits of each instruction, one count per unit.

    A unit retires in order, so one count says everything; it never needs a token for its own instructions. A wait that
    an earlier instruction of the same unit already implies is 0.
    """
    counts = [0] * UNITS
    known = [[0] * UNITS for _ in Unit]
    waits = []
    for instruction in instructions:
        need, passed = tracker.conflicts(instruction), known[instruction.unit]
        counts[instruction.unit] += 1
        tracker.record(instruction, counts[instruction.unit])
        need[instruction.unit] = 0
        waits.append([count if count > passed[unit] else 0 for unit, count in enumerate(need)])
        known[instruction.unit] = [max(pair) for pair in zip(need, passed, strict=True)]
    return waits


def bank_mask(regions: Iterable[Region], bank_words: int) -> int:
    """Return the activation banks that `regions` touch, one bit each."""
    mask = 0
    for region in regions:
        if region.space == Space.ACT and region.high > region.low:
            for start in range(0, region.planes * region.plane, region.plane) if region.planes > 1 else (0,):
                for bank in range((region.low + start) // bank_words, (region.high - 1 + start) // bank_words + 1):
                    mask |= 1 << bank
    return mask
