"""Cost model: estimated cycles of a layer that streams its operands in bands.

The estimate decides between ways to cut a layer and their loop orders. It leaves out what they have in common; the
cycles that a program really takes are those of the core.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...hw.compute import pass_cycles
from ...hw.config import AcceleratorConfig
from ...hw.vector import vector_period
from .layers import ConvLayer, ElementLayer, Layer
from .layout import Rect

_Range = tuple[int, int]

# Instructions of a band wait for each other about so long, besides the latency of DRAM where nothing hides it.
_BAND_CYCLES = 24
# What hides is not free: the layers before and after could use the time.
_HIDDEN = 1 / 8


class Cut:
    """A layer whose output is cut into rectangles: `rows` x `columns`, all of their channel blocks.

    Attributes:
        layer: the layer.
        rects: number of rectangles.
        most: most pixels that one rectangle needs of each operand of `streamed` (-1: the output).
    """

    def __init__(self, layer: Layer, rows: Sequence[_Range], columns: Sequence[_Range], streamed: Iterable[int],
                 config: AcceleratorConfig) -> None:
        self.layer, self.rects, self._config = layer, len(rows) * len(columns), config
        self.most, self._pixels = dict[int, int](), dict[int, int]()
        for k in streamed:
            heights, widths = _needs(layer, k, rows, columns)
            self.most[k], self._pixels[k] = max(heights) * max(widths), sum(heights) * sum(widths)
        self._work = _work(layer, rows, columns, config)

    def words(self, blocks: Sequence[_Range]) -> dict[int, int]:
        """Return the most words of each streamed operand that a band of one of the ranges `blocks` needs."""
        return {k: pixels * max(self.layer.blocks(k, first, end - first)[1] for first, end in blocks)
                for k, pixels in self.most.items()}

    def cycles(self, blocks: Sequence[_Range], blocks_outside: bool, slots: int) -> float:
        """Return the estimated cycles of the layer in bands of the channel blocks `blocks`.

        With `blocks_outside`, all rectangles of a range of blocks follow each other, else all ranges of a rectangle.
        With 2 `slots`, transfers overlap with the work of the band before.
        """
        words = sum(self._moved(k, blocks, blocks_outside) for k in self.most)
        if isinstance(self.layer, ConvLayer):
            words += self._weights(self.layer, blocks, blocks_outside)
        transfer = words * max(1.0, self._config.word_bytes / self._config.memory_bandwidth)
        bands = self.rects * len(blocks)
        if slots == 1:
            return transfer + self._work + bands * (_BAND_CYCLES + self._config.memory_latency)
        hidden = min(transfer, self._work)
        return max(transfer, self._work) + hidden * (1 / bands + _HIDDEN) + bands * _BAND_CYCLES

    def _moved(self, position: int, blocks: Sequence[_Range], blocks_outside: bool) -> int:
        """Return the words of an operand that move; what a band shares with the one before moves once."""
        ranges = [self.layer.blocks(position, first, end - first) for first, end in blocks]
        shared = len(set(ranges)) == 1 and (self.rects == 1 or not blocks_outside)
        return self._pixels[position] * (ranges[0][1] if shared else sum(count for _, count in ranges))

    def _weights(self, layer: ConvLayer, blocks: Sequence[_Range], blocks_outside: bool) -> int:
        """Return the words of weights that are loaded: once, or for every rectangle where they do not stay on chip."""
        block = layer.weights[0, ..., 0].size
        most = max(end - first for first, end in blocks) if blocks_outside else len(layer.weights)
        return len(layer.weights) * block * (1 if most * block <= self._config.wgt_words // 2 else self.rects)


def _needs(layer: Layer, position: int, rows: Sequence[_Range],
           columns: Sequence[_Range]) -> tuple[list[int], list[int]]:
    """Return how many rows of an operand the ranges `rows` need, and how many columns the ranges `columns`."""
    by_row = [layer.needs(position, Rect(*y, *columns[0])) for y in rows]
    by_column = [layer.needs(position, Rect(*rows[0], *x)) for x in columns]
    if isinstance(layer, ConvLayer) and layer.transposed and position == 0:
        return [max(0, need.w) for need in by_row], [max(0, need.h) for need in by_column]
    return [max(0, need.h) for need in by_row], [max(0, need.w) for need in by_column]


def _work(layer: Layer, rows: Sequence[_Range], columns: Sequence[_Range], config: AcceleratorConfig) -> int:
    """Return the cycles of the array, or of the vector unit where the array is not used."""
    image, window = layer.output.image, layer.window
    if isinstance(layer, ElementLayer):
        return image.words * vector_period(layer.element.opcode)
    if not isinstance(layer, ConvLayer):
        return image.words * window.kh * window.kw
    heights, widths = ([high - low for low, high in spans] for spans in (rows, columns))
    if layer.filter:
        heights = [(height - 1) * window.sy + layer.filter.lines for height in heights]
        widths = [(width - 1) * window.sx + window.kw for width in widths]
    return layer.weights[..., 0, 0].size * sum(pass_cycles(config, h * w) for h in heights for w in widths)
