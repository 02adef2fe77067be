"""The .tflite writer: files say what was described, and TFLite Micro runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tflite

from systolith.models.tflite_writer import BUFFER_ALIGNMENT, OPERATORS, TFLiteBuilder

runtime = pytest.importorskip("tflite_micro", reason="tflite-micro is the oracle; install the test extra").runtime


def invoke(model: bytes, *inputs: np.ndarray) -> np.ndarray:
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=200_000)
    for index, value in enumerate(inputs):
        interpreter.set_input(value, index)
    interpreter.invoke()
    return interpreter.get_output(0)


def one_op(name: str, x_shape: tuple[int, ...], y_shape: tuple[int, ...], options: dict[str, Any] | None = None,
           constants: tuple[np.ndarray, ...] = (), x_dtype: str = "int8", y_dtype: str = "int8",
           y_scale: float = 0.5, y_zero_point: int = 0) -> bytes:
    """One operator; int8 activations and int8 constants have scale 0.5, an int32 bias 0.25."""
    b = TFLiteBuilder()
    x = b.tensor("x", x_shape, x_dtype, scale=None if x_dtype == "float32" else 0.5)
    extra = [b.tensor(f"c{i}", c.shape, c.dtype, scale=0.5 if c.dtype == np.int8 else 0.25, data=c)
             for i, c in enumerate(constants)]
    y = b.tensor("y", y_shape, y_dtype, scale=None if y_dtype == "float32" else y_scale, zero_point=y_zero_point)
    b.op(name, [x, *extra], [y], options)
    return b.build([x], [y])


RAMP = np.arange(-8, 8, dtype=np.int8).reshape(1, 4, 4, 1)
CENTRE = np.zeros((1, 3, 3, 1), np.int8)
CENTRE[0, 1, 1, 0] = 2  # 2 * 0.5 = 1.0: the identity
BIAS = np.array([4], np.int32)  # 4 * 0.25 = 1.0: two steps of the output


@pytest.mark.parametrize(("model", "x", "expected"), [
    pytest.param(lambda: one_op("CONV_2D", (1, 4, 4, 1), (1, 4, 4, 1), {}, (CENTRE, BIAS)),
                 RAMP, RAMP + 2, id="CONV_2D"),
    pytest.param(lambda: one_op("CONV_2D", (1, 4, 4, 1), (1, 2, 2, 1), {"stride_h": 2, "stride_w": 2,
                 "padding": "VALID", "activation": "RELU"}, (CENTRE[:, 1:2, 1:2], BIAS)),
                 RAMP, np.maximum(RAMP[:, ::2, ::2] + 2, 0), id="CONV_2D-stride2-relu"),
    pytest.param(lambda: one_op("DEPTHWISE_CONV_2D", (1, 4, 4, 1), (1, 4, 4, 1), {}, (CENTRE, BIAS)),
                 RAMP, RAMP + 2, id="DEPTHWISE_CONV_2D"),
    pytest.param(lambda: one_op("FULLY_CONNECTED", (1, 2), (1, 1), {}, (np.array([[2, 4]], np.int8), BIAS)),
                 np.array([[5, 7]], np.int8), np.array([[5 + 14 + 2]], np.int8), id="FULLY_CONNECTED"),
    pytest.param(lambda: one_op("ADD", (1, 3), (1, 3), {"activation": "RELU"}, (np.array([[1, 2, 3]], np.int8),)),
                 np.array([[-9, 0, 9]], np.int8), np.array([[0, 2, 12]], np.int8), id="ADD"),
    pytest.param(lambda: one_op("SUB", (1, 3), (1, 3), {}, (np.array([[1, 2, 3]], np.int8),)),
                 np.array([[-9, 0, 9]], np.int8), np.array([[-10, -2, 6]], np.int8), id="SUB"),
    pytest.param(lambda: one_op("MUL", (1, 3), (1, 3), {}, (np.array([[2, 4, 6]], np.int8),)),
                 np.array([[-9, 0, 9]], np.int8), np.array([[-9, 0, 27]], np.int8), id="MUL"),
    pytest.param(lambda: one_op("AVERAGE_POOL_2D", (1, 4, 4, 1), (1, 1, 1, 1),
                 {"filter_height": 4, "filter_width": 4, "padding": "VALID"}),
                 RAMP + np.int8(10), np.full((1, 1, 1, 1), 10, np.int8), id="AVERAGE_POOL_2D"),
    pytest.param(lambda: one_op("MAX_POOL_2D", (1, 4, 4, 1), (1, 2, 2, 1), {"stride_h": 2, "stride_w": 2}),
                 RAMP, RAMP[:, 1::2, 1::2], id="MAX_POOL_2D"),
    pytest.param(lambda: one_op("MEAN", (1, 4, 4, 1), (1, 1), {"keep_dims": False}, (np.array([1, 2], np.int32),)),
                 RAMP * np.int8(2), np.array([[-1]], np.int8), id="MEAN"),
    pytest.param(lambda: one_op("RESHAPE", (1, 4, 4, 1), (1, 16), {"new_shape": [1, 16]},
                 (np.array([1, 16], np.int32),)), RAMP, RAMP.reshape(1, 16), id="RESHAPE"),
    pytest.param(lambda: one_op("SOFTMAX", (1, 2), (1, 2), y_scale=1 / 256, y_zero_point=-128),
                 np.array([[3, 3]], np.int8), np.array([[0, 0]], np.int8), id="SOFTMAX"),
    pytest.param(lambda: one_op("QUANTIZE", (1, 2), (1, 2), x_dtype="float32", y_zero_point=3),
                 np.array([[1.0, -2.0]], np.float32), np.array([[5, -1]], np.int8), id="QUANTIZE"),
    pytest.param(lambda: one_op("DEQUANTIZE", (1, 2), (1, 2), y_dtype="float32"),
                 np.array([[3, -4]], np.int8), np.array([[1.5, -2.0]], np.float32), id="DEQUANTIZE"),
    pytest.param(lambda: one_op("PAD", (1, 4, 4, 1), (1, 5, 7, 1), {},
                 (np.array([[0, 0], [0, 1], [1, 2], [0, 0]], np.int32),)),
                 RAMP, np.pad(RAMP, [(0, 0), (0, 1), (1, 2), (0, 0)]), id="PAD"),
    pytest.param(lambda: one_op("CONCATENATION", (1, 2), (1, 4), {"axis": 1}, (np.array([[7, 8]], np.int8),)),
                 np.array([[5, 6]], np.int8), np.array([[5, 6, 7, 8]], np.int8), id="CONCATENATION"),
    pytest.param(lambda: one_op("RELU", (1, 2), (1, 2)),
                 np.array([[-5, 6]], np.int8), np.array([[0, 6]], np.int8), id="RELU"),
    pytest.param(lambda: one_op("RELU6", (1, 2), (1, 2)),
                 np.array([[-5, 60]], np.int8), np.array([[0, 12]], np.int8), id="RELU6"),
    pytest.param(lambda: one_op("LEAKY_RELU", (1, 2), (1, 2), {"alpha": 0.25}),
                 np.array([[-8, 6]], np.int8), np.array([[-2, 6]], np.int8), id="LEAKY_RELU"),
    pytest.param(lambda: one_op("HARD_SWISH", (1, 2), (1, 2)),
                 np.array([[-20, 20]], np.int8), np.array([[0, 20]], np.int8), id="HARD_SWISH"),
    pytest.param(lambda: one_op("LOGISTIC", (1, 2), (1, 2), y_scale=1 / 256, y_zero_point=-128),
                 np.array([[0, 100]], np.int8), np.array([[0, 127]], np.int8), id="LOGISTIC"),
    pytest.param(lambda: one_op("TANH", (1, 2), (1, 2), y_scale=1 / 128),
                 np.array([[0, -100]], np.int8), np.array([[0, -128]], np.int8), id="TANH"),
])
def test_tflite_micro_runs_operator(model: Callable[[], bytes], x: np.ndarray, expected: np.ndarray) -> None:
    actual = invoke(model(), x)
    np.testing.assert_array_equal(actual, expected)
    assert actual.dtype == expected.dtype


def test_absent_bias_runs() -> None:
    b = TFLiteBuilder()
    x = b.tensor("x", (1, 1), "int8", scale=1.0)
    w = b.tensor("w", (1, 1), "int8", scale=1.0, data=np.array([[3]], np.int8))
    y = b.tensor("y", (1, 1), "int8", scale=1.0)
    b.op("FULLY_CONNECTED", [x, w, -1], [y])
    assert invoke(b.build([x], [y]), np.array([[5]], np.int8)) == 15


def test_per_channel_parameters_and_options_read_back() -> None:
    scales = np.array([0.1, 0.2, 0.3], np.float32)
    weights = np.arange(27, dtype=np.int8).reshape(1, 3, 3, 3)
    b = TFLiteBuilder("three channels")
    x = b.tensor("x", (1, 9, 9, 3), "int8", scale=0.5, zero_point=-7)
    w = b.tensor("w", weights.shape, "int8", scale=scales, data=weights, quantized_dimension=3)
    y = b.tensor("y", (1, 5, 5, 3), "int8", scale=0.25)
    b.op("DEPTHWISE_CONV_2D", [x, w, -1], [y], {"stride_h": 2, "padding": "VALID", "dilation_w": 3})

    model = tflite.Model.GetRootAs(b.build([x], [y]))

    graph = model.Subgraphs(0)
    tensor = graph.Tensors(w)
    assert model.Version() == 3 and model.Description() == b"three channels"
    assert tensor.Name() == b"w" and tensor.ShapeAsNumpy().tolist() == [1, 3, 3, 3]
    assert tensor.Quantization().QuantizedDimension() == 3
    np.testing.assert_array_equal(tensor.Quantization().ScaleAsNumpy(), scales)
    np.testing.assert_array_equal(tensor.Quantization().ZeroPointAsNumpy(), [0, 0, 0])
    assert graph.Tensors(x).Quantization().ZeroPointAsNumpy().tolist() == [-7]
    np.testing.assert_array_equal(model.Buffers(tensor.Buffer()).DataAsNumpy(), weights.ravel())
    op = graph.Operators(0)
    assert op.InputsAsNumpy().tolist() == [x, w, -1]
    options = tflite.DepthwiseConv2DOptions()
    options.Init(op.BuiltinOptions().Bytes, op.BuiltinOptions().Pos)
    assert (options.StrideH(), options.StrideW(), options.Padding()) == (2, 1, tflite.Padding.VALID)
    assert (options.DilationHFactor(), options.DilationWFactor(), options.DepthMultiplier()) == (1, 3, 1)


def test_constants_are_aligned() -> None:
    b = TFLiteBuilder()
    for size in (1, 3, 16, 17, 5):
        b.tensor(f"c{size}", (size,), "int8", data=np.full(size, size, np.int8))
    file = np.frombuffer(b.build([], []), np.uint8)
    model = tflite.Model.GetRootAs(file)
    for index in range(1, model.BuffersLength()):
        offset = model.Buffers(index).DataAsNumpy().ctypes.data - file.ctypes.data
        assert offset % BUFFER_ALIGNMENT == 0


def test_equal_descriptions_give_equal_bytes() -> None:
    models = [one_op("CONV_2D", (1, 4, 4, 1), (1, 4, 4, 1), {}, (CENTRE, BIAS)) for _ in range(2)]
    assert models[0] == models[1]


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_serialises(name: str) -> None:
    b = TFLiteBuilder()
    x, y = b.tensor("x", (1,), "int8", scale=1.0), b.tensor("y", (1,), "int8", scale=1.0)
    b.op(name, [x], [y])
    model = tflite.Model.GetRootAs(b.build([x], [y]))
    assert model.OperatorCodes(0).BuiltinCode() == getattr(tflite.BuiltinOperator, name)


@pytest.mark.parametrize(("mistake", "message"), [
    (lambda b: b.tensor("x", (1,), "int8"), "must be unique"),
    (lambda b: b.tensor("t", (1,), "float64"), "dtype of tensor 't' must be one of .*, not float64"),
    (lambda b: b.tensor("t", (2,), "int8", data=np.zeros(2, np.int32)), "must be int8 of shape .2,., not int32"),
    (lambda b: b.tensor("t", (2,), "int8", data=np.zeros(3, np.int8)), r"not int8 of shape \(3,\)"),
    (lambda b: b.tensor("t", (2,), "int8", scale=[1.0, 2.0, 3.0]), "must hold 1 value or one per index of axis 0"),
    (lambda b: b.tensor("t", (2,), "int8", scale=[1.0, 2.0], zero_point=[1, 2, 3]), "zero_point .* not 3"),
    (lambda b: b.op("FROBNICATE", [0], [0]), "operator must be one of .*, not 'FROBNICATE'"),
    (lambda b: b.op("ADD", [0, 5], [0]), "inputs of ADD must be tensor indices below 1, not 5"),
    (lambda b: b.op("ADD", [0, 0], [-1]), "outputs of ADD must be tensor indices below 1, not -1"),
    (lambda b: b.op("ADD", [0, 0], [0], {"stride_h": 1}), "must be one of AddOptions .*, not 'stride_h'"),
    (lambda b: b.op("RELU", [0], [0], {"alpha": 1}), "must be one of the operator .none., not 'alpha'"),
    (lambda b: b.op("CONV_2D", [0], [0], {"padding": "FULL"}), "padding must be SAME or VALID, not 'FULL'"),
    (lambda b: b.op("SOFTMAX", [0], [0], {"beta": "1"}), "beta must be a number, not '1'"),
    (lambda b: b.build([0], [7]), "outputs of the model must be tensor indices below 1, not 7"),
])
def test_mistakes_are_named(mistake: Callable[[TFLiteBuilder], object], message: str) -> None:
    b = TFLiteBuilder()
    b.tensor("x", (1,), "int8", scale=1.0)
    with pytest.raises(ValueError, match=message):
        mistake(b)
