"""Integer parameters of the operators of a graph: the one place where scales become multipliers and shifts.

The golden device and the compiler both take them from here, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..models import ops, ops_real
from ..models.ops import AddParams
from ..models.quantise import activation_range, conv_scale, quantize_multiplier, quantize_multipliers
from ..models.softmax import softmax_scaling
from .graph import Graph, Op, QuantParams, Tensor

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
POOLS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")
REDUCTIONS = ("MEAN", "REDUCE_MAX", "REDUCE_MIN", "SUM")

UNARY = ("ABS", "ELU", "EXP", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "RELU", "RELU6", "RELU_N1_TO_1", "TANH")
"""The operators from int8 to int8 that are a `table`."""

FIXED_OUTPUT = {
    "LOGISTIC": QuantParams((1 / 256,), (-128,)),
    "SOFTMAX": QuantParams((1 / 256,), (-128,)),
    "TANH": QuantParams((1 / 128,), (0,)),
}
"""Operators whose output quantisation the reference kernels fix, whatever the model says."""


def conv_requant(graph: Graph, op: Op) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return (multiplier, shift) of each output channel of an operator with weights, int64 [channels].

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
    """Return the integer parameters of an ADD or SUB."""
    a, b = graph.operands(op)
    y = graph.result(op)
    ends = act_range(graph, op)
    return AddParams.from_scales(a.scale, a.zero_point, b.scale, b.zero_point, y.scale, y.zero_point, *ends)


def rescale(graph: Graph, op: Op) -> tuple[int, int]:
    """Return (multiplier, shift) that take the input scale of a one-input operator to its output scale."""
    (x,), y = graph.operands(op), graph.result(op)
    return quantize_multiplier(x.scale / y.scale)


def product(graph: Graph, op: Op) -> tuple[int, int]:
    """Return (multiplier, shift) of a product of the two operands: a_scale * b_scale / y_scale."""
    (a, b), y = graph.operands(op), graph.result(op)
    return quantize_multiplier(a.scale * b.scale / y.scale)


def table(graph: Graph, op: Op) -> npt.NDArray[np.int8]:
    """Return the results of an operator of `UNARY` for all inputs, int8 [256]; entry x + 128 is that of x.

    Raises:
        ValueError: the scales of the operator are out of range.
    """
    (x,), y = graph.operands(op), graph.result(op)
    scales: dict[str, Any] = {"x_scale": x.scale, "x_zp": x.zero_point, "y_scale": y.scale, "y_zp": y.zero_point}
    if op.kind in ("RELU", "RELU6", "RELU_N1_TO_1", "ABS"):
        mult, shift = rescale(graph, op)
        found = {"x_zp": x.zero_point, "y_zp": y.zero_point, "mult": mult, "shift": shift}
        if op.kind == "ABS":
            return ops.abs_table(**found)
        act_min, act_max = activation_range(op.kind, y.scale, y.zero_point)
        return ops.relu_table(**found, act_min=act_min, act_max=act_max)
    if op.kind == "LEAKY_RELU":
        return ops.leaky_relu_table(**scales, alpha=op.attrs["alpha"])
    if op.kind == "HARD_SWISH":
        return ops.hard_swish_table(**scales)
    if op.kind == "LOGISTIC":
        return ops.logistic_table(x_scale=x.scale, x_zp=x.zero_point)
    if op.kind == "TANH":
        return ops.tanh_table(x_scale=x.scale, x_zp=x.zero_point)
    return ops.real_table(ops_real.UNARY[op.kind], **scales)


def parameters(graph: Graph, op: Op) -> dict[str, Any]:
    """Return the integer parameters of `op` as keyword arguments of its golden operator in `models.ops`.

    Raises:
        ValueError: the scales of the operator are out of range.
    """
    x, y = graph.operands(op)[0], graph.result(op)
    if op.kind == "QUANTIZE":
        return _quantize(graph, op, x, y)
    if op.kind == "DEQUANTIZE":
        return {"scale": x.scale, "zp": x.zero_point}
    if x.dtype != "int8" or op.kind not in _PARAMETERS:
        return {}
    return _PARAMETERS[op.kind](graph, op, x, y)


def _quantize(graph: Graph, op: Op, x: Tensor, y: Tensor) -> dict[str, Any]:
    if x.dtype == "float32":
        return {"scale": y.scale, "zp": y.zero_point, "dtype": y.dtype}
    return {**_rescaled(graph, op, x, y), "dtype": y.dtype}


def _rescaled(graph: Graph, op: Op, x: Tensor, y: Tensor) -> dict[str, Any]:
    mult, shift = rescale(graph, op)
    return {"x_zp": x.zero_point, "y_zp": y.zero_point, "mult": mult, "shift": shift}


def _weighted(graph: Graph, op: Op, x: Tensor, y: Tensor) -> dict[str, Any]:
    mult, shift = conv_requant(graph, op)
    weights = graph.tensors[op.inputs[1]].quant
    return {"x_zp": x.zero_point, "w_zp": weights.zero_point[0] if weights else 0, "y_zp": y.zero_point,
            "mult": mult, "shift": shift, **_clamped(graph, op, x, y)}


def _clamped(graph: Graph, op: Op, x: Tensor, y: Tensor) -> dict[str, Any]:
    act_min, act_max = act_range(graph, op)
    return {"act_min": act_min, "act_max": act_max}


def _product(graph: Graph, op: Op, x: Tensor, y: Tensor) -> dict[str, Any]:
    mult, shift = product(graph, op)
    found = {"a_zp": x.zero_point, "b_zp": graph.operands(op)[1].zero_point, "y_zp": y.zero_point,
             "mult": mult, "shift": shift}
    return {**found, **_clamped(graph, op, x, y)} if op.kind == "MUL" else found


def _prelu(graph: Graph, op: Op, x: Tensor, y: Tensor) -> dict[str, Any]:
    mult, shift = quantize_multiplier(x.scale / y.scale)
    alpha_mult, alpha_shift = product(graph, op)
    return {"x_zp": x.zero_point, "alpha_zp": graph.operands(op)[1].zero_point, "y_zp": y.zero_point, "mult": mult,
            "shift": shift, "alpha_mult": alpha_mult, "alpha_shift": alpha_shift}


def _softmax(graph: Graph, op: Op, x: Tensor, y: Tensor) -> dict[str, Any]:
    softmax_scaling(x.scale, op.attrs["beta"])  # raises when the scale cannot be represented
    return {"input_scale": x.scale, "beta": op.attrs["beta"]}


_PARAMETERS: dict[str, Callable[[Graph, Op, Tensor, Tensor], dict[str, Any]]] = {
    **dict.fromkeys(WEIGHTED, _weighted),
    **dict.fromkeys(POOLS, _clamped),
    **dict.fromkeys(UNARY, lambda graph, op, x, y: {"table": table(graph, op)}),
    **dict.fromkeys(("ADD", "SUB"), lambda graph, op, x, y: {"params": add_params(graph, op)}),
    **dict.fromkeys(("BATCH_MATMUL", "MUL"), _product),
    **dict.fromkeys(("MEAN", "SUM"), _rescaled),
    **dict.fromkeys(("PAD", "SPACE_TO_BATCH_ND"), lambda graph, op, x, y: {"value": y.zero_point}),
    "PRELU": _prelu,
    "SOFTMAX": _softmax,
}
