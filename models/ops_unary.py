"""Golden unary element-wise operators: each int8 function is a table of 256 entries, entry x + 128 for x.

The hardware looks up in the same tables, so a function is defined here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from . import fixed_point
from .ops_conv import Int8Array, finish
from .quantise import quantize_multiplier, requantize, rounding_shift_right

#: All int8 values in the order of a table.
CODES = np.arange(-128, 128, dtype=np.int64)
_INT16_MIN, _INT16_MAX = -(1 << 15), (1 << 15) - 1
# Integer bits of the argument of LOGISTIC and TANH.
_ARGUMENT_BITS = 4


def lookup(x: npt.NDArray[Any], table: Int8Array) -> Int8Array:
    """Return the entry of `table`, int8 [256], for each element of int8 x."""
    return table[x.astype(np.int64) + 128]


def relu_table(*, x_zp: int, y_zp: int, mult: int, shift: int, act_min: int, act_max: int) -> Int8Array:
    """Return the table of a clamp with its own output scale; (mult, shift) stand for x_scale / y_scale.

    TFLite Micro's RELU6 keeps the codes of its input whatever the scale of its output; that of TFLite rescales, as
    here. They agree where both scales are equal.
    """
    return finish(CODES - x_zp, mult, shift, y_zp, act_min, act_max)


def abs_table(*, x_zp: int, y_zp: int, mult: int, shift: int) -> Int8Array:
    """Return the table of the magnitude; (mult, shift) stand for x_scale / y_scale."""
    return finish(np.abs(CODES - x_zp), mult, shift, y_zp, -128, 127)


def leaky_relu_table(*, x_scale: float, x_zp: int, y_scale: float, y_zp: int, alpha: float) -> Int8Array:
    """Return the table of LEAKY_RELU: x where x >= 0, else alpha * x; both scales are single-precision quotients."""
    x, y = np.float32(x_scale), np.float32(y_scale)
    mult, shift = quantize_multiplier(float(x / y))
    slope = float(x * np.float32(alpha) / y)
    slope_mult, slope_shift = quantize_multiplier(abs(slope))
    centred = CODES - x_zp
    negative = requantize(centred, -slope_mult if slope < 0 else slope_mult, slope_shift)
    values = np.where(centred >= 0, requantize(centred, mult, shift), negative)
    return np.clip(values.astype(np.int64) + y_zp, -128, 127).astype(np.int8)


def logistic_table(*, x_scale: float, x_zp: int) -> Int8Array:
    """Return the table of 1 / (1 + exp(-x)); the output has scale 1/256 and zero point -128."""
    centred, argument, radius = _argument(x_scale, x_zp)
    values = rounding_shift_right(fixed_point.logistic(argument), 31 - 8) - 128
    return _saturated(centred, radius, values)


def tanh_table(*, x_scale: float, x_zp: int) -> Int8Array:
    """Return the table of tanh(x); the output has scale 1/128 and zero point 0."""
    centred, argument, radius = _argument(x_scale, x_zp)
    return _saturated(centred, radius, rounding_shift_right(fixed_point.tanh(argument), 31 - 7))


def _argument(x_scale: float, x_zp: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """Return x - x_zp, that in Q4 where it fits, and the magnitude from which on the function is saturated."""
    fraction_bits = 31 - _ARGUMENT_BITS
    mult, shift = quantize_multiplier(float(np.float32(x_scale)) * 2.0**fraction_bits)
    if shift < 0:
        raise ValueError(f"scale must be at least 2**-28, not {x_scale}; check the model's quantisation")
    radius = math.floor(((1 << _ARGUMENT_BITS) - 1) * 2.0 ** (fraction_bits - shift))
    centred = CODES - x_zp
    inside = np.where(np.abs(centred) < radius, centred, 0)
    return centred, requantize(inside, mult, shift).astype(np.int64), radius


def _saturated(centred: npt.NDArray[np.int64], radius: int, values: npt.NDArray[np.int64]) -> Int8Array:
    ends = np.where(centred <= -radius, -128, np.where(centred >= radius, 127, values))
    return np.clip(ends, -128, 127).astype(np.int8)


def hard_swish_table(*, x_scale: float, x_zp: int, y_scale: float, y_zp: int) -> Int8Array:
    """Return the table of x * clamp(x + 3, 0, 6) / 6, in 16-bit fixed point as the reference computes it.

    Raises ValueError where x_scale exceeds 128 * y_scale, which the reference refuses.
    """
    fine = np.float32(1 / 128) * np.float32(x_scale)
    mult, shift = _short_multiplier(fine / np.float32(y_scale))
    if shift > 0:
        raise ValueError(f"input scale must be at most 128 output scales, not {x_scale} with {y_scale}")
    ramp_mult, ramp_shift = _short_multiplier(fine / (np.float32(3) / np.float32(32768)))
    fine_x = (CODES - x_zp) << 7
    ramp = fine_x
    # Left shifts saturate; the last one comes after the product, so that only it decides what saturates.
    if ramp_shift > 0:
        ramp = _saturate16(ramp << min(ramp_shift - 1, 16))
    ramp = (ramp * ramp_mult + (1 << 14)) >> 15
    if ramp_shift > 0:
        ramp = _saturate16(ramp << 1)
    ramp = rounding_shift_right(ramp, max(-ramp_shift, 0))
    ramp = (ramp + (1 << 15)) >> 1  # from [-1, 1] to [0, 1]
    product = ramp * ((fine_x * mult + (1 << 14)) >> 15)
    product = np.sign(product) * (np.abs(product) >> 15)  # toward zero
    y = rounding_shift_right(product, min(-shift, 31)) + y_zp
    return np.clip(y, -128, 127).astype(np.int8)


def _short_multiplier(scale: np.floating[Any]) -> tuple[int, int]:
    """Return (m, s), a Q15 multiplier and exponent of a single-precision scale."""
    mult, shift = quantize_multiplier(float(scale))
    return min((mult + (1 << 15)) >> 16, _INT16_MAX), shift


def _saturate16(x: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.clip(x, _INT16_MIN, _INT16_MAX)


def real_table(
    function: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]],
    *,
    x_scale: float,
    x_zp: int,
    y_scale: float,
    y_zp: int,
) -> Int8Array:
    """Return the table of a real function, evaluated in single precision and rounded to nearest, ties away."""
    reals = np.float32(x_scale) * (CODES - x_zp).astype(np.float32)
    scaled = function(reals) * (np.float32(1) / np.float32(y_scale))
    rounded = np.trunc(scaled.astype(np.float64) + np.copysign(0.5, scaled))
    return np.clip(rounded + y_zp, -128, 127).astype(np.int8)
