"""Transfers: loads and stores of parts of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...hw.config import AcceleratorConfig
from ...hw.isa import Buffer, Opcode
from .constants import MAX_RUN
from .instruction import Instruction, Region, Space
from .layers import Storage
from .layout import Image, Rect, View

# Words of one store of a tensor that stays on chip: early ones overlap with what is still computed, few are cheap.
_STORE_WORDS = 256
_LEAST_STORE = 16
# Smallest load, in words, of an input that arrives piece by piece.
_ARRIVAL_WORDS = 128


class Transfers:
    """Makes the transfers of one hardware step.

    Args:
        config: configuration of the core.
        storages: storages by name.
        dram: offset of each tensor that is ever in DRAM, from the start of the tensors; of constants, from byte 0.
        arriving: address of each tensor that stays on chip and is in DRAM before the step starts.
    """

    def __init__(self, config: AcceleratorConfig, storages: Mapping[str, Storage], dram: Mapping[str, int],
                 arriving: Mapping[str, int]) -> None:
        self._word, self._storages, self._dram, self._arriving = config.word_bytes, storages, dram, arriving
        self._arrived = dict.fromkeys(arriving, 0)  # pixels of each plane

    def move(self, opcode: Opcode, layer: int, storage: str, image: Image, rect: Rect, blocks: tuple[int, int],
             target: View) -> Iterator[Instruction]:
        """Move the pixels `rect` of `blocks` (first, count) of a tensor between DRAM and `target`."""
        first, count = blocks
        gather = self._storages[storage].gather
        dram = self._dram[storage]
        if gather:
            for block in range(first, first + count):
                assert rect.x0 == 0, "rows are gathered from their first pixel on"
                words = -(-((rect.w - 1) * gather.pitch + self._word) // self._word)
                yield self._transfer(opcode, layer, storage, dram + rect.y0 * gather.row_bytes + block * self._word,
                                     gather.row_bytes, target.address(rect.y0, 0, block), target.row, rect.h, words,
                                     pitch=gather.pitch, windows=rect.w)
            return
        start = dram + (first * image.plane + rect.y0 * image.w + rect.x0) * self._word
        local = target.address(rect.y0, rect.x0, first)
        whole_rows = rect.h == 1 or rect.w == image.w == target.row
        if whole_rows and rect.pixels == image.plane == target.plane and count * rect.pixels <= MAX_RUN:
            yield self._transfer(opcode, layer, storage, start, 0, local, 0, 1, count * rect.pixels)
        elif whole_rows and rect.pixels <= MAX_RUN:
            yield self._transfer(opcode, layer, storage, start, image.plane * self._word, local, target.plane, count,
                                 rect.pixels)
        else:
            for block in range(count):
                yield self._transfer(opcode, layer, storage, start + block * image.plane * self._word,
                                     image.w * self._word, local + block * target.plane, target.row, rect.h, rect.w)

    def arrive(self, layer: int, storage: str, image: Image, rect: Rect) -> Iterator[Instruction]:
        """Load what is not there yet of the pixels up to the end of `rect` of a tensor that stays on chip."""
        if storage not in self._arriving or not rect.pixels:
            return
        done, needed = self._arrived[storage], (rect.y1 - 1) * image.w + rect.x1
        view = View(self._arriving[storage], image.w, image.plane)
        least = max(1, _ARRIVAL_WORDS // image.blocks)
        rows = image.h > 1 or self._storages[storage].gather is not None
        if rows:  # whole ones
            least, needed = -(-least // image.w) * image.w, -(-needed // image.w) * image.w
        while done < needed:
            end = min(max(needed, done + least), image.plane, done + MAX_RUN // image.w * image.w)
            part = Rect(done // image.w, end // image.w, 0, image.w) if rows else Rect(0, 1, done, end)
            yield from self.move(Opcode.LOAD, layer, storage, image, part, (0, image.blocks), view)
            done = end
        self._arrived[storage] = done

    def store_all(self, layer: int, storage: str, image: Image, base: int) -> Iterator[Instruction]:
        """Store a tensor that stays on chip, from `base` on, piece by piece."""
        flat = Image(1, image.words, 1)
        size = min(_STORE_WORDS, max(_LEAST_STORE, image.words // 8))
        for x in range(0, image.words, size):
            rect = Rect(0, 1, x, min(x + size, image.words))
            yield from self.move(Opcode.STORE, layer, storage, flat, rect, (0, 1), View(base, image.words, image.words))

    def _transfer(self, opcode: Opcode, layer: int, storage: str, dram: int, dram_stride: int, local: int,
                  local_stride: int, rows: int, row_words: int, **gather: int) -> Instruction:
        count = gather.get("windows", row_words)
        memory = Region(Space.DRAM, dram, dram + (rows - 1) * dram_stride + row_words * self._word)
        buffer = Region(Space.ACT, local, local + count, 1, rows, local_stride)
        source, target = (memory, buffer) if opcode == Opcode.LOAD else (buffer, memory)
        body = {"dram": dram, "dram_stride": dram_stride, "local": local, "local_stride": local_stride, "rows": rows,
                "row_words": row_words, "buffer": Buffer.ACT, **gather}
        if self._storages[storage].data:  # a constant, which nothing writes
            return Instruction(opcode, body, layer, [], [target])
        return Instruction(opcode, body, layer, [source], [target], tensor_address=True)
