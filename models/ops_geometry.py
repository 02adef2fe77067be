"""Window geometry shared by convolution and pooling: padding, output sizes and sliding windows (NHWC)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]

NO_PADS: Pads = ((0, 0), (0, 0))


def same_padding(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> Pair:
    """Return (before, after), TFLite's SAME padding of one spatial axis in pixels; the odd pixel goes after."""
    out = -(-size // stride)
    total = max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def out_size(size: int, kernel: int, stride: int = 1, dilation: int = 1, pads: Pair = (0, 0)) -> int:
    """Return the number of whole windows along one padded axis; raises ValueError when not one fits."""
    padded = size + pads[0] + pads[1]
    extent = (kernel - 1) * dilation + 1
    if padded < extent:
        raise ValueError(f"padded input must be at least {extent} pixels for this kernel, not {padded}")
    return (padded - extent) // stride + 1


def windows(
    x: npt.NDArray[Any], kernel: Pair, stride: Pair, pads: Pads, dilation: Pair = (1, 1), fill: float = 0
) -> npt.NDArray[Any]:
    """Return the sliding windows of NHWC `x` padded with `fill`, as a read-only view [n, oh, ow, kh, kw, c].

    Raises ValueError unless x has four axes, pads are non-negative, the other sizes positive and a window fits.
    """
    if x.ndim != 4:
        raise ValueError(f"input must have four axes (NHWC), not shape {x.shape}")
    if min(*kernel, *stride, *dilation) < 1:
        raise ValueError(f"kernel, stride and dilation must be positive, not {kernel}, {stride}, {dilation}")
    if min(*pads[0], *pads[1]) < 0:
        raise ValueError(f"pads must be non-negative, not {pads}; crop the input instead")
    for axis in (0, 1):
        out_size(x.shape[1 + axis], kernel[axis], stride[axis], dilation[axis], pads[axis])
    if pads != NO_PADS:
        x = np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=fill)
    (sy, sx), (dy, dx) = stride, dilation
    extent = ((kernel[0] - 1) * dy + 1, (kernel[1] - 1) * dx + 1)
    view = np.lib.stride_tricks.sliding_window_view(x, extent, axis=(1, 2))
    return view[:, ::sy, ::sx, :, ::dy, ::dx].transpose(0, 1, 2, 4, 5, 3)
