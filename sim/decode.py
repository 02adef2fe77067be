"""Fast instruction decoder: plain integer tables made once from the layouts of the instruction set."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from amaranth import Shape
from amaranth.lib.data import StructLayout

from ..hw.isa import BODIES, BODY_BITS, HEADER, INSTR_BITS, UNIT_OF, ErrorCode, Opcode, Unit
from .errors import MachineError

__all__ = ["Instruction", "decode_field", "decode_instruction"]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One decoded instruction: header, and the fields of its body by name.

    ``waits[u]`` is how many instructions unit ``u`` must have retired before this one may start.
    """

    index: int
    opcode: Opcode
    unit: Unit
    waits: tuple[int, int, int, int]
    rd_banks: int
    wr_banks: int
    fields: dict[str, int]


class _Field(NamedTuple):
    """Where a field lies in an instruction. (v ^ sign) - sign extends the sign; it is the identity for sign = 0."""

    start: int
    mask: int
    sign: int


_Fields = dict[str, _Field]


def _fields(layout: StructLayout, offset: int) -> _Fields:
    """Return the fields of ``layout``, which starts at bit ``offset`` of an instruction, by name."""
    table = {}
    for name, field in layout:
        shape = Shape.cast(field.shape)
        table[str(name)] = _Field(offset + field.offset, (1 << shape.width) - 1,
                                  1 << shape.width - 1 if shape.signed else 0)
    return table


def _extract(fields: _Fields, word: int) -> dict[str, int]:
    return {name: ((word >> start & mask) ^ sign) - sign for name, (start, mask, sign) in fields.items()}


_HEADER = _fields(HEADER, 0)
_BODIES = {opcode.value: (opcode, UNIT_OF[opcode], _fields(layout, INSTR_BITS - BODY_BITS))
           for opcode, layout in BODIES.items()}


def decode_field(code: npt.NDArray[np.uint8], name: str, opcode: Opcode | None = None) -> npt.NDArray[np.int64]:
    """Return a field of many instructions at once, int64 [instructions].

    ``code`` is uint8 [instructions, INSTR_BYTES]; the field is one of the header, or of the body of ``opcode``, and has
    at most 57 bits.
    """
    start, mask, sign = (_HEADER if opcode is None else _BODIES[opcode.value][2])[name]
    window = code[:, start // 8:start // 8 + 8]
    words = np.zeros((len(code), 8), np.uint8)
    words[:, :window.shape[1]] = window
    values = (words.view("<u8")[:, 0] >> np.uint64(start % 8) & np.uint64(mask)).astype(np.int64)
    return (values ^ sign) - sign


def decode_instruction(data: bytes, index: int) -> Instruction:
    """Decode the 64 bytes of instruction ``index``.

    Raises ``MachineError`` with code ``OPCODE`` for an opcode that does not exist.
    """
    word = int.from_bytes(data, "little")
    head = _extract(_HEADER, word)
    if head["opcode"] not in _BODIES:
        raise MachineError(ErrorCode.OPCODE, None, index,
                           f"opcode must be one of {', '.join(map(hex, _BODIES))}, not {head['opcode']:#x}")
    opcode, unit, body = _BODIES[head["opcode"]]
    waits = (head["wait_load"], head["wait_compute"], head["wait_vector"], head["wait_store"])
    return Instruction(index, opcode, unit, waits, head["rd_banks"], head["wr_banks"],
                       _extract(body, word))
