"""Golden device: whole networks against published outputs, single operators against TFLite Micro."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from systolith.host.devices.golden import GoldenDevice, execute, execute_batch, execute_op
from systolith.host.errors import ShapeError
from systolith.host.frontends.tflite import read_tflite
from systolith.host.passes import run_passes
from systolith.host.quantparams import conv_requant
from systolith.models.tflite_writer import TFLiteBuilder
from systolith.models.zoo import digits
from tests.shared_data import shared_file
from tests.unit.host.graphs import act, const, conv_graph, graph, op


def check_network(model: str, samples: str, count: int | None) -> None:
    g = run_passes(read_tflite(shared_file(f"models/{model}.tflite")))
    data = np.load(shared_file(f"samples/{samples}.npz"))
    y = execute_batch(g, {g.inputs[0]: data["x"][:count]})[g.outputs[0]]
    np.testing.assert_array_equal(y, data["out"][:count])


@pytest.mark.parametrize(("model", "samples", "count"), [
    ("ic_resnet8_int8", "ic_resnet8", 20),
    ("kws_dscnn_int8", "kws_dscnn", 50),
    ("vww_mobilenetv1_025_96_int8", "vww_mobilenetv1_025_96", 5),
    ("ad_autoencoder_int8", "ad_autoencoder", 200),
    ("mobilenetv2_10_224_int8", "mobilenetv2_10_224", 1),
])
def test_networks_give_the_published_bytes(model, samples, count):
    check_network(model, samples, count)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "samples"), [
    ("ic_resnet8_int8", "ic_resnet8"),
    ("kws_dscnn_int8", "kws_dscnn"),
    ("vww_mobilenetv1_025_96_int8", "vww_mobilenetv1_025_96"),
    ("mobilenetv2_10_224_int8", "mobilenetv2_10_224"),
])
def test_networks_give_the_published_bytes_for_every_sample(model, samples):
    check_network(model, samples, None)


def test_the_digits_network_equals_tflite_micro():
    runtime = pytest.importorskip("tflite_micro", reason="tflite-micro is the oracle; install the test extra").runtime
    g = run_passes(read_tflite(digits.model_path()))
    interpreter = runtime.Interpreter.from_file(str(digits.model_path()), arena_size=500_000)
    for sample in np.random.default_rng(3).integers(-128, 128, (10, 1, 8, 8, 1)).astype(np.int8):
        interpreter.set_input(sample, 0)
        interpreter.invoke()
        y = execute(g, {g.inputs[0]: sample})[g.outputs[0]]
        np.testing.assert_array_equal(y, interpreter.get_output(0))


def one_op(kind: str, x: dict[str, Any], y: dict[str, Any], constants=(), **options: Any) -> bytes:
    """A model of one operator between tensors `x` and `y`."""
    b = TFLiteBuilder()
    inputs = [b.tensor("x", **x)]
    inputs += [b.tensor(f"c{i}", each["data"].shape, each["data"].dtype, **each) for i, each in enumerate(constants)]
    output = b.tensor("y", **y)
    b.op(kind, inputs, [output], options)
    return b.build(inputs[:1], [output])


def i8(*shape: int, scale: float = 0.05, zero_point: int = -7, dtype: str = "int8") -> dict[str, Any]:
    return {"shape": shape, "dtype": dtype, "scale": scale, "zero_point": zero_point}


def f32(*shape: int) -> dict[str, Any]:
    return {"shape": shape, "dtype": "float32"}


RNG = np.random.default_rng(7)
FEATURES = np.array([0.013, 0.007, 0.02, 0.0, 0.05, 0.011], np.float32)  # one dead channel
W_CONV = {"data": RNG.integers(-127, 128, (6, 3, 2, 3)).astype(np.int8), "scale": FEATURES}
W_DEPTH = {"data": RNG.integers(-127, 128, (1, 3, 3, 6)).astype(np.int8), "scale": FEATURES, "quantized_dimension": 3}
W_FULL = {"data": RNG.integers(-127, 128, (6, 12)).astype(np.int8), "scale": 0.0371}
BIAS = {"data": RNG.integers(-3000, 3000, 6).astype(np.int32), "scale": FEATURES * np.float32(0.05)}
BIAS_FULL = {"data": BIAS["data"], "scale": np.float32(0.05) * np.float32(0.0371)}
ROW = {"data": RNG.integers(-128, 128, (1, 1, 1, 3)).astype(np.int8), "scale": 0.11, "zero_point": 4}
AXES = {"data": np.array([1, 2], np.int32)}
AMOUNTS = {"data": np.array([[0, 0], [1, 0], [2, 3], [0, 0]], np.int32)}


@pytest.mark.parametrize(("kind", "x", "y", "constants", "options"), [
    ("CONV_2D", i8(1, 7, 5, 3), i8(1, 4, 3, 6, scale=0.9), [W_CONV, BIAS],
     {"stride_h": 2, "stride_w": 2, "activation": "RELU"}),
    ("CONV_2D", i8(1, 7, 5, 3), i8(1, 3, 4, 6, scale=0.9), [W_CONV],
     {"padding": "VALID", "dilation_h": 2, "activation": "RELU6"}),
    ("DEPTHWISE_CONV_2D", i8(1, 6, 6, 6), i8(1, 6, 6, 6, scale=0.9), [W_DEPTH, BIAS], {"activation": "RELU_N1_TO_1"}),
    ("DEPTHWISE_CONV_2D", i8(1, 6, 6, 3), i8(1, 3, 3, 6, scale=0.9), [W_DEPTH, BIAS],
     {"stride_h": 2, "stride_w": 2, "depth_multiplier": 2}),
    ("FULLY_CONNECTED", i8(1, 12), i8(1, 6, scale=0.3), [W_FULL, BIAS_FULL], {}),
    ("FULLY_CONNECTED", i8(1, 2, 2, 12), i8(4, 6, scale=0.3), [W_FULL, BIAS_FULL], {"activation": "RELU"}),
    ("ADD", i8(1, 4, 4, 3), i8(1, 4, 4, 3, scale=0.13), [ROW], {"activation": "RELU"}),
    ("AVERAGE_POOL_2D", i8(1, 7, 5, 3), i8(1, 4, 3, 3), [],
     {"filter_height": 3, "filter_width": 2, "stride_h": 2, "stride_w": 2}),
    ("MAX_POOL_2D", i8(1, 7, 5, 3), i8(1, 7, 5, 3), [],
     {"filter_height": 3, "filter_width": 2, "activation": "RELU6"}),
    ("MEAN", i8(1, 7, 5, 3), i8(1, 1, 1, 3, scale=0.02), [AXES], {"keep_dims": True}),
    ("MEAN", i8(1, 7, 5, 3), i8(1, 3, scale=0.02), [AXES], {"keep_dims": False}),
    ("PAD", i8(1, 4, 4, 3), i8(1, 5, 9, 3), [AMOUNTS], {}),
    ("RESHAPE", i8(1, 4, 4, 3), i8(1, 48), [{"data": np.array([1, 48], np.int32)}], {}),
    ("SOFTMAX", i8(1, 20), i8(1, 20, scale=1 / 256, zero_point=-128), [], {"beta": 1.0}),
    ("QUANTIZE", i8(1, 4, 4, 3), i8(1, 4, 4, 3, scale=0.031), [], {}),
    ("QUANTIZE", i8(1, 48, dtype="uint8", zero_point=120), i8(1, 48), [], {}),
    ("QUANTIZE", i8(1, 48), i8(1, 48, dtype="uint8", zero_point=121), [], {}),
    ("QUANTIZE", f32(1, 48), i8(1, 48), [], {}),
    ("DEQUANTIZE", i8(1, 48), f32(1, 48), [], {}),
])
def test_single_operators_equal_tflite_micro(kind, x, y, constants, options):
    runtime = pytest.importorskip("tflite_micro", reason="tflite-micro is the oracle; install the test extra").runtime
    model = one_op(kind, x, y, constants, **options)
    g = read_tflite(model)
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=100_000)
    rng = np.random.default_rng(11)
    for _ in range(5):
        sample = (rng.normal(0, 4, x["shape"]) if x["dtype"] == "float32"
                  else rng.integers(*(0, 256) if x["dtype"] == "uint8" else (-128, 128), x["shape"])).astype(x["dtype"])
        interpreter.set_input(sample, 0)
        interpreter.invoke()
        np.testing.assert_array_equal(execute(g, {"x": sample})["y"], interpreter.get_output(0))


def test_a_batch_is_the_samples_one_by_one():
    g = conv_graph()
    x = np.random.default_rng(1).integers(-128, 128, (3, 6, 6, 2)).astype(np.int8)
    y = execute_batch(g, {"x": x})["y"]
    device = GoldenDevice(g)
    for i in range(3):
        np.testing.assert_array_equal(y[i : i + 1], device.run({"x": x[i : i + 1]})["y"])


def test_one_operator_can_be_executed_alone():
    g = graph([act("x", 1, 4), const("c", 1, 4), act("y", 1, 4)], [op("ADD", "x c", "y", activation="NONE")])
    x = np.arange(4, dtype=np.int8)[None]
    (y,) = execute_op(g, g.ops[0], {"x": x, "c": g.tensors["c"].data})
    np.testing.assert_array_equal(y, execute(g, {"x": x})["y"])


def test_a_per_tensor_scale_is_spread_over_the_channels():
    g = conv_graph()
    mult, shift = conv_requant(g, g.ops[0])
    assert (mult.shape, shift.shape) == ((5,), (5,))
    assert (set(mult.tolist()), set(shift.tolist())) == ({1 << 30}, {-1})  # 0.5 * 0.25 / 0.5 = 1/4


@pytest.mark.parametrize(("inputs", "problem"), [
    ({}, r"named \['x'\], not \[\]"),
    ({"z": np.zeros((1, 6, 6, 2), np.int8)}, r"not \['z'\]"),
    ({"x": np.zeros((1, 6, 6, 3), np.int8)}, r"int8 \(1, 6, 6, 2\), not int8 \(1, 6, 6, 3\)"),
    ({"x": np.zeros((1, 6, 6, 2), np.uint8)}, "not uint8"),
])
def test_inputs_that_do_not_fit_are_refused(inputs, problem):
    with pytest.raises(ShapeError, match=problem):
        execute(conv_graph(), inputs)


@pytest.mark.parametrize("inputs", [{}, {"x": np.zeros((0, 6, 6, 2), np.int8)}, {"x": np.int8(3)}])
def test_a_batch_must_hold_samples(inputs):
    with pytest.raises(ShapeError, match="number"):
        execute_batch(conv_graph(), inputs)
