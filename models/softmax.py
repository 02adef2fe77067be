"""Golden int8 SOFTMAX in gemmlowp fixed point, as TFLite Micro's reference kernel computes it.

An int8 row has at most 256 distinct differences to its maximum, so the exponential is a table per input scale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .fixed_point import exp_negative, reciprocal
from .quantise import INT32_MAX, quantize_multiplier, requantize, rounding_high_multiply, rounding_shift_right

#: Integer bits of the scaled difference x - max(x), and of the sum of exponentials.
DIFF_BITS = 5
SUM_BITS = 12


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
    scaled = requantize(np.where(counts, steps, 0), mult, shift).astype(np.int64)
    exp = np.where(counts, exp_negative(scaled, DIFF_BITS), 0)

    distance = x.max(axis=-1, keepdims=True).astype(np.int64) - x
    total = rounding_shift_right(exp, SUM_BITS)[distance].sum(axis=-1, keepdims=True)
    headroom = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)  # leading zeros of a 32-bit word
    scale = reciprocal((total << headroom) - 2**31)
    y = rounding_shift_right(rounding_high_multiply(exp[distance], scale), SUM_BITS - headroom + 31 - 8) - 128
    return np.where(counts[distance], np.clip(y, -128, 127), -128).astype(np.int8)
