"""Golden multiply-accumulate operators: convolutions, fully connected, batched matrix product.

Accumulators are 32-bit words that wrap, as in hardware and in the reference kernels. Matrix products run in float64,
which holds them exactly: a sum of 2**36 products of 9-bit numbers still fits its 53-bit significand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .ops_geometry import NO_PADS, Pads, Pair, windows
from .quantise import requantize

Int8Array = npt.NDArray[np.int8]


def finish(
    acc: npt.NDArray[Any], mult: npt.ArrayLike, shift: npt.ArrayLike, y_zp: int, act_min: int, act_max: int
) -> Int8Array:
    """Requantise accumulators (scales along the last axis), add the output zero point and clamp to int8."""
    y = requantize(acc, mult, shift).astype(np.int64) + y_zp
    return np.clip(y, max(act_min, -128), min(act_max, 127)).astype(np.int8)


def _with_bias(acc: npt.NDArray[Any], bias: npt.ArrayLike | None) -> npt.NDArray[np.int32]:
    """Return exact accumulators plus bias as wrapped 32-bit words."""
    total = acc.astype(np.int64)
    return (total if bias is None else total + np.asarray(bias, np.int64)).astype(np.int32)


def _check_channels(channels: int, **vectors: npt.ArrayLike | None) -> None:
    for name, vector in vectors.items():
        size = 1 if vector is None else np.size(vector)
        if size not in (1, channels) or (name == "bias" and vector is not None and size != channels):
            raise ValueError(f"{name} must have one value per output channel ({channels}), not {size}")


def conv2d(
    x: npt.NDArray[Any],
    w_ohwi: npt.NDArray[Any],
    bias: npt.ArrayLike | None,
    *,
    x_zp: int,
    w_zp: int = 0,
    y_zp: int,
    mult: npt.ArrayLike,
    shift: npt.ArrayLike,
    stride: Pair = (1, 1),
    pads: Pads = NO_PADS,
    dilation: Pair = (1, 1),
    act_min: int = -128,
    act_max: int = 127,
    groups: int = 1,
) -> Int8Array:
    """Convolve int8 x [n, h, w, c] with int8 weights [o, kh, kw, c / groups] into int8 [n, oh, ow, o].

    `bias` is int32 [o] or None; `mult`, `shift` are scalars or [o]; pairs are (y, x); pads ((top, bottom),
    (left, right)) contribute the zero point; `w_zp` is the zero point of all weights. Raises ValueError for shapes
    that do not agree.
    """
    outputs, kh, kw, depth = w_ohwi.shape
    if groups < 1 or outputs % groups or x.shape[-1] != depth * groups:
        raise ValueError(
            f"weights must be [o, kh, kw, {x.shape[-1]} / groups] with o a multiple of groups, "
            f"not {w_ohwi.shape} with groups = {groups}"
        )
    _check_channels(outputs, bias=bias, mult=mult, shift=shift)
    taps = windows(x.astype(np.float64) - x_zp, (kh, kw), stride, pads, dilation)
    n, oh, ow = taps.shape[:3]
    weights = w_ohwi.reshape(groups, outputs // groups, kh * kw * depth).astype(np.float64) - w_zp
    acc = np.empty((n * oh * ow, groups, outputs // groups))
    for g in range(groups):
        columns = taps[..., g * depth : (g + 1) * depth].reshape(n * oh * ow, -1)
        np.matmul(columns, weights[g].T, out=acc[:, g])
    total = _with_bias(acc.reshape(n, oh, ow, outputs), bias)
    return finish(total, mult, shift, y_zp, act_min, act_max)


def depthwise_conv2d(
    x: npt.NDArray[Any],
    w_1hwc: npt.NDArray[Any],
    bias: npt.ArrayLike | None,
    *,
    multiplier: int = 1,
    x_zp: int,
    w_zp: int = 0,
    y_zp: int,
    mult: npt.ArrayLike,
    shift: npt.ArrayLike,
    stride: Pair = (1, 1),
    pads: Pads = NO_PADS,
    dilation: Pair = (1, 1),
    act_min: int = -128,
    act_max: int = 127,
) -> Int8Array:
    """Convolve each channel of int8 x [n, h, w, c] with its own filters, into int8 [n, oh, ow, c * multiplier].

    Weights are int8 [1, kh, kw, c * multiplier]; output channel i * multiplier + m reads input channel i. Other
    parameters as for `conv2d`. Raises ValueError for shapes that do not agree.
    """
    one, kh, kw, outputs = w_1hwc.shape
    if one != 1 or outputs != x.shape[-1] * multiplier:
        raise ValueError(f"weights must be [1, kh, kw, {x.shape[-1]} * {multiplier}], not {w_1hwc.shape}")
    _check_channels(outputs, bias=bias, mult=mult, shift=shift)
    taps = windows(x.astype(np.int32) - x_zp, (kh, kw), stride, pads, dilation)
    weights = w_1hwc[0].astype(np.int32) - w_zp
    acc = np.zeros((*taps.shape[:3], outputs), np.int32)
    for ky, kx in np.ndindex(kh, kw):
        tap = taps[:, :, :, ky, kx]
        acc += (tap if multiplier == 1 else np.repeat(tap, multiplier, axis=-1)) * weights[ky, kx]
    return finish(_with_bias(acc, bias), mult, shift, y_zp, act_min, act_max)


def fully_connected(
    x2d: npt.NDArray[Any],
    w_oi: npt.NDArray[Any],
    bias: npt.ArrayLike | None,
    *,
    x_zp: int,
    w_zp: int = 0,
    y_zp: int,
    mult: npt.ArrayLike,
    shift: npt.ArrayLike,
    act_min: int = -128,
    act_max: int = 127,
) -> Int8Array:
    """Multiply int8 x [n, i] by int8 weights [o, i] into int8 [n, o].

    `bias` is int32 [o] or None; `mult` and `shift` are scalars or [o]; `w_zp` is the zero point of all weights.
    Raises ValueError for shapes that do not agree.
    """
    if x2d.ndim != 2 or w_oi.ndim != 2 or x2d.shape[1] != w_oi.shape[1]:
        raise ValueError(f"input and weights must be [n, i] and [o, i], not {x2d.shape} and {w_oi.shape}")
    _check_channels(w_oi.shape[0], bias=bias, mult=mult, shift=shift)
    acc = (x2d.astype(np.float64) - x_zp) @ (w_oi.astype(np.float64) - w_zp).T
    return finish(_with_bias(acc, bias), mult, shift, y_zp, act_min, act_max)


def transpose_conv2d(
    x: npt.NDArray[Any],
    w_ohwi: npt.NDArray[Any],
    bias: npt.ArrayLike | None,
    *,
    x_zp: int,
    w_zp: int = 0,
    y_zp: int,
    mult: npt.ArrayLike,
    shift: npt.ArrayLike,
    stride: Pair = (1, 1),
    pads: Pads = NO_PADS,
    act_min: int = -128,
    act_max: int = 127,
) -> Int8Array:
    """Spread each pixel of int8 x [n, h, w, i] over a window of int8 weights [o, kh, kw, i], into int8 [n, oh, ow, o].

    Pixel (y, x) adds to the rows y * stride - top ... + kh - 1. `pads` ((top, bottom), (left, right)) is what is cut
    off the (h - 1) * stride + kh rows and the columns; a negative bottom or right adds pixels that no input reaches.
    Other parameters as for `conv2d`. Raises ValueError for shapes that do not agree.
    """
    n, h, w, depth = x.shape
    outputs, kh, kw, inputs = w_ohwi.shape
    if inputs != depth:
        raise ValueError(f"weights must be [o, kh, kw, {depth}], not {w_ohwi.shape}")
    _check_channels(outputs, bias=bias, mult=mult, shift=shift)
    (top, bottom), (left, right) = pads
    (sy, sx), full = stride, ((h - 1) * stride[0] + kh, (w - 1) * stride[1] + kw)
    pixels = (x.astype(np.float64) - x_zp).reshape(-1, depth)
    weights = w_ohwi.astype(np.float64) - w_zp
    acc = np.zeros((n, full[0] + max(-bottom, 0), full[1] + max(-right, 0), outputs))
    for ky, kx in np.ndindex(kh, kw):
        spread = (pixels @ weights[:, ky, kx].T).reshape(n, h, w, outputs)
        acc[:, ky : ky + (h - 1) * sy + 1 : sy, kx : kx + (w - 1) * sx + 1 : sx] += spread
    kept = acc[:, top : full[0] - bottom, left : full[1] - right]
    return finish(_with_bias(kept, bias), mult, shift, y_zp, act_min, act_max)


def batch_matmul(
    a: npt.NDArray[Any],
    b: npt.NDArray[Any],
    *,
    a_zp: int,
    b_zp: int,
    y_zp: int,
    mult: int,
    shift: int,
    adj_x: bool = False,
    adj_y: bool = False,
) -> Int8Array:
    """Multiply int8 matrices a [..., m, k] and b [..., k, n] into int8 [..., m, n]; leading axes broadcast.

    `adj_x` and `adj_y` say that a and b are stored transposed; (mult, shift) stand for a_scale * b_scale / y_scale.
    """
    left, right = a.astype(np.float64) - a_zp, b.astype(np.float64) - b_zp
    acc = (left.swapaxes(-1, -2) if adj_x else left) @ (right.swapaxes(-1, -2) if adj_y else right)
    return finish(_with_bias(acc, None), mult, shift, y_zp, -128, 127)
