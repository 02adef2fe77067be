"""Inputs of a session: what a network takes, and how an array that a person has becomes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...models.quantise import dequantize, quantize_float
from ..errors import ShapeError
from ..graph import QuantParams

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class TensorInfo:
    """A named input or output of a network.

    Attributes:
        name: tensor name in the model.
        shape: shape of one sample, with the batch that the model declares, mostly 1, in front.
        dtype: NumPy dtype name of the elements, "int8" for most networks.
        scale: real = scale * (q - zero_point), or None for a tensor that is not quantised.
        zero_point: as above.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None

    @classmethod
    def of(cls, name: str, shape: Sequence[int], dtype: str, quant: QuantParams | None) -> TensorInfo:
        """Return the description of a tensor of the graph IR."""
        return cls(name, tuple(shape), dtype, *((quant.scale[0], quant.zero_point[0]) if quant else (None, None)))

    @property
    def batch(self) -> int:
        """Entries of axis 0 that are one sample."""
        return self.shape[0] if self.shape else 1

    def to_real(self, values: np.ndarray) -> np.ndarray:
        """Return float32 real values of this tensor's `values`; float tensors come back as they are."""
        if self.scale is None or self.zero_point is None:
            return values
        return dequantize(values, self.scale, self.zero_point)


def batch_inputs(inputs: np.ndarray | Arrays, infos: Sequence[TensorInfo]) -> dict[str, np.ndarray]:
    """Return every input as samples along axis 0, in the dtype that the network takes.

    Args:
        inputs: one array where the network has one input, else arrays by input name. An array holds one sample, with
            or without a batch dimension of 1, or samples along axis 0 or stacked in front of it; of the input's
            dtype, or float32 to be quantised with the input's scale and zero point.
        infos: the inputs of the network.

    Raises:
        ShapeError: a name, shape or dtype does not fit, or the numbers of samples differ.
    """
    names = [info.name for info in infos]
    if not isinstance(inputs, Mapping):
        if len(names) != 1:
            raise ShapeError(f"inputs must be given by name because the network has {len(names)}: {', '.join(names)}")
        inputs = {names[0]: inputs}
    if set(inputs) != set(names):
        raise ShapeError(f"inputs must be named {', '.join(names)}, not {', '.join(map(str, inputs)) or 'nothing'}")
    batch = {info.name: _samples(info, np.asarray(inputs[info.name])) for info in infos}
    counts = {info.name: len(batch[info.name]) // info.batch for info in infos}
    if len(set(counts.values())) != 1:
        raise ShapeError("inputs must hold the same number of samples, not "
                         + ", ".join(f"{count} for '{name}'" for name, count in counts.items()))
    return batch


def _samples(info: TensorInfo, array: np.ndarray) -> np.ndarray:
    sample = info.shape[1:]
    if array.shape == sample and info.batch == 1:
        array = array[None]
    if info.batch > 1 and array.shape[1:] == info.shape:
        array = array.reshape(-1, *sample)
    if array.ndim != len(info.shape) or array.shape[1:] != sample:
        raise ShapeError(f"input '{info.name}' must have shape {_shape(info.shape)}, or {_shape(('N', *sample))} for "
                         f"N samples, not {_shape(array.shape)}")
    if len(array) == 0:
        raise ShapeError(f"input '{info.name}' must hold at least one sample, not none")
    if len(array) % info.batch:
        raise ShapeError(f"input '{info.name}' must hold a multiple of {info.batch} entries along axis 0, the batch of "
                         f"the model, not {len(array)}")
    if array.dtype == np.dtype(info.dtype):
        return np.ascontiguousarray(array)
    if array.dtype != np.float32 or info.scale is None or info.zero_point is None:
        wanted = info.dtype if info.scale is None else f"{info.dtype}, or float32 to be quantised"
        raise ShapeError(f"input '{info.name}' must be {wanted}, not {array.dtype}; convert it with astype")
    if np.isnan(array).any():
        raise ShapeError(f"input '{info.name}' must be numbers to be quantised, not NaN; remove them")
    return quantize_float(array, info.scale, info.zero_point, info.dtype)


def _shape(shape: Sequence[int | str]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
