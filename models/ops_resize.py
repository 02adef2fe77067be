"""Golden RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR of NHWC images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_ONE = 1 << 10  # positions are fixed-point pixels with 10 fractional bits


def nearest_indices(
    size: int, out: int, *, align_corners: bool = False, half_pixel_centers: bool = False
) -> npt.NDArray[np.int64]:
    """Return the input pixel of each of `out` output pixels along an axis of `size` pixels, in single precision."""
    corners = align_corners and out > 1
    scale = np.float32(size - 1) / np.float32(out - 1) if corners else np.float32(size) / np.float32(out)
    position = (np.arange(out, dtype=np.float32) + np.float32(0.5 if half_pixel_centers else 0)) * scale
    index = np.floor(position.astype(np.float64) + 0.5) if align_corners else np.floor(position)
    return np.clip(index.astype(np.int64), 0, size - 1)


def resize_nearest(
    x: npt.NDArray[Any], *, size: Sequence[int], align_corners: bool = False, half_pixel_centers: bool = False
) -> npt.NDArray[Any]:
    """Resize x [n, h, w, c] to `size` = (height, width); each output pixel is a copy of one input pixel."""
    flags = {"align_corners": align_corners, "half_pixel_centers": half_pixel_centers}
    rows, columns = (nearest_indices(x.shape[1 + i], size[i], **flags) for i in range(2))
    return x[:, rows[:, None], columns]


def bilinear_weights(
    size: int, out: int, *, align_corners: bool = False, half_pixel_centers: bool = False
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return (low, high, weight): per output pixel the two input pixels and the weight of `high` in 1/1024.

    The weight of `low` is 1024 - weight. Beyond the first pixel it is negative, as in the reference, but `low` and
    `high` are then the same pixel.
    """
    if align_corners and out > 1:
        step = (_ONE * (size - 1) + (out - 1) // 2) // (out - 1)
    else:
        step = (_ONE * size + out // 2) // out
    position = np.arange(out, dtype=np.int64) * step
    if half_pixel_centers:
        position += step // 2 - _ONE // 2
    low = np.clip(position // _ONE, 0, size - 1)
    high = np.minimum(np.trunc((position + _ONE - 1) / _ONE).astype(np.int64), size - 1)
    return low, high, position - _ONE * low


def resize_bilinear(
    x: npt.NDArray[Any], *, size: Sequence[int], align_corners: bool = False, half_pixel_centers: bool = False
) -> npt.NDArray[Any]:
    """Resize int8 x [n, h, w, c] to `size` = (height, width) by bilinear interpolation in integers.

    The weighted sum of four pixels has 20 fractional bits and rounds to nearest, ties away from zero.
    """
    flags = {"align_corners": align_corners, "half_pixel_centers": half_pixel_centers}
    y0, y1, wy = bilinear_weights(x.shape[1], size[0], **flags)
    x0, x1, wx = bilinear_weights(x.shape[2], size[1], **flags)
    pixels = x.astype(np.int32)  # the sum is below 2**28
    down, across = wy.astype(np.int32)[:, None, None], wx.astype(np.int32)[:, None]
    rows = pixels[:, y0] * (_ONE - down) + pixels[:, y1] * down
    total = rows[:, :, x0] * (_ONE - across) + rows[:, :, x1] * across
    rounded = np.sign(total) * ((np.abs(total) + (1 << 19)) >> 20)
    return rounded.astype(x.dtype)
