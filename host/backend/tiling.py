"""Tiling: splitting an output into bands that fit on chip and into tiles that fit the accumulators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

from ...hw.config import AcceleratorConfig
from .cost import Cut
from .layers import Layer
from .layout import Rect


class Band(NamedTuple):
    """Part of a layer's output: the pixels `rect` of `blocks` channel blocks from `first` on."""

    rect: Rect
    first: int
    blocks: int


@dataclass(frozen=True)
class Bands:
    """Bands of a layer's output, in order.

    Attributes:
        parts: the bands.
        slots: 2 when what follows each other uses alternate memory, so that one loads while the other computes, else 1.
        words: words per slot for each streamed operand, keyed by its position; -1 is the output.
    """

    parts: tuple[Band, ...]
    slots: int = 1
    words: tuple[tuple[int, int], ...] = ()


def split(low: int, high: int, most: int, step: int = 1) -> list[tuple[int, int]]:
    """Split [low, high) into the fewest ranges of at most `most`, as equal as they can be.

    With a `step`, ranges begin at multiples of it from `low` on, and may be longer by less than a step.
    """
    count = -(-(high - low) // most)
    edges = sorted({*(low + (high - low) * i // count // step * step for i in range(count)), high})
    return list(pairwise(edges))


def tiles(rect: Rect, most: int) -> list[Rect]:
    """Split `rect` into tiles of at most `most` pixels: whole rows where a row fits, else parts of one row."""
    if rect.w <= most:
        return [Rect(y0, y1, rect.x0, rect.x1) for y0, y1 in split(rect.y0, rect.y1, most // rect.w)]
    return [Rect(y, y + 1, x0, x1) for y in range(rect.y0, rect.y1) for x0, x1 in split(rect.x0, rect.x1, most)]


def whole(layer: Layer) -> Bands:
    """Return the single band of a layer whose operands all stay on chip."""
    return Bands((Band(layer.output.image.rect, 0, layer.output.image.blocks),))


def plan_bands(layer: Layer, streamed: Sequence[int], budget: int, config: AcceleratorConfig) -> Bands | None:
    """Return the cheapest bands whose streamed operands take at most `budget` words on chip, or None without any.

    `streamed` are positions of operands as in `Bands.words`.
    """
    image = layer.output.image
    heights, widths, (down, across) = _pieces(image.h), _pieces(image.w), layer.steps_of_bands
    shapes = [(height, image.w) for height in heights] + [(1, width) for width in widths[1:]]
    if layer.by_columns:
        shapes = [(image.h, width) for width in widths] + [(height, 1) for height in heights[1:]]
    ranges = [split(0, image.blocks, count) for count in _pieces(image.blocks)]
    best, lowest = None, math.inf
    for height, width in shapes:
        rows, columns = split(0, image.h, height, down), split(0, image.w, width, across)
        cut = Cut(layer, rows, columns, streamed, config)
        for blocks in ranges:
            words = cut.words(blocks)
            orders = (False, True) if cut.rects > 1 and len(blocks) > 1 else (False,)
            for slots, outside in product((2, 1), orders):
                if slots > cut.rects * len(blocks) or slots * sum(words.values()) > budget:
                    continue
                cycles = cut.cycles(blocks, outside, slots)
                if cycles < lowest:
                    best, lowest = (rows, columns, blocks, outside, slots, words), cycles
    if best is None:
        return None
    rows, columns, blocks, outside, slots, words = best
    rects = [Rect(*y, *x) for y in rows for x in columns]
    pairs = ((rect, span) for span in blocks for rect in rects) if outside else product(rects, blocks)
    return Bands(tuple(Band(rect, first, end - first) for rect, (first, end) in pairs), slots, tuple(words.items()))


def _pieces(size: int) -> list[int]:
    """Return the distinct sizes of equal pieces of `size`, largest first."""
    return sorted({-(-size // count) for count in range(1, size + 1)}, reverse=True)
