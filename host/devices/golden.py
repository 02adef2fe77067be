"""Golden device: executes a graph with the NumPy golden operators; the oracle of every other device."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...models import ops
from ..errors import ShapeError
from ..graph import Graph, Op
from ..quantparams import WEIGHTED, parameters

Arrays = Mapping[str, np.ndarray]


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

    Raises:
        ShapeError: as for `execute`, or inputs hold different numbers of samples, or none.
    """
    counts = {len(array) if array.ndim else 0 for array in inputs.values()}
    if len(counts) != 1 or counts == {0}:
        raise ShapeError(f"inputs must hold the same number (>= 1) of samples along axis 0, not {sorted(counts)}")
    results = [execute(graph, {name: array[i : i + 1] for name, array in inputs.items()}) for i in range(*counts)]
    return {name: np.concatenate([result[name] for result in results]) for name in graph.outputs}


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


def _pool(graph: Graph, op: Op, args: list[np.ndarray]) -> np.ndarray:
    kernel: Callable[..., np.ndarray] = ops.max_pool2d if op.kind == "MAX_POOL_2D" else ops.average_pool2d
    options = {key: op.attrs[key] for key in ("kernel", "stride", "pads")}
    return kernel(*args, **options, **parameters(graph, op))


def _quantize(graph: Graph, op: Op, args: list[np.ndarray]) -> np.ndarray:
    kernel: Callable[..., np.ndarray] = ops.quantize if args[0].dtype == np.float32 else ops.requantize_tensor
    return kernel(*args, **parameters(graph, op))


def _mean(graph: Graph, op: Op, args: list[np.ndarray]) -> np.ndarray:
    return ops.mean(args[0], op.attrs["axes"], op.attrs["keepdims"], **parameters(graph, op))


_WEIGHTED_KERNELS: dict[str, Callable[..., np.ndarray]] = {
    "CONV_2D": ops.conv2d,
    "DEPTHWISE_CONV_2D": ops.depthwise_conv2d,
    "FULLY_CONNECTED": ops.fully_connected,
}

_KERNELS: dict[str, Callable[[Graph, Op, list[np.ndarray]], np.ndarray]] = {
    **dict.fromkeys(WEIGHTED, _weighted),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), _pool),
    "ADD": lambda graph, op, args: ops.add(*args, **parameters(graph, op)),
    "DEQUANTIZE": lambda graph, op, args: ops.dequantize(*args, **parameters(graph, op)),
    "MEAN": _mean,
    "PAD": lambda graph, op, args: ops.pad(args[0], op.attrs["paddings"], **parameters(graph, op)),
    "QUANTIZE": _quantize,
    "RESHAPE": lambda graph, op, args: ops.reshape(args[0], graph.result(op).shape),
    "SOFTMAX": lambda graph, op, args: ops.softmax(*args, **parameters(graph, op)),
}
