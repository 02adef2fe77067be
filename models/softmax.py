"""Golden int8 SOFTMAX in gemmlowp fixed point, as TFLite Micro's reference kernel computes it.

Fixed-point numbers are int64 arrays of 32-bit values; "Qi" below has i integer and 31 - i fractional bits.
An int8 row has at most 256 distinct differences to its maximum, so the exponential is a table per input scale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .quantise import INT32_MAX, quantize_multiplier, requantize, rounding_high_multiply, rounding_shift_right

#: Integer bits of the scaled difference x - max(x), and of the sum of exponentials.
DIFF_BITS = 5
SUM_BITS = 12

#: exp(-2**k) in Q0 for k = -2 .. 4, the factors of the exponential's barrel shifter.
_EXP_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
_EXP_MINUS_EIGHTH = 1895147668  # exp(-1/8), Q0
_ONE_THIRD = 715827883  # Q0
_48_OVER_17 = 1515870810  # Q2; the first estimate of 1 / d, for d in [1/2, 1), is 48/17 - 32/17 * d
_MINUS_32_OVER_17 = -1010580540  # Q2

Fixed = npt.NDArray[np.int64]


def _shift_left(x: Fixed, bits: int) -> Fixed:
    """Multiply by 2**bits, saturating to 32 bits."""
    return np.clip(x << bits, -INT32_MAX - 1, INT32_MAX)


def _exp_negative(x: Fixed) -> Fixed:
    """Return exp(x) in Q0 for x <= 0 in Q5: a Taylor series on [-1/4, 0) times tabulated powers of e."""
    multiply = rounding_high_multiply
    fraction_bits = 31 - DIFF_BITS
    quarter = 1 << (fraction_bits - 2)
    remainder = (x & (quarter - 1)) - quarter  # in [-1/4, 0)
    t = _shift_left(remainder, DIFF_BITS) + (1 << 28)  # the series is around -1/8
    t2 = multiply(t, t)
    t3 = multiply(t2, t)
    t4 = multiply(t2, t2)
    tail = rounding_shift_right(multiply(rounding_shift_right(t4, 2) + t3, _ONE_THIRD) + t2, 1)
    result = _EXP_MINUS_EIGHTH + multiply(t + tail, _EXP_MINUS_EIGHTH)
    whole = remainder - x  # a multiple of 1/4: one factor for each of its bits
    for bit, factor in enumerate(_EXP_POWERS, start=fraction_bits - 2):
        result = np.where(whole & (1 << bit), multiply(result, factor), result)
    return np.where(x == 0, INT32_MAX, result)


def _reciprocal(x: Fixed) -> Fixed:
    """Return 1 / (1 + x) in Q0 for x in [0, 1) in Q0, by three Newton-Raphson steps."""
    multiply = rounding_high_multiply
    half = (x + INT32_MAX + 1) >> 1  # (1 + x) / 2, rounded
    estimate = _48_OVER_17 + multiply(half, _MINUS_32_OVER_17)  # Q2
    for _ in range(3):
        error = (1 << 29) - multiply(half, estimate)  # Q2
        estimate = estimate + _shift_left(multiply(estimate, error), 2)
    return _shift_left(estimate, 1)  # halved as Q1, then to Q0


def softmax_scaling(input_scale: float, beta: float = 1.0) -> tuple[int, int, int]:
    """Return (M, s, diff_min): the scaling of a difference to Q5, and the least difference that still counts.

    Raises ValueError when beta * input_scale is below 2**-26.
    """
    real = float(np.float32(beta)) * float(np.float32(input_scale)) * 2.0 ** (31 - DIFF_BITS)
    mult, shift = quantize_multiplier(min(real, float(INT32_MAX)))
    if real <= 1.0:
        raise ValueError(f"softmax scale must exceed 2**-26, not {input_scale} * {beta}; check the quantisation")
    return mult, shift, -((((1 << DIFF_BITS) - 1) << (31 - DIFF_BITS)) >> shift)


def softmax(x: npt.NDArray[Any], *, input_scale: float, beta: float = 1.0) -> npt.NDArray[np.int8]:
    """Return the softmax of int8 x along its last axis as int8 with scale 1/256 and zero point -128.

    Raises ValueError for a scale too small to represent and for rows longer than the sum of exponentials can count.
    """
    if x.shape[-1] >= 1 << SUM_BITS:
        raise ValueError(f"softmax rows must have fewer than {1 << SUM_BITS} elements, not {x.shape[-1]}")
    mult, shift, diff_min = softmax_scaling(input_scale, beta)
    steps = np.arange(0, -256, -1)
    counts = steps >= diff_min
    exp = np.where(counts, _exp_negative(requantize(np.where(counts, steps, 0), mult, shift).astype(np.int64)), 0)

    distance = x.max(axis=-1, keepdims=True).astype(np.int64) - x
    total = rounding_shift_right(exp, SUM_BITS)[distance].sum(axis=-1, keepdims=True)
    headroom = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)  # leading zeros of a 32-bit word
    scale = _reciprocal((total << headroom) - 2**31)
    y = rounding_shift_right(rounding_high_multiply(exp[distance], scale), SUM_BITS - headroom + 31 - 8) - 128
    return np.where(counts[distance], np.clip(y, -128, 127), -128).astype(np.int8)
