"""Write TensorFlow Lite models (`.tflite`, schema version 3) from a flat description.

A model is built in three steps: declare tensors, declare operators in execution order, serialise::

    b = TFLiteBuilder()
    x = b.tensor("x", (1, 8, 8, 1), "int8", scale=0.5, zero_point=-3)
    w = b.tensor("w", (16, 3, 3, 1), "int8", scale=w_scales, data=w_int8)        # per-channel along axis 0
    c = b.tensor("b", (16,), "int32", scale=0.5 * w_scales, data=b_int32)
    y = b.tensor("y", (1, 8, 8, 16), "int8", scale=0.25, zero_point=4)
    b.op("CONV_2D", [x, w, c], [y], {"padding": "SAME", "stride_h": 1, "stride_w": 1, "activation": "RELU"})
    model: bytes = b.build([x], [y])

`tensor(name, shape, dtype, scale=None, zero_point=0, data=None, quantized_dimension=0) -> int`
    Returns the tensor's index. `data` makes it a constant. `scale=None` leaves it without quantisation parameters.
`op(builtin_name, inputs, outputs, options=None) -> None`
    `builtin_name` is a key of `OPERATORS`; an input of -1 is an absent optional input (a missing bias).
    `options` names the fields of the operator's schema table in snake case (`stride_h`, `depth_multiplier`,
    `filter_height`, `keep_dims`, ...); `activation`, `dilation_h` and `dilation_w` are short for
    `fused_activation_function`, `dilation_h_factor` and `dilation_w_factor`. Enumerated fields take the
    schema's name: padding "SAME" | "VALID", activation "NONE" | "RELU" | "RELU6" | "RELU_N1_TO_1".
    Integer inputs such as the shape of RESHAPE, the axes of MEAN and the amounts of PAD are constant tensors.
    What is left out takes the default of `OPERATORS`: strides 1, padding "SAME", no activation, beta 1, ...
`build(inputs, outputs) -> bytes`
    The flatbuffer, its constants aligned to 16 bytes as the schema asks. Equal descriptions give equal bytes.

Mistakes in the description raise `ValueError` at the call that makes them. Shapes of activations are taken as
given: inferring or checking them is the reader's job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
import tflite

SCHEMA_VERSION = 3
FILE_IDENTIFIER = b"TFL3"
BUFFER_ALIGNMENT = 16

DTYPES = {
    "int8": tflite.TensorType.INT8,
    "uint8": tflite.TensorType.UINT8,
    "int16": tflite.TensorType.INT16,
    "int32": tflite.TensorType.INT32,
    "int64": tflite.TensorType.INT64,
    "float32": tflite.TensorType.FLOAT32,
    "bool": tflite.TensorType.BOOL,
}


@dataclass(frozen=True)
class OperatorSpec:
    """How one operator is encoded.

    Attributes:
        options: name of the schema's options table, or "" for an operator that has none.
        version: operator version that introduced int8 (per-channel, where that exists) arithmetic.
        defaults: option values used unless the caller gives others.
    """

    options: str = ""
    version: int = 1
    defaults: Mapping[str, Any] = field(default_factory=dict)


_STRIDES = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
_POOL = {**_STRIDES, "filter_height": 2, "filter_width": 2}

OPERATORS: dict[str, OperatorSpec] = {
    "ABS": OperatorSpec("AbsOptions"),
    "ADD": OperatorSpec("AddOptions", 2),
    "ARG_MAX": OperatorSpec("ArgMaxOptions", 2, {"output_type": "INT32"}),
    "AVERAGE_POOL_2D": OperatorSpec("Pool2DOptions", 2, _POOL),
    "BATCH_MATMUL": OperatorSpec("BatchMatMulOptions", 2),
    "BATCH_TO_SPACE_ND": OperatorSpec("BatchToSpaceNDOptions", 2),
    "BROADCAST_TO": OperatorSpec("BroadcastToOptions", 2),
    "CONCATENATION": OperatorSpec("ConcatenationOptions", 2, {"axis": -1}),
    "CONV_2D": OperatorSpec("Conv2DOptions", 3, _STRIDES),
    "DEPTHWISE_CONV_2D": OperatorSpec("DepthwiseConv2DOptions", 3, {**_STRIDES, "depth_multiplier": 1}),
    "DEPTH_TO_SPACE": OperatorSpec("DepthToSpaceOptions", 2, {"block_size": 2}),
    "DEQUANTIZE": OperatorSpec("DequantizeOptions", 2),
    "ELU": OperatorSpec(),
    "EXP": OperatorSpec("ExpOptions", 2),
    "EXPAND_DIMS": OperatorSpec("ExpandDimsOptions"),
    "FULLY_CONNECTED": OperatorSpec("FullyConnectedOptions", 4),
    "GATHER": OperatorSpec("GatherOptions", 2),
    "HARD_SWISH": OperatorSpec("HardSwishOptions"),
    "LEAKY_RELU": OperatorSpec("LeakyReluOptions", 2, {"alpha": 0.01}),
    "LOGISTIC": OperatorSpec("", 2),
    "MAXIMUM": OperatorSpec("MaximumMinimumOptions", 2),
    "MAX_POOL_2D": OperatorSpec("Pool2DOptions", 2, _POOL),
    "MEAN": OperatorSpec("ReducerOptions", 2),
    "MINIMUM": OperatorSpec("MaximumMinimumOptions", 2),
    "MIRROR_PAD": OperatorSpec("MirrorPadOptions"),
    "MUL": OperatorSpec("MulOptions", 2),
    "NEG": OperatorSpec("NegOptions"),
    "PACK": OperatorSpec("PackOptions", 2),
    "PAD": OperatorSpec("PadOptions", 2),
    "PADV2": OperatorSpec("PadV2Options", 2),
    "PRELU": OperatorSpec(),
    "QUANTIZE": OperatorSpec("QuantizeOptions", 2),
    "REDUCE_MAX": OperatorSpec("ReducerOptions", 2),
    "REDUCE_MIN": OperatorSpec("ReducerOptions", 2),
    "RELU": OperatorSpec("", 2),
    "RELU6": OperatorSpec("", 2),
    "RELU_N1_TO_1": OperatorSpec("", 2),
    "RESHAPE": OperatorSpec("ReshapeOptions"),
    "RESIZE_BILINEAR": OperatorSpec("ResizeBilinearOptions", 2),
    "RESIZE_NEAREST_NEIGHBOR": OperatorSpec("ResizeNearestNeighborOptions", 2),
    "REVERSE_V2": OperatorSpec("ReverseV2Options"),
    "SHAPE": OperatorSpec("ShapeOptions", 1, {"out_type": "INT32"}),
    "SIN": OperatorSpec(),
    "SLICE": OperatorSpec("SliceOptions", 2),
    "SOFTMAX": OperatorSpec("SoftmaxOptions", 2, {"beta": 1.0}),
    "SPACE_TO_BATCH_ND": OperatorSpec("SpaceToBatchNDOptions", 2),
    "SPACE_TO_DEPTH": OperatorSpec("SpaceToDepthOptions", 2, {"block_size": 2}),
    "SPLIT": OperatorSpec("SplitOptions", 2),
    "SPLIT_V": OperatorSpec("SplitVOptions", 2),
    "SQRT": OperatorSpec(),
    "SQUEEZE": OperatorSpec("SqueezeOptions"),
    "STRIDED_SLICE": OperatorSpec("StridedSliceOptions", 2),
    "SUB": OperatorSpec("SubOptions", 2),
    "SUM": OperatorSpec("ReducerOptions", 2),
    "TANH": OperatorSpec("", 2),
    "TILE": OperatorSpec("TileOptions"),
    "TRANSPOSE": OperatorSpec("TransposeOptions", 2),
    "TRANSPOSE_CONV": OperatorSpec("TransposeConvOptions", 3, _STRIDES),
    "UNPACK": OperatorSpec("UnpackOptions", 2),
}

_ALIASES = {
    "activation": "fused_activation_function",
    "dilation_h": "dilation_h_factor",
    "dilation_w": "dilation_w_factor",
}
_ENUMS = {
    "padding": tflite.Padding,
    "fused_activation_function": tflite.ActivationFunctionType,
    "output_type": tflite.TensorType,
    "out_type": tflite.TensorType,
}


def _option_setter(table: str, name: str) -> Callable[[flatbuffers.Builder, Any], None]:
    """Return the generated function that writes option `name` of `table`, or raise if the schema has none."""
    prefix = f"{table}Add"
    camel = "".join(part.capitalize() for part in name.split("_"))
    setter = getattr(tflite, prefix + camel, None) if table else None
    if setter is None:
        known = ", ".join(attr.removeprefix(prefix) for attr in dir(tflite) if table and attr.startswith(prefix))
        raise ValueError(f"option must be one of {table or 'the operator'} ({known or 'none'}), not {name!r}")
    return setter


def _option_value(name: str, value: Any) -> Any:
    """Turn the schema's name of an enumerated value into its number."""
    if not isinstance(value, str):
        return value
    numbers = {attr: number for attr, number in vars(_ENUMS.get(name, object)).items() if attr.isupper()}
    if value not in numbers:
        raise ValueError(f"{name} must be {' or '.join(numbers) or 'a number'}, not {value!r}")
    return numbers[value]


@dataclass(frozen=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: npt.NDArray[np.float32] | None
    zero_point: npt.NDArray[np.int64]
    quantized_dimension: int
    buffer: int


@dataclass(frozen=True)
class _Op:
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]


class TFLiteBuilder:
    """Collects the tensors and operators of one subgraph and serialises them (see the module's docstring).

    Args:
        description: free text stored in the model.
    """

    def __init__(self, description: str = "") -> None:
        self.description = description
        self._tensors: list[_Tensor] = []
        self._ops: list[_Op] = []
        self._buffers: list[bytes] = [b""]  # by convention buffer 0 is empty and shared by all activations

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: npt.DTypeLike,
        scale: float | npt.ArrayLike | None = None,
        zero_point: int | npt.ArrayLike = 0,
        data: npt.NDArray[Any] | None = None,
        quantized_dimension: int = 0,
    ) -> int:
        """Declare a tensor and return its index.

        Args:
            name: unique name.
            shape: sizes, outermost first; () is a scalar.
            dtype: one of `DTYPES`, as a string or NumPy dtype.
            scale: real value of one step, one number or one per index of `quantized_dimension`; stored as float32.
            zero_point: integer that stands for real 0, one number or as many as `scale`.
            data: values of a constant, of exactly this shape and dtype.
            quantized_dimension: axis of per-channel parameters.

        Raises:
            ValueError: duplicate name, unknown dtype, or data or parameters that do not fit shape and dtype.
        """
        if any(tensor.name == name for tensor in self._tensors):
            raise ValueError(f"tensor name must be unique, {name!r} is already declared")
        kind = np.dtype(dtype).name
        if kind not in DTYPES:
            raise ValueError(f"dtype of tensor {name!r} must be one of {', '.join(DTYPES)}, not {kind}")
        sizes = tuple(int(size) for size in shape)

        scales = None if scale is None else np.atleast_1d(np.asarray(scale, dtype=np.float32))
        zero_points = np.atleast_1d(np.asarray(zero_point, dtype=np.int64))
        if scales is not None:
            if scales.size > 1 and (quantized_dimension >= len(sizes) or sizes[quantized_dimension] != scales.size):
                raise ValueError(f"scale of tensor {name!r} must hold 1 value or one per index of axis "
                                 f"{quantized_dimension} of shape {sizes}, not {scales.size}")
            if zero_points.size not in (1, scales.size):
                raise ValueError(f"zero_point of tensor {name!r} must hold 1 or {scales.size} values, "
                                 f"not {zero_points.size}")
            zero_points = np.broadcast_to(zero_points, scales.shape)

        buffer = 0
        if data is not None:
            if data.dtype.name != kind or data.shape != sizes:
                raise ValueError(f"data of tensor {name!r} must be {kind} of shape {sizes}, "
                                 f"not {data.dtype.name} of shape {data.shape}")
            buffer = len(self._buffers)
            self._buffers.append(np.ascontiguousarray(data.astype(data.dtype.newbyteorder("<"))).tobytes())
        self._tensors.append(_Tensor(name, sizes, kind, scales, zero_points, quantized_dimension, buffer))
        return len(self._tensors) - 1

    def op(
        self,
        builtin_name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Append an operator; operators execute in the order in which they are appended.

        Raises:
            ValueError: unknown operator, option or option value, or an index that is not a declared tensor's.
        """
        spec = OPERATORS.get(builtin_name)
        if spec is None:
            raise ValueError(f"operator must be one of {', '.join(OPERATORS)}, not {builtin_name!r}")
        self._check_indices(f"inputs of {builtin_name}", inputs, optional=True)
        self._check_indices(f"outputs of {builtin_name}", outputs)
        merged = dict(spec.defaults)
        for name, value in (options or {}).items():
            merged[_ALIASES.get(name, name)] = value
        for name, value in merged.items():
            _option_setter(spec.options, name)
            merged[name] = _option_value(name, value)
        self._ops.append(_Op(builtin_name, tuple(inputs), tuple(outputs), merged))

    def build(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """Serialise the model whose inputs and outputs are the tensors of these indices.

        Raises:
            ValueError: an index that is not a declared tensor's.
        """
        self._check_indices("inputs of the model", inputs)
        self._check_indices("outputs of the model", outputs)
        codes = list(dict.fromkeys(op.name for op in self._ops))
        b = flatbuffers.Builder(1024 + sum(len(buffer) + 64 for buffer in self._buffers))

        buffers = _offsets(b, [_write_buffer(b, data) for data in self._buffers])
        tensors = _offsets(b, [_write_tensor(b, tensor) for tensor in self._tensors])
        ops = _offsets(b, [_write_op(b, op, codes.index(op.name)) for op in self._ops])
        subgraph_name = b.CreateString("main")
        subgraph_inputs, subgraph_outputs = _int32s(b, inputs), _int32s(b, outputs)
        tflite.SubGraphStart(b)
        tflite.SubGraphAddTensors(b, tensors)
        tflite.SubGraphAddInputs(b, subgraph_inputs)
        tflite.SubGraphAddOutputs(b, subgraph_outputs)
        tflite.SubGraphAddOperators(b, ops)
        tflite.SubGraphAddName(b, subgraph_name)
        subgraphs = _offsets(b, [tflite.SubGraphEnd(b)])

        operator_codes = _offsets(b, [_write_operator_code(b, name) for name in codes])
        description = b.CreateString(self.description)
        tflite.ModelStart(b)
        tflite.ModelAddVersion(b, SCHEMA_VERSION)
        tflite.ModelAddOperatorCodes(b, operator_codes)
        tflite.ModelAddSubgraphs(b, subgraphs)
        tflite.ModelAddDescription(b, description)
        tflite.ModelAddBuffers(b, buffers)
        b.Finish(tflite.ModelEnd(b), file_identifier=FILE_IDENTIFIER)
        return bytes(b.Output())

    def _check_indices(self, what: str, indices: Sequence[int], optional: bool = False) -> None:
        for index in indices:
            if not (0 <= index < len(self._tensors) or (optional and index == -1)):
                raise ValueError(f"{what} must be tensor indices below {len(self._tensors)}, not {index}")


def _offsets(b: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    """Write a vector of references to tables."""
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return b.EndVector()


def _int32s(b: flatbuffers.Builder, values: Sequence[int] | npt.NDArray[Any]) -> int:
    return b.CreateNumpyVector(np.array(values, dtype=np.int32))


def _write_buffer(b: flatbuffers.Builder, data: bytes) -> int:
    contents = 0
    if data:
        b.Prep(BUFFER_ALIGNMENT, len(data))  # the vector writer below would align to 4 bytes only
        contents = b.CreateByteVector(data)
    tflite.BufferStart(b)
    if data:
        tflite.BufferAddData(b, contents)
    return tflite.BufferEnd(b)


def _write_tensor(b: flatbuffers.Builder, tensor: _Tensor) -> int:
    quantization = 0
    if tensor.scale is not None:
        scale = b.CreateNumpyVector(tensor.scale)
        zero_point = b.CreateNumpyVector(np.ascontiguousarray(tensor.zero_point))
        tflite.QuantizationParametersStart(b)
        tflite.QuantizationParametersAddScale(b, scale)
        tflite.QuantizationParametersAddZeroPoint(b, zero_point)
        tflite.QuantizationParametersAddQuantizedDimension(b, tensor.quantized_dimension)
        quantization = tflite.QuantizationParametersEnd(b)
    name, shape = b.CreateString(tensor.name), _int32s(b, tensor.shape)
    tflite.TensorStart(b)
    tflite.TensorAddShape(b, shape)
    tflite.TensorAddType(b, DTYPES[tensor.dtype])
    tflite.TensorAddBuffer(b, tensor.buffer)
    tflite.TensorAddName(b, name)
    tflite.TensorAddHasRank(b, True)
    if quantization:
        tflite.TensorAddQuantization(b, quantization)
    return tflite.TensorEnd(b)


def _write_op(b: flatbuffers.Builder, op: _Op, opcode_index: int) -> int:
    table = OPERATORS[op.name].options
    options = 0
    if table:
        # vectors must be complete before the table that refers to them is started
        values = {name: _int32s(b, value) if isinstance(value, (list, tuple, np.ndarray)) else value
                  for name, value in op.options.items()}
        getattr(tflite, f"{table}Start")(b)
        for name, value in values.items():
            _option_setter(table, name)(b, value)
        options = getattr(tflite, f"{table}End")(b)
    inputs, outputs = _int32s(b, op.inputs), _int32s(b, op.outputs)
    tflite.OperatorStart(b)
    tflite.OperatorAddOpcodeIndex(b, opcode_index)
    tflite.OperatorAddInputs(b, inputs)
    tflite.OperatorAddOutputs(b, outputs)
    if table:
        tflite.OperatorAddBuiltinOptionsType(b, getattr(tflite.BuiltinOptions, table))
        tflite.OperatorAddBuiltinOptions(b, options)
    return tflite.OperatorEnd(b)


def _write_operator_code(b: flatbuffers.Builder, name: str) -> int:
    code = getattr(tflite.BuiltinOperator, name)
    tflite.OperatorCodeStart(b)
    # readers older than schema 3a know the 8-bit field only, whose largest value says "see the other one"
    tflite.OperatorCodeAddDeprecatedBuiltinCode(
        b, min(code, tflite.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES))
    tflite.OperatorCodeAddBuiltinCode(b, code)
    tflite.OperatorCodeAddVersion(b, OPERATORS[name].version)
    return tflite.OperatorCodeEnd(b)
