"""Golden element-wise operators on two operands, and changes of quantisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .ops_conv import Int8Array, finish
from .quantise import IntArray, dequantize, quantize_float, quantize_multiplier, requantize

#: Headroom that ADD gives its operands before bringing them to a common scale, in bits.
ADD_LEFT_SHIFT = 20


@dataclass(frozen=True)
class AddParams:
    """Integer parameters of ADD: zero points, (M, s) pairs of both operands and of the result, output clamp."""

    a_zp: int
    a_mult: int
    a_shift: int
    b_zp: int
    b_mult: int
    b_shift: int
    y_zp: int
    y_mult: int
    y_shift: int
    act_min: int = -128
    act_max: int = 127

    @classmethod
    def from_scales(
        cls,
        sa: float,
        za: int,
        sb: float,
        zb: int,
        sy: float,
        zy: int,
        act_min: int = -128,
        act_max: int = 127,
    ) -> AddParams:
        """Derive the parameters from the float32 scales and the zero points of a, b and y."""
        a, b, y = (float(np.float32(s)) for s in (sa, sb, sy))
        common = 2.0 * max(a, b)
        return cls(
            int(za),
            *quantize_multiplier(a / common),
            int(zb),
            *quantize_multiplier(b / common),
            int(zy),
            *quantize_multiplier(common / (2**ADD_LEFT_SHIFT * y)),
            int(act_min),
            int(act_max),
        )


def _to_common_scale(
    a: npt.NDArray[Any], b: npt.NDArray[Any], p: AddParams
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    return (
        requantize((a.astype(np.int64) - p.a_zp) << ADD_LEFT_SHIFT, p.a_mult, p.a_shift),
        requantize((b.astype(np.int64) - p.b_zp) << ADD_LEFT_SHIFT, p.b_mult, p.b_shift),
    )


def add(a: npt.NDArray[Any], b: npt.NDArray[Any], *, params: AddParams) -> Int8Array:
    """Add two int8 arrays of broadcastable shapes, each with its own scale, into int8."""
    p = params
    scaled_a, scaled_b = _to_common_scale(a, b, p)
    return finish(scaled_a + scaled_b, p.y_mult, p.y_shift, p.y_zp, p.act_min, p.act_max)


def sub(a: npt.NDArray[Any], b: npt.NDArray[Any], *, params: AddParams) -> Int8Array:
    """Subtract int8 b from a, broadcast, each with its own scale, into int8."""
    p = params
    scaled_a, scaled_b = _to_common_scale(a, b, p)
    return finish(scaled_a - scaled_b, p.y_mult, p.y_shift, p.y_zp, p.act_min, p.act_max)


def mul(
    a: npt.NDArray[Any],
    b: npt.NDArray[Any],
    *,
    a_zp: int,
    b_zp: int,
    y_zp: int,
    mult: int,
    shift: int,
    act_min: int = -128,
    act_max: int = 127,
) -> Int8Array:
    """Multiply two int8 arrays of broadcastable shapes; (mult, shift) stand for a_scale * b_scale / y_scale."""
    product = (a.astype(np.int64) - a_zp) * (b.astype(np.int64) - b_zp)
    return finish(product, mult, shift, y_zp, act_min, act_max)


def prelu(
    x: npt.NDArray[Any],
    alpha: npt.NDArray[Any],
    *,
    x_zp: int,
    alpha_zp: int,
    y_zp: int,
    mult: int,
    shift: int,
    alpha_mult: int,
    alpha_shift: int,
) -> Int8Array:
    """Return int8 x where x >= 0, else alpha * x, with alpha broadcast to x.

    (mult, shift) stand for x_scale / y_scale, (alpha_mult, alpha_shift) for x_scale * alpha_scale / y_scale.
    """
    centred = x.astype(np.int64) - x_zp
    sloped = requantize(centred * (alpha.astype(np.int64) - alpha_zp), alpha_mult, alpha_shift)
    y = np.where(centred >= 0, requantize(centred, mult, shift), sloped).astype(np.int64) + y_zp
    return np.clip(y, -128, 127).astype(np.int8)


def maximum(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the larger of two broadcastable arrays of one quantisation."""
    return np.maximum(a, b)


def minimum(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the smaller of two broadcastable arrays of one quantisation."""
    return np.minimum(a, b)


def requantize_tensor(
    x: npt.NDArray[Any], *, x_zp: int, y_zp: int, mult: int, shift: int, dtype: npt.DTypeLike = np.int8
) -> IntArray:
    """Convert between integer quantisations: (mult, shift) stand for x_scale / y_scale; saturates to `dtype`."""
    y = requantize(x.astype(np.int64) - x_zp, mult, shift).astype(np.int64) + y_zp
    info = np.iinfo(np.dtype(dtype))
    return np.clip(y, info.min, info.max).astype(dtype)


def quantize(x: npt.ArrayLike, *, scale: float, zp: int, dtype: npt.DTypeLike = np.int8) -> IntArray:
    """Quantise float32 values to `dtype`; see `quantise.quantize_float`."""
    return quantize_float(x, scale, zp, dtype)


__all__ = ["ADD_LEFT_SHIFT", "AddParams", "add", "dequantize", "maximum", "minimum", "mul", "prelu", "quantize",
           "requantize_tensor", "sub"]
