"""Ring buffers for weights and parameters: the compiler's knowledge of what is in them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from ...hw.config import AcceleratorConfig
from ...hw.isa import Buffer, Opcode
from .instruction import Instruction, Region, Space

_SPACES = {Buffer.WGT: Space.WGT, Buffer.PARAM: Space.PARAM}


class Ring:
    """Contents of a buffer that is filled round and round; the oldest contents give way.

    Args:
        words: size of the buffer.
    """

    def __init__(self, words: int) -> None:
        self.words = words
        self._head = 0
        self._held: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()

    def find(self, key: Hashable) -> int | None:
        """Return the address of what was claimed under `key`, or None when it is not there any more."""
        return self._held[key][0] if key in self._held else None

    def claim(self, key: Hashable, words: int) -> int:
        """Return the address of `words` consecutive words for `key`, evicting what they overlap.

        Raises `ValueError` when they do not fit into the buffer at all.
        """
        if not 0 < words <= self.words:
            raise ValueError(f"words must be between 1 and {self.words}, not {words}")
        low = self._head if self._head + words <= self.words else 0
        high = low + words
        overlapped = [k for k, (start, end) in self._held.items() if start < high and end > low]
        for k in overlapped:
            del self._held[k]
        self._held[key] = (low, high)
        self._head = high
        return low


class ConstantLoader:
    """Appends to `instructions` the loads of constants into the weight and parameter buffers.

    Args:
        config: configuration of the core.
        instructions: the program so far.
    """

    def __init__(self, config: AcceleratorConfig, instructions: list[Instruction]) -> None:
        self._rings = {Buffer.WGT: Ring(config.wgt_words), Buffer.PARAM: Ring(config.param_words)}
        self._instructions = instructions

    def address(self, layer: int, buffer: Buffer, offset: int, words: int) -> int:
        """Return where the constant of `words` from byte `offset` of DRAM on is, after a load when it is not there.

        The load belongs to the program's `layer`.
        """
        ring = self._rings[buffer]
        local = ring.find((offset, words))
        if local is None:
            local = ring.claim((offset, words), words)
            body = {"dram": offset, "local": local, "rows": 1, "row_words": words, "buffer": buffer}
            self._instructions.append(Instruction(Opcode.LOAD, body, layer, [],
                                                  [Region(_SPACES[buffer], local, local + words)]))
        return local
