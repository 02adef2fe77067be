"""Layout of activations in words: [y][x][channel block][R bytes], the same on chip and in DRAM.

A word holds R channels of one pixel; the channels of a pixel are padded to whole words. Where the number of channels
is a multiple of R this is exactly the raw NHWC array.
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

    def clip(self, other: Rect) -> Rect:
        """Return the pixels that lie in both."""
        return Rect(max(self.y0, other.y0), min(self.y1, other.y1), max(self.x0, other.x0), min(self.x1, other.x1))


class Image(NamedTuple):
    """A tensor as an operator walks it: h x w pixels of `blocks` words."""

    h: int
    w: int
    blocks: int

    @property
    def row_words(self) -> int:
        return self.w * self.blocks

    @property
    def words(self) -> int:
        return self.h * self.w * self.blocks

    @property
    def rect(self) -> Rect:
        return Rect(0, self.h, 0, self.w)


class View(NamedTuple):
    """Where an image, or the part of it that is on chip, lies: word (y, x, b) is at base + y * row + x * blocks + b.

    `base` is negative when the part on chip does not start at pixel (0, 0).
    """

    base: int
    row: int
    blocks: int

    def address(self, y: int, x: int, block: int = 0) -> int:
        """Return the word of a block of pixel (y, x); pixels outside the image extrapolate."""
        return self.base + y * self.row + x * self.blocks + block

    def span(self, rect: Rect) -> tuple[int, int]:
        """Return the word range [low, high) that encloses the pixels of `rect`; empty for an empty one."""
        if rect.pixels == 0:
            return 0, 0
        return self.address(rect.y0, rect.x0), self.address(rect.y1 - 1, rect.x1 - 1) + self.blocks

    def lane(self, rect: Rect, block: int) -> tuple[int, int, int]:
        """Return (low, high, step) that enclose the words of one block of the pixels of `rect`."""
        low, high = self.span(rect)
        return (low + block, high - self.blocks + block + 1, self.blocks) if rect.pixels else (0, 0, 1)


def blocks_of(channels: int, word_bytes: int) -> int:
    """Return the words that `channels` int8 channels take."""
    return -(-channels // word_bytes)


def split_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return a tensor's (height, width, channels) as the hardware sees it; leading dimensions count as rows."""
    padded = (1, 1, 1, *shape)
    return math.prod(padded[:-2]), padded[-2], padded[-1]


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
    padding = -channels % word_bytes
    return (np.pad(pixels, ((0, 0), (0, padding))) if padding else pixels).tobytes()


def unpack(data: bytes, shape: Sequence[int], channels: int, word_bytes: int) -> np.ndarray:
    """Return the int8 array of `shape` from its packed form.

    Raises `ValueError` when `data` does not have the size that `shape` and `channels` imply.
    """
    stride = blocks_of(channels, word_bytes) * word_bytes
    if len(data) != packed_bytes(math.prod(shape) // channels, channels, word_bytes):
        raise ValueError(f"packed tensor {tuple(shape)} must have pixels of {stride} bytes, not {len(data)} bytes")
    return np.frombuffer(data, np.int8).reshape(-1, stride)[:, :channels].reshape(tuple(shape))
