"""Golden operators on float32 and integers as they are, between DEQUANTIZE and QUANTIZE and on shapes.

Functions without an exact definition are evaluated in double precision and rounded to float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .quantise import ACTIVATIONS

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float32]


def clamp(x: Array, activation: str = "NONE") -> Array:
    """Apply a fused activation to reals."""
    low, high = ACTIVATIONS[activation]
    return x if low is None and high is None else np.clip(x, low, high).astype(x.dtype)


def leaky_relu(x: FloatArray, alpha: float) -> FloatArray:
    """Return x where it is positive, else alpha * x."""
    return np.where(x > 0, x, x * np.float32(alpha)).astype(np.float32)


def prelu(x: FloatArray, alpha: FloatArray) -> FloatArray:
    """Return x where it is not negative, else alpha * x."""
    return np.where(x >= 0, x, x * alpha).astype(np.float32)


def softmax(x: FloatArray, *, beta: float = 1.0) -> FloatArray:
    """Return the softmax along the last axis."""
    exp = np.exp((x - x.max(axis=-1, keepdims=True)).astype(np.float64) * np.float32(beta)).astype(np.float32)
    total = np.cumsum(exp, axis=-1, dtype=np.float32)[..., -1:]  # one after the other, as the reference adds
    return exp / total


def _rounded(function: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> Callable[[Array], FloatArray]:
    def rounded(x: Array) -> FloatArray:
        with np.errstate(over="ignore"):  # becomes infinite, as in C
            return function(x.astype(np.float64)).astype(np.float32)
    return rounded


def _elu(x: FloatArray) -> FloatArray:
    negative = np.exp(np.minimum(x, 0).astype(np.float64)).astype(np.float32) - np.float32(1)
    return np.where(x < 0, negative, x)


#: Functions of one float32 array, by the kind of their operator.
UNARY: dict[str, Callable[[FloatArray], FloatArray]] = {
    "ABS": np.abs,
    "ELU": _elu,
    "EXP": _rounded(np.exp),
    "HARD_SWISH": lambda x: x * np.clip(x + np.float32(3), np.float32(0), np.float32(6)) / np.float32(6),
    "LOGISTIC": _rounded(lambda x: 1 / (1 + np.exp(-x))),
    "NEG": np.negative,
    "RELU": lambda x: clamp(x, "RELU"),
    "RELU6": lambda x: clamp(x, "RELU6"),
    "RELU_N1_TO_1": lambda x: clamp(x, "RELU_N1_TO_1"),
    "TANH": _rounded(np.tanh),
}

#: Functions of two broadcastable arrays of one dtype, before the activation.
BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "ADD": np.add,
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
    "MUL": np.multiply,
    "SUB": np.subtract,
}
