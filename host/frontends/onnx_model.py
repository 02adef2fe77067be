"""Read an ONNX file: nodes in execution order, constants as arrays, and the fixed shape of every tensor.

What depends on constants and shapes alone (the shape arithmetic of exporters) is evaluated here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelError, UnsupportedOperatorError, UsageError

try:
    import onnx
    from onnx import numpy_helper, reference, shape_inference
except ModuleNotFoundError:  # an optional dependency; `load` says how to get it
    onnx = None  # type: ignore[assignment]

MAX_CONSTANT_BYTES = 1 << 30  # of one folded constant; more is a mistake in the file

#: What a model whose parts do not fit together makes NumPy and Python raise.
CORRUPT = (AttributeError, IndexError, KeyError, MemoryError, OverflowError, TypeError, ValueError, ZeroDivisionError)

_DTYPES = {"float32", "uint8", "int8", "int32", "int64"}


@dataclass(frozen=True)
class Node:
    """One ONNX operator; absent optional inputs are ""."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]


@dataclass(frozen=True)
class OnnxModel:
    """A model with fixed shapes.

    Attributes:
        name: of the file.
        opset: version of the standard operators.
        nodes: in execution order, without those that constants replace.
        inputs, outputs: tensor names, in the model's order.
        shapes: of every tensor by name.
        dtypes: NumPy dtype names of the tensors that are not constants, by name.
        constants: by name.
    """

    name: str
    opset: int
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    constants: Mapping[str, np.ndarray]


def load(path: Path) -> OnnxModel:
    """Return the model in an ONNX file; an open batch dimension becomes 1.

    Raises:
        UsageError: the package `onnx` is not installed.
        ModelError: the file cannot be read or is corrupt, or has dynamic shapes.
        UnsupportedOperatorError: it uses control flow or dynamic quantisation.
    """
    if onnx is None:
        raise UsageError(f"reading {path.name} needs the package onnx; install it with: pip install 'systolith[onnx]'")
    try:
        proto = onnx.load(path)
        onnx.checker.check_model(proto)
    except OSError as error:
        raise ModelError(f"cannot read '{path}' ({error.strerror or error}); give the path of an .onnx file") from error
    except Exception as error:  # protobuf and the checker raise classes of their own, which are not all public
        raise ModelError(f"{path.name}: not a valid ONNX model ({_first_line(error)}); export it again") from error
    from .onnx_qoperator import expand
    try:
        with np.errstate(all="ignore"):  # what constants of a damaged file make is checked where it is used
            return _Loader(path.stem, expand(proto)).model()
    except CORRUPT as error:
        raise ModelError(f"{path.name}: the file is corrupt ({_first_line(error)}); export it again") from error


class _Loader:
    def __init__(self, name: str, proto: Any) -> None:
        self.name, self.proto = name, proto
        self.opset = max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=1)
        self.constants = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}

    def model(self) -> OnnxModel:
        graph = self.proto.graph
        for node in graph.node:
            if any(attr.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for attr in node.attribute):
                raise UnsupportedOperatorError(f"{self.name}: {node.op_type} is control flow; export without it")
        inputs = [value for value in graph.input if value.name not in self.constants]
        for value in inputs:
            self._fix_batch(value)
        shapes, dtypes = self._infer()
        while self._fold(shapes):
            shapes, dtypes = self._infer()
        nodes = self._live([_node(node) for node in graph.node])
        for node in nodes:
            for name in filter(None, (*node.inputs, *node.outputs)):
                if name not in shapes:
                    raise ModelError(f"{self.name}: tensor '{name}' of {node.kind} has no fixed shape; "
                                     "export the model with fixed sizes")
        names = tuple(value.name for value in inputs)
        for name in names:
            if dtypes[name] not in _DTYPES:
                raise UnsupportedOperatorError(f"{self.name}: input '{name}' is {dtypes[name]}; "
                                               "export the model in float32")
        return OnnxModel(self.name, self.opset, nodes, names, tuple(value.name for value in graph.output), shapes,
                         dtypes, self.constants)

    def _fix_batch(self, value: Any) -> None:
        dims = value.type.tensor_type.shape.dim
        if len(dims) and not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1
        if any(dim.dim_value < 1 for dim in dims):
            sizes = tuple(dim.dim_value or dim.dim_param or "?" for dim in dims)
            raise ModelError(f"{self.name}: input '{value.name}' has the dynamic shape {sizes}; "
                             "export the model with fixed sizes (the batch may stay open)")

    def _infer(self) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
        """Return the shape and the dtype of each tensor; those that are not known are left out."""
        graph = self.proto.graph
        del graph.value_info[:]  # exporters leave shapes with an open batch here
        for value in graph.output:
            value.type.tensor_type.ClearField("shape")
        try:
            inferred = shape_inference.infer_shapes(self.proto, strict_mode=True, data_prop=True).graph
        except shape_inference.InferenceError as error:
            raise ModelError(f"{self.name}: the shapes contradict each other ({_first_line(error)}); "
                             "export the model again") from error
        shapes, dtypes = {name: array.shape for name, array in self.constants.items()}, {}
        for value in (*inferred.input, *inferred.value_info, *inferred.output):
            tensor = value.type.tensor_type
            dtypes[value.name] = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
            if tensor.HasField("shape") and all(dim.dim_value > 0 for dim in tensor.shape.dim):
                shapes[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
        return shapes, dtypes

    def _fold(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Evaluate the nodes whose inputs are known; return whether there was one."""
        graph, kept = self.proto.graph, []
        outputs = {value.name for value in graph.output}
        for node in graph.node:
            value = self._value(node, shapes)
            if value is None or node.output[0] in outputs:
                kept.append(node)
            else:
                self.constants[node.output[0]] = value
                graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
        changed = len(kept) < len(graph.node)
        del graph.node[:]
        graph.node.extend(kept)
        return changed

    def _value(self, node: Any, shapes: Mapping[str, tuple[int, ...]]) -> np.ndarray | None:
        if len(node.output) != 1 or node.op_type == "DequantizeLinear":  # the integers of weights are wanted
            return None
        if node.op_type == "Shape" and node.input[0] in shapes:
            attrs = _node(node).attrs
            return np.array(shapes[node.input[0]][attrs.get("start", 0):attrs.get("end")], np.int64)
        if any(name and name not in self.constants for name in node.input):
            return None
        feeds = {name: self.constants[name] for name in node.input if name}
        try:
            (value,) = reference.ReferenceEvaluator(node).run(None, feeds)
        except Exception as error:  # whatever NumPy raises in any of the evaluator's operators
            raise ModelError(f"{self.name}: constant '{node.output[0]}' cannot be evaluated ({_first_line(error)}); "
                             "export the model again") from error
        value = np.asarray(value)
        if value.nbytes > MAX_CONSTANT_BYTES:
            raise ModelError(f"{self.name}: constant '{node.output[0]}' has {value.nbytes} bytes; export it again")
        return value

    def _live(self, nodes: list[Node]) -> tuple[Node, ...]:
        """Return the nodes that an output depends on, without dead ones such as the shapes of folded RESHAPEs."""
        wanted = {value.name for value in self.proto.graph.output}
        live = []
        for node in reversed(nodes):
            if wanted.intersection(node.outputs):
                wanted.update(node.inputs)
                live.append(node)
        return tuple(reversed(live))


def _node(node: Any) -> Node:
    attrs = {attr.name: _attribute(attr) for attr in node.attribute}
    return Node(node.op_type, node.name or node.output[0], tuple(node.input), tuple(node.output), attrs)


def _attribute(attr: Any) -> Any:
    value = onnx.helper.get_attribute_value(attr)
    return value.decode() if isinstance(value, bytes) else value


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
