"""Transcendental functions in gemmlowp fixed point, as TFLite Micro's reference kernels compute them.

Numbers are int64 arrays of 32-bit values; "Qi" has i integer and 31 - i fractional bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .quantise import INT32_MAX, rounding_high_multiply, rounding_shift_right

Fixed = npt.NDArray[np.int64]

#: exp(-2**k) in Q0 for k = -2 .. 4, the factors of the exponential's barrel shifter.
_EXP_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
_EXP_MINUS_EIGHTH = 1895147668  # exp(-1/8), Q0
_ONE_THIRD = 715827883  # Q0
_48_OVER_17 = 1515870810  # Q2; the first estimate of 1 / d, for d in [1/2, 1), is 48/17 - 32/17 * d
_MINUS_32_OVER_17 = -1010580540  # Q2
_ONE_Q2 = 1 << 29


def shift_left(x: Fixed, bits: int) -> Fixed:
    """Multiply by 2**bits, saturating to 32 bits."""
    return np.clip(x << bits, -INT32_MAX - 1, INT32_MAX)


def exp_negative(x: Fixed, integer_bits: int) -> Fixed:
    """Return exp(x) in Q0 for x <= 0 in Q`integer_bits` (at most 5).

    A Taylor series on [-1/4, 0) times tabulated powers of e.
    """
    multiply = rounding_high_multiply
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    remainder = (x & (quarter - 1)) - quarter  # in [-1/4, 0)
    t = shift_left(remainder, integer_bits) + (1 << 28)  # the series is around -1/8
    t2 = multiply(t, t)
    t3 = multiply(t2, t)
    t4 = multiply(t2, t2)
    tail = rounding_shift_right(multiply(rounding_shift_right(t4, 2) + t3, _ONE_THIRD) + t2, 1)
    result = _EXP_MINUS_EIGHTH + multiply(t + tail, _EXP_MINUS_EIGHTH)
    whole = remainder - x  # a multiple of 1/4: one factor for each of its bits
    for bit, factor in enumerate(_EXP_POWERS[: integer_bits + 2], start=fraction_bits - 2):
        result = np.where(whole & (1 << bit), multiply(result, factor), result)
    return np.where(x == 0, INT32_MAX, result)


def _inverse_of_half(x: Fixed) -> Fixed:
    """Return 2 / (1 + x) in Q2 for x in [0, 1) in Q0, by three Newton-Raphson steps."""
    multiply = rounding_high_multiply
    half = (x + INT32_MAX + 1) >> 1  # (1 + x) / 2, rounded
    estimate = _48_OVER_17 + multiply(half, _MINUS_32_OVER_17)
    for _ in range(3):
        error = _ONE_Q2 - multiply(half, estimate)
        estimate = estimate + shift_left(multiply(estimate, error), 2)
    return estimate


def reciprocal(x: Fixed) -> Fixed:
    """Return 1 / (1 + x) in Q0 for x in [0, 1) in Q0."""
    return shift_left(_inverse_of_half(x), 1)  # halved as Q1, then to Q0


def logistic(x: Fixed) -> Fixed:
    """Return 1 / (1 + exp(-x)) in Q0 for x in Q4."""
    positive = reciprocal(exp_negative(-np.abs(x), 4))
    return np.where(x == 0, 1 << 30, np.where(x > 0, positive, INT32_MAX - positive))


def tanh(x: Fixed) -> Fixed:
    """Return tanh(x) in Q0 for x in Q4, from exp(-2 |x|), whose argument is the same word read as Q5."""
    magnitude = shift_left(_inverse_of_half(exp_negative(-np.abs(x), 5)) - _ONE_Q2, 2)
    return np.where(x == 0, 0, np.sign(x) * magnitude)
