"""Quantisation arithmetic: Q31 multipliers, double-rounding requantisation, activation ranges, float <-> integer.

Everything here equals TFLite Micro's reference kernels bit for bit. A real scale r is held as a pair (M, s) with
r = M * 2**(s - 31), and M in [2**30, 2**31) or M = 0.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer]

INT32_MAX = 2**31 - 1

#: Largest shift magnitude: `requantize` shifts 32-bit words, in either direction.
MAX_SHIFT = 31

#: Real-valued bounds of the fused activations; None leaves that side to the integer type.
ACTIVATIONS: dict[str, tuple[float | None, float | None]] = {
    "NONE": (None, None),
    "RELU": (0.0, None),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Return (M, s), the Q31 multiplier and power-of-two exponent of a non-negative real scale.

    Zero and scales below 2**-32 give (0, 0). Raises ValueError for a negative, non-finite or too large scale.
    """
    real = float(real)
    if not math.isfinite(real) or real < 0.0:
        raise ValueError(f"scale must be finite and non-negative, not {real}; check the model's quantisation")
    mantissa, shift = math.frexp(real)
    mult = math.floor(math.ldexp(mantissa, 31) + 0.5)
    if mult == 2**31:
        mult //= 2
        shift += 1
    if mult == 0 or shift < -MAX_SHIFT:
        return 0, 0
    if shift > MAX_SHIFT:
        raise ValueError(f"scale must be less than 2**{MAX_SHIFT}, not {real}; check the model's quantisation")
    return mult, shift


def quantize_multipliers(reals: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return (M, s) of each real scale, as two int64 vectors; a scalar gives vectors of one element."""
    pairs = np.array([quantize_multiplier(r) for r in np.ravel(np.asarray(reals, np.float64))], np.int64)
    return pairs[:, 0], pairs[:, 1]


def conv_scale(x_scale: float, w_scale: npt.ArrayLike, y_scale: float) -> npt.NDArray[np.float64]:
    """Return the requantisation scales of a convolution or fully-connected layer, float64 [1] or [output channels].

    The three scales are float32 in the model; product and quotient are formed in double precision.
    """
    x, y = float(np.float32(x_scale)), float(np.float32(y_scale))
    return x * np.atleast_1d(np.asarray(w_scale, np.float32)).astype(np.float64) / y


def rounding_high_multiply(a: IntArray, b: IntArray | int) -> npt.NDArray[np.int64]:
    """Return a * b / 2**31 rounded to nearest, ties up, of 32-bit values held in int64.

    Its one saturating case, -2**31 squared, is left to the caller: no multiplier is negative.
    """
    return (a * np.asarray(b, np.int64) + 2**30) >> 31


def rounding_shift_right(x: IntArray, bits: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return x / 2**bits rounded to nearest, ties away from zero, of 32-bit values held in int64; 0 <= bits < 63."""
    shift = np.asarray(bits, np.int64)
    mask = (np.int64(1) << shift) - 1
    return (x >> shift) + ((x & mask) > (mask >> 1) + (x < 0))


def requantize(x: npt.ArrayLike, mult: npt.ArrayLike, shift: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Scale int32 values by M * 2**(s - 31), rounding twice as gemmlowp does.

    `x` is any integer array; `mult` and `shift` are scalars or vectors along its last axis, with 0 <= M < 2**31 and
    -31 <= s <= 31. Values are 32-bit words: `x`, and `x << s` for s > 0, wrap modulo 2**32 as in the reference.
    Raises ValueError for a shift out of range.
    """
    m, s = np.asarray(mult, np.int64), np.asarray(shift, np.int64)
    if s.size and max(abs(int(s.min())), abs(int(s.max()))) > MAX_SHIFT:
        raise ValueError(f"shift must be between -{MAX_SHIFT} and {MAX_SHIFT}, not {s.min()}..{s.max()}")
    left, right = np.maximum(s, 0), np.maximum(-s, 0)
    word = (np.asarray(x, np.int64) << left).astype(np.int32).astype(np.int64)
    return rounding_shift_right(rounding_high_multiply(word, m), right).astype(np.int32)


def activation_range(
    activation: str, scale: float, zero_point: int, lo: int = -128, hi: int = 127
) -> tuple[int, int]:
    """Return (min, max) in quantised units of a fused activation, within [lo, hi].

    Raises ValueError for an activation other than NONE, RELU, RELU6 and RELU_N1_TO_1.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}")

    def bound(value: float) -> int:
        # Single-precision quotient, as in the reference; doubles hold the rounding exactly.
        quotient = float(np.float32(value) / np.float32(scale))
        return int(zero_point) + math.floor(abs(quotient) + 0.5) * (-1 if quotient < 0 else 1)

    low, high = ACTIVATIONS[activation]
    return (
        lo if low is None else max(lo, bound(low)),
        hi if high is None else min(hi, bound(high)),
    )


def quantize_float(
    x: npt.ArrayLike, scale: npt.ArrayLike, zp: npt.ArrayLike, dtype: npt.DTypeLike = np.int8
) -> IntArray:
    """Quantise reals to `dtype`: x / scale in single precision, nearest with ties away from zero, + zp, saturated.

    `scale` and `zp` are scalars or broadcast against `x`. Infinities saturate; raises ValueError for NaN.
    """
    quotient = (np.asarray(x, np.float32) / np.asarray(scale, np.float32)).astype(np.float64)
    if np.isnan(quotient).any():
        raise ValueError("values to quantise must be numbers, not NaN; check the input data and its scale")
    info = np.iinfo(np.dtype(dtype))
    rounded = np.trunc(quotient + np.copysign(0.5, quotient)) + np.asarray(zp, np.float64)
    return np.clip(rounded, info.min, info.max).astype(dtype)


def dequantize(q: npt.ArrayLike, scale: npt.ArrayLike, zp: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return the reals (q - zp) * scale as float32; `scale` and `zp` are scalars or broadcast against `q`.

    Those beyond float32 become infinite.
    """
    centred = np.asarray(q, np.int64) - np.asarray(zp, np.int64)
    with np.errstate(over="ignore"):
        return (centred * np.asarray(scale, np.float32).astype(np.float64)).astype(np.float32)
