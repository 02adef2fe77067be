"""Real values of constants."""

from __future__ import annotations

import numpy as np

from ...models.quantise import dequantize
from ..graph import Tensor


def real_value(tensor: Tensor) -> np.ndarray:
    """Return the real value of a constant, float32 of its shape.

    Raises:
        ValueError: the tensor is not a constant.
    """
    if tensor.data is None:
        raise ValueError(f"tensor '{tensor.name}' must be a constant")
    if tensor.quant is None:
        return tensor.data.astype(np.float32)
    shape = [1] * tensor.data.ndim
    if tensor.quant.axis is not None:
        shape[tensor.quant.axis] = -1
    scale, zero_point = (np.array(values).reshape(shape) for values in (tensor.quant.scale, tensor.quant.zero_point))
    return dequantize(tensor.data, scale, zero_point).reshape(tensor.shape)
