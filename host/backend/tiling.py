"""Tiling: splitting an output into bands that fit on chip and into tiles that fit the accumulators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .layers import ConvLayer, Layer
from .layout import Rect

# Fewest pixels of a band of a convolution for which all its output blocks are kept at once.
_LEAST_PIXELS = 64


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


def split(low: int, high: int, most: int) -> list[tuple[int, int]]:
    """Split [low, high) into the fewest ranges of at most `most`, as equal as they can be."""
    count = -(-(high - low) // most)
    edges = [low + (high - low) * i // count for i in range(count + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))


def tiles(rect: Rect, most: int) -> list[Rect]:
    """Split `rect` into tiles of at most `most` pixels: whole rows where a row fits, else parts of one row."""
    if rect.w <= most:
        return [Rect(y0, y1, rect.x0, rect.x1) for y0, y1 in split(rect.y0, rect.y1, most // rect.w)]
    return [Rect(y, y + 1, x0, x1) for y in range(rect.y0, rect.y1) for x0, x1 in split(rect.x0, rect.x1, most)]


def whole(layer: Layer) -> Bands:
    """Return the single band of a layer whose operands all stay on chip."""
    return Bands((Band(layer.output.image.rect, 0, layer.output.image.blocks),))


def plan_bands(layer: Layer, streamed: Sequence[int], budget: int) -> Bands | None:
    """Return bands whose streamed operands take at most `budget` words on chip, or None when there are none.

    `streamed` are positions of operands as in `Bands.words`. Double buffering is preferred, then bands of whole
    planes, then of whole rows, then of as many channel blocks as possible.
    """
    image = layer.output.image
    # A convolution reads every input block for each pixel: splitting its output blocks does not split its input.
    splits_input = not isinstance(layer, ConvLayer) or layer.blockwise
    blocks = _pieces(image.blocks)
    shapes = [(image.h, image.w, count) for count in blocks]
    if layer.splits_rows:
        shapes += [(rows, image.w, count) for rows in _pieces(image.h)
                   for count in (blocks[-1:] if splits_input else _sensible(blocks, rows * image.w))]
    if layer.splits_columns:
        height = 1 if layer.splits_rows else image.h
        shapes += [(height, width, count) for width in _pieces(image.w)
                   for count in (blocks[-1:] if splits_input else _sensible(blocks, width))]
    for slots in (2, 1):
        for height, width, count in shapes:
            bands = _bands(layer, streamed, height, width, count, slots, budget)
            if bands is not None:
                return bands
    return None


def _pieces(size: int) -> list[int]:
    """Return the distinct sizes of equal pieces of `size`, largest first."""
    return sorted({-(-size // count) for count in range(1, size + 1)}, reverse=True)


def _sensible(blocks: list[int], pixels: int) -> list[int]:
    return blocks if pixels <= _LEAST_PIXELS else blocks[:1]


def _bands(layer: Layer, streamed: Sequence[int], rows: int, columns: int, count: int, slots: int,
           budget: int) -> Bands | None:
    """Return bands of these sizes, or None when they take more than `budget` words."""
    image = layer.output.image
    ys, xs, ranges = split(0, image.h, rows), split(0, image.w, columns), split(0, image.blocks, count)
    needed = {k: _most_pixels(layer, k, ys, xs) * max(layer.blocks(k, first, end - first)[1] for first, end in ranges)
              for k in streamed}
    slots = min(slots, len(ys) * len(xs) * len(ranges))
    if slots * sum(needed.values()) > budget:
        return None
    parts = tuple(Band(Rect(*y, *x), first, end - first) for y in ys for x in xs for first, end in ranges)
    return Bands(parts, slots, tuple(needed.items()))


def _most_pixels(layer: Layer, position: int, ys: Sequence[tuple[int, int]], xs: Sequence[tuple[int, int]]) -> int:
    """Return the most pixels of an operand that one of the rectangles `ys` x `xs` of the output needs.

    Height and width of what is needed follow each from one side of the rectangle: no need to look at every pair.
    """
    corners = [Rect(*y, *xs[0]) for y in ys] + [Rect(*ys[0], *x) for x in xs]
    needs = [layer.needs(position, corner) for corner in corners]
    return max(0, *(rect.h for rect in needs)) * max(0, *(rect.w for rect in needs))
