"""Run a graph on float32 values."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...models import ops_float
from ..devices.golden import execute_op
from ..errors import UnsupportedOperatorError
from ..graph import Graph, Op
from .real import real_value

_Kernel = Callable[..., np.ndarray]

_WEIGHTED: dict[str, _Kernel] = {
    "CONV_2D": ops_float.conv2d,
    "DEPTHWISE_CONV_2D": ops_float.depthwise_conv2d,
    "TRANSPOSE_CONV": ops_float.transpose_conv2d,
}

# Kernels that take the attributes as they are; `execute_op` runs what has one kernel for integers and reals.
_PLAIN: dict[str, _Kernel] = {
    "AVERAGE_POOL_2D": ops_float.average_pool2d,
    "BATCH_MATMUL": ops_float.batch_matmul,
    "MAX_POOL_2D": ops_float.max_pool2d,
    "PAD": ops_float.pad,
}

_REDUCTIONS = {"MEAN": np.mean, "REDUCE_MAX": np.max, "REDUCE_MIN": np.min, "SUM": np.sum}


def constants(graph: Graph) -> dict[str, np.ndarray]:
    """Return the real values of the constants of `graph` by name, integers that are not quantised as they are."""
    return {name: real_value(tensor) if tensor.quant is not None or tensor.data.dtype.kind == "f" else tensor.data
            for name, tensor in graph.tensors.items() if tensor.data is not None}


def execute(graph: Graph, inputs: Mapping[str, np.ndarray], fixed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return every tensor of a float graph for one sample.

    Args:
        graph: graph on float32 tensors without QUANTIZE and DEQUANTIZE.
        inputs: arrays by input name.
        fixed: what `constants` returned.

    Raises:
        UnsupportedOperatorError: there is no float operator of a kind.
    """
    values = {**fixed, **inputs}
    for op in graph.ops:
        try:
            values[op.outputs[0]] = _run(graph, op, values)
        except KeyError as error:
            raise UnsupportedOperatorError(f"{graph.name}: {op.kind} at tensor '{op.outputs[0]}' cannot run on "
                                           "float32; replace it in the model") from error
    return values


def _run(graph: Graph, op: Op, values: Mapping[str, np.ndarray]) -> np.ndarray:
    args, shape = [values[name] for name in op.inputs], graph.result(op).shape
    if op.kind in _WEIGHTED:
        return _WEIGHTED[op.kind](*args, *[None] * (3 - len(args)), **op.attrs)
    if op.kind == "FULLY_CONNECTED":
        bias = args[2] if len(args) > 2 else None
        return ops_float.fully_connected(args[0], args[1], bias, activation=op.attrs["activation"]).reshape(shape)
    if op.kind in _PLAIN:
        return _PLAIN[op.kind](*args, **op.attrs)
    if op.kind in _REDUCTIONS:
        return ops_float.reduce_(args[0], _REDUCTIONS[op.kind], **op.attrs)
    if op.kind == "RESIZE_BILINEAR":
        return ops_float.resize_bilinear(args[0], size=(shape[1], shape[2]), **op.attrs)
    (result,) = execute_op(graph, op, values)
    return result
