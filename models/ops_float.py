"""Float32 operators of whole networks: what a network computes before it is quantised.

They serve calibration and accuracy reports. No device has to reproduce their last bit, so sums run in the order that
is fastest. The element-wise ones, which a quantised graph may hold as well, are in `ops_real`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .ops_geometry import NO_PADS, Pads, Pair, windows
from .ops_real import clamp

FloatArray = npt.NDArray[np.float32]


def _finish(y: FloatArray, bias: FloatArray | None, activation: str) -> FloatArray:
    return clamp(y if bias is None else y + bias, activation)


def conv2d(x: FloatArray, weights: FloatArray, bias: FloatArray | None, *, stride: Pair, pads: Pads, dilation: Pair,
           groups: int, activation: str = "NONE") -> FloatArray:
    """Convolve x [n, h, w, c] with weights [o, kh, kw, c / groups] into [n, oh, ow, o]."""
    o, kh, kw, depth = weights.shape
    taps = windows(x, (kh, kw), stride, pads, dilation)
    shape = taps.shape[:3]
    parts = []
    for g, part in enumerate(np.split(weights, groups)):
        columns = taps[..., g * depth:(g + 1) * depth].reshape(-1, kh * kw * depth)
        parts.append(columns @ part.reshape(o // groups, -1).T)
    return _finish(np.concatenate(parts, axis=1).reshape(*shape, o), bias, activation)


def depthwise_conv2d(x: FloatArray, weights: FloatArray, bias: FloatArray | None, *, stride: Pair, pads: Pads,
                     dilation: Pair, multiplier: int, activation: str = "NONE") -> FloatArray:
    """Convolve each channel of x [n, h, w, c] with its own filters [1, kh, kw, c * multiplier]."""
    _, kh, kw, _ = weights.shape
    taps = windows(x, (kh, kw), stride, pads, dilation)
    y = sum(np.repeat(taps[:, :, :, i, j], multiplier, axis=-1) * weights[0, i, j] for i, j in np.ndindex(kh, kw))
    return _finish(np.asarray(y, np.float32), bias, activation)


def fully_connected(x: FloatArray, weights: FloatArray, bias: FloatArray | None, *,
                    activation: str = "NONE") -> FloatArray:
    """Multiply x, of rows of i, by weights [o, i] into [n, o]."""
    return _finish(x.reshape(-1, weights.shape[1]) @ weights.T, bias, activation)


def transpose_conv2d(x: FloatArray, weights: FloatArray, bias: FloatArray | None, *, stride: Pair, pads: Pads,
                     activation: str = "NONE") -> FloatArray:
    """Spread x [n, h, w, c] through weights [o, kh, kw, c] and cut `pads` off; negative ones append zeros."""
    n, h, w, _ = x.shape
    o, kh, kw, _ = weights.shape
    full = np.zeros((n, (h - 1) * stride[0] + kh, (w - 1) * stride[1] + kw, o), np.float32)
    for i, j in np.ndindex(kh, kw):
        ends = i + (h - 1) * stride[0] + 1, j + (w - 1) * stride[1] + 1
        full[:, i:ends[0]:stride[0], j:ends[1]:stride[1]] += x @ weights[:, i, j].T
    (top, bottom), (left, right) = pads
    full = np.pad(full, ((0, 0), (0, max(-bottom, 0)), (0, max(-right, 0)), (0, 0)))
    cut = full[:, top:full.shape[1] - max(bottom, 0), left:full.shape[2] - max(right, 0)]
    return _finish(cut, bias, activation)


def average_pool2d(x: FloatArray, *, kernel: Pair, stride: Pair, pads: Pads = NO_PADS,
                   activation: str = "NONE") -> FloatArray:
    """Average x [n, h, w, c] over windows; only pixels inside the image count."""
    count = windows(np.ones((1, *x.shape[1:3], 1), np.float32), kernel, stride, pads).sum(axis=(3, 4))
    return clamp(windows(x, kernel, stride, pads).sum(axis=(3, 4)) / count, activation)


def max_pool2d(x: FloatArray, *, kernel: Pair, stride: Pair, pads: Pads = NO_PADS,
               activation: str = "NONE") -> FloatArray:
    """Take the maximum of x [n, h, w, c] over windows; padding never wins."""
    return clamp(windows(x, kernel, stride, pads, fill=-np.inf).max(axis=(3, 4)), activation)


def pad(x: FloatArray, *, paddings: Sequence[Sequence[int]]) -> FloatArray:
    """Pad each axis by (before, after) zeros."""
    return np.pad(x, [(before, after) for before, after in paddings])


def resize_bilinear(x: FloatArray, *, size: Pair, align_corners: bool, half_pixel_centers: bool) -> FloatArray:
    """Resize x [n, h, w, c] to `size` = (height, width)."""
    for axis, out in zip((1, 2), size, strict=True):
        old = x.shape[axis]
        corners = align_corners and out > 1
        step = (old - 1) / (out - 1) if corners else old / out
        offset = 0.5 if half_pixel_centers else 0.0
        position = np.clip((np.arange(out) + offset) * step - offset, 0, old - 1)
        low = np.floor(position).astype(np.int64)
        weight = (position - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        high = np.minimum(low + 1, old - 1)
        x = np.take(x, low, axis) * (1 - weight) + np.take(x, high, axis) * weight
    return x


def reduce_(x: FloatArray, function: Any, *, axes: Sequence[int], keepdims: bool) -> FloatArray:
    """Reduce over `axes` with a function of NumPy such as `numpy.mean`."""
    return np.asarray(function(x, axis=tuple(axes), keepdims=keepdims), np.float32)


def batch_matmul(a: FloatArray, b: FloatArray, *, adj_x: bool, adj_y: bool) -> FloatArray:
    """Multiply stacks of matrices, each transposed first where its flag is set."""
    return np.matmul(a.swapaxes(-1, -2) if adj_x else a, b.swapaxes(-1, -2) if adj_y else b)
