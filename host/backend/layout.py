"""Layout of activations in words: [channel block][y][x][R bytes], the same on chip and in DRAM.

A word holds R channels of one pixel; the last channel block is padded to whole words. All pixels of a channel block
are a *plane*: what works channel by channel then moves whole planes, and joining channels is placing planes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Rect(NamedTuple):
    """Pixels y0 <= y < y1, x0 <= x < x1."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def h(self) -> int:
        return self.y1 - self.y0

    @property
    def w(self) -> int:
        return self.x1 - self.x0

    @property
    def pixels(self) -> int:
        return max(self.h, 0) * max(self.w, 0)

    @property
    def transposed(self) -> Rect:
        return Rect(self.x0, self.x1, self.y0, self.y1)

    def clip(self, other: Rect) -> Rect:
        """Return the pixels that lie in both."""
        return Rect(max(self.y0, other.y0), min(self.y1, other.y1), max(self.x0, other.x0), min(self.x1, other.x1))


class Span(NamedTuple):
    """Evenly spaced positions: `length` of them, from `first` on, every `step`-th."""

    first: int
    step: int
    length: int

    @classmethod
    def of(cls, first: int, step: int, size: int) -> Span:
        """Return every `step`-th position from `first` on below `size`; the step of a single one is 1."""
        length = max(0, -(-(size - first) // step))
        return cls(first, step if length > 1 else 1, length)


class Image(NamedTuple):
    """A tensor as an operator walks it: h x w pixels of `blocks` words."""

    h: int
    w: int
    blocks: int

    @property
    def plane(self) -> int:
        """Words of one channel block."""
        return self.h * self.w

    @property
    def words(self) -> int:
        return self.h * self.w * self.blocks

    @property
    def rect(self) -> Rect:
        return Rect(0, self.h, 0, self.w)

    @property
    def transposed(self) -> Image:
        return Image(self.w, self.h, self.blocks)


class View(NamedTuple):
    """Where an image, or the part of it that is on chip, lies.

    Word (y, x, b) is at base + y * row + x * step + b * plane. `base` is negative when the part on chip does not start
    at pixel (0, 0) of block 0.
    """

    base: int
    row: int
    plane: int
    step: int = 1

    def address(self, y: int, x: int, block: int = 0) -> int:
        """Return the word of a block of pixel (y, x); pixels outside the image extrapolate."""
        return self.base + y * self.row + x * self.step + block * self.plane

    def words(self, rect: Rect, first: int, count: int = 1) -> tuple[int, int, int, int, int]:
        """Return (low, high, step, planes, plane): the words of `count` blocks from `first` on of the pixels `rect`.

        They lie in low, low + step, ... < high, and likewise `planes` times, `plane` words apart.
        """
        if rect.pixels == 0:
            return 0, 0, 1, 1, 0
        low = self.address(rect.y0, rect.x0, first)
        high = self.address(rect.y1 - 1, rect.x1 - 1, first) + 1
        # Only the pixels of one row, or rows that follow each other without a gap, are evenly spaced.
        even = rect.h == 1 or self.row == rect.w * self.step
        step = self.step if even else (self.row if rect.w == 1 else math.gcd(self.row, self.step))
        return low, high, max(step, 1), count, self.plane

    def part(self, y: int, x: int, every_y: int, every_x: int) -> View:
        """Return the view of every `every_y`-th row and `every_x`-th column from pixel (y, x) on."""
        return View(self.address(y, x), self.row * every_y, self.plane, self.step * every_x)

    def moved(self, words: int) -> View:
        """Return the view of the same image `words` words further."""
        return self._replace(base=self.base + words)

    def repeated(self, y: bool, x: bool) -> View:
        """Return the view in which the first row, or column, of each part stands for all others."""
        return self._replace(row=0 if y else self.row, step=0 if x else self.step)

    @property
    def transposed(self) -> View:
        return View(self.base, self.step, self.plane, self.row)


def blocks_of(channels: int, word_bytes: int) -> int:
    """Return the words that `channels` int8 channels take."""
    return -(-channels // word_bytes)


def split_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return a tensor's (height, width, channels) as the hardware sees it; leading dimensions count as rows."""
    padded = (1, 1, 1, *shape)
    return math.prod(padded[:-2]), padded[-2], padded[-1]


class Gather(NamedTuple):
    """An image of few channels as raw bytes in DRAM, which a load gathers into words of neighbouring pixels.

    Rows (columns, when `transposed`) of the image are runs of `row_bytes`: `before` bytes of `fill`, the pixels, and
    `fill` to the end. Word i of a run holds the bytes from i * `pitch` on, and its block b those R * b bytes further.
    """

    row_bytes: int
    before: int
    pitch: int
    fill: int
    transposed: bool

    def pack(self, array: np.ndarray) -> bytes:
        """Return the raw form of an int8 array [1, height, width, channels]."""
        lines = array[0].swapaxes(0, 1) if self.transposed else array[0]
        raw = np.full((len(lines), self.row_bytes), self.fill, np.int8)
        pixels = lines.reshape(len(lines), -1)[:, :self.row_bytes - self.before]
        raw[:, self.before:self.before + pixels.shape[1]] = pixels
        return raw.tobytes()


def packed_bytes(pixels: int, channels: int, word_bytes: int) -> int:
    """Return the bytes of a packed tensor."""
    return pixels * blocks_of(channels, word_bytes) * word_bytes


def pack(array: np.ndarray, channels: int, word_bytes: int) -> bytes:
    """Return the packed form of an int8 array whose last dimension, or flattened pixels, hold `channels` values.

    Raises `ValueError` when the array does not divide into pixels of `channels` int8 values.
    """
    if array.dtype != np.int8 or array.size % channels:
        raise ValueError(f"array must be int8 in pixels of {channels} channels, not {array.dtype} {array.shape}")
    pixels = array.reshape(-1, channels)
    padded = np.pad(pixels, ((0, 0), (0, -channels % word_bytes)))
    return padded.reshape(len(pixels), -1, word_bytes).swapaxes(0, 1).tobytes()


def unpack(data: bytes, shape: Sequence[int], channels: int, word_bytes: int) -> np.ndarray:
    """Return the int8 array of `shape` from its packed form.

    Raises `ValueError` when `data` does not have the size that `shape` and `channels` imply.
    """
    pixels, blocks = math.prod(shape) // channels, blocks_of(channels, word_bytes)
    if len(data) != packed_bytes(pixels, channels, word_bytes):
        raise ValueError(f"packed tensor {tuple(shape)} must have {blocks} planes of {pixels} words, "
                         f"not {len(data)} bytes")
    planes = np.frombuffer(data, np.int8).reshape(blocks, pixels, word_bytes)
    return planes.swapaxes(0, 1).reshape(pixels, -1)[:, :channels].reshape(tuple(shape))
