"""Integer parameters of the operators of a graph: the one place where scales become multipliers and shifts.

The golden device and the compiler both take them from here, so they cannot disagree.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..models.ops import AddParams
from ..models.quantise import activation_range, conv_scale, quantize_multiplier, quantize_multipliers
from ..models.softmax import softmax_scaling
from .graph import Graph, Op

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")


def conv_requant(graph: Graph, op: Op) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return (multiplier, shift) of each output channel of a convolution or fully connected layer, int64 [channels].

    Raises:
        ValueError: the scales are out of range.
    """
    x, weights = graph.operands(op)[:2]
    y = graph.result(op)
    if weights.quant is None:
        raise ValueError(f"weights '{weights.name}' must be quantised")
    mult, shift = quantize_multipliers(conv_scale(x.scale, weights.quant.scale, y.scale))
    channels = y.shape[-1]
    return np.broadcast_to(mult, (channels,)), np.broadcast_to(shift, (channels,))


def act_range(graph: Graph, op: Op) -> tuple[int, int]:
    """Return (minimum, maximum) of the int8 output of `op` after its fused activation."""
    y = graph.result(op)
    return activation_range(op.attrs.get("activation", "NONE"), y.scale, y.zero_point)


def add_params(graph: Graph, op: Op) -> AddParams:
    """Return the integer parameters of an ADD."""
    a, b = graph.operands(op)
    y = graph.result(op)
    ends = act_range(graph, op)
    return AddParams.from_scales(a.scale, a.zero_point, b.scale, b.zero_point, y.scale, y.zero_point, *ends)


def rescale(graph: Graph, op: Op) -> tuple[int, int]:
    """Return (multiplier, shift) that take the input scale of a one-input operator to its output scale."""
    (x,), y = graph.operands(op), graph.result(op)
    return quantize_multiplier(x.scale / y.scale)


def parameters(graph: Graph, op: Op) -> dict[str, Any]:
    """Return the integer parameters of `op` as keyword arguments of its golden operator in `models.ops`.

    Raises:
        ValueError: the scales of the operator are out of range.
    """
    x, y = graph.operands(op)[0], graph.result(op)
    if op.kind in WEIGHTED:
        mult, shift = conv_requant(graph, op)
        act_min, act_max = act_range(graph, op)
        found = {"x_zp": x.zero_point, "y_zp": y.zero_point, "mult": mult, "shift": shift,
                 "act_min": act_min, "act_max": act_max}
        if op.kind == "FULLY_CONNECTED":
            weights = graph.tensors[op.inputs[1]].quant
            found["w_zp"] = weights.zero_point[0] if weights else 0
        return found
    if op.kind in POOLS:
        act_min, act_max = act_range(graph, op)
        return {"act_min": act_min, "act_max": act_max}
    if op.kind == "ADD":
        return {"params": add_params(graph, op)}
    if op.kind == "MEAN" or (op.kind == "QUANTIZE" and x.dtype != "float32"):
        mult_one, shift_one = rescale(graph, op)
        found = {"x_zp": x.zero_point, "y_zp": y.zero_point, "mult": mult_one, "shift": shift_one}
        return found if op.kind == "MEAN" else {**found, "dtype": y.dtype}
    if op.kind == "QUANTIZE":
        return {"scale": y.scale, "zp": y.zero_point, "dtype": y.dtype}
    if op.kind == "DEQUANTIZE":
        return {"scale": x.scale, "zp": x.zero_point}
    if op.kind == "SOFTMAX":
        softmax_scaling(x.scale, op.attrs["beta"])  # raises when the scale cannot be represented
        return {"input_scale": x.scale, "beta": op.attrs["beta"]}
    if op.kind == "PAD":
        return {"value": y.zero_point}
    return {}
