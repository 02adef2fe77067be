"""Build a graph from an ONNX model while its NCHW tensors become NHWC.

An ONNX tensor may exist in the graph in the model's order, with its channels last, or both; `GraphBuilder.get` makes
the missing one. Constants are rearranged at once, activations by a TRANSPOSE, or a RESHAPE where no element moves.
The graph's own inputs and outputs keep the model's order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import UnsupportedOperatorError
from ..graph import Graph, Op, QuantParams, Tensor
from ..passes.remove_unused import remove_unused
from ..quantizer.real import real_value
from .onnx_model import Node, OnnxModel

UNSIGNED_OFFSET = 128  # uint8 tensors become int8, so much less throughout


def channels_last(rank: int) -> tuple[int, ...]:
    """Return the permutation that takes a tensor from the model's order to channels last."""
    return (0, *range(2, rank), 1) if rank > 2 else tuple(range(rank))


def inverse(perm: Sequence[int]) -> tuple[int, ...]:
    """Return the permutation that undoes `perm`."""
    return tuple(int(axis) for axis in np.argsort(perm))


def signed(quant: QuantParams) -> QuantParams:
    """Return the parameters of a uint8 tensor after 128 was subtracted from it."""
    return QuantParams(quant.scale, tuple(zp - UNSIGNED_OFFSET for zp in quant.zero_point), quant.axis)


class GraphBuilder:
    """Collects the tensors and operators of the graph, by the names of the ONNX tensors.

    Attributes:
        model: the ONNX model.
        tensors: tensors of the graph by their own names.
    """

    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self.tensors: dict[str, Tensor] = {}
        self._ops: list[Op] = []
        self._plain: dict[str, str] = {}  # ONNX tensor -> graph tensor in the model's order
        self._last: dict[str, str] = {}  # ONNX tensor -> graph tensor with channels last

    def fail(self, node: Node, problem: str) -> UnsupportedOperatorError:
        """Return the error that says that `node` cannot be converted and why."""
        return UnsupportedOperatorError(f"{self.model.name}: {node.kind} at tensor '{node.outputs[0]}': {problem}")

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an ONNX tensor in the model's order."""
        return self.model.shapes[name]

    def is_constant(self, name: str) -> bool:
        """Say whether an ONNX tensor is a constant, quantised ones included."""
        held = self._plain.get(name)
        return name in self.model.constants or (held is not None and self.tensors[held].data is not None)

    def get(self, name: str, last: bool = False) -> str:
        """Return the graph tensor that holds ONNX tensor `name`, with channels last if asked."""
        here, other = (self._last, self._plain) if last else (self._plain, self._last)
        if name in here:
            return here[name]
        if name not in other:
            self.set(name, self.constant(name, self.model.constants[name]))
            return self.get(name, last)
        if len(self.shape(name)) <= 2:
            return other[name]
        perm = channels_last(len(self.shape(name)))
        here[name] = self.transpose(other[name], perm if last else inverse(perm),
                                    f"{name}/nhwc" if last else name)
        return here[name]

    def prefers_last(self, name: str) -> bool:
        """Say whether an ONNX tensor was computed with channels last."""
        return name in self._last

    def set(self, name: str, tensor: str, last: bool = False) -> None:
        """Say that graph tensor `tensor` holds ONNX tensor `name`."""
        (self._last if last else self._plain)[name] = tensor

    def coded_input(self, name: str, quant: QuantParams) -> str:
        """Return graph input `name` as an int8 tensor, after giving the input its quantisation."""
        held = self.tensors[name]
        self.tensors[name] = Tensor(name, held.shape, held.dtype, quant)
        if held.dtype == "uint8" and self._plain[name] == name:
            self.set(name, self.emit("QUANTIZE", [name], f"{name}/int8", held.shape, {}, "int8", signed(quant)))
        return self.get(name)

    def tensor(self, name: str, shape: Sequence[int], dtype: str = "float32", quant: QuantParams | None = None,
               data: np.ndarray | None = None) -> str:
        """Add a tensor under `name`, made unique, and return its name."""
        unique, count = name, 1
        while unique in self.tensors:
            unique, count = f"{name}#{count}", count + 1
        self.tensors[unique] = Tensor(unique, tuple(int(size) for size in shape), dtype, quant, data)
        return unique

    def constant(self, name: str, data: np.ndarray, quant: QuantParams | None = None) -> str:
        """Add a constant; reals become float32."""
        data = np.ascontiguousarray(data if quant or data.dtype.kind in "iu" else data.astype(np.float32))
        return self.tensor(name, data.shape, data.dtype.name, quant, data)

    def emit(self, kind: str, inputs: Sequence[str], name: str, shape: Sequence[int],
             attrs: Mapping[str, Any] | None = None, dtype: str | None = None,
             quant: QuantParams | None = None) -> str:
        """Append an operator on graph tensors and return its output, a new tensor called `name`.

        Without `dtype` it has that and the quantisation of the first input.
        """
        if dtype is None:
            dtype, quant = self.tensors[inputs[0]].dtype, self.tensors[inputs[0]].quant
        output = self.tensor(name, shape, dtype, quant)
        self._ops.append(Op(kind, f"{kind.lower()}_{len(self._ops)}", tuple(inputs), (output,), dict(attrs or {})))
        return output

    def transpose(self, source: str, perm: Sequence[int], name: str) -> str:
        """Return graph tensor `source` with its axes permuted; axis i of the result is axis perm[i]."""
        tensor, perm = self.tensors[source], tuple(perm)
        shape = tuple(tensor.shape[axis] for axis in perm)
        if tensor.data is not None:
            quant = tensor.quant
            if quant is not None and quant.axis is not None:
                quant = QuantParams(quant.scale, quant.zero_point, perm.index(quant.axis))
            return self.constant(name, tensor.data.transpose(perm), quant)
        moved = [axis for axis in perm if tensor.shape[axis] > 1]
        if moved == sorted(moved):
            return self.reshape(source, shape, name)
        return self.emit("TRANSPOSE", [source], name, shape, {"perm": perm})

    def reshape(self, source: str, shape: Sequence[int], name: str) -> str:
        """Return graph tensor `source` in another shape."""
        tensor = self.tensors[source]
        if tensor.data is not None and (tensor.quant is None or tensor.quant.axis is None):
            return self.constant(name, tensor.data.reshape(shape), tensor.quant)
        if tensor.data is not None:
            return self.constant(name, self.real(source).reshape(shape))
        if tensor.shape == tuple(shape):
            return source
        return self.emit("RESHAPE", [source], name, shape)

    def real(self, source: str) -> np.ndarray:
        """Return the real value, float32, of a constant tensor of the graph."""
        return real_value(self.tensors[source])

    def graph(self, inputs: Sequence[str], outputs: Sequence[str]) -> Graph:
        """Return the graph, without what nothing reads."""
        return remove_unused(Graph(self.model.name, self.tensors, tuple(self._ops), tuple(inputs), tuple(outputs)))
