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

    An operator merges with the one before it where nothing else reads what lies between.
    """
    tensors, made = dict(graph.tensors), dict[str, Op]()  # by output
    for op in graph.ops:
        passed = op.inputs[0]
        before = made.get(passed)
        (y,) = op.outputs
        made[y] = op
        if before is None or graph.consumers(passed) != (op,) or passed in graph.outputs:
            continue
        merged = _merged(tensors, before, op)
        if merged is not None:
            del made[passed]
            made[y] = merged
    return replace(graph, tensors=tensors).with_ops(made.values())


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
    other, y = tensors[op.inputs[1]], tensors[op.outputs[0]]
    if other.data is None or y.shape != tensors[before.outputs[0]].shape:
        return None
    channels = y.shape[-1]
    if other.size not in (1, channels) or (other.size > 1 and other.shape[-1] != channels):
        return None
    return np.broadcast_to(real_value(other).ravel(), (channels,)).astype(np.float32)


def _constant(tensors: dict[str, Tensor], name: str, values: np.ndarray) -> str:
    values = values.astype(np.float32)
    tensors[name] = Tensor(name, values.shape, "float32", None, values)
    return name
