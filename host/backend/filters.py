"""Depthwise convolution in the array's filter mode: weights, walks and tiles."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...hw.array import SPACINGS, lines_at_once, spacing_of
from ...hw.config import AcceleratorConfig
from .layers import Filter, Window
from .layout import Image, Rect
from .tiling import split

# Cycles that the vector unit needs for a tile beyond one per pixel, about.
_REQUANT_START = 2


def filter_of(kh: int, kw: int, filter_rows: int) -> Filter | None:
    """Return how a kernel lies in the array, or None when a line of it has more taps than the filter mode has rows."""
    if kw > min(filter_rows, SPACINGS[-1]):
        return None
    spacing = spacing_of(kw)
    passes = -(-kh // lines_at_once(filter_rows, spacing))
    return Filter(-(-kh // passes), spacing, passes)


def filter_weights(kernel: Filter, weights: npt.NDArray[np.int8], rows: int) -> npt.NDArray[np.int8]:
    """Return int8 [kh, kw, channels] as weight tiles [blocks, passes, 1, 1, rows, rows].

    The newest line, and within a line the newest tap, comes first.
    """
    kh, kw, channels = weights.shape
    padded = np.pad(weights, ((0, 0), (0, 0), (0, -channels % rows)))
    tiles = np.zeros((padded.shape[2] // rows, kernel.passes, 1, 1, rows, rows), np.int8)
    for ky in range(kh):
        number, place = divmod(ky, kernel.lines)
        first = (kernel.lines - 1 - place) * kernel.spacing
        tiles[:, number, 0, 0, first:first + kw] = padded[ky, ::-1].reshape(kw, -1, rows).transpose(1, 0, 2)
    return tiles


class Walk(NamedTuple):
    """Words that a pass streams: `h` lines of `w` from column `x0` on, after `lead` words of padding."""

    h: int
    w: int
    x0: int
    lead: int
    skip_x: int

    @property
    def words(self) -> int:
        return self.lead + self.h * self.w


def walk(kernel: Filter, window: Window, tile: Rect, image: Image) -> Walk:
    """Return the walk of one pass for the output pixels `tile` of a layer with input `image`."""
    height = (tile.h - 1) * window.sy + kernel.lines
    x0 = tile.x0 * window.sx - window.left
    width = (tile.w - 1) * window.sx + window.kw
    plain = Walk(height, width, x0, 0, window.kw - 1)
    if not -window.kw < x0 < 0:
        return plain
    # The padding behind one line can serve as the padding in front of the next, except before the first.
    shared = Walk(height, max(width + x0, window.needs(tile, image).x1 - x0), 0, -x0, window.kw - 1 + x0)
    return min(plain, shared, key=lambda choice: choice.words)


def filter_tiles(rect: Rect, kernel: Filter, window: Window, image: Image, config: AcceleratorConfig) -> list[Rect]:
    """Split `rect` into the tiles that stream the fewest words, halos included."""
    rows, columns = _shape(rect.h, rect.x0, rect.x1, kernel, window, image, config)
    return [Rect(y0, y1, x0, x1) for y0, y1 in split(rect.y0, rect.y1, rows)
            for x0, x1 in split(rect.x0, rect.x1, columns)]


@lru_cache(maxsize=1024)
def _shape(height: int, left: int, right: int, kernel: Filter, window: Window, image: Image,
           config: AcceleratorConfig) -> tuple[int, int]:
    """Return the rows and columns of the tiles of `height` output rows from column `left` up to `right`."""
    width = right - left

    def cost(columns: int) -> tuple[int, int, int] | None:
        rows = -(-height // -(-height // min(height, config.acc_half // columns)))
        walks = [walk(kernel, window, Rect(0, rows, x0, x1), image) for x0, x1 in split(left, right, columns)]
        if max(each.w for each in walks) + kernel.spacing > config.line_words:
            return None
        least = rows * columns + _REQUANT_START
        return -(-height // rows) * sum(max(kernel.passes * each.words, least) for each in walks), rows, columns

    # Other widths than these split into the same number of tiles.
    choices = {-(-width // count) for count in range(1, width + 1)}
    found = [each for columns in choices if columns <= config.acc_half and (each := cost(columns))]
    return min(found)[1:]
