"""Give weights with a zero point, which uint8 networks have, the zero point 0 that the array computes with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..graph import Graph, Op, QuantParams, Tensor
from ..quantparams import WEIGHTED


def symmetric_weights(graph: Graph) -> Graph:
    """Return `graph` with the zero point subtracted from all weights.

    The differences have 9 bits. Where 8 do not hold them all, each becomes a sum of two weights, and the layer reads
    its input twice, channels side by side: (x - x_zp) * (a + b) = (x - x_zp) * a + (x - x_zp) * b. A depthwise
    convolution then is one of groups of two channels.
    """
    tensors, ops = dict(graph.tensors), list[Op]()
    for op in graph.ops:
        weights = tensors[op.inputs[1]] if op.kind in WEIGHTED else None
        if weights is None or weights.quant is None or weights.data is None or not any(weights.quant.zero_point):
            ops.append(op)
            continue
        centred = weights.data.astype(np.int16) - weights.quant.zero_point[0]
        quant = QuantParams(weights.quant.scale, (0,))
        if -128 <= centred.min() and centred.max() <= 127:
            data = centred.astype(np.int8)
        else:
            op, data, twice = _doubled(op, tensors[op.inputs[0]], centred)
            tensors[twice[1].name] = twice[1]
            ops.append(twice[0])
        name = f"{weights.name}#{op.name}"
        tensors[name] = Tensor(name, data.shape, "int8", quant, data)
        ops.append(replace(op, inputs=(op.inputs[0], name, *op.inputs[2:])))
    return replace(graph, tensors=tensors).with_ops(ops)


def _doubled(op: Op, x: Tensor, weights: np.ndarray) -> tuple[Op, np.ndarray, tuple[Op, Tensor]]:
    """Return the operator that reads `x` twice, its weights, and the operator that doubles x with its result."""
    channels = x.shape[-1]
    halves: list[np.ndarray] = [(weights >> 1).astype(np.int8), (weights - (weights >> 1)).astype(np.int8)]
    attrs: dict[str, Any] = dict(op.attrs)
    kind = op.kind
    if kind == "FULLY_CONNECTED" and weights.shape[1] % channels == 0:
        pixels = [half.reshape(len(weights), -1, channels) for half in halves]
        data = np.concatenate(pixels, axis=2).reshape(len(weights), -1)
    elif kind == "TRANSPOSE_CONV" or (kind == "CONV_2D" and attrs["groups"] == 1):
        data = np.concatenate(halves, axis=3)
    else:  # neighbours in the order of channels, which groups need, and rows that are no whole pixels
        if kind == "DEPTHWISE_CONV_2D":
            kind, attrs["groups"] = "CONV_2D", channels
            del attrs["multiplier"]
            halves = [half.transpose(3, 1, 2, 0) for half in halves]
        data = np.stack(halves, axis=-1).reshape(*halves[0].shape[:-1], -1)
        return _reading(replace(op, kind=kind, attrs=attrs), data, x, "GATHER",
                        {"indices": tuple(np.repeat(np.arange(channels), 2).tolist())})
    return _reading(op, data, x, "CONCATENATION", {})


def _reading(op: Op, data: np.ndarray, x: Tensor, kind: str,
             attrs: dict[str, Any]) -> tuple[Op, np.ndarray, tuple[Op, Tensor]]:
    axis = len(x.shape) - 1
    twice = Tensor(f"{x.name}#{op.name}", (*x.shape[:-1], 2 * x.shape[-1]), x.dtype, x.quant)
    inputs = (x.name, x.name) if kind == "CONCATENATION" else (x.name,)
    double = Op(kind, f"{op.name}_input", inputs, (twice.name,), {"axis": axis, **attrs})
    return replace(op, inputs=(twice.name, *op.inputs[1:])), data, (double, twice)
