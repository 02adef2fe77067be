"""TFLite frontend: normalised attributes, one-line errors, and no way to crash it with damaged files."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import numpy as np
import pytest

from systolith.host.devices.golden import execute
from systolith.host.errors import ModelError, SystolithError, UnsupportedOperatorError
from systolith.host.frontends.tflite import read_tflite
from systolith.host.graph import Graph
from systolith.models.tflite_writer import TFLiteBuilder
from systolith.models.zoo import digits
from tests.operators import MAKERS, random_operator


def one_op(kind: str, x_shape, y_shape, options=None, constants=(), dtype: str = "int8", **output) -> bytes:
    """A model of one operator; activations have scale 0.5, int8 constants 0.25."""
    b = TFLiteBuilder()
    x = b.tensor("x", x_shape, dtype, scale=0.5 if dtype != "float32" else None, zero_point=0)
    extra = [b.tensor(f"c{i}", c.shape, c.dtype, scale=0.25 if c.dtype != np.int64 else None, data=c)
             for i, c in enumerate(constants)]
    y = b.tensor("y", y_shape, dtype, **{"scale": 0.5 if dtype != "float32" else None, **output})
    b.op(kind, [x, *extra], [y], options)
    return b.build([x], [y])


def small_network() -> bytes:
    """A model with one of each operator that networks usually have, small enough that most bytes are structure."""
    b = TFLiteBuilder()
    x = b.tensor("x", (1, 6, 6, 2), "int8", scale=0.5, zero_point=1)
    pad = b.tensor("pad", (4, 2), "int32", data=np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    p = b.tensor("p", (1, 8, 8, 2), "int8", scale=0.5, zero_point=1)
    w = b.tensor("w", (4, 3, 3, 2), "int8", scale=np.full(4, 0.1), data=np.ones((4, 3, 3, 2), np.int8))
    bias = b.tensor("bias", (4,), "int32", scale=np.full(4, 0.05), data=np.arange(4, dtype=np.int32))
    c = b.tensor("c", (1, 6, 6, 4), "int8", scale=0.5)
    dw = b.tensor("dw", (1, 3, 3, 4), "int8", scale=np.full(4, 0.1), data=np.ones((1, 3, 3, 4), np.int8),
                  quantized_dimension=3)
    d = b.tensor("d", (1, 6, 6, 4), "int8", scale=0.5)
    s = b.tensor("s", (1, 6, 6, 4), "int8", scale=1.0)
    q = b.tensor("q", (1, 3, 3, 4), "int8", scale=1.0)
    axes = b.tensor("axes", (2,), "int32", data=np.array([1, -2], np.int32))
    m = b.tensor("m", (1, 4), "int8", scale=1.0)
    fw = b.tensor("fw", (3, 4), "int8", scale=0.25, data=np.ones((3, 4), np.int8))
    f = b.tensor("f", (1, 3), "int8", scale=0.5)
    y = b.tensor("y", (1, 3), "int8", scale=1 / 256, zero_point=-128)
    b.op("PAD", [x, pad], [p])
    b.op("CONV_2D", [p, w, bias], [c], {"padding": "VALID", "activation": "RELU6"})
    b.op("DEPTHWISE_CONV_2D", [c, dw, -1], [d], {"activation": "RELU"})
    b.op("ADD", [c, d], [s])
    b.op("MAX_POOL_2D", [s], [q], {"stride_h": 2, "stride_w": 2})
    b.op("MEAN", [q, axes], [m], {"keep_dims": False})
    b.op("FULLY_CONNECTED", [m, fw], [f])
    b.op("SOFTMAX", [f], [y], {"beta": 0.5})
    return b.build([x], [y])


def test_attributes_are_normalised():
    g = read_tflite(small_network())
    attrs = {each.kind: dict(each.attrs) for each in g.ops}
    assert attrs == {
        "PAD": {"paddings": ((0, 0), (1, 1), (1, 1), (0, 0))},
        "CONV_2D": {"stride": (1, 1), "dilation": (1, 1), "pads": ((0, 0), (0, 0)), "activation": "RELU6", "groups": 1},
        "DEPTHWISE_CONV_2D": {"stride": (1, 1), "dilation": (1, 1), "pads": ((1, 1), (1, 1)), "activation": "RELU",
                              "multiplier": 1},
        "ADD": {"activation": "NONE"},
        "MAX_POOL_2D": {"kernel": (2, 2), "stride": (2, 2), "pads": ((0, 0), (0, 0)), "activation": "NONE"},
        "MEAN": {"axes": (1, 2), "keepdims": False},
        "FULLY_CONNECTED": {"activation": "NONE", "keep_dims": False},
        "SOFTMAX": {"beta": 0.5},
    }


def test_operators_list_data_inputs_only_and_a_missing_bias_is_left_out():
    g = read_tflite(small_network())
    inputs = {each.kind: each.inputs for each in g.ops}
    assert inputs["PAD"] == ("x",)
    assert inputs["CONV_2D"] == ("p", "w", "bias")
    assert inputs["DEPTHWISE_CONV_2D"] == ("c", "dw")
    assert inputs["MEAN"] == ("q",)
    assert "axes" not in g.tensors


def test_scales_are_float32_values_and_weights_keep_their_axis():
    g = read_tflite(small_network())
    assert g.tensors["w"].quant.scale == (float(np.float32(0.1)),) * 4
    assert (g.tensors["w"].quant.axis, g.tensors["dw"].quant.axis, g.tensors["fw"].quant.axis) == (0, 3, None)


@pytest.mark.parametrize(("options", "y_shape", "pads"), [
    ({"stride_h": 2, "stride_w": 1}, (1, 4, 5, 1), ((1, 1), (1, 1))),
    ({"stride_h": 2, "stride_w": 2}, (1, 4, 3, 1), ((1, 1), (1, 1))),
    ({"dilation_h": 2}, (1, 7, 5, 1), ((2, 2), (1, 1))),
    ({"padding": "VALID"}, (1, 5, 3, 1), ((0, 0), (0, 0))),
])
def test_same_padding_becomes_explicit(options, y_shape, pads):
    g = read_tflite(one_op("CONV_2D", (1, 7, 5, 1), y_shape, options, [np.ones((1, 3, 3, 1), np.int8)]))
    assert g.ops[0].attrs["pads"] == pads


def test_groups_follow_from_the_weights():
    g = read_tflite(one_op("CONV_2D", (1, 4, 4, 6), (1, 4, 4, 4), {}, [np.ones((4, 1, 1, 3), np.int8)]))
    assert g.ops[0].attrs["groups"] == 2


FLOAT = one_op("MAX_POOL_2D", (1, 4, 4, 1), (1, 4, 4, 1), {}, dtype="float32")


@pytest.mark.parametrize(("model", "parts"), [
    pytest.param(one_op("SIN", (1, 4), (1, 4)), ["SIN", "'y'", "supported operators are ABS, ADD, A"], id="kind"),
    pytest.param(FLOAT, ["MAX_POOL_2D", "'x' is float32, not int8", "quantise"], id="float"),
    pytest.param(one_op("MAX_POOL_2D", (1, 4, 4, 1), (1, 4, 4, 1), {}, dtype="int16"), ["int16"], id="int16"),
    pytest.param(one_op("ADD", (1, 4), (1, 4), {"activation": "TANH"}, [np.ones((1, 4), np.int8)]),
                 ["ADD", "activation TANH"], id="activation"),
    pytest.param(one_op("FULLY_CONNECTED", (1, 4), (1, 4), {"weights_format": 1}, [np.ones((4, 4), np.int8)]),
                 ["shuffled"], id="shuffled weights"),
])
def test_unsupported_variants_are_named(model, parts):
    with pytest.raises(UnsupportedOperatorError) as caught:
        read_tflite(model)
    assert all(part in str(caught.value) for part in parts), caught.value
    assert "\n" not in str(caught.value)


def test_all_unsupported_operators_are_listed_at_once():
    b = TFLiteBuilder()
    x, a, y = (b.tensor(name, (1, 4), "int8", scale=0.5) for name in "xay")
    b.op("SIN", [x], [a])
    b.op("SQRT", [a], [y])
    with pytest.raises(UnsupportedOperatorError, match=r"SIN \(at tensor 'a'\), SQRT \(at tensor 'y'\)"):
        read_tflite(b.build([x], [y]))


def two_inputs(kind: str, shape, dtype: str) -> bytes:
    b = TFLiteBuilder()
    x = b.tensor("x", (1, 4, 4, 1), "int8", scale=0.5)
    p = b.tensor("p", shape, dtype, scale=0.5 if dtype == "int8" else None)
    y = b.tensor("y", (1, 4, 4, 1), "int8", scale=0.5)
    b.op(kind, [x, p], [y])
    return b.build([x, p], [y])


@pytest.mark.parametrize(("model", "parts"), [
    pytest.param(one_op("ADD", (1, 4), (1, 5), {}, [np.ones((1, 4), np.int8)]), ["contradicts itself"], id="shape"),
    pytest.param(two_inputs("PAD", (1, 2), "int32"), ["paddings must be a constant"], id="dynamic paddings"),
    pytest.param(one_op("SOFTMAX", (1, 4), (1, 4), {}), ["1/256"], id="softmax scale"),
    pytest.param(one_op("MEAN", (1, 4), (1, 1), {"keep_dims": True}, [np.array([5])]), ["axis 5 must be within the 2"],
                 id="axes"),
    pytest.param(one_op("ADD", (1, 4), (1, 4), {}, [np.ones((1, 4), np.int8)], scale=1e-30),
                 ["scale must be less than"], id="scale out of range"),
])
def test_models_that_cannot_be_right_are_refused(model, parts):
    with pytest.raises(ModelError) as caught:
        read_tflite(model)
    assert all(part in str(caught.value) for part in parts), caught.value
    assert "\n" not in str(caught.value)


def test_variable_weights_are_refused():
    with pytest.raises(UnsupportedOperatorError, match="'p' must be a constant"):
        read_tflite(two_inputs("CONV_2D", (1, 1, 1, 1), "int8"))


def test_equal_tensor_names_are_told_apart():
    raw = small_network().replace(b"\x01\x00\x00\x00p\x00", b"\x01\x00\x00\x00x\x00")
    g = read_tflite(raw)
    assert g.inputs == ("x",)
    assert "x#2" in g.tensors


HEADER = b"\x1c\0\0\0TFL3"


@pytest.mark.parametrize("raw", [b"", b"\0" * 7, b"not a model at all", HEADER, HEADER + b"\xff" * 64])
def test_files_that_are_no_model_are_refused(raw):
    with pytest.raises(ModelError):
        read_tflite(raw)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ModelError, match="No such file"):
        read_tflite(tmp_path / "nothing.tflite")


def test_the_graph_is_named_after_the_file(tmp_path):
    path = tmp_path / "small.tflite"
    path.write_bytes(small_network())
    assert read_tflite(path).name == read_tflite(str(path)).name == "small"


def truncate(raw: bytearray, rng: random.Random) -> bytearray:
    return raw[: rng.randrange(len(raw))]


def flip_bits(raw: bytearray, rng: random.Random) -> bytearray:
    # The structure is at both ends of a large file, its constants in between.
    for _ in range(rng.randrange(1, 16)):
        near = rng.randrange(min(len(raw), 12_000))
        raw[rng.choice([near, len(raw) - 1 - near])] ^= 1 << rng.randrange(8)
    return raw


def overwrite(raw: bytearray, rng: random.Random) -> bytearray:
    start = rng.randrange(8, len(raw))
    raw[start : start + 64] = rng.randbytes(min(64, len(raw) - start))
    return raw


def real_network() -> bytes:
    return digits.model_path().read_bytes()


def check_damaged(raw: bytes, what: object) -> None:
    """Check that a file is refused in one line, or accepted and then runs, in either case soon."""
    start = time.monotonic()
    graph: Graph | None = None
    try:
        graph = read_tflite(raw)
    except SystolithError as error:
        assert "\n" not in str(error), what
    assert time.monotonic() - start < 1, what
    if graph is not None:
        execute(graph, {name: np.zeros(graph.tensors[name].shape, graph.tensors[name].dtype) for name in graph.inputs})


@pytest.mark.parametrize("source", [small_network, real_network])
@pytest.mark.parametrize("damage", [truncate, flip_bits, overwrite])
def test_a_damaged_file_gives_a_graph_or_one_line(source: Callable[[], bytes], damage):
    good = source()
    for seed in range(100):
        check_damaged(bytes(damage(bytearray(good), random.Random(seed))), seed)


@pytest.mark.parametrize("kind", MAKERS)
def test_damage_to_any_operator_gives_a_graph_or_one_line(kind: str):
    for seed in range(60):
        good = random_operator(kind, seed % 4).model
        damage = (flip_bits, flip_bits, overwrite)[seed % 3]
        check_damaged(bytes(damage(bytearray(good), random.Random(seed))), seed)
