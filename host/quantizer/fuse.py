"""Fusions on float graphs: activations and per-channel factors and terms move into the operator before them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...models.quantise import ACTIVATIONS
from ..graph import Graph, Op, Tensor
from .integer import CHANNEL_AXIS
from .real import real_value

#: Operators that take a fused activation.
ACTIVATED = frozenset({"ADD", "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D",
                       "MUL", "SUB", "TRANSPOSE_CONV"})


def fuse(graph: Graph) -> Graph:
    """Return `graph` with batch normalisation folded into weights, constant terms into biases, and activations fused.

    An operator merges with the one before it where nothing else reads what lies between; a RESHAPE between them that
    keeps the channels then comes behind both.
    """
    tensors, made = dict(graph.tensors), dict[str, Op]()  # by output
    for op in graph.ops:
        (y,) = op.outputs
        made[y] = op
        between, before = [op.inputs[0]], made.get(op.inputs[0])
        reshape = before if before is not None and _keeps_channels(graph, before) else None
        if reshape is not None:
            between.append(reshape.inputs[0])
            before = made.get(reshape.inputs[0])
        if before is None or any(len(graph.consumers(name)) > 1 or name in graph.outputs for name in between):
            continue
        merged = _merged(tensors, before, op)
        if merged is None:
            continue
        del made[op.inputs[0]]
        made[y] = merged
        if reshape is not None:
            made[reshape.inputs[0]] = replace(merged, outputs=reshape.inputs)
            made[y] = replace(reshape, outputs=op.outputs)
    return replace(graph, tensors=tensors).with_ops(made.values())


def _keeps_channels(graph: Graph, op: Op) -> bool:
    """Say whether `op` is a RESHAPE of all but the last axis, as behind the convolutions of one-dimensional signals."""
    return op.kind == "RESHAPE" and graph.result(op).shape[-1:] == graph.tensors[op.inputs[0]].shape[-1:] != ()


def _merged(tensors: dict[str, Tensor], before: Op, op: Op) -> Op | None:
    """Return `before` and `op` as one operator, None where that is not possible; new constants go to `tensors`."""
    if before.attrs.get("activation", "NONE") != "NONE":
        return None
    if op.kind in ACTIVATIONS and before.kind in ACTIVATED:
        return replace(before, outputs=op.outputs, attrs={**before.attrs, "activation": op.kind})
    if op.kind not in ("ADD", "MUL", "SUB") or before.kind not in CHANNEL_AXIS:
        return None
    values = _per_channel(tensors, before, op)
    weights = tensors[before.inputs[1]]
    if values is None or weights.data is None:
        return None
    bias = real_value(tensors[before.inputs[2]]) if len(before.inputs) > 2 else np.zeros_like(values)
    if op.kind == "MUL":
        if weights.quant is not None:  # given as integers
            return None
        shape = [1] * len(weights.shape)
        shape[CHANNEL_AXIS[before.kind]] = -1
        name = _constant(tensors, f"{weights.name}*{op.inputs[1]}", real_value(weights) * values.reshape(shape))
        bias = bias * values
    else:
        name = weights.name
        bias = bias + values if op.kind == "ADD" else bias - values
    inputs = (before.inputs[0], name, _constant(tensors, f"{op.outputs[0]}/bias", bias))
    attrs = {**before.attrs, "activation": op.attrs.get("activation", "NONE")}
    return replace(before, inputs=inputs, outputs=op.outputs, attrs=attrs)


def _per_channel(tensors: dict[str, Tensor], before: Op, op: Op) -> np.ndarray | None:
    """Return the constant operand of `op` as one float32 per output channel of `before`, None if it is not that."""
    x, other, y = (tensors[name] for name in (*op.inputs, *op.outputs))
    if other.data is None or y.shape != x.shape:
        return None
    channels = y.shape[-1]
    if other.size not in (1, channels) or (other.size > 1 and other.shape[-1] != channels):
        return None
    return np.broadcast_to(real_value(other).ravel(), (channels,)).astype(np.float32)


def _constant(tensors: dict[str, Tensor], name: str, values: np.ndarray) -> str:
    values = values.astype(np.float32)
    tensors[name] = Tensor(name, values.shape, "float32", None, values)
    return name
