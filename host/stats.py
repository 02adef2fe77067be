"""What a program does per layer, counted from its instructions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..hw.compute import array_cycles
from ..hw.config import AcceleratorConfig
from ..hw.isa import INSTR_BYTES, Opcode, decode
from .program import Program


@dataclass
class LayerStats:
    """Counts of one layer, per sample.

    Attributes:
        instructions: instructions, which are also fetched from DRAM.
        macs: multiply-accumulates of the operator.
        array_cycles: cycles for which its weight tiles occupy the array, the fewest that the layer can take there.
        bytes_loaded, bytes_stored: DRAM traffic without the instructions.
    """

    macs: int
    instructions: int = 0
    array_cycles: int = 0
    bytes_loaded: int = 0
    bytes_stored: int = 0


def layer_stats(program: Program) -> list[LayerStats]:
    """Return the counts of each of `program.layers`."""
    stats = [LayerStats(layer.macs) for layer in program.layers]
    word, code = program.config.word_bytes, program.code
    for index, layer in enumerate(program.layer_index):
        entry = stats[layer]
        entry.instructions += 1
        opcode, _, body = decode(code[index * INSTR_BYTES:(index + 1) * INSTR_BYTES])
        if opcode == Opcode.COMPUTE:
            entry.array_cycles += array_cycles(program.config, body)
        elif opcode == Opcode.LOAD:
            entry.bytes_loaded += body["rows"] * body["row_words"] * word
        elif opcode == Opcode.STORE:
            entry.bytes_stored += body["rows"] * body["row_words"] * word
    return stats


def least_cycles(stats: Iterable[LayerStats], config: AcceleratorConfig) -> float:
    """Return the fewest cycles that layers can take together: the array's, or DRAM's if those are more."""
    counts = list(stats)
    traffic = sum(each.bytes_loaded + each.bytes_stored + each.instructions * INSTR_BYTES for each in counts)
    return max(sum(each.array_cycles for each in counts), traffic / min(config.memory_bandwidth, config.word_bytes))
