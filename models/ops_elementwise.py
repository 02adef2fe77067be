"""Golden element-wise and data-movement operators: add, quantise, dequantise, reshape, pad."""

from __future__ import annotations

from collections.abc import Sequence
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


def add(a: npt.NDArray[Any], b: npt.NDArray[Any], *, params: AddParams) -> Int8Array:
    """Add two int8 arrays of broadcastable shapes, each with its own scale, into int8."""
    p = params
    scaled_a = requantize((a.astype(np.int64) - p.a_zp) << ADD_LEFT_SHIFT, p.a_mult, p.a_shift)
    scaled_b = requantize((b.astype(np.int64) - p.b_zp) << ADD_LEFT_SHIFT, p.b_mult, p.b_shift)
    return finish(scaled_a + scaled_b, p.y_mult, p.y_shift, p.y_zp, p.act_min, p.act_max)


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


def reshape(x: npt.NDArray[Any], shape: Sequence[int]) -> npt.NDArray[Any]:
    """Return x in another shape of the same size, row-major; one entry may be -1."""
    return x.reshape(tuple(int(s) for s in shape))


def pad(x: npt.NDArray[Any], paddings: Sequence[Sequence[int]], value: int) -> npt.NDArray[Any]:
    """Pad each axis of x by (before, after) elements of `value`, the zero point for a quantised PAD."""
    return np.pad(x, [(int(before), int(after)) for before, after in paddings], constant_values=value)


__all__ = ["ADD_LEFT_SHIFT", "AddParams", "add", "dequantize", "pad", "quantize", "requantize_tensor", "reshape"]
