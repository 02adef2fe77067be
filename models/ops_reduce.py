"""Golden reductions: average and max pooling over windows; mean, sum, extremes and position over axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .ops_conv import Int8Array, finish
from .ops_geometry import NO_PADS, Pads, Pair, windows


def average_pool2d(
    x: npt.NDArray[Any],
    *,
    kernel: Pair,
    stride: Pair = (1, 1),
    pads: Pads = NO_PADS,
    act_min: int = -128,
    act_max: int = 127,
) -> Int8Array:
    """Average int8 x [n, h, w, c] over windows, into int8 [n, oh, ow, c]; input and output share their scale.

    Only pixels inside the image count; the quotient rounds to nearest, ties away from zero.
    Raises ValueError when a window lies wholly in the padding.
    """
    acc = windows(x.astype(np.int64), kernel, stride, pads).sum(axis=(3, 4))
    inside = np.ones((1, *x.shape[1:3], 1), np.int64)
    count = windows(inside, kernel, stride, pads).sum(axis=(3, 4))
    if not count.all():
        raise ValueError(f"every pooling window must meet the image; pads {pads} are too large for kernel {kernel}")
    mean = np.sign(acc) * ((np.abs(acc) + count // 2) // count)
    return np.clip(mean, act_min, act_max).astype(np.int8)


def max_pool2d(
    x: npt.NDArray[Any],
    *,
    kernel: Pair,
    stride: Pair = (1, 1),
    pads: Pads = NO_PADS,
    act_min: int = -128,
    act_max: int = 127,
) -> Int8Array:
    """Take the maximum of int8 x [n, h, w, c] over windows, into int8 [n, oh, ow, c]; padding never wins."""
    peak = windows(x, kernel, stride, pads, fill=-128).max(axis=(3, 4))
    return np.clip(peak, act_min, act_max).astype(np.int8)


def fold_mean(mult: int, shift: int, n: int) -> tuple[int, int]:
    """Return (M', s'), the multiplier and shift that also divide by n: those that requantise a sum of n values.

    M' lies in (M / 2, M], less where s' would fall below -31 and stops there, as in the reference.
    """
    if n < 1:
        raise ValueError(f"mean must be over at least one element, not {n}")
    extra = min(n.bit_length() - 1, 32, 31 + shift)
    return (mult << extra) // n, shift - extra


def mean(
    x: npt.NDArray[Any], axes: Sequence[int], keepdims: bool, *, x_zp: int, y_zp: int, mult: int, shift: int
) -> Int8Array:
    """Average int8 x over `axes` and requantise to int8; (mult, shift) stand for x_scale / y_scale.

    Negative and repeated axes are allowed. Raises ValueError when the axes hold no element.
    """
    resolved = tuple({int(a) % x.ndim for a in axes})
    count = math.prod(x.shape[a] for a in resolved)
    folded, folded_shift = fold_mean(int(mult), int(shift), count)
    acc = x.sum(axis=resolved, keepdims=keepdims, dtype=np.int64) - count * x_zp
    return finish(acc, folded, folded_shift, y_zp, -128, 127)


def sum_(
    x: npt.NDArray[Any], axes: Sequence[int], keepdims: bool, *, x_zp: int, y_zp: int, mult: int, shift: int
) -> Int8Array:
    """Add int8 x over `axes` and requantise to int8; (mult, shift) stand for x_scale / y_scale."""
    count = math.prod(x.shape[a] for a in axes)
    acc = x.sum(axis=tuple(axes), keepdims=keepdims, dtype=np.int64) - count * x_zp
    return finish(acc, mult, shift, y_zp, -128, 127)


def reduce_max(x: npt.NDArray[Any], axes: Sequence[int], keepdims: bool) -> npt.NDArray[Any]:
    """Return the maximum over `axes`; input and output share their quantisation."""
    return np.asarray(x.max(axis=tuple(axes), keepdims=keepdims))


def reduce_min(x: npt.NDArray[Any], axes: Sequence[int], keepdims: bool) -> npt.NDArray[Any]:
    """Return the minimum over `axes`; input and output share their quantisation."""
    return np.asarray(x.min(axis=tuple(axes), keepdims=keepdims))


def arg_max(x: npt.NDArray[Any], *, axis: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return the first position of the maximum along `axis`, as `dtype`."""
    return np.asarray(x.argmax(axis=axis)).astype(dtype)
