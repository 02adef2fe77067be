"""Encoding: instructions with their tokens and bank masks to the bytes in DRAM."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Shape
from amaranth.lib.data import StructLayout

from ...hw.config import AcceleratorConfig
from ...hw.isa import BODIES, HEADER, HEADER_BITS, INSTR_BYTES, Opcode, Unit
from .dependencies import Tracker, bank_mask, memory_sizes, tokens
from .instruction import Instruction

_WAITS = tuple(f"wait_{unit.name.lower()}" for unit in Unit)
_Table = dict[str, tuple[int, int, bool]]  # field -> offset, width, signed


def encode_program(instructions: Sequence[Instruction], config: AcceleratorConfig, tensor_base: int,
                   tensor_bytes: int) -> bytes:
    """Return the bytes of a program.

    Args:
        instructions: the program, in order.
        config: configuration of the core.
        tensor_base, tensor_bytes: where tensors lie in DRAM; `Instruction.tensor_address` counts from there.

    Raises:
        ValueError: a field does not fit.
    """
    tables = {opcode: _table(layout, HEADER_BITS) for opcode, layout in BODIES.items()}
    header = _table(HEADER, 0)
    code = bytearray()
    waits = tokens(instructions, Tracker(memory_sizes(config, tensor_bytes)))
    for instruction, counts in zip(instructions, waits, strict=True):
        word = _pack(header, {
            "opcode": instruction.opcode,
            "rd_banks": bank_mask(instruction.reads, config.bank_words),
            "wr_banks": bank_mask(instruction.writes, config.bank_words),
            **dict(zip(_WAITS, counts, strict=True)),
        })
        body = instruction.body
        if instruction.tensor_address:
            body = {**body, "dram": body["dram"] + tensor_base}
        word |= _pack(tables[Opcode(instruction.opcode)], body)
        code += word.to_bytes(INSTR_BYTES, "little")
    return bytes(code)


def _table(layout: StructLayout, base: int) -> _Table:
    # `isa.encode` asks the layout for every field; a table once per program is many times faster.
    table = {}
    for name, place in layout:
        shape = Shape.cast(place.shape)
        table[str(name)] = (base + place.offset, shape.width, shape.signed)
    return table


def _pack(table: _Table, values: dict[str, int]) -> int:
    word = 0
    for name, value in values.items():
        offset, width, signed = table[name]
        low, high = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
        if not low <= value <= high:
            raise ValueError(f"{name} must be between {low} and {high}, not {value}")
        word |= (int(value) & (1 << width) - 1) << offset
    return word
