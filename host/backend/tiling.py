"""Tiling: splitting an output into bands that fit on chip and into tiles that fit the accumulators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .layers import Layer
from .layout import Rect

# Bands are not split to fewer columns than this while a single-buffered band could be wider: halos would dominate.
_MIN_COLUMNS = 16


@dataclass(frozen=True)
class Bands:
    """Bands of a layer's output, in order.

    Attributes:
        rects: output pixels of each band.
        slots: 2 when consecutive bands use alternate memory, so that one loads while the other computes, else 1.
        words: words per slot for each streamed operand, keyed by its position; -1 is the output.
    """

    rects: tuple[Rect, ...]
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
    return Bands((layer.output.image.rect,))


def plan_bands(layer: Layer, streamed: Sequence[int], budget: int) -> Bands | None:
    """Return bands whose streamed operands take at most `budget` words on chip, or None when there are none.

    `streamed` are positions of operands as in `Bands.words`. Full rows and double buffering are preferred.
    """
    image = layer.output.image
    pieces = sorted({-(-image.w // count) for count in range(1, image.w + 1)}, reverse=True)
    for slots, least in ((2, min(_MIN_COLUMNS, image.w)), (1, 1)):
        for columns in pieces:
            if columns < least:
                break
            rows = _most_rows(layer, streamed, columns, budget // slots)
            if rows:
                return _bands(layer, streamed, rows, columns, slots)
    return None


def _most_rows(layer: Layer, streamed: Sequence[int], columns: int, budget: int) -> int:
    low, high = 0, layer.output.image.h
    while low < high:
        middle = (low + high + 1) // 2
        if sum(_words(layer, k, middle, columns) for k in streamed) <= budget:
            low = middle
        else:
            high = middle - 1
    return low


def _words(layer: Layer, position: int, rows: int, columns: int) -> int:
    """Return an upper bound of the words of operand `position` for a band of that many rows and columns."""
    if position < 0:
        return rows * columns * layer.output.image.blocks
    window, image = layer.window, layer.inputs[position].image
    h = min((rows - 1) * window.sy + (window.kh - 1) * window.dy + 1, image.h)
    w = min((columns - 1) * window.sx + (window.kw - 1) * window.dx + 1, image.w)
    return h * w * image.blocks


def _bands(layer: Layer, streamed: Sequence[int], rows: int, columns: int, slots: int) -> Bands:
    image = layer.output.image
    rects = tuple(Rect(y0, y1, x0, x1) for y0, y1 in split(0, image.h, rows) for x0, x1 in split(0, image.w, columns))
    needed = {k: max(_exact(layer, k, rect) for rect in rects) for k in streamed}
    return Bands(rects, min(slots, len(rects)), tuple(needed.items()))


def _exact(layer: Layer, position: int, rect: Rect) -> int:
    if position < 0:
        return rect.pixels * layer.output.image.blocks
    image = layer.inputs[position].image
    return layer.window.needs(rect, image).pixels * image.blocks
