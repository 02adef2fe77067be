"""TFLite frontend: which operators of the IR a TFLite operator becomes; uint8 networks, batches, constant shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tflite_micro import runtime

from systolith.host.devices.golden import execute, execute_batch
from systolith.host.errors import ModelError, ShapeError, UnsupportedOperatorError
from systolith.host.frontends.tflite import read_tflite
from systolith.host.graph import Graph
from systolith.models.quantise import conv_scale, quantize_multiplier, quantize_multipliers, requantize
from systolith.models.tflite_writer import TFLiteBuilder

RNG = np.random.default_rng(5)


def model(kind: str, operands: list[Any], outputs: list[tuple[int, ...]], options: dict[str, Any] | None = None,
          quants: list[tuple[float, int]] | None = None, dtype: str = "int8", **result: Any) -> bytes:
    """A model of one operator; a tuple is the shape of an activation, an array a constant, None an absent operand."""
    b = TFLiteBuilder()
    quant = {} if dtype == "float32" else {"scale": 0.5, "zero_point": 3}
    inputs, ids = [], []
    for i, operand in enumerate(operands):
        own = quant if quants is None else dict(zip(("scale", "zero_point"), quants[i], strict=True))
        if isinstance(operand, tuple):
            inputs.append(b.tensor(f"x{i}", operand, dtype, **own))
            ids.append(inputs[-1])
        else:
            ids.append(b.tensor(f"c{i}", operand.shape, operand.dtype, data=operand,
                                **({} if operand.dtype == np.int32 else own)))
    ys = [b.tensor(f"y{i}", shape, **{"dtype": dtype, **quant, **result}) for i, shape in enumerate(outputs)]
    b.op(kind, ids, ys, options)
    return b.build(inputs, ys)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def kinds(g: Graph) -> list[str]:
    return [op.kind for op in g.ops]


def run(g: Graph, *inputs: np.ndarray) -> list[np.ndarray]:
    found = execute(g, dict(zip(g.inputs, inputs, strict=True)))
    return [found[name] for name in g.outputs]


def codes(*shape: int) -> np.ndarray:
    return RNG.integers(-128, 128, shape).astype(np.int8)


@pytest.mark.parametrize(("raw", "expected"), [
    (model("SPLIT", [ints(1), (2, 4)], [(2, 2), (2, 2)], {"num_splits": 2}), ["SLICE", "SLICE"]),
    (model("SPLIT_V", [(2, 5), ints(2, -1), ints(-1)], [(2, 2), (2, 3)], {"num_splits": 2}), ["SLICE", "SLICE"]),
    (model("UNPACK", [(2, 3)], [(3,), (3,)], {"num": 2}), ["SLICE", "RESHAPE", "SLICE", "RESHAPE"]),
    (model("PACK", [(3,), (3,)], [(3, 2)], {"axis": -1, "values_count": 2}), ["RESHAPE", "RESHAPE", "CONCATENATION"]),
    (model("TRANSPOSE", [(1, 4, 1, 3), ints(2, 1, 0, 3)], [(1, 4, 1, 3)]), ["RESHAPE"]),
    (model("TRANSPOSE", [(1, 4, 3), ints(0, 2, 1)], [(1, 3, 4)]), ["TRANSPOSE"]),
    (model("SLICE", [(4, 3), ints(0, 0), ints(-1, 3)], [(4, 3)]), ["RESHAPE"]),
    (model("STRIDED_SLICE", [(4, 3), ints(-1), ints(-5), ints(-1)], [(4, 3)], {}), ["SLICE"]),
    (model("SQUEEZE", [(1, 3)], [(3,)], {}), ["RESHAPE"]),
    (model("EXPAND_DIMS", [(3,), ints(0)], [(1, 3)]), ["RESHAPE"]),
    (model("SPACE_TO_DEPTH", [(1, 4, 4, 2)], [(1, 2, 2, 8)]), ["RESHAPE", "TRANSPOSE", "RESHAPE"]),
    (model("DEPTH_TO_SPACE", [(1, 2, 2, 8)], [(1, 4, 4, 2)]), ["RESHAPE", "TRANSPOSE", "RESHAPE"]),
    (model("GATHER", [(4, 3), ints(2, 0)], [(2, 3)]), ["GATHER"]),
    (model("PADV2", [(2, 2), np.zeros((2, 2), np.int32), np.int8([3])], [(2, 2)]), ["PAD"]),
    (model("PADV2", [(2, 2), np.zeros((2, 2), np.int32), np.int8([4])], [(2, 2)]), ["PADV2"]),
    (model("CONCATENATION", [(2,), (2,)], [(4,)], {}, quants=[(0.5, 3), (0.5, 4)]), ["QUANTIZE", "CONCATENATION"]),
])
def test_operators_become_few_kinds(raw, expected):
    assert kinds(read_tflite(raw)) == expected


def test_a_concatenation_requantises_operands_of_another_scale():
    g = read_tflite(model("CONCATENATION", [(3,), (2,)], [(5,)], {"axis": 0}, quants=[(0.5, 3), (0.2, -7)]))
    a, b = codes(3), codes(2)
    want = np.clip(requantize(b.astype(int) + 7, *quantize_multiplier(float(np.float32(0.2)) / 0.5)) + 3, -128, 127)
    np.testing.assert_array_equal(run(g, a, b)[0], np.concatenate([a, want]))


@pytest.mark.parametrize(("begin", "end", "stride", "masks", "index"), [
    ((0, 1), (2, 3), (1, 1), {}, np.s_[0:2, 1:3]),
    ((-1, 4), (-4, 0), (-1, -2), {}, np.s_[-1:-4:-1, 4:0:-2]),
    ((3, 3), (0, 0), (-1, 1), {"begin_mask": 3, "end_mask": 3}, np.s_[::-1, :]),
    ((1, 0), (2, 2), (1, 1), {"shrink_axis_mask": 1}, np.s_[1, 0:2]),
    ((0, -1), (0, 0), (1, 1), {"ellipsis_mask": 1, "shrink_axis_mask": 2}, np.s_[..., -1]),
    ((0, 0, 1), (0, 0, 3), (1, 1, 2), {"new_axis_mask": 2, "begin_mask": 1, "end_mask": 1}, np.s_[:, None, 1:3:2]),
    ((1, 0, 0), (3, 0, 0), (1, 1, 1), {"ellipsis_mask": 2, "new_axis_mask": 4}, np.s_[1:3, ..., None]),
    ((0,), (100,), (2,), {}, np.s_[0:100:2]),
])
def test_strided_slices_are_those_of_numpy(begin, end, stride, masks, index):
    x = codes(4, 5, 3)
    want = x[index]
    raw = model("STRIDED_SLICE", [x.shape, ints(*begin), ints(*end), ints(*stride)], [want.shape], masks)
    np.testing.assert_array_equal(run(read_tflite(raw), x)[0], want)


def test_tiling_and_reversing_are_those_of_numpy():
    x = codes(2, 3, 4)
    tiled = read_tflite(model("TILE", [x.shape, ints(2, 1, 3)], [(4, 3, 12)], {}))
    np.testing.assert_array_equal(run(tiled, x)[0], np.tile(x, (2, 1, 3)))
    reversed_ = read_tflite(model("REVERSE_V2", [x.shape, ints(-1, 0)], [x.shape], {}))
    np.testing.assert_array_equal(run(reversed_, x)[0], x[::-1, :, ::-1])


def test_a_shape_that_the_model_computes_is_a_constant():
    b = TFLiteBuilder()
    quant = {"scale": 0.5, "zero_point": 1}
    x, y = b.tensor("x", (1, 2, 3, 4), "int8", **quant), b.tensor("y", (1, 24), "int8", **quant)
    shape, first, new = b.tensor("shape", (4,), "int32"), b.tensor("first", (), "int32"), b.tensor("new", (2,), "int32")
    zero, one, rest = (b.tensor(name, data.shape, "int32", data=data)
                       for name, data in (("0", ints(0)), ("1", ints(1)), ("rest", np.array(24, np.int32))))
    b.op("SHAPE", [x], [shape])
    b.op("STRIDED_SLICE", [shape, zero, one, one], [first], {"shrink_axis_mask": 1})
    b.op("PACK", [first, rest], [new], {"values_count": 2})
    b.op("RESHAPE", [x, new], [y])
    assert kinds(read_tflite(b.build([x], [y]))) == ["RESHAPE"]


def test_a_shape_as_an_output_is_an_output_without_operator():
    b = TFLiteBuilder()
    x, y = b.tensor("x", (2, 3), "int8", scale=0.5), b.tensor("y", (2,), "int32")
    b.op("SHAPE", [x], [y])
    (found,) = run(read_tflite(b.build([x], [y])), codes(2, 3))
    assert found.tolist() == [2, 3]


def test_extremes_need_one_quantisation():
    with pytest.raises(ModelError, match="'x1' and 'y0' must have equal scales and zero points"):
        read_tflite(model("MAXIMUM", [(2,), (2,)], [(2,)], quants=[(0.5, 3), (0.25, 3)]))


@pytest.mark.parametrize(("raw", "parts"), [
    pytest.param(model("TANH", [(2,)], [(2,)]), ["1/128"], id="tanh scale"),
    pytest.param(model("LOGISTIC", [(2,)], [(2,)]), ["1/256"], id="logistic scale"),
    pytest.param(model("HARD_SWISH", [(2,)], [(2,)], quants=[(100.0, 3)]), ["at most 128 output scales"], id="swish"),
    pytest.param(model("SPLIT", [ints(0), (3,)], [(2,), (1,)], {"num_splits": 2}), ["2 outputs must"], id="split"),
    pytest.param(model("STRIDED_SLICE", [(4,), ints(2), ints(2), ints(1)], [(1,)], {}), ["takes nothing"], id="slice"),
    pytest.param(model("TRANSPOSE", [(4, 2), ints(0, 0)], [(4, 4)]), ["must permute"], id="perm"),
    pytest.param(model("GATHER", [(4,), ints(4)], [(1,)]), ["must be below 4"], id="gather"),
    pytest.param(model("BATCH_MATMUL", [(2, 3), (2, 3)], [(2, 3)], {}), ["same depth"], id="matmul"),
    pytest.param(model("CONCATENATION", [(2, 3), (2, 4)], [(4, 3)], {"axis": 0}), ["must agree"], id="concatenation"),
])
def test_models_that_cannot_be_right_are_refused(raw, parts):
    with pytest.raises(ModelError) as caught:
        read_tflite(raw)
    assert all(part in str(caught.value) for part in parts), caught.value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("raw", "part"), [
    (model("CONCATENATION", [(2,)], [(2,)], {"axis": 0, "activation": "RELU"}), "fused activation"),
    (model("GATHER", [(2, 2), np.zeros((2, 1), np.int32)], [(2, 1)], {"batch_dims": 1}), "batch dimensions"),
    (model("STRIDED_SLICE", [(4,), ints(2), ints(2), ints(1)], [(2,)], {"offset": True}), "relative"),
    (model("MEAN", [(4, 2), ints(1)], [(4,)], {}, dtype="float32"), "float32"),
])
def test_unsupported_variants_are_named(raw, part):
    with pytest.raises(UnsupportedOperatorError, match=part):
        read_tflite(raw)


# uint8 networks.


def uint8_network(x_zp: int, w_zp: int, f_zp: int, offset: int = 0) -> bytes:
    """x -> CONV_2D -> MAX_POOL_2D -> FULLY_CONNECTED -> SOFTMAX; `offset` 128 makes the same network of int8."""
    rng = np.random.default_rng(1)
    kind = np.int8 if offset else np.uint8
    b = TFLiteBuilder()
    def codes(*shape: int) -> np.ndarray:
        return (rng.integers(0, 256, shape) - offset).astype(kind)
    x = b.tensor("x", (1, 6, 6, 3), kind, scale=0.02, zero_point=x_zp - offset)
    w = b.tensor("w", (4, 3, 3, 3), kind, scale=0.01, zero_point=w_zp - offset, data=codes(4, 3, 3, 3))
    bias = b.tensor("b", (4,), "int32", scale=0.0002, data=rng.integers(-3000, 3000, 4).astype(np.int32))
    c = b.tensor("c", (1, 6, 6, 4), kind, scale=0.07, zero_point=20 - offset)
    p = b.tensor("p", (1, 3, 3, 4), kind, scale=0.07, zero_point=20 - offset)
    fw = b.tensor("fw", (5, 36), kind, scale=0.02, zero_point=f_zp - offset, data=codes(5, 36))
    f = b.tensor("f", (1, 5), kind, scale=0.6, zero_point=140 - offset)
    y = b.tensor("y", (1, 5), kind, scale=1 / 256, zero_point=0 - offset)
    b.op("CONV_2D", [x, w, bias], [c], {"activation": "RELU6"})
    b.op("MAX_POOL_2D", [c], [p], {"stride_h": 2, "stride_w": 2})
    b.op("FULLY_CONNECTED", [p, fw], [f])
    b.op("SOFTMAX", [f], [y])
    return b.build([x], [y, f])


def test_a_uint8_network_keeps_the_dtype_of_its_ends():
    g = read_tflite(uint8_network(127, 117, 131))
    assert [g.tensors[name].dtype for name in (*g.inputs, *g.outputs)] == ["uint8"] * 3
    assert (g.inputs, g.outputs) == (("x",), ("y", "f"))
    assert kinds(g) == ["QUANTIZE", "CONV_2D", "MAX_POOL_2D", "FULLY_CONNECTED", "SOFTMAX", "QUANTIZE", "QUANTIZE"]
    assert [g.tensors[name].quant.zero_point for name in ("w", "fw", "c")] == [(-11,), (3,), (-108,)]


def test_a_symmetric_uint8_network_is_the_int8_network():
    x = RNG.integers(0, 256, (1, 6, 6, 3)).astype(np.uint8)
    interpreter = runtime.Interpreter.from_bytes(uint8_network(127, 128, 128, offset=128), arena_size=100_000)
    interpreter.set_input((x.astype(int) - 128).astype(np.int8), 0)
    interpreter.invoke()
    found = run(read_tflite(uint8_network(127, 128, 128)), x)
    for i in range(2):
        np.testing.assert_array_equal(found[i].astype(int) - 128, interpreter.get_output(i))


def test_weights_with_a_zero_point_follow_the_definition():
    x = RNG.integers(0, 256, (1, 6, 6, 3)).astype(np.uint8)
    g = read_tflite(uint8_network(127, 117, 131))
    w, bias = g.tensors["w"].data.astype(int) + 128, g.tensors["b"].data
    padded = np.pad(x.astype(int) - 127, ((0, 0), (1, 1), (1, 1), (0, 0)))
    acc = np.array([[[int((padded[0, i:i + 3, j:j + 3] * (w[o] - 117)).sum()) + int(bias[o]) for o in range(4)]
                     for j in range(6)] for i in range(6)])
    mult, shift = quantize_multipliers(conv_scale(0.02, 0.01, 0.07))
    high = min(255, 20 + round(6 / 0.07))
    conv = np.clip(requantize(acc, mult, shift) + 20, 20, high)
    pooled = conv.reshape(3, 2, 3, 2, 4).max(axis=(1, 3)).ravel() - 20
    acc = pooled @ (g.tensors["fw"].data.astype(int) + 128 - 131).T
    mult, shift = quantize_multipliers(conv_scale(0.07, 0.02, 0.6))
    want = np.clip(requantize(acc, mult, shift) + 140, 0, 255)
    np.testing.assert_array_equal(run(g, x)[1][0], want)


# Batches.


def batch_model(shape: tuple[int, ...]) -> bytes:
    w = RNG.integers(-127, 128, (7, shape[-1])).astype(np.int8)
    return model("FULLY_CONNECTED", [shape, w], [(shape[0], 7)], {}, quants=[(0.1, 3), (0.02, 0)])


def test_a_batch_that_the_model_declares_is_one_sample():
    g = read_tflite(batch_model((64, 16)))
    x = codes(128, 16)
    whole = execute_batch(g, {"x0": x})["y0"]
    assert whole.shape == (128, 7)
    np.testing.assert_array_equal(whole[64:], run(g, x[64:])[0])
    with pytest.raises(ShapeError, match="number"):
        execute_batch(g, {"x0": x[:65]})


def test_scalar_results_are_stacked():
    g = read_tflite(model("REDUCE_MAX", [(2, 3), ints(0, 1)], [()], {}))
    x = codes(4, 3)
    assert execute_batch(g, {"x0": x})["y0"].tolist() == [x[:2].max(), x[2:].max()]


def test_a_scalar_input_is_refused():
    with pytest.raises(ModelError, match="'x0' must have a dimension for samples"):
        read_tflite(model("RELU", [()], [()]))


# Changes of the dtype.


@pytest.mark.parametrize(("before", "after"), [
    ("int8", "int8"), ("int8", "int16"), ("int16", "int8"), ("int16", "int16"), ("uint8", "int8"), ("float32", "int8"),
    ("float32", "int16"), ("int8", "float32"), ("int16", "float32"), ("uint8", "float32")])
def test_dtypes_change_as_in_the_reference(before, after):
    def quant(dtype: str, scale: float, zero_point: int) -> dict[str, Any]:
        return {"float32": {}, "int16": {"scale": scale / 200}}.get(dtype, {"scale": scale, "zero_point": zero_point})

    b = TFLiteBuilder()
    x = b.tensor("x", (1, 300), before, **quant(before, 0.05, 7))
    y = b.tensor("y", (1, 300), after, **quant(after, 0.07, -5))
    b.op("DEQUANTIZE" if after == "float32" else "QUANTIZE", [x], [y])
    raw = b.build([x], [y])
    limits = None if before == "float32" else np.iinfo(before)
    values = (RNG.normal(0, 5, (1, 300)) if limits is None
              else RNG.integers(limits.min, limits.max, (1, 300), endpoint=True)).astype(before)
    np.testing.assert_array_equal(run(read_tflite(raw), values)[0], reference(raw, values))


# float32 between DEQUANTIZE and QUANTIZE.


@pytest.mark.parametrize(("kind", "options"), [
    ("LOGISTIC", None), ("TANH", None), ("RELU", None), ("RELU6", None), ("ABS", None), ("NEG", {}), ("EXP", {}),
    ("ELU", None), ("HARD_SWISH", {}), ("LEAKY_RELU", {"alpha": 0.2}), ("SOFTMAX", {"beta": 0.7})])
def test_unary_functions_of_reals_are_those_of_the_reference(kind, options):
    raw = model(kind, [(3, 40)], [(3, 40)], options, dtype="float32")
    x = RNG.normal(0, 4, (3, 40)).astype(np.float32)
    np.testing.assert_allclose(run(read_tflite(raw), x)[0], reference(raw, x), rtol=3e-7, atol=1e-7)


@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "PRELU"])
def test_binary_functions_of_reals_are_those_of_the_reference(kind):
    options = {"activation": "RELU6"} if kind in ("ADD", "SUB", "MUL") else None
    raw = model(kind, [(3, 40), (1, 40)], [(3, 40)], options, dtype="float32")
    x, other = RNG.normal(0, 4, (3, 40)).astype(np.float32), RNG.normal(0, 1, (1, 40)).astype(np.float32)
    np.testing.assert_array_equal(run(read_tflite(raw), x, other)[0], reference(raw, x, other))


def reference(raw: bytes, *inputs: np.ndarray) -> np.ndarray:
    interpreter = runtime.Interpreter.from_bytes(raw, arena_size=100_000)
    for i, values in enumerate(inputs):
        interpreter.set_input(values, i)
    interpreter.invoke()
    return np.array(interpreter.get_output(0))
