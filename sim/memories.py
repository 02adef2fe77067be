"""Memories of the simulated core and the word ranges that instructions touch in them."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ..hw.config import AcceleratorConfig

__all__ = ["ADDRESS_SPACE", "FILL", "Memories", "MemoryName", "Region", "Words", "extent", "gather", "grid",
           "in_groups", "in_image", "rows_of", "take"]

MemoryName: TypeAlias = Literal["dram", "act", "wgt", "param", "acc"]
Words: TypeAlias = slice | npt.NDArray[np.int32]

#: Word index of a tap that lies in the padding. Python's last element: the spare word behind the activation buffer.
FILL = -1

#: The address walkers of COMPUTE and VECTOR are 20 bits wide, their image coordinates 14 bits and signed.
ADDRESS_SPACE = 1 << 20
_COORD_SPACE = 1 << 14


class Memories:
    """Contents of DRAM and of the buffers, one word of R bytes (or R accumulators) per row.

    ``dram`` int8 [words, R], ``act`` int8 [act_words + 1, R] with a spare word for padding, ``wgt`` int8
    [wgt_words, R], ``param`` uint8 [param_words, R], ``acc`` int32 [acc_depth, R], ``table`` int8 [256], TABLE's.
    """

    def __init__(self, config: AcceleratorConfig, dram_bytes: int):
        word = config.word_bytes
        self.dram = np.zeros((dram_bytes // word, word), np.int8)
        self.act = np.zeros((config.act_words + 1, word), np.int8)
        self.wgt = np.zeros((config.wgt_words, word), np.int8)
        self.param = np.zeros((config.param_words, word), np.uint8)
        self.acc = np.zeros((config.acc_depth, word), np.int32)
        self.table = np.zeros(256, np.int8)


class Region(NamedTuple):
    """Words of one memory, as a slice or as an index array in which ``FILL`` stands for no access."""

    memory: MemoryName
    words: Words


@dataclass(frozen=True)
class Extent:
    """First word and one past the last word of a region; both 0 when it touches nothing."""

    first: int
    end: int


def extent(words: Words) -> Extent:
    """Return the smallest range that holds every word accessed."""
    if isinstance(words, slice):
        return Extent(words.start, words.stop)
    last = int(words.max(initial=FILL))
    if last == FILL:
        return Extent(0, 0)
    first = int(words.min())
    return Extent(int(words[words != FILL].min()) if first == FILL else first, last + 1)


def take(memory: npt.NDArray[Any], words: Words) -> npt.NDArray[Any]:
    """Return a copy of ``words`` of a memory: index shape + [R]."""
    return memory[words].copy() if isinstance(words, slice) else memory.take(words, axis=0)


def rows_of(starts: npt.NDArray[np.int64], length: int) -> Words:
    """Return the words of runs of ``length`` words; a slice when the runs join up, else an array [runs * length]."""
    if len(starts) == 1 or np.all(np.diff(starts) == length):
        return slice(int(starts[0]), int(starts[-1]) + length)
    return (starts[:, None] + np.arange(length)).astype(np.int32).reshape(-1)


def grid(base: int, step_y: int, step_x: int, height: int, width: int) -> Words:
    """Return ``base + y * step_y + x * step_x`` for every pixel: a slice when contiguous, else [height * width].

    Addresses wrap modulo 2^20.
    """
    end = base + height * width
    if (width == 1 or step_x == 1) and (height == 1 or step_y == width) and end <= ADDRESS_SPACE:
        return slice(base, end)
    words = base + step_y * np.arange(height)[:, None] + step_x * np.arange(width)
    return (words % ADDRESS_SPACE).astype(np.int32).reshape(-1)


def _coordinates(start: int, outer: npt.NDArray[np.int64], inner: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    half = _COORD_SPACE // 2
    return (start + outer[:, None] + inner + half) % _COORD_SPACE - half


def in_image(start: int, outer: npt.NDArray[np.int64], inner: npt.NDArray[np.int64],
             size: int) -> npt.NDArray[np.bool_]:
    """Return whether the coordinates ``start + outer + inner`` lie in [0, size), bool [outer, inner]."""
    coordinates = _coordinates(start, outer, inner)
    return (coordinates >= 0) & (coordinates < size)


def gather(f: dict[str, int], blocks: int, dil_y: int, dil_x: int) -> npt.NDArray[np.int32]:
    """Return the input words of a window operation, int32 [out_h * out_w, kh * kw * blocks].

    ``f`` holds the fields that COMPUTE and POOL share, and ``step_block`` where there are several blocks. Taps outside
    the image are ``FILL``.
    """
    y, x = np.arange(f["out_h"]), np.arange(f["out_w"])
    ky, kx = np.arange(f["kh"]), np.arange(f["kw"])
    inside_y = in_image(f["iy0"], y * f["stride_y"], ky * dil_y, f["in_h"])
    inside_x = in_image(f["ix0"], x * f["stride_x"], kx * dil_x, f["in_w"])
    row = f["in_base"] + y[:, None] * f["step_y"] + ky * f["tap_y"]
    column = x[:, None] * f["step_x"] + kx * f["tap_x"]
    words = row[:, None, :, None, None] + column[None, :, None, :, None]
    words = words + f.get("step_block", 0) * np.arange(blocks)
    words %= ADDRESS_SPACE
    if not (inside_y.all() and inside_x.all()):
        inside = inside_y[:, None, :, None, None] & inside_x[None, :, None, :, None]
        words = np.where(inside, words, FILL)
    return words.astype(np.int32).reshape(f["out_h"] * f["out_w"], -1)


def in_groups(words: npt.NDArray[np.int32], groups: int, step: int) -> npt.NDArray[np.int32]:
    """Return the input words of each group, int32 [groups] + shape, or [1] + shape when all groups read the same.

    Group g reads ``g * step`` words further than ``words``, modulo 2^20.
    """
    if not step:
        return words[None]
    offsets = (step * np.arange(groups)).reshape(-1, *[1] * words.ndim)
    return np.where(words == FILL, FILL, (words + offsets) % ADDRESS_SPACE).astype(np.int32)
