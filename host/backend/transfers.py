"""Transfers: loads and stores of parts of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from ...hw.config import AcceleratorConfig
from ...hw.isa import Buffer, Opcode
from .constants import MAX_RUN
from .instruction import Instruction, Region, Space
from .layers import Operand, Storage
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

    def move(self, opcode: Opcode, layer: int, operand: Operand, rect: Rect, blocks: tuple[int, int],
             target: View) -> Iterator[Instruction]:
        """Move the pixels `rect` of `blocks` (first, count) of an operand between DRAM and `target`.

        Neighbouring pixels are neighbouring words in `target`.
        """
        first, count = blocks
        storage, source = operand.storage, operand.view
        gather, dram = self._storages[storage].gather, self._dram[storage]
        if gather:
            for block in range(first, first + count):
                skipped, rest = divmod(rect.x0 * gather.pitch, self._word)
                assert not rest, "words are gathered from a word of DRAM on"
                words = -(-((rect.w - 1) * gather.pitch + self._word) // self._word)
                yield self._transfer(opcode, layer, storage, dram + rect.y0 * gather.row_bytes
                                     + (skipped + block) * self._word, gather.row_bytes,
                                     target.address(rect.y0, rect.x0, block), target.row, rect.h, words,
                                     pitch=gather.pitch, windows=rect.w)
            return
        start = dram + source.address(rect.y0, rect.x0, first) * self._word
        local = target.address(rect.y0, rect.x0, first)
        apart = source.step != 1 and rect.w > 1
        whole_rows = not apart and (rect.h == 1 or rect.w == source.row == target.row)
        if whole_rows and rect.pixels == source.plane == target.plane and count * rect.pixels <= MAX_RUN:
            yield self._transfer(opcode, layer, storage, start, 0, local, 0, 1, count * rect.pixels)
        elif whole_rows and rect.pixels <= MAX_RUN:
            yield self._transfer(opcode, layer, storage, start, source.plane * self._word, local, target.plane, count,
                                 rect.pixels)
        elif not apart:
            for block in range(count):
                yield self._transfer(opcode, layer, storage, start + block * source.plane * self._word,
                                     source.row * self._word, local + block * target.plane, target.row, rect.h, rect.w)
        else:
            for block, y in product(range(first, first + count), range(rect.y0, rect.y1)):
                yield self._transfer(opcode, layer, storage, dram + source.address(y, rect.x0, block) * self._word,
                                     source.step * self._word, target.address(y, rect.x0, block), 1, rect.w, 1)

    def arrive(self, layer: int, operand: Operand, rect: Rect) -> Iterator[Instruction]:
        """Load what is not there yet of the pixels up to the end of `rect` of a tensor that stays on chip."""
        storage, view = self._storages[operand.storage], operand.view
        if storage.name not in self._arriving or not rect.pixels:
            return
        h, w = storage.h, storage.w
        plane, blocks = h * w, storage.words // (h * w)
        done = self._arrived[storage.name]
        needed = view.base % plane + (rect.y1 - 1) * view.row + (rect.x1 - 1) * view.step + 1
        if needed > plane or (operand.image.blocks > 1 and view.plane % plane):
            needed = plane  # it walks the planes in an order of its own
        by_rows = storage.gather is not None or operand.image.h > 1
        least = max(1, _ARRIVAL_WORDS // blocks)
        if by_rows:
            least, needed = -(-least // w) * w, -(-needed // w) * w
            done -= done % w
        image = Image(h, w, blocks) if by_rows else Image(1, plane, blocks)
        whole = Operand(storage.name, image)
        while done < needed:
            end = min(max(needed, done + least), plane, done + MAX_RUN // w * w)
            part = Rect(done // w, end // w, 0, w) if by_rows else Rect(0, 1, done, end)
            yield from self.move(Opcode.LOAD, layer, whole, part, (0, blocks),
                                 whole.view.moved(self._arriving[storage.name]))
            done = end
        self._arrived[storage.name] = max(done, self._arrived[storage.name])

    def store_all(self, layer: int, storage: str, base: int) -> Iterator[Instruction]:
        """Store a tensor that stays on chip, from `base` on, piece by piece."""
        words = self._storages[storage].words
        whole = Operand(storage, Image(1, words, 1))
        size = min(_STORE_WORDS, max(_LEAST_STORE, words // 8))
        for x in range(0, words, size):
            rect = Rect(0, 1, x, min(x + size, words))
            yield from self.move(Opcode.STORE, layer, whole, rect, (0, 1), View(base, words, words))

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
