"""Verifier of the graph IR: every frontend and every pass must leave a graph that passes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..models.quantise import ACTIVATIONS
from .errors import GraphError
from .graph import Graph, Op, Tensor
from .quantparams import UNARY
from .shapes import SHAPE_RULES


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
_BYTES = ("int8", "uint8")
_QUANTISED = (*_BYTES, "int16")
_REAL = ("int8", "float32")
_ANY = ("int8", "float32", "uint8", "int16", "int32", "int64")
_NUMBER = ("int8", "float32", "int32", "int64")
_WEIGHTED = Signature((_I8, _I8, ("int32",)), _I8, required=2, constants=1)
_UNARY = Signature((_I8,), _I8, required=1, constants=1)
_UNARY_REAL = Signature((_REAL,), _REAL, required=1, constants=1)
_MOVE = Signature((_ANY,), _ANY, required=1, constants=1)
_BINARY = Signature((_NUMBER, _NUMBER), _NUMBER, required=2, constants=2)
MAX_OPERANDS = 64

SIGNATURES: dict[str, Signature] = {
    **dict.fromkeys(UNARY, _UNARY_REAL),
    "ADD": _BINARY,
    "ARG_MAX": Signature((_REAL,), ("int32", "int64"), required=1, constants=1),
    "AVERAGE_POOL_2D": _UNARY,
    "BATCH_MATMUL": Signature((_I8, _I8), _I8, required=2, constants=2),
    "BATCH_TO_SPACE_ND": _UNARY,
    "CONCATENATION": Signature((_ANY,) * MAX_OPERANDS, _ANY, required=1, constants=MAX_OPERANDS),
    "CONV_2D": _WEIGHTED,
    "DEPTHWISE_CONV_2D": _WEIGHTED,
    "DEQUANTIZE": Signature((_QUANTISED,), ("float32",), required=1, constants=1),
    "FULLY_CONNECTED": _WEIGHTED,
    "GATHER": _MOVE,
    "MAXIMUM": _BINARY,
    "MAX_POOL_2D": _UNARY,
    "MEAN": _UNARY,
    "MINIMUM": _BINARY,
    "MUL": _BINARY,
    "NEG": Signature((("float32",),), ("float32",), required=1, constants=1),
    "PAD": _UNARY,
    "PADV2": _UNARY,
    "PRELU": Signature((_REAL, _REAL), _REAL, required=2, constants=2),
    "QUANTIZE": Signature((("float32", *_QUANTISED),), _QUANTISED, required=1, constants=1),
    "REDUCE_MAX": _UNARY_REAL,
    "REDUCE_MIN": _UNARY_REAL,
    "RESHAPE": _MOVE,
    "RESIZE_BILINEAR": _UNARY,
    "RESIZE_NEAREST_NEIGHBOR": _UNARY_REAL,
    "SLICE": _MOVE,
    "SOFTMAX": _UNARY_REAL,
    "SPACE_TO_BATCH_ND": _UNARY,
    "SUB": _BINARY,
    "SUM": _UNARY,
    "TABLE": Signature((_I8, _I8), _I8, required=2, constants=1),
    "TRANSPOSE": _MOVE,
    "TRANSPOSE_CONV": _WEIGHTED,
}
"""Every operator kind of the IR and the dtypes that it takes."""

_CHANGES_DTYPE = ("ARG_MAX", "DEQUANTIZE", "QUANTIZE")


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
    if op.kind not in _CHANGES_DTYPE:
        found = dict.fromkeys(tensor.dtype for tensor in (*operands[: signature.constants], output))
        if len(found) > 1:
            return f"it mixes {' and '.join(found)}"
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
        if tensor.dtype in _QUANTISED:
            quantised = tensor.quant is not None and tensor.quant.axis is None and tensor.quant.scale[0] > 0
            _require(quantised, f"{label}: '{tensor.name}' must be quantised per tensor with a scale > 0")
    try:
        expected = SHAPE_RULES[op.kind](graph, op)
    except (ValueError, IndexError, KeyError) as error:
        raise GraphError(f"{label}: {error}") from error
    actual = graph.result(op).shape
    _require(actual == expected, f"{label} must have an output of shape {expected}, not {actual}")


def _check_attrs(op: Op) -> None:
    for key, low in (("stride", 1), ("dilation", 1), ("kernel", 1), ("pads", 0), ("paddings", 0), ("block", 1),
                     ("crops", 0), ("size", 1)):
        if (op.kind, key) in (("SLICE", "stride"), ("TRANSPOSE_CONV", "pads")):
            continue  # a slice may run backwards, and a transposed convolution may end beyond its input's reach
        values = np.asarray(op.attrs.get(key, low))
        _require(bool((values >= low).all()), f"{op.kind} '{op.name}': {key} must be >= {low}, not {op.attrs.get(key)}")
    activation = op.attrs.get("activation", "NONE")
    choices = ", ".join(ACTIVATIONS)
    _require(activation in ACTIVATIONS, f"{op.kind} '{op.name}': activation must be one of {choices}, not {activation}")
