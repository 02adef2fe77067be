"""Converters of ONNX's QuantizeLinear and DequantizeLinear; uint8 becomes int8, 128 less throughout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..graph import QuantParams
from .onnx_layout import UNSIGNED_OFFSET, GraphBuilder, signed
from .onnx_model import Node

_SUPPORTED = ("int8", "uint8", "int32")


def _params(builder: GraphBuilder, node: Node) -> tuple[QuantParams, str]:
    """Return the parameters as the model has them, and the dtype of the integers."""
    if any(not builder.is_constant(name) for name in node.inputs[1:] if name):
        raise builder.fail(node, "scale and zero point must be constant; quantise the model statically")
    scale = np.asarray(builder.model.constants[node.inputs[1]])
    if scale.size > 1 and scale.ndim > 1:
        raise builder.fail(node, "blocked quantisation is not supported; quantise per tensor or per channel")
    if not np.all((scale > 0) & np.isfinite(scale)):
        raise builder.fail(node, "scales must be positive and finite; quantise the model again")
    zero_point = None
    if len(node.inputs) > 2 and node.inputs[2]:
        zero_point = np.asarray(builder.model.constants[node.inputs[2]])
    if zero_point is not None:
        dtype = zero_point.dtype.name
    elif node.kind == "QuantizeLinear":
        dtype = {3: "int8"}.get(node.attrs.get("output_dtype", 0), "uint8")
    else:
        source = node.inputs[0]
        constant = builder.model.constants.get(source)
        dtype = builder.model.dtypes[source] if constant is None else constant.dtype.name
    if dtype not in _SUPPORTED:
        raise builder.fail(node, f"{dtype} is not supported; quantise to int8 or uint8")
    scales = tuple(float(np.float32(value)) for value in scale.ravel())
    points = tuple(int(value) for value in zero_point.ravel()) if zero_point is not None else (0,) * len(scales)
    axis = None
    if len(scales) > 1:
        axis = int(node.attrs.get("axis", 1)) % len(builder.shape(node.inputs[0]))
    return QuantParams(scales, points, axis), dtype


def quantize(builder: GraphBuilder, node: Node) -> None:
    """Convert QuantizeLinear of an activation."""
    quant, dtype = _params(builder, node)
    if quant.axis is not None or dtype == "int32":
        raise builder.fail(node, "activations must be quantised per tensor to int8 or uint8")
    source, target = node.inputs[0], node.outputs[0]
    last = builder.prefers_last(source)
    x = builder.get(source, last)
    name = f"{target}/nhwc" if last else target
    if dtype == "uint8":
        quant, name = signed(quant), f"{name}/int8"
    builder.set(target, builder.emit("QUANTIZE", [x], name, builder.tensors[x].shape, {}, "int8", quant), last)


def dequantize(builder: GraphBuilder, node: Node) -> None:
    """Convert DequantizeLinear of an activation, of a graph input, or of a constant, which stays an integer."""
    quant, dtype = _params(builder, node)
    source, target = node.inputs[0], node.outputs[0]
    if source in builder.model.constants:
        data = builder.model.constants[source]
        if dtype == "uint8":
            data, quant = (data.astype(np.int16) - UNSIGNED_OFFSET).astype(np.int8), signed(quant)
        builder.set(target, builder.constant(target, data, quant))
        return
    if quant.axis is not None:
        raise builder.fail(node, "activations must be quantised per tensor")
    if source in builder.model.inputs:
        x = builder.coded_input(source, quant)
        last = False
    else:
        last = builder.prefers_last(source)
        x = builder.get(source, last)
        expected = signed(quant) if dtype == "uint8" else quant
        if builder.tensors[x].quant != expected:
            raise builder.fail(node, f"'{source}' is dequantised otherwise than it was quantised; quantise it again")
    shape = builder.tensors[x].shape
    name = f"{target}/nhwc" if last else target
    builder.set(target, builder.emit("DEQUANTIZE", [x], name, shape, {}, "float32"), last)


CONVERTERS: dict[str, Callable[[GraphBuilder, Node], None]] = {
    "DequantizeLinear": dequantize,
    "QuantizeLinear": quantize,
}
"""Converter of each supported operator."""
