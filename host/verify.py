"""Verifier of the graph IR: every frontend and every pass must leave a graph that passes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..models.ops import out_size
from ..models.quantise import ACTIVATIONS
from .errors import GraphError
from .graph import Graph, Op, Tensor


@dataclass(frozen=True)
class Signature:
    """Which dtypes an operator takes; one tuple of alternatives per input, of which `required` must be there.

    Inputs from position `constants` on must be constants (weights and biases).
    """

    inputs: tuple[tuple[str, ...], ...]
    output: tuple[str, ...]
    required: int
    constants: int


_I8 = ("int8",)
_WEIGHTED = Signature((_I8, _I8, ("int32",)), _I8, required=2, constants=1)
_UNARY = Signature((_I8,), _I8, required=1, constants=1)
_BYTES = ("int8", "uint8")

SIGNATURES: dict[str, Signature] = {
    "ADD": Signature((_I8, _I8), _I8, required=2, constants=2),
    "AVERAGE_POOL_2D": _UNARY,
    "CONV_2D": _WEIGHTED,
    "DEPTHWISE_CONV_2D": _WEIGHTED,
    "DEQUANTIZE": Signature((_BYTES,), ("float32",), required=1, constants=1),
    "FULLY_CONNECTED": _WEIGHTED,
    "MAX_POOL_2D": _UNARY,
    "MEAN": _UNARY,
    "PAD": _UNARY,
    "QUANTIZE": Signature((("float32", *_BYTES),), _BYTES, required=1, constants=1),
    "RESHAPE": Signature((("float32", *_BYTES),), ("float32", *_BYTES), required=1, constants=1),
    "SOFTMAX": _UNARY,
}
"""Every operator kind of the IR and the dtypes that it takes."""


def signature_problem(graph: Graph, op: Op) -> str | None:
    """Say in what way the operands of `op` are not what its kind takes, or None when they are."""
    signature = SIGNATURES.get(op.kind)
    if signature is None:
        return f"the operator is not one of {', '.join(SIGNATURES)}"
    operands = graph.operands(op)
    if not signature.required <= len(operands) <= len(signature.inputs):
        return f"it has {len(operands)} inputs, not {signature.required} to {len(signature.inputs)}"
    for position, (tensor, dtypes) in enumerate(zip(operands, signature.inputs, strict=False)):
        if tensor.dtype not in dtypes:
            return f"input '{tensor.name}' is {tensor.dtype}, not {' or '.join(dtypes)}"
        if position >= signature.constants and tensor.data is None:
            return f"input '{tensor.name}' must be a constant"
    if len(op.outputs) != 1:
        return f"it has {len(op.outputs)} outputs, not 1"
    output = graph.result(op)
    if output.dtype not in signature.output:
        return f"output '{output.name}' is {output.dtype}, not {' or '.join(signature.output)}"
    return None


def verify(graph: Graph) -> None:
    """Raise `GraphError` unless `graph` is well formed.

    Checked: topological order, every tensor written once, constants as declared, per operator the dtypes, attributes
    and shapes, and that quantised tensors carry quantisation that the operator can use.
    """
    for key, tensor in graph.tensors.items():
        _require(key == tensor.name, f"tensor '{tensor.name}' is filed under '{key}'")
        _check_tensor(tensor)
    available = {name for name, tensor in graph.tensors.items() if tensor.data is not None}
    for name in graph.inputs:
        _require(name in graph.tensors, f"graph input '{name}' does not exist")
        _require(name not in available, f"graph input '{name}' must not be a constant or listed twice")
        available.add(name)
    names: set[str] = set()
    for op in graph.ops:
        _require(op.name not in names, f"two operators are named '{op.name}'")
        names.add(op.name)
        for name in op.inputs:
            _require(name in available, f"{op.kind} '{op.name}' reads '{name}' before anything writes it")
        for name in op.outputs:
            _require(name in graph.tensors, f"{op.kind} '{op.name}' writes '{name}', which does not exist")
            _require(name not in available, f"{op.kind} '{op.name}' writes '{name}', which already has a value")
            available.add(name)
        _check_op(graph, op)
    _require(bool(graph.outputs), "the graph has no output")
    for name in graph.outputs:
        _require(name in available, f"nothing writes graph output '{name}'")


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise GraphError(problem)


def _check_tensor(tensor: Tensor) -> None:
    label = f"tensor '{tensor.name}'"
    _require(all(size > 0 for size in tensor.shape), f"{label} must have positive sizes, not {tensor.shape}")
    if tensor.data is not None:
        found, declared = (tensor.data.dtype.name, tensor.data.shape), (tensor.dtype, tensor.shape)
        _require(found == declared, f"{label} holds {found[0]} {found[1]}, not {declared[0]} {declared[1]}")
    quant = tensor.quant
    if quant is None:
        return
    count = 1
    if quant.axis is not None:
        _require(0 <= quant.axis < len(tensor.shape), f"{label} is quantised along axis {quant.axis} of {tensor.shape}")
        count = tensor.shape[quant.axis]
    found_counts = (len(quant.scale), len(quant.zero_point))
    _require(found_counts == (count, count), f"{label} has {found_counts} scales and zero points, not {count} each")
    _require(all(0 <= scale < float("inf") for scale in quant.scale), f"{label} must have finite scales >= 0")
    if tensor.dtype in _BYTES:
        limits = np.iinfo(tensor.dtype)
        in_range = all(limits.min <= zero_point <= limits.max for zero_point in quant.zero_point)
        _require(in_range, f"{label} must have zero points that fit {tensor.dtype}")


def _check_op(graph: Graph, op: Op) -> None:
    label = f"{op.kind} '{op.name}'"
    problem = signature_problem(graph, op)
    _require(problem is None, f"{label}: {problem}")
    _check_attrs(op)
    # Weights and biases follow rules of their own; everything else is a per-tensor quantised activation.
    for tensor in [*graph.operands(op)[: SIGNATURES[op.kind].constants], graph.result(op)]:
        if tensor.dtype in _BYTES:
            quantised = tensor.quant is not None and tensor.quant.axis is None and tensor.quant.scale[0] > 0
            _require(quantised, f"{label}: '{tensor.name}' must be quantised per tensor with a scale > 0")
    try:
        expected = _SHAPE_RULES[op.kind](graph, op)
    except (ValueError, IndexError, KeyError) as error:
        raise GraphError(f"{label}: {error}") from error
    actual = graph.result(op).shape
    _require(actual == expected, f"{label} must have an output of shape {expected}, not {actual}")


def _check_attrs(op: Op) -> None:
    for key, low in (("stride", 1), ("dilation", 1), ("kernel", 1), ("pads", 0), ("paddings", 0)):
        values = np.asarray(op.attrs.get(key, low))
        _require(bool((values >= low).all()), f"{op.kind} '{op.name}': {key} must be >= {low}, not {op.attrs.get(key)}")
    activation = op.attrs.get("activation", "NONE")
    choices = ", ".join(ACTIVATIONS)
    _require(activation in ACTIVATIONS, f"{op.kind} '{op.name}': activation must be one of {choices}, not {activation}")


# Shape rules return the output shape that the operands and attributes imply, and raise ValueError when they imply none.


def _want(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)


def _image(tensor: Tensor) -> tuple[int, int, int, int]:
    _want(len(tensor.shape) == 4, f"'{tensor.name}' must have 4 dimensions, not {len(tensor.shape)}")
    n, h, w, c = tensor.shape
    return n, h, w, c


def _windows(op: Op, size: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, int]:
    attrs: Any = op.attrs
    dilation = attrs.get("dilation", (1, 1))
    h, w = (out_size(size[i], kernel[i], attrs["stride"][i], dilation[i], attrs["pads"][i]) for i in range(2))
    return h, w


def _check_weights(graph: Graph, op: Op, channel_axis: int) -> None:
    weights = graph.tensors[op.inputs[1]]
    quant = weights.quant
    if quant is None or quant.axis not in (None, channel_axis):
        raise ValueError(f"weights '{weights.name}' must be quantised per tensor or along axis {channel_axis}")
    # Only a fully connected layer has the correction term for a weight zero point, and only per tensor.
    symmetric = all(zero_point == 0 for zero_point in quant.zero_point)
    _want(symmetric or (op.kind == "FULLY_CONNECTED" and quant.axis is None),
          f"weights '{weights.name}' must be symmetric (zero point 0)")
    if len(op.inputs) == 3:
        bias, channels = graph.tensors[op.inputs[2]], weights.shape[channel_axis]
        _want(bias.shape == (channels,), f"bias '{bias.name}' must have shape ({channels},), not {bias.shape}")


def _conv(graph: Graph, op: Op) -> tuple[int, ...]:
    x, weights = graph.operands(op)[:2]
    n, h, w, channels = _image(x)
    out_channels, kh, kw, group_channels = _image(weights)
    _check_weights(graph, op, channel_axis=0)
    groups = op.attrs["groups"]
    _want(channels == group_channels * groups and out_channels % groups == 0,
          f"{channels} channels do not match weights {weights.shape} in {groups} groups")
    return (n, *_windows(op, (h, w), (kh, kw)), out_channels)


def _depthwise(graph: Graph, op: Op) -> tuple[int, ...]:
    x, weights = graph.operands(op)[:2]
    n, h, w, channels = _image(x)
    one, kh, kw, out_channels = _image(weights)
    _check_weights(graph, op, channel_axis=3)
    multiplier = op.attrs["multiplier"]
    _want(one == 1 and out_channels == channels * multiplier,
          f"weights {weights.shape} do not match {channels} channels with multiplier {multiplier}")
    return (n, *_windows(op, (h, w), (kh, kw)), out_channels)


def _fully_connected(graph: Graph, op: Op) -> tuple[int, ...]:
    x, weights = graph.operands(op)[:2]
    _want(len(weights.shape) == 2, f"weights '{weights.name}' must have 2 dimensions, not {len(weights.shape)}")
    _check_weights(graph, op, channel_axis=0)
    out_features, in_features = weights.shape
    if op.attrs["keep_dims"]:
        _want(x.shape[-1:] == (in_features,), f"input {x.shape} does not match weights {weights.shape}")
        return (*x.shape[:-1], out_features)
    _want(x.size % in_features == 0, f"input {x.shape} does not match weights {weights.shape}")
    return (x.size // in_features, out_features)


def _add(graph: Graph, op: Op) -> tuple[int, ...]:
    a, b = graph.operands(op)
    return np.broadcast_shapes(a.shape, b.shape)


def _pool(graph: Graph, op: Op) -> tuple[int, ...]:
    x, y = *graph.operands(op), graph.result(op)
    n, h, w, channels = _image(x)
    kernel, pads = op.attrs["kernel"], op.attrs["pads"]
    _want(all(max(pads[i]) < kernel[i] for i in range(2)), f"pads {pads} must be smaller than the kernel {kernel}")
    _want(abs(x.scale - y.scale) <= 1e-6 and x.zero_point == y.zero_point, "input and output must have equal scales")
    return (n, *_windows(op, (h, w), kernel), channels)


def _mean(graph: Graph, op: Op) -> tuple[int, ...]:
    (x,), axes = graph.operands(op), op.attrs["axes"]
    _want(list(axes) == sorted(set(axes)) and all(0 <= axis < len(x.shape) for axis in axes),
          f"axes {axes} must be sorted, distinct and within {len(x.shape)} dimensions")
    kept = [(1 if axis in axes else size, axis) for axis, size in enumerate(x.shape)]
    return tuple(size for size, axis in kept if op.attrs["keepdims"] or axis not in axes)


def _pad(graph: Graph, op: Op) -> tuple[int, ...]:
    (x,), paddings = graph.operands(op), op.attrs["paddings"]
    _want(len(paddings) == len(x.shape), f"paddings {paddings} must have one pair per dimension of {x.shape}")
    return tuple(size + before + after for size, (before, after) in zip(x.shape, paddings, strict=True))


def _reshape(graph: Graph, op: Op) -> tuple[int, ...]:
    (x,), y = graph.operands(op), graph.result(op)
    _want(x.dtype == y.dtype, f"it must not change {x.dtype} to {y.dtype}")
    _want(x.size == y.size, f"{x.shape} and {y.shape} must have the same number of elements")
    return y.shape


def _softmax(graph: Graph, op: Op) -> tuple[int, ...]:
    (x,), y = graph.operands(op), graph.result(op)
    _want(abs(y.scale * 256 - 1) < 1e-3 and y.zero_point == -128, "its output must have scale 1/256, zero point -128")
    return x.shape


def _same(graph: Graph, op: Op) -> tuple[int, ...]:
    return graph.operands(op)[0].shape


_SHAPE_RULES: dict[str, Callable[[Graph, Op], tuple[int, ...]]] = {
    "ADD": _add,
    "AVERAGE_POOL_2D": _pool,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": _same,
    "FULLY_CONNECTED": _fully_connected,
    "MAX_POOL_2D": _pool,
    "MEAN": _mean,
    "PAD": _pad,
    "QUANTIZE": _same,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
}
