"""Converters of ONNX's element-wise, matrix, reduction and data-movement operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..graph import Tensor
from .onnx_layout import UNSIGNED_OFFSET, GraphBuilder, channels_last
from .onnx_model import Node

Converter = Callable[[GraphBuilder, Node], None]

_UNARY = {"Abs": "ABS", "Elu": "ELU", "HardSwish": "HARD_SWISH", "Neg": "NEG", "Relu": "RELU", "Sigmoid": "LOGISTIC",
          "Tanh": "TANH"}
_BINARY = {"Add": "ADD", "Div": "DIV", "Max": "MAXIMUM", "Min": "MINIMUM", "Mul": "MUL", "PRelu": "PRELU",
           "Sub": "SUB"}
_REDUCTIONS = {"ReduceMax": "REDUCE_MAX", "ReduceMean": "MEAN", "ReduceMin": "REDUCE_MIN", "ReduceSum": "SUM"}
_CLIPS: dict[tuple[float | None, float | None], str] = {
    (0.0, None): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}


def _ints(builder: GraphBuilder, node: Node, position: int, attribute: str) -> list[int] | None:
    """Return an operand that older models give as an attribute, None when it is left out."""
    if len(node.inputs) > position and node.inputs[position]:
        name = node.inputs[position]
        if not builder.is_constant(name):
            raise builder.fail(node, f"{attribute} must be constant; export the model with fixed shapes")
        return [int(value) for value in builder.model.constants[name].ravel()]
    given = node.attrs.get(attribute)
    return [int(given)] if isinstance(given, int) else None if given is None else [int(value) for value in given]


def _name(builder: GraphBuilder, node: Node, last: bool, output: int = 0) -> str:
    return f"{node.outputs[output]}/nhwc" if last else node.outputs[output]


def _any_order(builder: GraphBuilder, node: Node) -> tuple[str, bool, tuple[int, ...]]:
    """Return the first input in the order that it has, whether that is channels last, and the permutation to it."""
    last = builder.prefers_last(node.inputs[0])
    rank = len(builder.shape(node.inputs[0]))
    return builder.get(node.inputs[0], last), last, channels_last(rank) if last else tuple(range(rank))


def unary(builder: GraphBuilder, node: Node) -> None:
    """Convert a function of one tensor, and LeakyRelu."""
    x, last, _ = _any_order(builder, node)
    attrs = {"alpha": float(node.attrs.get("alpha", 0.01))} if node.kind == "LeakyRelu" else {}
    if node.kind == "Elu" and node.attrs.get("alpha", 1.0) != 1.0:
        raise builder.fail(node, f"alpha must be 1, not {node.attrs['alpha']}")
    kind = _UNARY.get(node.kind, "LEAKY_RELU")
    shape = builder.tensors[x].shape
    builder.set(node.outputs[0], builder.emit(kind, [x], _name(builder, node, last), shape, attrs), last)


def clip(builder: GraphBuilder, node: Node) -> None:
    """Convert Clip to an activation where there is one with these bounds, else to MAXIMUM and MINIMUM."""
    bounds: list[float | None] = [node.attrs.get("min"), node.attrs.get("max")]
    for i, name in enumerate(node.inputs[1:3]):
        if name:
            bounds[i] = float(builder.real(builder.get(name)).reshape(()))
    # Exporters write the largest float where there is no bound.
    low, high = (None if bound is None or abs(bound) > 1e30 else float(bound) for bound in bounds)
    x, last, _ = _any_order(builder, node)
    shape, name = builder.tensors[x].shape, _name(builder, node, last)
    if (low, high) in _CLIPS:
        builder.set(node.outputs[0], builder.emit(_CLIPS[low, high], [x], name, shape), last)
        return
    for kind, bound in (("MAXIMUM", low), ("MINIMUM", high)):
        if bound is not None:
            limit = builder.constant(f"{node.name}/{kind.lower()}", np.array([bound], np.float32))
            x = builder.emit(kind, [x, limit], name, shape)
    builder.set(node.outputs[0], x, last)


def binary(builder: GraphBuilder, node: Node) -> None:
    """Convert a function of two or more tensors, broadcast as in NumPy."""
    rank = len(builder.shape(node.outputs[0]))
    last = rank > 2 and any(builder.prefers_last(name) for name in node.inputs)
    kind, operands = _BINARY[node.kind], []
    for name in node.inputs:
        shape = builder.shape(name)
        if last and len(shape) < rank:
            x = builder.reshape(builder.get(name), (1,) * (rank - len(shape)) + tuple(shape), f"{name}/{rank}d")
            x = builder.transpose(x, channels_last(rank), f"{name}/{rank}d/nhwc")
        else:
            x = builder.get(name, last)
        operands.append(x)
    if kind == "DIV":  # by a constant
        if not builder.is_constant(node.inputs[1]):
            raise builder.fail(node, "the divisor must be constant")
        kind, divisor = "MUL", operands[1]
        operands[1] = builder.constant(f"{divisor}/inverse", 1 / builder.real(divisor))
    x = operands[0]
    attrs = {"activation": "NONE"} if kind in ("ADD", "MUL", "SUB") else {}
    for other in operands[1:]:
        shape = np.broadcast_shapes(builder.tensors[x].shape, builder.tensors[other].shape)
        # A constant goes second, where the order does not matter.
        pair = [other, x] if builder.tensors[x].data is not None and kind not in ("SUB", "PRELU") else [x, other]
        x = builder.emit(kind, pair, _name(builder, node, last), shape, attrs)
    builder.set(node.outputs[0], x, last)


def hard_sigmoid(builder: GraphBuilder, node: Node) -> None:
    """Convert HardSigmoid to clip(alpha * x + beta, 0, 1)."""
    x, last, _ = _any_order(builder, node)
    shape = builder.tensors[x].shape
    steps = (("MUL", node.attrs.get("alpha", 0.2)), ("ADD", node.attrs.get("beta", 0.5)), ("MAXIMUM", 0.0),
             ("MINIMUM", 1.0))
    for kind, value in steps:
        constant = builder.constant(f"{node.name}/{kind.lower()}", np.array([value], np.float32))
        attrs = {"activation": "NONE"} if kind in ("MUL", "ADD") else {}
        x = builder.emit(kind, [x, constant], _name(builder, node, last), shape, attrs)
    builder.set(node.outputs[0], x, last)


def gemm(builder: GraphBuilder, node: Node) -> None:
    """Convert Gemm to FULLY_CONNECTED."""
    if node.attrs.get("transA", 0) or not builder.is_constant(node.inputs[1]):
        raise builder.fail(node, "A must not be transposed and B must be constant; freeze the model's parameters")
    x, weights = builder.get(node.inputs[0]), builder.get(node.inputs[1])
    if not node.attrs.get("transB", 0):
        weights = builder.transpose(weights, (1, 0), f"{weights}/oi")
    if node.attrs.get("alpha", 1.0) != 1.0:
        weights = builder.constant(f"{weights}/scaled", builder.real(weights) * np.float32(node.attrs["alpha"]))
    operands, outputs = [x, weights], builder.tensors[weights].shape[0]
    if len(node.inputs) > 2 and node.inputs[2]:
        bias, beta = builder.get(node.inputs[2]), node.attrs.get("beta", 1.0)
        if builder.tensors[bias].data is None:
            raise builder.fail(node, f"bias '{node.inputs[2]}' must be constant; freeze the model's parameters")
        if builder.tensors[bias].size != outputs or beta != 1.0:
            full = np.broadcast_to(builder.real(bias) * np.float32(beta), (1, outputs))
            bias = builder.constant(f"{bias}/full", full)
        operands.append(builder.reshape(bias, (outputs,), f"{bias}/1d"))
    _fully_connected(builder, node, operands)


def _fully_connected(builder: GraphBuilder, node: Node, operands: Sequence[str]) -> None:
    shape = builder.shape(node.outputs[0])
    attrs = {"activation": "NONE", "keep_dims": len(shape) != 2}
    builder.set(node.outputs[0], builder.emit("FULLY_CONNECTED", operands, node.outputs[0], shape, attrs))


def matmul(builder: GraphBuilder, node: Node) -> None:
    """Convert MatMul to FULLY_CONNECTED where its second operand is a constant matrix, else to BATCH_MATMUL."""
    a, b = (builder.get(name) for name in node.inputs)
    ranks = [len(builder.tensors[name].shape) for name in (a, b)]
    if min(ranks) < 2:
        raise builder.fail(node, "operands must have at least two axes")
    if builder.is_constant(node.inputs[1]) and ranks[1] == 2:
        _fully_connected(builder, node, [a, builder.transpose(b, (1, 0), f"{b}/oi")])
        return
    attrs = {"adj_x": False, "adj_y": False}
    y = builder.emit("BATCH_MATMUL", [a, b], node.outputs[0], builder.shape(node.outputs[0]), attrs)
    builder.set(node.outputs[0], y)


def concat(builder: GraphBuilder, node: Node) -> None:
    """Convert Concat."""
    shape = builder.shape(node.outputs[0])
    last = any(builder.prefers_last(name) for name in node.inputs)
    perm = channels_last(len(shape)) if last else tuple(range(len(shape)))
    axis = perm.index(int(node.attrs["axis"]) % len(shape))
    operands = [builder.get(name, last) for name in node.inputs]
    y = builder.emit("CONCATENATION", operands, _name(builder, node, last), [shape[a] for a in perm],
                     {"axis": axis, "activation": "NONE"})
    builder.set(node.outputs[0], y, last)


def reshape(builder: GraphBuilder, node: Node) -> None:
    """Convert Reshape, Flatten, Squeeze and Unsqueeze: all but the shape stays."""
    shape = builder.shape(node.outputs[0])
    builder.set(node.outputs[0], builder.reshape(builder.get(node.inputs[0]), shape, node.outputs[0]))


def transpose(builder: GraphBuilder, node: Node) -> None:
    """Convert Transpose; one to channels last finds its result already there."""
    rank = len(builder.shape(node.inputs[0]))
    perm = tuple(node.attrs.get("perm", reversed(range(rank))))
    if builder.prefers_last(node.inputs[0]) and rank > 2:
        stored = channels_last(rank)
        source = builder.get(node.inputs[0], last=True)
        perm = tuple(stored.index(axis) for axis in perm)
    else:
        source = builder.get(node.inputs[0])
    if perm == tuple(range(rank)):
        builder.set(node.outputs[0], source)
        return
    builder.set(node.outputs[0], builder.transpose(source, perm, node.outputs[0]))


def identity(builder: GraphBuilder, node: Node) -> None:
    """Convert what changes no value: Identity, Dropout, Cast between floats."""
    x, last, _ = _any_order(builder, node)
    builder.set(node.outputs[0], x, last)


def softmax(builder: GraphBuilder, node: Node) -> None:
    """Convert Softmax; it works along the last axis, so another one is moved there."""
    shape = builder.shape(node.inputs[0])
    rank, old = len(shape), builder.model.opset < 13
    axis = int(node.attrs.get("axis", 1 if old else -1)) % rank
    if old and any(size > 1 for size in shape[axis + 1:]):
        raise builder.fail(node, "softmax over several axes is not supported; export with opset 13 or later")
    last = rank > 2 and (axis == 1 or builder.prefers_last(node.inputs[0]))
    x, perm = builder.get(node.inputs[0], last), channels_last(rank) if last else tuple(range(rank))
    position = perm.index(axis)
    front = (*(i for i in range(rank) if i != position), position)
    moved = builder.transpose(x, front, f"{node.name}/moved") if position != rank - 1 else x
    y = builder.emit("SOFTMAX", [moved], _name(builder, node, last), builder.tensors[moved].shape, {"beta": 1.0})
    if moved is not x:
        y = builder.transpose(y, [front.index(i) for i in range(rank)], f"{node.name}/back")
    builder.set(node.outputs[0], y, last)


def reduction(builder: GraphBuilder, node: Node) -> None:
    """Convert ReduceMean, ReduceSum, ReduceMax and ReduceMin."""
    x, last, perm = _any_order(builder, node)
    rank, axes = len(perm), _ints(builder, node, 1, "axes")
    if axes is None:
        axes = [] if node.attrs.get("noop_with_empty_axes") else list(range(rank))
    keep = bool(node.attrs.get("keepdims", 1))
    positions = tuple(sorted(perm.index(axis % rank) for axis in axes))
    kept = [1 if i in positions else size for i, size in enumerate(builder.tensors[x].shape)]
    y = builder.emit(_REDUCTIONS[node.kind], [x], _name(builder, node, last and keep), kept,
                     {"axes": positions, "keepdims": True})
    if keep:
        builder.set(node.outputs[0], y, last)
        return
    if last:
        y = builder.transpose(y, [perm.index(i) for i in range(rank)], f"{node.name}/plain")
    builder.set(node.outputs[0], builder.reshape(y, builder.shape(node.outputs[0]), f"{node.name}/reduced"))


def arg_max(builder: GraphBuilder, node: Node) -> None:
    """Convert ArgMax; of equal elements the first one counts."""
    if node.attrs.get("select_last_index", 0):
        raise builder.fail(node, "select_last_index is not supported; take the first")
    x, rank = builder.get(node.inputs[0]), len(builder.shape(node.inputs[0]))
    axis = int(node.attrs.get("axis", 0)) % rank
    shape = [size for i, size in enumerate(builder.shape(node.inputs[0])) if i != axis]
    y = builder.emit("ARG_MAX", [x], f"{node.name}/index", shape, {"axis": axis}, "int64")
    builder.set(node.outputs[0], builder.reshape(y, builder.shape(node.outputs[0]), node.outputs[0]))


def _padding(builder: GraphBuilder, node: Node, x: Tensor) -> tuple[str, dict[str, int]]:
    """Return the operator that pads `x` with the value of a Pad, and its attribute."""
    name = node.inputs[2] if len(node.inputs) > 2 else ""
    if x.quant is None:
        if node.attrs.get("value", 0.0) or (name and builder.real(builder.get(name)).item()):
            raise builder.fail(node, "reals can be padded with zeros only")
        return "PAD", {}
    code = int(builder.model.constants[name].item()) if name else 0
    if builder.model.dtypes[node.inputs[0]] == "uint8":
        code -= UNSIGNED_OFFSET
    return ("PAD", {}) if code == x.zero_point else ("PADV2", {"value": code})


def pad(builder: GraphBuilder, node: Node) -> None:
    """Convert Pad, of reals with zeros, of codes with any code."""
    amounts = _ints(builder, node, 1, "pads")
    x, last, perm = _any_order(builder, node)
    if node.attrs.get("mode", "constant") != "constant":
        raise builder.fail(node, "only padding with a constant is supported")
    kind, attrs = _padding(builder, node, builder.tensors[x])
    rank, given = len(perm), amounts or []
    axes = _ints(builder, node, 3, "axes") or list(range(rank))
    pairs = {axis % rank: (given[i], given[i + len(axes)]) for i, axis in enumerate(axes)}
    if min(given, default=0) < 0:
        raise builder.fail(node, "amounts must not be negative; crop with Slice")
    shape = builder.shape(node.outputs[0])
    y = builder.emit(kind, [x], _name(builder, node, last), [shape[axis] for axis in perm],
                     {"paddings": tuple(pairs.get(axis, (0, 0)) for axis in perm), **attrs})
    builder.set(node.outputs[0], y, last)


def _slice(builder: GraphBuilder, source: str, name: str, picks: dict[int, tuple[int, int, int]]) -> str:
    """Take (begin, size, stride) along each axis of `picks`, and the other axes whole."""
    full = [picks.get(axis, (0, size, 1)) for axis, size in enumerate(builder.tensors[source].shape)]
    begin, size, stride = (tuple(column) for column in zip(*full, strict=True))
    return builder.emit("SLICE", [source], name, size, {"begin": begin, "size": size, "stride": stride})


def slice_(builder: GraphBuilder, node: Node) -> None:
    """Convert Slice."""
    starts, ends = _ints(builder, node, 1, "starts"), _ints(builder, node, 2, "ends")
    if starts is None or ends is None:
        raise builder.fail(node, "starts and ends must be given")
    x, last, perm = _any_order(builder, node)
    shape, rank = builder.shape(node.inputs[0]), len(perm)
    axes = _ints(builder, node, 3, "axes") or list(range(len(starts)))
    steps = _ints(builder, node, 4, "steps") or [1] * len(starts)
    picks = {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        chosen = range(*slice(start, end, step).indices(shape[axis % rank]))
        picks[perm.index(axis % rank)] = (chosen[0], len(chosen), step)
    builder.set(node.outputs[0], _slice(builder, x, _name(builder, node, last), picks), last)


def split(builder: GraphBuilder, node: Node) -> None:
    """Convert Split to one SLICE per part."""
    x, last, perm = _any_order(builder, node)
    axis, begin = int(node.attrs.get("axis", 0)) % len(perm), 0
    for i, output in enumerate(node.outputs):
        size = builder.shape(output)[axis]
        part = _slice(builder, x, _name(builder, node, last, i), {perm.index(axis): (begin, size, 1)})
        builder.set(output, part, last)
        begin += size


def gather(builder: GraphBuilder, node: Node) -> None:
    """Convert Gather of one constant index, which is a slice without its axis."""
    if not builder.is_constant(node.inputs[1]) or builder.model.constants[node.inputs[1]].size != 1:
        raise builder.fail(node, "only one constant index is supported")
    x, rank = builder.get(node.inputs[0]), len(builder.shape(node.inputs[0]))
    axis = int(node.attrs.get("axis", 0)) % rank
    index = int(builder.model.constants[node.inputs[1]].reshape(())) % builder.shape(node.inputs[0])[axis]
    picked = _slice(builder, x, f"{node.name}/picked", {axis: (index, 1, 1)})
    builder.set(node.outputs[0], builder.reshape(picked, builder.shape(node.outputs[0]), node.outputs[0]))


CONVERTERS: dict[str, Converter] = {
    **dict.fromkeys((*_UNARY, "LeakyRelu"), unary),
    **dict.fromkeys(_BINARY, binary),
    **dict.fromkeys(_REDUCTIONS, reduction),
    **dict.fromkeys(("Cast", "Dropout", "Identity"), identity),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), reshape),
    "ArgMax": arg_max,
    "Clip": clip,
    "Concat": concat,
    "Gather": gather,
    "Gemm": gemm,
    "HardSigmoid": hard_sigmoid,
    "MatMul": matmul,
    "Pad": pad,
    "Slice": slice_,
    "Softmax": softmax,
    "Split": split,
    "Transpose": transpose,
}
"""Converter of each supported operator."""
