"""Fast instruction decoder: plain integer tables made once from the layouts of the instruction set."""

from collections.abc import Callable
from dataclasses import dataclass

from amaranth import Shape
from amaranth.lib.data import StructLayout

from ..hw.isa import BODIES, BODY_BITS, HEADER, INSTR_BITS, UNIT_OF, ErrorCode, Opcode, Unit
from .errors import MachineError

__all__ = ["Instruction", "decode_instruction"]


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


def _extractor(layout: StructLayout, offset: int) -> Callable[[int], dict[str, int]]:
    """Return a function from an instruction word to the fields of ``layout``, which starts at bit ``offset``."""
    table = []
    for name, field in layout:
        shape = Shape.cast(field.shape)
        sign = 1 << shape.width - 1 if shape.signed else 0
        table.append((str(name), offset + field.offset, (1 << shape.width) - 1, sign))

    def extract(word: int) -> dict[str, int]:
        # (v ^ sign) - sign extends the sign of a signed field and is the identity for sign = 0.
        return {name: ((word >> start & mask) ^ sign) - sign for name, start, mask, sign in table}

    return extract


_header = _extractor(HEADER, 0)
_bodies = {opcode.value: (opcode, UNIT_OF[opcode], _extractor(layout, INSTR_BITS - BODY_BITS))
           for opcode, layout in BODIES.items()}


def decode_instruction(data: bytes, index: int) -> Instruction:
    """Decode the 64 bytes of instruction ``index``.

    Raises ``MachineError`` with code ``OPCODE`` for an opcode that does not exist.
    """
    word = int.from_bytes(data, "little")
    head = _header(word)
    if head["opcode"] not in _bodies:
        raise MachineError(ErrorCode.OPCODE, None, index,
                           f"opcode must be one of {', '.join(map(hex, _bodies))}, not {head['opcode']:#x}")
    opcode, unit, body = _bodies[head["opcode"]]
    waits = (head["wait_load"], head["wait_compute"], head["wait_vector"], head["wait_store"])
    return Instruction(index, opcode, unit, waits, head["rd_banks"], head["wr_banks"], body(word))
