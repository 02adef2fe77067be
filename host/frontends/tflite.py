"""TFLite frontend: read an int8 `.tflite` flatbuffer into the graph IR."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tflite

from ...models.ops import same_padding
from ..errors import GraphError, ModelError, UnsupportedOperatorError
from ..graph import Graph, Op, QuantParams, Tensor
from ..quantparams import parameters
from ..verify import SIGNATURES, signature_problem, verify

# Limits that no network for this accelerator comes near; they bound the work that a corrupt length field can cause.
MAX_ITEMS = 10_000
MAX_RANK = 8
MAX_TENSOR_BYTES = 1 << 30
MAX_NAME = 256

# What reading a damaged flatbuffer raises; anything else is a bug here and must surface.
_CORRUPT = (struct.error, IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)


def _enum(schema: type) -> dict[int, str]:
    return {value: key for key, value in vars(schema).items() if isinstance(value, int)}


_OPERATORS = _enum(tflite.BuiltinOperator)
_TYPES = _enum(tflite.TensorType)
_ACTIVATIONS = _enum(tflite.ActivationFunctionType)
_DTYPES = {"FLOAT32": "float32", "FLOAT16": "float16", "FLOAT64": "float64", "BOOL": "bool", "INT8": "int8",
           "INT16": "int16", "INT32": "int32", "INT64": "int64", "UINT8": "uint8", "UINT16": "uint16",
           "UINT32": "uint32", "UINT64": "uint64"}


def read_tflite(source: str | Path | bytes) -> Graph:
    """Return the verified graph of a TFLite model.

    Args:
        source: path of the file, or its bytes.

    Raises:
        ModelError: the file is missing, truncated, corrupt, contradicts itself, has dynamic shapes, a batch other
            than 1, or more than one subgraph.
        UnsupportedOperatorError: it uses an operator, or a variant or dtype of one, that is not supported.
    """
    name, raw = ("model", source) if isinstance(source, bytes) else (Path(source).stem, _load(Path(source)))
    if raw[4:8] != b"TFL3":
        raise ModelError(f"{name}: not a TFLite model (no 'TFL3' identifier); give a .tflite file")
    try:
        graph = _Reader(name, raw).graph()
    except _CORRUPT as error:
        raise ModelError(f"{name}: the file is truncated or corrupt; export or download it again") from error
    try:
        verify(graph)
        for op in graph.ops:
            parameters(graph, op)
    except (GraphError, ValueError) as error:
        raise ModelError(f"{name}: the model contradicts itself: {error}") from error
    return graph


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
        self.tensors: dict[int, Tensor] = {}
        self.names: set[str] = set()

    def graph(self) -> Graph:
        """Convert the subgraph, reporting unsupported operators before anything else."""
        sub = self.subgraph
        flat_ops = [sub.Operators(i) for i in _span(sub.OperatorsLength())]
        self._refuse_unknown(flat_ops)
        inputs = [self.tensor(int(sub.Inputs(i))) for i in _span(sub.InputsLength())]
        for i, tensor in enumerate(inputs):
            self._check_input(sub.Tensors(int(sub.Inputs(i))), tensor)
        ops = [self._op(index, flat) for index, flat in enumerate(flat_ops)]
        outputs = [self.tensor(int(sub.Outputs(i))) for i in _span(sub.OutputsLength())]
        ends = tuple(t.name for t in inputs), tuple(t.name for t in outputs)
        graph = Graph(self.name, {t.name: t for t in self.tensors.values()}, tuple(ops), *ends).with_ops(ops)
        for op in ops:
            problem = signature_problem(graph, op)
            if problem:
                raise UnsupportedOperatorError(
                    f"{self.name}: {op.kind} at tensor '{op.outputs[0]}': {problem}; "
                    "quantise the model to full int8 (int8 activations, int8 constant weights)")
        return graph

    def tensor(self, index: int) -> Tensor:
        """Return tensor `index` of the subgraph, converted once."""
        if index not in self.tensors:
            flat = self.subgraph.Tensors(_within(index, self.subgraph.TensorsLength()))
            self.tensors[index] = self._convert(index, flat)
        return self.tensors[index]

    def _kind(self, code: Any) -> str:
        # Older files have the operator in an 8-bit field, newer ones in a wider second field.
        number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        kind = _OPERATORS.get(number, f"operator code {number}")
        return f"custom operator '{_text(code.CustomCode())}'" if kind == "CUSTOM" else kind

    def _refuse_unknown(self, flat_ops: Sequence[Any]) -> None:
        unknown: dict[str, str] = {}
        for flat in flat_ops:
            kind = self.kinds[flat.OpcodeIndex()]
            if kind not in _READERS:
                output = self.subgraph.Tensors(_within(int(flat.Outputs(0)), self.subgraph.TensorsLength()))
                unknown.setdefault(kind, _text(output.Name()))
        if unknown:
            found = ", ".join(f"{kind} (at tensor '{name}')" for kind, name in unknown.items())
            raise UnsupportedOperatorError(
                f"{self.name}: unsupported: {found}; supported operators are {', '.join(sorted(_READERS))}")

    def _check_input(self, flat: Any, tensor: Tensor) -> None:
        signature = [flat.ShapeSignature(i) for i in _span(flat.ShapeSignatureLength(), MAX_RANK)]
        if any(size < 0 for size in signature[1:]):
            raise ModelError(f"{self.name}: input '{tensor.name}' has the dynamic shape {tuple(signature)}; "
                             "export the model with fixed sizes (the batch may stay open)")
        if tensor.shape[:1] != (1,):
            raise ModelError(f"{self.name}: input '{tensor.name}' must have a batch of 1, not shape {tensor.shape}; "
                             "export the model with batch size 1")

    def _convert(self, index: int, flat: Any) -> Tensor:
        name = _text(flat.Name()) or f"tensor_{index}"
        if name in self.names:
            name = f"{name}#{index}"
        self.names.add(name)
        type_name = _TYPES.get(flat.Type(), f"type {flat.Type()}")
        if type_name not in _DTYPES or flat.Sparsity() is not None:
            raise UnsupportedOperatorError(f"{self.name}: tensor '{name}' is {type_name}"
                                           f"{' and sparse' if flat.Sparsity() else ''}; export a dense int8 model")
        shape = tuple(int(flat.Shape(i)) for i in _span(flat.ShapeLength(), MAX_RANK))
        tensor = Tensor(name, shape, _DTYPES[type_name], self._quant(flat.Quantization()))
        if min(shape, default=1) < 1 or tensor.nbytes > MAX_TENSOR_BYTES:
            raise ModelError(f"{self.name}: tensor '{name}' has the impossible shape {shape}; export the model again")
        data = self._constant(tensor, flat.Buffer())
        return tensor if data is None else Tensor(name, shape, tensor.dtype, tensor.quant, data)

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

    def _op(self, index: int, flat: Any) -> Op:
        kind = self.kinds[flat.OpcodeIndex()]
        outputs = [self.tensor(flat.Outputs(i)) for i in _span(flat.OutputsLength(), MAX_RANK)]
        # -1 stands for an operand that is left out, such as a bias.
        operands = [self.tensor(i) for i in (flat.Inputs(j) for j in _span(flat.InputsLength(), MAX_RANK)) if i != -1]
        count = len(SIGNATURES[kind].inputs)
        attrs = _READERS[kind](_Context(self.name, kind, flat, operands, outputs))
        # Operands past the data inputs (shapes, axes, paddings) are in the attributes now.
        return Op(kind, f"{kind.lower()}_{index}", _names(operands[:count]), _names(outputs), attrs)


class _Context:
    """What an attribute reader needs: the flatbuffer operator with its operands."""

    def __init__(self, model: str, kind: str, flat: Any, operands: list[Tensor], outputs: list[Tensor]) -> None:
        self.where = f"{model}: {kind} at tensor '{outputs[0].name}'"
        self.flat, self.operands = flat, operands

    def options(self, schema: Any) -> Any:
        """Return the operator's options table read as `schema`."""
        expected = getattr(tflite.BuiltinOptions, schema.__name__)
        table = self.flat.BuiltinOptions()
        if table is None or self.flat.BuiltinOptionsType() != expected:
            raise ValueError("options are missing or of another operator")
        options = schema()
        options.Init(table.Bytes, table.Pos)
        return options

    def activation(self, options: Any) -> str:
        """Return the fused activation, refusing those that are not a clamp."""
        activation = _ACTIVATIONS[options.FusedActivationFunction()]
        if activation in ("TANH", "SIGN_BIT"):
            raise UnsupportedOperatorError(f"{self.where}: fused activation {activation} is not supported; "
                                           "supported are NONE, RELU, RELU6, RELU_N1_TO_1")
        return activation

    def parameter(self, position: int, what: str) -> np.ndarray:
        """Return constant operand `position` as integers."""
        data = self.operands[position].data
        if data is None:
            raise ModelError(f"{self.where}: {what} must be a constant; export the model with fixed shapes")
        if data.dtype.kind != "i":
            raise ValueError(f"{what} must be integers")
        return data.astype(np.int64)

    def image(self) -> tuple[int, int]:
        """Return the height and width of the first operand."""
        _, h, w, _ = self.operands[0].shape
        return h, w


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


def _names(tensors: Sequence[Tensor]) -> tuple[str, ...]:
    return tuple(tensor.name for tensor in tensors)


def _pads(mode: int, image: Sequence[int], kernel: Sequence[int], stride: Sequence[int],
          dilation: Sequence[int]) -> tuple[tuple[int, int], ...]:
    if mode == tflite.Padding.VALID:
        return ((0, 0), (0, 0))
    if mode != tflite.Padding.SAME:
        raise ValueError(f"padding mode {mode}")
    return tuple(same_padding(image[i], kernel[i], stride[i], dilation[i]) for i in range(2))


def _window(context: _Context, options: Any, kernel: Sequence[int], dilation: tuple[int, int]) -> dict[str, Any]:
    stride = (options.StrideH(), options.StrideW())
    if min(*stride, *dilation) < 1:
        raise ValueError(f"stride {stride} and dilation {dilation} must be positive")
    return {"stride": stride, "pads": _pads(options.Padding(), context.image(), kernel, stride, dilation),
            "activation": context.activation(options)}


def _conv(context: _Context) -> dict[str, Any]:
    options = context.options(tflite.Conv2DOptions)
    x, weights = context.operands[:2]
    dilation = (options.DilationHFactor(), options.DilationWFactor())
    return {**_window(context, options, weights.shape[1:3], dilation), "dilation": dilation,
            "groups": x.shape[3] // weights.shape[3]}


def _depthwise(context: _Context) -> dict[str, Any]:
    options = context.options(tflite.DepthwiseConv2DOptions)
    x, weights = context.operands[:2]
    dilation = (options.DilationHFactor(), options.DilationWFactor())
    # The multiplier follows from the shapes; the field in the options is redundant and sometimes 0.
    return {**_window(context, options, weights.shape[1:3], dilation), "dilation": dilation,
            "multiplier": weights.shape[3] // x.shape[3]}


def _fully_connected(context: _Context) -> dict[str, Any]:
    options = context.options(tflite.FullyConnectedOptions)
    if options.WeightsFormat() != 0:
        raise UnsupportedOperatorError(f"{context.where}: shuffled weights are not supported; export default weights")
    return {"activation": context.activation(options), "keep_dims": bool(options.KeepNumDims())}


def _add(context: _Context) -> dict[str, Any]:
    return {"activation": context.activation(context.options(tflite.AddOptions))}


def _pool(context: _Context) -> dict[str, Any]:
    options = context.options(tflite.Pool2DOptions)
    kernel = (options.FilterHeight(), options.FilterWidth())
    return {"kernel": kernel, **_window(context, options, kernel, (1, 1))}


def _mean(context: _Context) -> dict[str, Any]:
    rank = len(context.operands[0].shape)
    axes = [axis + rank if axis < 0 else axis for axis in context.parameter(1, "axes").ravel().tolist()]
    return {"axes": tuple(sorted(set(axes))), "keepdims": bool(context.options(tflite.ReducerOptions).KeepDims())}


def _pad(context: _Context) -> dict[str, Any]:
    return {"paddings": tuple((before, after) for before, after in context.parameter(1, "paddings").tolist())}


def _reshape(context: _Context) -> dict[str, Any]:
    if len(context.operands) > 1:
        context.parameter(1, "the new shape")
    return {}


def _softmax(context: _Context) -> dict[str, Any]:
    beta = context.options(tflite.SoftmaxOptions).Beta()
    if not 0 < beta < float("inf"):
        raise ValueError(f"beta {beta}")
    return {"beta": beta}


def _nothing(context: _Context) -> dict[str, Any]:
    return {}


_READERS: dict[str, Callable[[_Context], dict[str, Any]]] = {
    "ADD": _add,
    "AVERAGE_POOL_2D": _pool,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": _nothing,
    "FULLY_CONNECTED": _fully_connected,
    "MAX_POOL_2D": _pool,
    "MEAN": _mean,
    "PAD": _pad,
    "QUANTIZE": _nothing,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
}
"""Reader of the attributes of each supported operator."""
