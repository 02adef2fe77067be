"""ONNX frontend: read a quantised ONNX model, in QDQ or QLinear form, into the graph IR."""

from __future__ import annotations

from pathlib import Path

from ..errors import GraphError, ModelError, UnsupportedOperatorError
from ..graph import Graph
from ..quantizer.flatten import absorb_transposes
from ..quantizer.fuse import fuse
from ..quantizer.integer import to_integer
from ..quantparams import parameters
from ..verify import verify
from . import onnx_ops, onnx_quant, onnx_windows
from .onnx_layout import UNSIGNED_OFFSET, GraphBuilder
from .onnx_model import CORRUPT, OnnxModel, load

CONVERTERS = {**onnx_ops.CONVERTERS, **onnx_quant.CONVERTERS, **onnx_windows.CONVERTERS}
"""Converter of each supported operator."""


def read_onnx(path: str | Path) -> Graph:
    """Return the verified integer graph of a quantised ONNX model.

    Inputs and outputs have the names, shapes and dtypes of the model: where it takes float32, the graph begins with a
    QUANTIZE.

    Raises:
        UsageError: the package `onnx` is not installed.
        ModelError: the file is missing or corrupt, contradicts itself, or has dynamic shapes.
        UnsupportedOperatorError: the model is not quantised, or uses what is not supported.
    """
    real = read_onnx_real(path)
    if not any(op.kind == "QUANTIZE" for op in real.ops):
        raise UnsupportedOperatorError(
            f"{real.name}: the model is not quantised; quantise it first: "
            f"systolith quantize {Path(path).name} -o {real.name}.tflite --calibration X.npy")
    try:
        graph = absorb_transposes(to_integer(fuse(real)))
        verify(graph)
        for op in graph.ops:
            parameters(graph, op)
    except (GraphError, *CORRUPT) as error:
        raise ModelError(f"{real.name}: the model contradicts itself: {error}") from error
    return graph


def read_onnx_real(path: str | Path) -> Graph:
    """Return the graph of an ONNX model on float32 tensors, with QUANTIZE and DEQUANTIZE where the model has them.

    Raises:
        UsageError, ModelError, UnsupportedOperatorError: as for `read_onnx`.
    """
    model = load(Path(path))
    unknown = {node.kind: node.outputs[0] for node in reversed(model.nodes) if node.kind not in CONVERTERS}
    if unknown:
        found = ", ".join(f"{kind} (at tensor '{name}')" for kind, name in sorted(unknown.items()))
        raise UnsupportedOperatorError(
            f"{model.name}: unsupported: {found}; supported operators are {', '.join(sorted(CONVERTERS))}")
    try:
        return _convert(model)
    except CORRUPT as error:
        raise ModelError(f"{model.name}: the model contradicts itself: {error}; export it again") from error


def _convert(model: OnnxModel) -> Graph:
    builder = GraphBuilder(model)
    for name in model.inputs:
        builder.set(name, builder.tensor(name, model.shapes[name], model.dtypes[name]))
    for node in model.nodes:
        CONVERTERS[node.kind](builder, node)
    return builder.graph(model.inputs, [_output(builder, name) for name in model.outputs])


def _output(builder: GraphBuilder, name: str) -> str:
    """Return output `name` in the model's order and dtype, as a tensor of this name."""
    tensor = builder.tensors[builder.get(name)]
    quant = tensor.quant
    if builder.model.dtypes[name] == "uint8" and quant is not None and quant.axis is None:
        unsigned = type(quant)(quant.scale, tuple(zp + UNSIGNED_OFFSET for zp in quant.zero_point))
        return builder.emit("QUANTIZE", [tensor.name], name, tensor.shape, {}, "uint8", unsigned)
    if tensor.name == name:
        return name
    return builder.emit("RESHAPE", [tensor.name], name, tensor.shape)  # the tensor has another name, or is an input
