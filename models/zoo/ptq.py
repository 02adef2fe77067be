"""Post-training quantisation to TFLite's int8 scheme: from float values to int8 or int32 values and their scales.

Scales are float32, because that is what a .tflite file stores; whatever is derived from a scale here uses the
float32 value, so that it agrees with what a reader of the file derives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

INT8_MIN, INT8_MAX = -128, 127
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


def activation_params(low: float, high: float) -> tuple[np.float32, int]:
    """Return the asymmetric (scale, zero point) that covers [low, high] with 256 steps.

    The range is widened to contain 0, so that padding and ReLU's threshold are exact.

    Raises:
        ValueError: the range is empty or not finite.
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"activation range must be finite and non-empty, not [{low}, {high}]")
    scale = np.float32((high - low) / (INT8_MAX - INT8_MIN))
    return scale, int(np.clip(INT8_MIN - np.rint(low / float(scale)), INT8_MIN, INT8_MAX))


def quantize_weights(
    weights: npt.NDArray[np.float32], axis: int | None = None
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Quantise weights symmetrically to [-127, 127].

    Args:
        weights: float weights of any shape.
        axis: the axis that gets one scale per index, None for a single scale.

    Returns:
        int8 weights of the same shape, and float32 scales of shape (weights.shape[axis],) or (1,).
    """
    others = tuple(i for i in range(weights.ndim) if axis is None or i != axis % weights.ndim)
    largest = np.abs(weights).max(axis=others, keepdims=True)
    scales = np.where(largest > 0, largest / INT8_MAX, 1.0).astype(np.float32)  # any scale represents all zeros
    values = np.rint(weights / scales.astype(np.float64)).clip(-INT8_MAX, INT8_MAX)
    return values.astype(np.int8), scales.ravel()


def quantize_bias(
    bias: npt.NDArray[np.float32], input_scale: np.float32, weight_scales: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Quantise a bias to the accumulator's scale, input_scale * weight_scales.

    Returns:
        int32 bias of the same shape, and its float32 scales in the shape of `weight_scales`.
    """
    scales: npt.NDArray[Any] = np.float64(input_scale) * weight_scales.astype(np.float64)
    return np.rint(bias / scales).clip(INT32_MIN, INT32_MAX).astype(np.int32), scales.astype(np.float32)
