"""Golden device: executes a graph with the NumPy golden operators; the oracle of every other device."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...models import ops, ops_real
from ..errors import ShapeError
from ..graph import Graph, Op
from ..quantparams import UNARY, WEIGHTED, parameters

Arrays = Mapping[str, np.ndarray]
Kernel = Callable[[Graph, Op, list[np.ndarray]], np.ndarray]


class GoldenDevice:
    """Executes one graph; inputs and outputs are keyed by tensor name.

    Args:
        graph: a verified graph.
    """

    name = "golden"

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Run one sample; see `execute`."""
        return execute(self.graph, inputs)


def execute(graph: Graph, inputs: Arrays) -> dict[str, np.ndarray]:
    """Return the outputs of `graph` for one sample.

    Args:
        graph: a verified graph.
        inputs: one array per graph input, of exactly its shape and dtype.

    Raises:
        ShapeError: an input is missing, unknown, or of another shape or dtype.
    """
    check_inputs(graph, inputs)
    values = constants(graph) | dict(inputs)
    for op in graph.ops:
        values.update(zip(op.outputs, execute_op(graph, op, values), strict=True))
    return {name: values[name] for name in graph.outputs}


def execute_batch(graph: Graph, inputs: Arrays) -> dict[str, np.ndarray]:
    """Return the outputs of `graph` for samples stacked along axis 0 of every input (and of every output).

    One sample takes as many entries of axis 0 as the model declares, mostly 1.

    Raises:
        ShapeError: as for `execute`, or inputs hold different numbers of samples, or none.
    """
    sizes = {name: graph.tensors[name].shape[0] if graph.tensors[name].shape else 1 for name in inputs}
    counts = {divmod(len(array) if array.ndim else 0, sizes[name]) for name, array in inputs.items()}
    ((count, rest),) = counts if len(counts) == 1 else ((0, 0),)
    if not count or rest:
        lengths = sorted({len(array) if array.ndim else 0 for array in inputs.values()})
        raise ShapeError(f"inputs must hold the same number (>= 1) of samples along axis 0, not {lengths}")
    results = [execute(graph, {name: array[i * sizes[name] : (i + 1) * sizes[name]] for name, array in inputs.items()})
               for i in range(count)]
    return {name: np.concatenate([np.atleast_1d(result[name]) for result in results]) for name in graph.outputs}


def constants(graph: Graph) -> dict[str, np.ndarray]:
    """Return the data of the constant tensors of `graph` by name."""
    return {name: tensor.data for name, tensor in graph.tensors.items() if tensor.data is not None}


def check_inputs(graph: Graph, inputs: Arrays) -> None:
    """Raise `ShapeError` unless `inputs` has exactly the graph's inputs with their shapes and dtypes."""
    if set(inputs) != set(graph.inputs):
        raise ShapeError(f"inputs must be named {sorted(graph.inputs)}, not {sorted(inputs)}")
    for name in graph.inputs:
        tensor, array = graph.tensors[name], inputs[name]
        if (array.shape, array.dtype.name) != (tensor.shape, tensor.dtype):
            raise ShapeError(f"input '{name}' must be {tensor.dtype} {tensor.shape}, not {array.dtype} {array.shape}")


def execute_op(graph: Graph, op: Op, values: Arrays) -> list[np.ndarray]:
    """Return the outputs of one operator; `values` must hold all its inputs, constants included."""
    return [_KERNELS[op.kind](graph, op, [values[name] for name in op.inputs])]


def _weighted(graph: Graph, op: Op, args: list[np.ndarray]) -> np.ndarray:
    x, weights, *bias = args
    options = {key: op.attrs[key] for key in ("stride", "pads", "dilation", "groups", "multiplier") if key in op.attrs}
    kernel: Callable[..., np.ndarray] = _WEIGHTED_KERNELS[op.kind]
    if op.kind == "FULLY_CONNECTED":
        x = x.reshape(-1, weights.shape[1])
    y = kernel(x, weights, bias[0] if bias else None, **options, **parameters(graph, op))
    return y.reshape(graph.result(op).shape)


def _quantize(graph: Graph, op: Op, args: list[np.ndarray]) -> np.ndarray:
    kernel: Callable[..., np.ndarray] = ops.quantize if args[0].dtype == np.float32 else ops.requantize_tensor
    return kernel(*args, **parameters(graph, op))


def _call(kernel: Callable[..., np.ndarray], *attrs: str) -> Kernel:
    """Return what calls a golden operator with these attributes and the integer parameters."""
    return lambda graph, op, args: kernel(*args, **{key: op.attrs[key] for key in attrs}, **parameters(graph, op))


def _unary(graph: Graph, op: Op, args: list[np.ndarray]) -> np.ndarray:
    if args[0].dtype == np.int8:
        return ops.lookup(args[0], **parameters(graph, op))
    if op.kind == "LEAKY_RELU":
        return ops_real.leaky_relu(args[0], op.attrs["alpha"])
    return ops_real.UNARY[op.kind](args[0])


def _binary(kernel: Callable[..., np.ndarray]) -> Kernel:
    """Return what calls a golden operator on two int8 arrays, or the plain operator on other dtypes."""
    def run(graph: Graph, op: Op, args: list[np.ndarray]) -> np.ndarray:
        if args[0].dtype == np.int8:
            return kernel(*args, **parameters(graph, op))
        return ops_real.clamp(ops_real.BINARY[op.kind](*args), op.attrs.get("activation", "NONE"))
    return run


def _prelu(graph: Graph, op: Op, args: list[np.ndarray]) -> np.ndarray:
    return ops.prelu(*args, **parameters(graph, op)) if args[0].dtype == np.int8 else ops_real.prelu(*args)


def _softmax(graph: Graph, op: Op, args: list[np.ndarray]) -> np.ndarray:
    if args[0].dtype == np.int8:
        return ops.softmax(*args, **parameters(graph, op))
    return ops_real.softmax(*args, beta=op.attrs["beta"])


_WEIGHTED_KERNELS: dict[str, Callable[..., np.ndarray]] = {
    "CONV_2D": ops.conv2d,
    "DEPTHWISE_CONV_2D": ops.depthwise_conv2d,
    "FULLY_CONNECTED": ops.fully_connected,
    "TRANSPOSE_CONV": ops.transpose_conv2d,
}

_KERNELS: dict[str, Kernel] = {
    **dict.fromkeys(WEIGHTED, _weighted),
    **dict.fromkeys((*UNARY, "NEG"), _unary),
    "ADD": _binary(ops.add),
    "ARG_MAX": lambda graph, op, args: ops.arg_max(*args, axis=op.attrs["axis"], dtype=graph.result(op).dtype),
    "AVERAGE_POOL_2D": _call(ops.average_pool2d, "kernel", "stride", "pads"),
    "BATCH_MATMUL": _call(ops.batch_matmul, "adj_x", "adj_y"),
    "BATCH_TO_SPACE_ND": _call(ops.batch_to_space, "block", "crops"),
    "CONCATENATION": _call(ops.concatenate, "axis"),
    "DEQUANTIZE": _call(ops.dequantize),
    "GATHER": _call(ops.gather, "axis", "indices"),
    "MAXIMUM": _binary(ops.maximum),
    "MAX_POOL_2D": _call(ops.max_pool2d, "kernel", "stride", "pads"),
    "MEAN": _call(ops.mean, "axes", "keepdims"),
    "MINIMUM": _binary(ops.minimum),
    "MUL": _binary(ops.mul),
    "PAD": _call(ops.pad, "paddings"),
    "PADV2": _call(ops.pad, "paddings", "value"),
    "PRELU": _prelu,
    "QUANTIZE": _quantize,
    "REDUCE_MAX": _call(ops.reduce_max, "axes", "keepdims"),
    "REDUCE_MIN": _call(ops.reduce_min, "axes", "keepdims"),
    "RESHAPE": lambda graph, op, args: ops.reshape(args[0], graph.result(op).shape),
    "RESIZE_BILINEAR": lambda graph, op, args: ops.resize_bilinear(
        *args, size=graph.result(op).shape[1:3], **op.attrs),
    "RESIZE_NEAREST_NEIGHBOR": lambda graph, op, args: ops.resize_nearest(
        *args, size=graph.result(op).shape[1:3], **op.attrs),
    "SLICE": _call(ops.slice_, "begin", "size", "stride"),
    "SOFTMAX": _softmax,
    "SPACE_TO_BATCH_ND": _call(ops.space_to_batch, "block", "paddings"),
    "SUB": _binary(ops.sub),
    "SUM": _call(ops.sum_, "axes", "keepdims"),
    "TABLE": _call(ops.lookup),
    "TRANSPOSE": _call(ops.transpose, "perm"),
}
