"""TFLite frontend: read an int8 or uint8 `.tflite` flatbuffer into the graph IR.

The IR knows int8 only. A uint8 tensor becomes the int8 tensor whose codes and zero point are 128 less, which stands
for the same reals; inputs and outputs of the model keep their dtype, with a QUANTIZE between.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tflite

from ..devices.golden import execute_op
from ..errors import GraphError, ModelError, UnsupportedOperatorError
from ..graph import Graph, Op, QuantParams, Tensor
from ..quantparams import parameters
from ..verify import signature_problem, verify
from .tflite_context import MAX_OPERANDS, MAX_RANK, Context
from .tflite_ops import CONVERTERS

# Limits that no network for this accelerator comes near; they bound the work that a corrupt length field can cause.
MAX_ITEMS = 10_000
MAX_TENSOR_BYTES = 1 << 30
MAX_NAME = 256
MAX_FOLDED_BYTES = 1 << 20

# What reading a damaged flatbuffer raises; anything else is a bug here and must surface.
_CORRUPT = (struct.error, IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)


def _enum(schema: type) -> dict[int, str]:
    return {value: key for key, value in vars(schema).items() if isinstance(value, int)}


_OPERATORS = _enum(tflite.BuiltinOperator)
_TYPES = _enum(tflite.TensorType)
_DTYPES = {"FLOAT32": "float32", "FLOAT16": "float16", "FLOAT64": "float64", "BOOL": "bool", "INT8": "int8",
           "INT16": "int16", "INT32": "int32", "INT64": "int64", "UINT8": "uint8", "UINT16": "uint16",
           "UINT32": "uint32", "UINT64": "uint64"}


def read_tflite(source: str | Path | bytes) -> Graph:
    """Return the verified graph of a TFLite model.

    Args:
        source: path of the file, or its bytes.

    Raises:
        ModelError: the file is missing, truncated, corrupt, contradicts itself, has dynamic shapes, or more than one
            subgraph.
        UnsupportedOperatorError: it uses an operator, or a variant or dtype of one, that is not supported.
    """
    graph = _read(source)
    for op in graph.ops:
        problem = signature_problem(graph, op)
        if problem:
            raise UnsupportedOperatorError(
                f"{graph.name}: {op.kind} at tensor '{op.outputs[0]}': {problem}; "
                "quantise the model to full int8 (int8 activations, int8 constant weights): systolith quantize")
    try:
        verify(graph)
        for op in graph.ops:
            parameters(graph, op)
    except (GraphError, ValueError) as error:
        raise ModelError(f"{graph.name}: the model contradicts itself: {error}") from error
    return graph


def read_tflite_real(source: str | Path | bytes) -> Graph:
    """Return the graph of a TFLite model as it is, on float32 tensors too: what the quantiser starts from.

    Raises:
        ModelError, UnsupportedOperatorError: as for `read_tflite`, but dtypes and shapes are not checked.
    """
    return _read(source)


def _read(source: str | Path | bytes) -> Graph:
    name, raw = ("model", source) if isinstance(source, bytes) else (Path(source).stem, _load(Path(source)))
    if raw[4:8] != b"TFL3":
        raise ModelError(f"{name}: not a TFLite model (no 'TFL3' identifier); give a .tflite file")
    try:
        return _Reader(name, raw).graph()
    except _CORRUPT as error:
        raise ModelError(f"{name}: the file is truncated or corrupt; export or download it again") from error


def _load(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read '{path}' ({error.strerror}); give the path of a .tflite file") from error


class _Reader:
    """One pass over the flatbuffer; methods raise any of `_CORRUPT` where the bytes make no sense."""

    def __init__(self, name: str, raw: bytes) -> None:
        self.name = name
        self.model = tflite.Model.GetRootAs(raw, 0)
        subgraphs = self.model.SubgraphsLength()
        if subgraphs != 1:
            raise ModelError(f"{name}: must have one subgraph, not {subgraphs}; export without control flow")
        self.subgraph = self.model.Subgraphs(0)
        self.kinds = [self._kind(self.model.OperatorCodes(i)) for i in _span(self.model.OperatorCodesLength())]
        self.buffers = _span(self.model.BuffersLength())
        self.indices: dict[int, str] = {}
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []

    def graph(self) -> Graph:
        """Convert the subgraph, reporting unsupported operators before anything else."""
        sub = self.subgraph
        flat_ops = [sub.Operators(i) for i in _span(sub.OperatorsLength())]
        self._refuse_unknown(flat_ops)
        inputs = [self._input(int(sub.Inputs(i))) for i in _span(sub.InputsLength())]
        for index, flat in enumerate(flat_ops):
            self._convert_op(index, flat)
        outputs = [self._output(int(sub.Outputs(i))) for i in _span(sub.OutputsLength())]
        return Graph(self.name, self.tensors, tuple(self.ops), tuple(inputs), tuple(outputs)).with_ops(self.ops)

    def tensor(self, index: int) -> Tensor:
        """Return tensor `index` of the subgraph, converted once."""
        if index not in self.indices:
            flat = self.subgraph.Tensors(_within(index, self.subgraph.TensorsLength()))
            tensor = _as_int8(self._convert(index, flat))
            if tensor.name in self.tensors:
                tensor = replace(tensor, name=f"{tensor.name}#{index}")
            self.indices[index] = self.add(tensor).name
        return self.tensors[self.indices[index]]

    def add(self, tensor: Tensor) -> Tensor:
        """Add a tensor under a name that no other has."""
        name, count = tensor.name, 0
        while name in self.tensors or name.endswith("#"):
            name, count = f"{tensor.name}{'' if tensor.name.endswith('#') else '#'}{count}", count + 1
        self.tensors[name] = tensor = replace(tensor, name=name)
        return tensor

    def emit(self, op: Op) -> None:
        """Append an operator, or make its result a constant when all its operands are."""
        operands = [self.tensors[name] for name in op.inputs]
        (output,) = (self.tensors[name] for name in op.outputs)
        constants = {tensor.name: tensor.data for tensor in operands if tensor.data is not None}
        if operands and len(constants) == len(set(op.inputs)) and output.nbytes <= MAX_FOLDED_BYTES:
            graph = Graph(self.name, self.tensors, (op,), (), op.outputs)
            verify(graph)
            (data,) = execute_op(graph, op, constants)
            self.tensors[output.name] = replace(output, data=data)
        else:
            self.ops.append(op)

    def _kind(self, code: Any) -> str:
        # Older files have the operator in an 8-bit field, newer ones in a wider second field.
        number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        kind = _OPERATORS.get(number, f"operator code {number}")
        return f"custom operator '{_text(code.CustomCode())}'" if kind == "CUSTOM" else kind

    def _refuse_unknown(self, flat_ops: Sequence[Any]) -> None:
        unknown: dict[str, str] = {}
        for flat in flat_ops:
            kind = self.kinds[flat.OpcodeIndex()]
            if kind not in CONVERTERS:
                output = self.subgraph.Tensors(_within(int(flat.Outputs(0)), self.subgraph.TensorsLength()))
                unknown.setdefault(kind, _text(output.Name()))
        if unknown:
            found = ", ".join(f"{kind} (at tensor '{name}')" for kind, name in unknown.items())
            raise UnsupportedOperatorError(
                f"{self.name}: unsupported: {found}; supported operators are {', '.join(sorted(CONVERTERS))}")

    def _input(self, index: int) -> str:
        """Return the name of a graph input, after a check that its shape is fixed."""
        flat = self.subgraph.Tensors(_within(index, self.subgraph.TensorsLength()))
        signature = [flat.ShapeSignature(i) for i in _span(flat.ShapeSignatureLength(), MAX_RANK)]
        port = self._convert(index, flat)
        if any(size < 0 for size in signature[1:]):
            raise ModelError(f"{self.name}: input '{port.name}' has the dynamic shape {tuple(signature)}; "
                             "export the model with fixed sizes (the batch may stay open)")
        if not port.shape:
            raise ModelError(f"{self.name}: input '{port.name}' must have a dimension for samples, not be a scalar; "
                             "export the model with one")
        if port.dtype != "uint8":
            return self.tensor(index).name
        port = self.add(port)
        inner = self.add(replace(_as_int8(port), name=f"{port.name}#int8"))
        self.indices[index] = inner.name
        self.ops.append(Op("QUANTIZE", f"quantize_input_{index}", (port.name,), (inner.name,)))
        return port.name

    def _output(self, index: int) -> str:
        """Return the name of a graph output, which has the dtype that the model declares."""
        inner = self.tensor(index)
        flat = self.subgraph.Tensors(index)
        if _TYPES.get(flat.Type()) != "UINT8":
            return inner.name
        del self.tensors[inner.name]
        inner_name = self.add(replace(inner, name=f"{inner.name}#int8")).name
        self.indices[index] = inner_name
        self.ops = [replace(op, inputs=_renamed(op.inputs, inner.name, inner_name),
                            outputs=_renamed(op.outputs, inner.name, inner_name)) for op in self.ops]
        port = self.add(replace(self._convert(index, flat), data=None))
        self.ops.append(Op("QUANTIZE", f"quantize_output_{index}", (inner_name,), (port.name,)))
        return port.name

    def _convert(self, index: int, flat: Any) -> Tensor:
        name = _text(flat.Name()) or f"tensor_{index}"
        type_name = _TYPES.get(flat.Type(), f"type {flat.Type()}")
        if type_name not in _DTYPES or flat.Sparsity() is not None:
            raise UnsupportedOperatorError(f"{self.name}: tensor '{name}' is {type_name}"
                                           f"{' and sparse' if flat.Sparsity() else ''}; export a dense int8 model")
        shape = tuple(int(flat.Shape(i)) for i in _span(flat.ShapeLength(), MAX_RANK))
        tensor = Tensor(name, shape, _DTYPES[type_name], self._quant(flat.Quantization()))
        if min(shape, default=1) < 1 or tensor.nbytes > MAX_TENSOR_BYTES:
            raise ModelError(f"{self.name}: tensor '{name}' has the impossible shape {shape}; export the model again")
        data = self._constant(tensor, flat.Buffer())
        return tensor if data is None else replace(tensor, data=data)

    def _quant(self, flat: Any) -> QuantParams | None:
        if flat is None or flat.ScaleLength() == 0:
            return None
        scale = flat.ScaleAsNumpy().tolist()
        zero_point = flat.ZeroPointAsNumpy().tolist() if flat.ZeroPointLength() else [0]
        if len(zero_point) == 1:
            zero_point *= len(scale)
        return QuantParams(tuple(scale), tuple(zero_point), flat.QuantizedDimension() if len(scale) > 1 else None)

    def _constant(self, tensor: Tensor, buffer: int) -> np.ndarray | None:
        flat = self.model.Buffers(_within(buffer, len(self.buffers)))
        if flat.Offset() > 1:
            raise ModelError(f"{self.name}: constant '{tensor.name}' lies outside the flatbuffer; export below 2 GB")
        if flat.DataLength() == 0:
            return None
        # A copy, because the file gives no alignment guarantee for a sliced buffer.
        data = np.frombuffer(flat.DataAsNumpy().tobytes(), np.dtype(tensor.dtype).newbyteorder("<"))
        return data.astype(tensor.dtype, copy=False).reshape(tensor.shape)

    def _convert_op(self, index: int, flat: Any) -> None:
        kind = self.kinds[flat.OpcodeIndex()]
        outputs = [self.tensor(flat.Outputs(i)) for i in _span(flat.OutputsLength(), MAX_OPERANDS)]
        # -1 stands for an operand that is left out, such as a bias.
        operands = [self.tensor(i) for i in (flat.Inputs(j) for j in _span(flat.InputsLength(), MAX_OPERANDS))
                    if i != -1]
        CONVERTERS[kind](Context(self, self.name, kind, index, flat, operands, outputs))


def _as_int8(tensor: Tensor) -> Tensor:
    """Return a quantised uint8 tensor as the int8 tensor of the same reals; others as they are."""
    if tensor.dtype != "uint8" or tensor.quant is None:
        return tensor
    quant = replace(tensor.quant, zero_point=tuple(zero_point - 128 for zero_point in tensor.quant.zero_point))
    data = None if tensor.data is None else (tensor.data ^ 0x80).view(np.int8)
    return replace(tensor, dtype="int8", quant=quant, data=data)


def _renamed(names: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    return tuple(new if name == old else name for name in names)


def _span(length: int, limit: int = MAX_ITEMS) -> range:
    if length > limit:
        raise ValueError(f"length field {length} exceeds {limit}")
    return range(length)


def _within(index: int, length: int) -> int:
    if not 0 <= index < length:
        raise IndexError(f"index {index} outside 0..{length - 1}")
    return index


def _text(raw: bytes | None) -> str:
    text = (raw or b"")[:MAX_NAME].decode("utf-8", errors="replace")
    return "".join(char if char.isprintable() else "?" for char in text)
