"""From `layers`, their weights and their quantisation to a .tflite file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..tflite_writer import TFLiteBuilder
from .layers import INPUT, Layer, execution_order

Params = tuple[np.float32, int]
"""Scale and zero point of an activation."""


@dataclass(frozen=True)
class Weights:
    """Quantised weights and bias of a layer.

    Attributes:
        values: int8 weights, of `Layer.weights`' shape.
        scales: float32 scale of each output channel, or a single one.
        bias: int32, one per output channel.
    """

    values: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    bias: npt.NDArray[np.int32]


def export(output: Layer, weights: Mapping[Layer, Weights], params: Mapping[Layer, Params], description: str = "",
           names: Mapping[Layer, str] | None = None) -> bytes:
    """Return a network as a .tflite file with int8 inputs and outputs.

    Args:
        output: its last layer.
        weights: of each layer that has weights.
        params: of each layer.
        description: free text stored in the file.
        names: names of tensors; the others are called after their operator and position.
    """
    b = TFLiteBuilder(description)
    tensors: dict[Layer, int] = {}
    inputs = []
    for position, layer in enumerate(execution_order(output)):
        name = (names or {}).get(layer, f"{layer.kind.lower()}_{position}")
        scale, zero_point = params[layer]
        operands = [tensors[each] for each in layer.inputs]
        if layer.weights is not None:
            operands += _constants(b, name, layer, weights[layer], params[layer.inputs[0]][0])
        if layer.kind == "TRANSPOSE_CONV":  # the schema's order: output shape, weights, input, bias
            x, values, bias = operands
            operands = [_integers(b, f"{name}/shape", layer.shape), values, x, bias]
        elif layer.kind == "RESHAPE":
            operands.append(_integers(b, f"{name}/shape", layer.shape))
        elif layer.kind == "MEAN":
            operands.append(_integers(b, f"{name}/axes", (1, 2)))
        tensors[layer] = b.tensor(name, layer.shape, "int8", scale, zero_point)
        if layer.kind == INPUT:
            inputs.append(tensors[layer])
        else:
            b.op(layer.kind, operands, [tensors[layer]], layer.options)
    return b.build(inputs, [tensors[output]])


def _constants(b: TFLiteBuilder, name: str, layer: Layer, weights: Weights, input_scale: np.float32) -> list[int]:
    bias_scales = (np.float64(input_scale) * weights.scales.astype(np.float64)).astype(np.float32)
    return [b.tensor(f"{name}/weights", weights.values.shape, "int8", weights.scales, data=weights.values,
                     quantized_dimension=layer.channel_axis),
            b.tensor(f"{name}/bias", weights.bias.shape, "int32", bias_scales, data=weights.bias)]


def _integers(b: TFLiteBuilder, name: str, values: tuple[int, ...]) -> int:
    return b.tensor(name, (len(values),), "int32", data=np.array(values, np.int32))
