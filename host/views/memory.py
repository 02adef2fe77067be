"""What lay in the memories of the core over time: a map of addresses and cycles for each memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...hw.config import AcceleratorConfig
from ...hw.isa import Unit
from ...sim.memories import FILL, MemoryName, Region
from ...sim.steps import Step, prepare
from ..devices.base import RunResult
from ..profile import IntArray, decode_code, hardware_code, working
from ..program import Program

ROWS, COLUMNS = 256, 1000
"""The grid of a map: parts of the memory, parts of the run, both at most."""

_NAMES: dict[MemoryName, str] = {"act": "activations", "wgt": "weights", "param": "parameters", "acc": "accumulators"}
_NOBODY = -1


@dataclass(frozen=True)
class MemoryUse:
    """Rectangles of one memory that do not overlap, on a grid of at most `ROWS` x `COLUMNS`; one entry in each list.

    A word is in use from when the instruction that writes it begins until the last one that reads it, before another
    layer writes there, is done. Where several layers use one cell of the grid, it shows one of the last of them.

    Attributes:
        name: "activations", "weights", "parameters" or "accumulators".
        words: size of the memory.
        word_bytes: bytes of a word.
        layer: the layer whose instruction wrote the data.
        loaded: 1 for data from DRAM, 0 for results.
        low, high: first word, and the one after the last.
        begin, end: first cycle, and the one after the last.
    """

    name: str
    words: int
    word_bytes: int
    layer: tuple[int, ...]
    loaded: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]


def memory_use(runs: Mapping[Program, Sequence[RunResult]], layers: Mapping[str, int],
               cycles: int) -> tuple[MemoryUse, ...]:
    """Return the use of each memory in the runs, one after the other, of `cycles` cycles in all."""
    config = next(iter(runs)).config
    sizes: dict[MemoryName, int] = {"act": config.act_words, "wgt": config.wgt_words, "param": config.param_words,
                                    "acc": config.acc_depth}
    maps = {name: _Map(size, cycles) for name, size in sizes.items()}
    start = 0
    for program, results in runs.items():
        index = np.array([layers.get(layer.name, _NOBODY) for layer in program.layers], np.int64)
        for (code, of_layer), result in zip(hardware_code(program), results, strict=True):
            for step, layer, (begin, end) in _timed(program, code, index[of_layer], result):
                owner = 2 * layer + (step.unit == Unit.LOAD)
                for region in step.reads:
                    if region.memory in maps:
                        maps[region.memory].read(_words(region), start + end)
                for region in step.writes:
                    if region.memory in maps:
                        maps[region.memory].write(np.sort(_words(region)), owner, start + begin, start + end)
            for each in maps.values():
                each.clear()
            start += result.cycles or 0
    return tuple(_use(name, maps[name], config) for name in sizes)


def _timed(program: Program, code: bytes, layers: IntArray,
           result: RunResult) -> Iterator[tuple[Step, int, tuple[int, int]]]:
    """Yield the instructions of a hardware step in program order: what they touch, their layers, begin and end."""
    spans = {unit: zip(*(each.tolist() for each in working(result, unit)), strict=True) for unit in Unit}
    dram_words = program.dram_bytes // program.config.word_bytes
    for instruction, layer in zip(decode_code(code), layers.tolist(), strict=True):
        yield prepare(program.config, instruction, 0, dram_words), layer, next(spans[instruction.unit])


def _words(region: Region) -> IntArray:
    if isinstance(region.words, slice):
        return np.arange(region.words.start, region.words.stop)
    flat = region.words.reshape(-1)
    return flat[flat != FILL].astype(np.int64)


class _Map:
    """Who owns each cell of the grid of a memory of `size` words, over `cycles` cycles."""

    def __init__(self, size: int, cycles: int) -> None:
        self.words = -(-size // ROWS)  # of a row
        self.interval = -(-cycles // COLUMNS)  # of a column
        self.grid = np.full((-(-size // self.words), -(-cycles // self.interval)), _NOBODY, np.int64)
        self.owner, self._begin, self._end = (np.full(size, value, np.int64) for value in (_NOBODY, 0, 0))

    def read(self, words: IntArray, end: int) -> None:
        self._end[words] = np.maximum(self._end[words], end)

    def write(self, words: IntArray, owner: int, begin: int, end: int) -> None:
        """Note that `words`, ascending, are written."""
        changed = words[self.owner[words] != owner]
        self._paint(changed)
        self.owner[changed], self._begin[changed] = owner, begin
        self._end[words] = end

    def clear(self) -> None:
        """Note that nothing is read any more."""
        self._paint(np.arange(len(self.owner)))
        self.owner[:] = _NOBODY

    def _paint(self, words: IntArray) -> None:
        """Draw what lies in `words` until now."""
        words = words[self.owner[words] != _NOBODY]
        if not len(words):
            return
        facts = np.column_stack([words - np.arange(len(words)), self.owner[words], self._begin[words],
                                 self._end[words]])
        cuts = np.flatnonzero((np.diff(facts, axis=0) != 0).any(axis=1)) + 1
        first, last = np.append(0, cuts), np.append(cuts, len(words)) - 1
        for low, high, (_, owner, begin, end) in zip(words[first].tolist(), words[last].tolist(),
                                                     facts[first].tolist(), strict=True):
            self.grid[low // self.words:high // self.words + 1,
                      begin // self.interval:-(-end // self.interval)] = owner


def _use(name: MemoryName, found: _Map, config: AcceleratorConfig) -> MemoryUse:
    size = len(found.owner)
    rectangles = np.array(sorted(_rectangles(found.grid)), np.int64).reshape(-1, 5)
    begin, end, low, high, owner = rectangles.T
    return MemoryUse(_NAMES[name], size, (4 if name == "acc" else 1) * config.word_bytes, *(
        tuple(each.tolist()) for each in (owner // 2, owner % 2, low * found.words,
                                          np.minimum(high * found.words, size), begin * found.interval,
                                          end * found.interval)))


def _rectangles(grid: npt.NDArray[np.int64]) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield begin, end, low, high, owner of rectangles that cover all cells with an owner: equal runs of rows."""
    open_: dict[tuple[int, int, int], int] = {}
    nothing = np.full((1, grid.shape[1]), _NOBODY)
    for row, cells in enumerate(np.concatenate([grid, nothing])):
        cuts = np.flatnonzero(np.diff(cells)) + 1
        first, stop = np.append(0, cuts), np.append(cuts, len(cells))
        runs = {run for run in zip(first.tolist(), stop.tolist(), cells[first].tolist(), strict=True)
                if run[2] != _NOBODY}
        for run in open_.keys() - runs:
            begin, end, owner = run
            yield begin, end, open_.pop(run), row, owner
        for run in runs - open_.keys():
            open_[run] = row
