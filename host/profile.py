"""Where the cycles of a run went: which layer each of them belongs to, and what the array did or waited for in it.

Both come from the trace of a run, the cycles in which instructions started and in which their effects were complete.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..hw.compute import array_cycles, pass_words
from ..hw.config import AcceleratorConfig
from ..hw.isa import HEADER, INSTR_BYTES, UNIT_OF, Opcode, Unit
from ..hw.issue import GRANT_LATENCY
from ..sim.decode import Instruction, decode_field, decode_instruction
from .devices.base import RunResult
from .program import HwStep, Program

IntArray = npt.NDArray[np.int64]

_UNIT_OF = np.zeros(1 << HEADER["opcode"].width, np.int64)
_UNIT_OF[list(UNIT_OF)] = list(UNIT_OF.values())
# The fields of COMPUTE that say how long it takes.
_WALK = ("groups", "tiles", "fir", "lead", "walk_h", "walk_w", "out_h", "out_w")


class Cause(enum.IntEnum):
    """What the array does in a cycle or, while it is idle, what the tile that it takes next waits for.

    A cycle has one cause. An idle one has the first that applies: a token of VECTOR, of STORE, of DRAM, a bank port
    that VECTOR or STORE holds, ISSUE, FILL; so DRAM is only what data alone would save. Causes are direct: where the
    array waits for the vector unit, and that for data, it is VECTOR.
    """

    BUSY = 0
    """A word of pixels passes, also one of the padding or, in filter mode, one that completes no output."""
    WEIGHTS = 1
    """A pass of fewer words than the array has rows lasts until the next tile of weights is loaded."""
    VECTOR = 2
    """The vector unit has not done what the tile waits for, mostly to empty an accumulator half, or it reads a bank
    that the tile needs. After the last tile: it has not retired its last instruction."""
    STORE = 3
    """The same of the store unit; after the last tile, results go to DRAM."""
    DRAM = 4
    """The load unit has not done what the tile waits for: data have not arrived."""
    ISSUE = 5
    """The instruction waits for no unit but has not started: it is not fetched, or others are granted first."""
    FILL = 6
    """It has started: its first words are on the way through the array, which was empty or changed its mode."""
    END = 7
    """All work is done, and the core stops."""


@dataclass(frozen=True)
class InstructionTable:
    """What a profile needs to know of the instructions of one program, in program order.

    Attributes:
        units: the `Unit` of each instruction, int64 [instructions].
        waits: how many instructions of each unit it waits for, int64 [instructions, units].
        layers: index of the layer that it belongs to, int64 [instructions].
        array_cycles: cycles in which it keeps the array busy, 0 for other units, int64 [instructions].
        words: words of pixels that it streams through the array, at most `array_cycles`, int64 [instructions].
        banks: mask of the activation banks that it reads, int64 [instructions].
        dram_bytes: bytes of data that it moves from or to DRAM, 0 for other units, int64 [instructions].
    """

    units: IntArray
    waits: IntArray
    layers: IntArray
    array_cycles: IntArray
    words: IntArray
    banks: IntArray
    dram_bytes: IntArray

    @classmethod
    def of(cls, code: bytes, layers: Sequence[int] | npt.NDArray[np.integer],
           config: AcceleratorConfig) -> InstructionTable:
        """Return the table of `code`, valid instructions of `INSTR_BYTES` each."""
        words = np.frombuffer(code, np.uint8).reshape(-1, INSTR_BYTES)
        units = _UNIT_OF[decode_field(words, "opcode")]
        busy, streamed, moved = np.zeros((3, len(words)), np.int64)
        compute = units == Unit.COMPUTE
        fields = [decode_field(words[compute], name, Opcode.COMPUTE) for name in _WALK]
        # Few of them differ in what counts here.
        kinds, kind = np.unique(np.stack(fields, axis=-1), axis=0, return_inverse=True)
        walks = [dict(zip(_WALK, each, strict=True)) for each in kinds.tolist()]
        busy[compute] = np.array([array_cycles(config, walk) for walk in walks], np.int64)[kind]
        streamed[compute] = np.array([walk["groups"] * walk["tiles"] * pass_words(walk) for walk in walks],
                                     np.int64)[kind]
        transfer = (units == Unit.LOAD) | (units == Unit.STORE)  # which have one layout
        rows, row_words = (decode_field(words[transfer], name, Opcode.LOAD) for name in ("rows", "row_words"))
        moved[transfer] = rows * row_words * config.word_bytes
        waits = np.stack([decode_field(words, f"wait_{unit.name.lower()}") for unit in Unit], axis=-1)
        return cls(units, waits, np.asarray(layers, np.int64), busy, streamed, decode_field(words, "rd_banks"), moved)


def decode_code(code: bytes) -> list[Instruction]:
    """Return the instructions of `code`, valid ones of `INSTR_BYTES` each."""
    return [decode_instruction(code[at:at + INSTR_BYTES], at // INSTR_BYTES) for at in range(0, len(code), INSTR_BYTES)]


def hardware_code(program: Program) -> Iterator[tuple[bytes, npt.NDArray[np.integer]]]:
    """Yield the instructions of each hardware step of `program`, and the layer of each of them."""
    for step in program.steps:
        if isinstance(step, HwStep):
            yield (program.image[step.code_offset:step.code_offset + step.count * INSTR_BYTES],
                   program.layer_index[step.first:step.first + step.count])


def working(result: RunResult, unit: Unit) -> tuple[IntArray, IntArray]:
    """Return from when until when `unit` works on each of its instructions, of a run with a trace.

    A unit accepts an instruction while it works on the one before, and then works on it from when that one is done.
    """
    assert result.issue is not None and result.retire is not None
    stops = result.retire[unit].astype(np.int64)
    return np.maximum(result.issue[unit].astype(np.int64), np.concatenate([[0], stops])[:-1]), stops


def _freed(table: InstructionTable, result: RunResult, unit: Unit) -> IntArray:
    """Return when `unit` retires the last instruction that reads a bank which a compute instruction needs, and that is
    granted it before; 0 for none. int64 [compute instructions]."""
    assert result.issue is not None and result.retire is not None
    needs, reads = table.banks[table.units == Unit.COMPUTE], table.banks[table.units == unit]
    ahead = np.searchsorted(result.issue[unit], result.issue[Unit.COMPUTE])
    ends = np.concatenate([[0], result.retire[unit]]).astype(np.int64)
    freed = np.zeros(len(needs), np.int64)
    for bank in range(HEADER["rd_banks"].width):
        last = np.maximum.accumulate(np.append(0, np.where(reads >> bank & 1, np.arange(1, len(reads) + 1), 0)))
        freed = np.where(needs >> bank & 1, np.maximum(freed, ends[last[ahead]]), freed)
    return freed


@dataclass(frozen=True)
class Timeline:
    """The cycles of a run, in order, as spans of one layer and one cause.

    Layers overlap, but every cycle belongs to one: to the layer whose tiles the array works on; while the array is
    idle, to the layer without array work (a pooling, an addition) that the vector unit runs; otherwise to the layer
    that the array is about to begin, and after its last tile to the last layer. So a layer pays for its own fill, drain
    and waiting, but not for work that it hides behind another.

    The array's cycles count from when it retires an instruction back, `InstructionTable.array_cycles` at most; those of
    WEIGHTS are put in front of the BUSY ones, although they alternate by the pass.

    Attributes:
        edges: where spans begin, and the end of the run, ascending from 0, int64 [spans + 1].
        layers: layer of each span, int64 [spans].
        causes: its `Cause`, int64 [spans].
    """

    edges: IntArray
    layers: IntArray
    causes: IntArray

    @classmethod
    def of(cls, table: InstructionTable, result: RunResult) -> Timeline | None:
        """Return the timeline of a run of the instructions of `table`, or None without a trace."""
        if result.issue is None or result.retire is None or result.cycles is None:
            return None
        compute = table.units == Unit.COMPUTE
        end = result.retire[Unit.COMPUTE].astype(np.int64)
        free = np.concatenate([[0], end])
        begin = np.maximum(end - table.array_cycles[compute], free[:-1])
        # What the array waits for: one row per instruction, and one for the end of the run, which waits for everything.
        limit = np.append(begin, result.cycles)
        waits = np.vstack([table.waits[compute], [len(result.retire[unit]) for unit in Unit]])
        done = {unit: np.concatenate([[0], result.retire[unit]])[waits[:, unit]].astype(np.int64) for unit in Unit}
        granted = np.append(result.issue[Unit.COMPUTE].astype(np.int64) - GRANT_LATENCY, 0)
        freed = {unit: np.minimum(np.append(_freed(table, result, unit), 0), granted)
                 for unit in (Unit.VECTOR, Unit.STORE)}
        steps = [free]
        for until in (done[Unit.VECTOR], done[Unit.STORE], done[Unit.LOAD], freed[Unit.VECTOR], freed[Unit.STORE],
                      granted):
            steps.append(np.maximum(steps[-1], np.minimum(until, limit)))
        # The columns of a row are the beginnings of its spans, most of them empty.
        busy = np.append(end - table.words[compute], result.cycles)
        begins = np.column_stack([*steps, limit, busy]).reshape(-1)
        causes = np.tile([Cause.VECTOR, Cause.STORE, Cause.DRAM, Cause.VECTOR, Cause.STORE, Cause.ISSUE, Cause.FILL,
                          Cause.WEIGHTS, Cause.BUSY], len(limit))
        causes[len(causes) - 3:] = Cause.END
        layers = np.repeat(np.append(table.layers[compute], table.layers.max(initial=0)), len(causes) // len(limit))
        return cls._with_vector_layers(np.append(begins, result.cycles), layers, causes, table, result)

    @classmethod
    def _with_vector_layers(cls, edges: IntArray, layers: IntArray, causes: IntArray, table: InstructionTable,
                            result: RunResult) -> Timeline:
        """Return the timeline whose idle spans belong to layers without array work where those run."""
        of_vector = table.layers[table.units == Unit.VECTOR]
        alone = ~np.isin(of_vector, table.layers[table.units == Unit.COMPUTE])
        start, stop = (times[alone] for times in working(result, Unit.VECTOR))
        cut = np.unique(np.concatenate([edges, start, stop]))
        span = np.searchsorted(edges, cut[:-1], side="right") - 1
        layers, causes = layers[span], causes[span]
        runs = np.searchsorted(start, cut[:-1], side="right") - 1
        inside = (runs >= 0) & (cut[:-1] < np.append(stop, 0)[runs])
        idle = (causes != Cause.BUSY) & (causes != Cause.WEIGHTS)
        layers = np.where(inside & idle, np.append(of_vector[alone], 0)[runs], layers)
        return cls(cut, layers, causes)

    def cycles(self, layers: int) -> IntArray:
        """Return the cycles of each of `layers` layers by cause, int64 [layers, causes]; their sum is the run's."""
        charged = np.zeros((layers, len(Cause)), np.int64)
        np.add.at(charged, (self.layers, self.causes), np.diff(self.edges))
        return charged
