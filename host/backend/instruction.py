"""Instructions as the backend handles them before encoding: fields plus the memory regions that they touch."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

from ...hw.isa import UNIT_OF, Opcode, Unit


class Space(enum.IntEnum):
    """Memories that instructions touch: words each, DRAM in bytes; TABLE is the one that the vector unit holds."""

    ACT = 0
    WGT = 1
    PARAM = 2
    ACC = 3
    DRAM = 4
    TABLE = 5


class Region(NamedTuple):
    """Addresses low, low + step, ... < high of one memory, and the same `planes` times, `plane` addresses apart.

    It may enclose more than what is touched.
    """

    space: Space
    low: int
    high: int
    step: int = 1
    planes: int = 1
    plane: int = 0

    @property
    def end(self) -> int:
        return self.high + (self.planes - 1) * self.plane


@dataclass
class Instruction:
    """One instruction.

    Attributes:
        opcode: what it does.
        body: fields of the opcode's layout.
        layer: index of the layer that it belongs to.
        reads, writes: regions touched; constants in DRAM, which nothing writes, are left out.
        keeps_place: the scheduler does not move it forward.
        tensor_address: whether the `dram` field counts from the start of the tensors in DRAM instead of byte 0.
    """

    opcode: Opcode
    body: dict[str, int]
    layer: int
    reads: list[Region] = field(default_factory=list)
    writes: list[Region] = field(default_factory=list)
    tensor_address: bool = False
    keeps_place: bool = False

    @property
    def unit(self) -> Unit:
        return UNIT_OF[self.opcode]
