"""Golden data-movement operators: they copy elements of any dtype and compute nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def reshape(x: Array, shape: Sequence[int]) -> Array:
    """Return x in another shape of the same size, row-major; one entry may be -1."""
    return x.reshape(tuple(int(s) for s in shape))


def pad(x: Array, paddings: Sequence[Sequence[int]], value: int) -> Array:
    """Pad each axis of x by (before, after) elements of `value`, the zero point for a quantised PAD."""
    return np.pad(x, [(int(before), int(after)) for before, after in paddings], constant_values=value)


def concatenate(*xs: Array, axis: int) -> Array:
    """Join arrays along `axis`."""
    return np.concatenate(xs, axis=axis)


def slice_(x: Array, *, begin: Sequence[int], size: Sequence[int], stride: Sequence[int]) -> Array:
    """Take, of each axis, `size` elements from `begin` on, `stride` (negative: backwards) apart."""
    picks = [b + s * np.arange(n) for b, n, s in zip(begin, size, stride, strict=True)]
    return x[np.ix_(*picks)] if picks else x


def transpose(x: Array, *, perm: Sequence[int]) -> Array:
    """Permute axes: axis i of the result is axis perm[i] of x."""
    return np.ascontiguousarray(x.transpose(tuple(perm)))


def gather(x: Array, *, axis: int, indices: Sequence[int]) -> Array:
    """Take the elements `indices` along `axis`."""
    return np.take(x, list(indices), axis=axis)


def space_to_batch(x: Array, *, block: Sequence[int], paddings: Sequence[Sequence[int]], value: int) -> Array:
    """Pad NHWC x spatially with `value` and deal its pixels to block[0] * block[1] as many, smaller images.

    Image (y, x) of those, in this order and outside the batch, has the pixels y, x modulo the block.
    """
    x = pad(x, ((0, 0), *paddings, (0, 0)), value)
    n, h, w, c = x.shape
    by, bx = block
    dealt = x.reshape(n, h // by, by, w // bx, bx, c).transpose(2, 4, 0, 1, 3, 5)
    return dealt.reshape(n * by * bx, h // by, w // bx, c)


def batch_to_space(x: Array, *, block: Sequence[int], crops: Sequence[Sequence[int]]) -> Array:
    """Undo `space_to_batch` and crop the edges."""
    n, h, w, c = x.shape
    by, bx = block
    whole = x.reshape(by, bx, n // (by * bx), h, w, c).transpose(2, 3, 0, 4, 1, 5)
    whole = whole.reshape(n // (by * bx), h * by, w * bx, c)
    (top, bottom), (left, right) = crops
    return whole[:, top : h * by - bottom, left : w * bx - right]
