"""Passes: each on a graph of a few lines, checked by its structure and by equal golden outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from systolith.host.devices.golden import execute
from systolith.host.errors import GraphError
from systolith.host.graph import Graph, QuantParams, Tensor
from systolith.host.passes import (
    fuse_dilation,
    fuse_pad,
    fuse_tables,
    gather_channels,
    remove_copies,
    remove_reshapes,
    remove_unused,
    run_passes,
    split_prelu,
    symmetric_weights,
)
from systolith.host.verify import verify
from tests.unit.host.graphs import CONV, QUANT, act, const, graph, op

OTHER = QuantParams((0.25,), (3,))


def kinds(g: Graph) -> list[str]:
    return [each.kind for each in g.ops]


def assert_same_outputs(before: Graph, after: Graph) -> None:
    verify(after)
    rng = np.random.default_rng(0)
    x = {name: rng.integers(-128, 128, before.tensors[name].shape).astype(np.int8) for name in before.inputs}
    expected, actual = execute(before, x), execute(after, x)
    for name in before.outputs:
        np.testing.assert_array_equal(actual[name], expected[name])


def test_a_reshape_to_the_same_shape_is_bypassed():
    g = graph([act("x", 1, 4), act("a", 1, 4), act("y", 1, 4)],
              [op("RESHAPE", "x", "a"), op("ADD", "a a", "y", activation="NONE")])
    after = remove_reshapes(g)
    assert kinds(after) == ["ADD"]
    assert after.ops[0].inputs == ("x", "x")
    assert_same_outputs(g, after)


def test_a_chain_of_reshapes_becomes_one():
    g = graph([act("x", 1, 12), act("a", 1, 3, 4), act("b", 1, 2, 6), act("y", 1, 4, 3)],
              [op("RESHAPE", "x", "a"), op("RESHAPE", "a", "b"), op("RESHAPE", "b", "y")])
    after = remove_reshapes(g)
    assert [(each.inputs, each.outputs) for each in after.ops] == [(("x",), ("y",))]
    assert_same_outputs(g, after)


def test_a_reshape_there_and_back_disappears():
    g = graph([act("x", 1, 12), act("a", 1, 3, 4), act("b", 1, 12), act("y", 1, 12)],
              [op("RESHAPE", "x", "a"), op("RESHAPE", "a", "b"), op("ADD", "b b", "y", activation="NONE")])
    after = remove_reshapes(g)
    assert kinds(after) == ["ADD"]
    assert_same_outputs(g, after)


@pytest.mark.parametrize("shape", [(1, 4), (4, 1)])
def test_a_reshape_that_writes_an_output_stays(shape):
    g = graph([act("x", 1, 4), act("y", *shape)], [op("RESHAPE", "x", "y")])
    assert kinds(remove_reshapes(g)) == ["RESHAPE"]


def test_a_reshape_that_changes_the_quantisation_stays():
    g = graph([act("x", 1, 4), act("a", 1, 4, quant=OTHER), act("y", 1, 4)],
              [op("RESHAPE", "x", "a"), op("ADD", "a a", "y", activation="NONE")])
    assert kinds(remove_reshapes(g)) == ["RESHAPE", "ADD"]


def padded_conv(paddings, kind: str = "CONV_2D", quant: QuantParams = QUANT, outputs: str = "y", **attrs) -> Graph:
    """x [1, 4, 4, 2] -> PAD -> a -> 3x3 convolution -> y."""
    a = [size + sum(pair) for size, pair in zip((1, 4, 4, 2), paddings, strict=True)]
    attrs = {**CONV, **attrs}
    del attrs["groups" if kind == "DEPTHWISE_CONV_2D" else "multiplier"]
    pads = attrs["pads"]
    y = [a[0], a[1] + sum(pads[0]) - 2, a[2] + sum(pads[1]) - 2, a[3]]
    weights = const("w", 1, 3, 3, a[3]) if kind == "DEPTHWISE_CONV_2D" else const("w", a[3], 3, 3, a[3])
    g = graph([act("x", 1, 4, 4, 2), act("a", *a, quant=quant), weights, act("y", *y)],
              [op("PAD", "x", "a", paddings=paddings), op(kind, "a w", "y", **attrs)], outputs=outputs)
    verify(g)
    return g


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_a_spatial_pad_moves_into_the_convolution(kind):
    g = padded_conv(((0, 0), (1, 2), (3, 0), (0, 0)), kind, pads=((1, 1), (0, 0)), multiplier=1)
    after = fuse_pad(g)
    assert kinds(after) == [kind]
    assert after.ops[0].attrs["pads"] == ((2, 3), (3, 0))
    assert_same_outputs(g, after)


@pytest.mark.parametrize(("paddings", "quant"), [
    pytest.param(((0, 0), (1, 1), (1, 1), (0, 1)), QUANT, id="channels"),
    pytest.param(((1, 0), (1, 1), (1, 1), (0, 0)), QUANT, id="batch"),
    pytest.param(((0, 0), (16, 0), (0, 0), (0, 0)), QUANT, id="too many pixels"),
    pytest.param(((0, 0), (1, 1), (1, 1), (0, 0)), OTHER, id="another scale"),
])
def test_a_pad_that_a_convolution_cannot_do_stays(paddings, quant):
    g = padded_conv(paddings, quant=quant, multiplier=1)
    assert kinds(fuse_pad(g)) == ["PAD", "CONV_2D"]


def test_a_pad_that_is_also_an_output_stays_beside_the_fused_convolution():
    g = padded_conv(((0, 0), (1, 1), (1, 1), (0, 0)), outputs="y a", multiplier=1)
    after = fuse_pad(g)
    assert kinds(after) == ["PAD", "CONV_2D"]
    assert after.ops[1].inputs[0] == "x"
    assert_same_outputs(g, after)


def padded_pool(value: int, paddings=((0, 0), (1, 0), (2, 1), (0, 0)), kernel=(2, 3)) -> Graph:
    """x [1, 4, 4, 2] -> PADV2 -> a -> MAX_POOL_2D -> y."""
    a = [size + sum(pair) for size, pair in zip((1, 4, 4, 2), paddings, strict=True)]
    y = [1, a[1] - kernel[0] + 1, a[2] - kernel[1] + 1, 2]
    pool = {"kernel": kernel, "stride": (1, 1), "pads": ((0, 0), (0, 0)), "activation": "RELU"}
    return graph([act("x", 1, 4, 4, 2), act("a", *a), act("y", *y)],
                 [op("PADV2", "x", "a", paddings=paddings, value=value), op("MAX_POOL_2D", "a", "y", **pool)])


def test_a_pad_with_the_lowest_code_moves_into_a_maximum_pooling():
    g = padded_pool(-128)
    after = fuse_pad(g)
    assert kinds(after) == ["MAX_POOL_2D"]
    assert after.ops[0].attrs["pads"] == ((1, 0), (2, 1))
    assert_same_outputs(g, after)


@pytest.mark.parametrize("g", [padded_pool(-127), padded_pool(-128, kernel=(2, 2))])
def test_a_pad_that_a_maximum_pooling_cannot_do_stays(g):
    assert kinds(fuse_pad(g)) == ["PADV2", "MAX_POOL_2D"]


def test_a_convolution_does_not_take_a_pad_with_another_value():
    g = padded_conv(((0, 0), (1, 1), (1, 1), (0, 0)), multiplier=1)
    pad = op("PADV2", "x", "a", paddings=g.ops[0].attrs["paddings"], value=5)
    g = g.with_ops((pad, g.ops[1]))
    assert kinds(fuse_pad(g)) == ["PADV2", "CONV_2D"]


def dealt_conv(kind: str, block=(2, 3), paddings=((2, 3), (3, 5)), crops=((0, 1), (0, 0)), **attrs) -> Graph:
    """x [1, 9, 10, 2] -> SPACE_TO_BATCH_ND -> 2x3 convolution -> BATCH_TO_SPACE_ND -> y."""
    h, w = ((9, 10)[i] + sum(paddings[i]) for i in range(2))
    n, a = block[0] * block[1], (h // block[0], w // block[1])
    weights = const("w", 1, 2, 3, 2) if kind == "DEPTHWISE_CONV_2D" else const("w", 4, 2, 3, 2)
    outputs, extra = weights.shape[3 if kind == "DEPTHWISE_CONV_2D" else 0], {"multiplier": 1, "groups": 1}
    del extra["groups" if kind == "DEPTHWISE_CONV_2D" else "multiplier"]
    conv = {key: value for key, value in CONV.items() if key != "groups"} | extra | attrs
    b = (a[0] - 1, a[1] - 2)
    y = tuple(b[i] * block[i] - sum(crops[i]) for i in range(2))
    g = graph([act("x", 1, 9, 10, 2), act("s", n, *a, 2), weights, act("c", n, *b, outputs), act("y", 1, *y, outputs)],
              [op("SPACE_TO_BATCH_ND", "x", "s", block=block, paddings=paddings), op(kind, "s w", "c", **conv),
               op("BATCH_TO_SPACE_ND", "c", "y", block=block, crops=crops)])
    verify(g)
    return g


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_a_convolution_between_space_and_batch_becomes_dilated(kind):
    g = dealt_conv(kind, activation="RELU")
    after = fuse_dilation(g)
    assert kinds(after) == [kind]
    assert (after.ops[0].attrs["dilation"], after.ops[0].attrs["pads"]) == ((2, 3), ((2, 2), (3, 5)))
    assert_same_outputs(g, after)


def test_a_crop_larger_than_the_padding_is_not_fused():
    g = dealt_conv("CONV_2D", paddings=((0, 5), (3, 5)), crops=((1, 0), (0, 0)))
    assert len(fuse_dilation(g).ops) == 3


def test_a_convolution_whose_result_is_an_output_too_is_not_fused():
    g = dealt_conv("CONV_2D")
    assert len(fuse_dilation(replace(g, outputs=("y", "c"))).ops) == 3


def asymmetric(kind: str, shape: tuple[int, ...], y: tuple[int, ...], zero_point: int, **attrs) -> Graph:
    """x [1, 4, 4, 6] -> an operator whose weights have a zero point -> y."""
    weights = replace(const("w", *shape), quant=QuantParams((0.25,), (zero_point,)))
    g = graph([act("x", 1, 4, 4, 6), weights, const("b", y[-1], dtype="int32"), act("y", *y)],
              [op(kind, "x w b", "y", **attrs)])
    verify(g)
    return g


DEPTHWISE = {key: value for key, value in CONV.items() if key != "groups"} | {"multiplier": 2}
FULL = {"activation": "NONE", "keep_dims": False}
TRANSPOSED = {"stride": (2, 2), "pads": ((0, 0), (0, 0)), "activation": "NONE"}


@pytest.mark.parametrize(("kind", "shape", "y", "attrs", "split"), [
    ("CONV_2D", (5, 3, 3, 6), (1, 2, 2, 5), CONV, ["CONCATENATION", "CONV_2D"]),
    ("CONV_2D", (4, 3, 3, 3), (1, 2, 2, 4), {**CONV, "groups": 2}, ["GATHER", "CONV_2D"]),
    ("DEPTHWISE_CONV_2D", (1, 3, 3, 12), (1, 2, 2, 12), DEPTHWISE, ["GATHER", "CONV_2D"]),
    ("FULLY_CONNECTED", (7, 96), (1, 7), FULL, ["CONCATENATION", "FULLY_CONNECTED"]),
    ("FULLY_CONNECTED", (7, 4), (24, 7), FULL, ["GATHER", "FULLY_CONNECTED"]),
    ("TRANSPOSE_CONV", (3, 2, 2, 6), (1, 8, 8, 3), TRANSPOSED, ["CONCATENATION", "TRANSPOSE_CONV"]),
])
def test_weights_become_symmetric(kind, shape, y, attrs, split):
    for zero_point, expected in ((0, [kind]), (20, [kind]), (-128, split), (127, split)):
        g = asymmetric(kind, shape, y, zero_point, **attrs)
        after = symmetric_weights(g)
        assert kinds(after) == expected
        weights = after.tensors[after.ops[-1].inputs[1]]
        assert weights.quant is not None and weights.quant.zero_point == (0,)
        assert_same_outputs(g, after)


def test_operators_that_no_output_depends_on_disappear():
    g = graph([act("x", 1, 4), act("a", 1, 4), act("b", 1, 4), act("y", 1, 4)],
              [op("RESHAPE", "x", "a"), op("ADD", "a a", "b", activation="NONE"), op("RESHAPE", "x", "y")])
    assert [each.outputs for each in remove_unused(g).ops] == [("y",)]
    assert remove_unused(replace(g, outputs=("b", "y"))).ops == g.ops


def test_a_quantize_between_equal_quantisations_is_read_through():
    other = replace(act("b", 1, 4), quant=QuantParams((0.25,), (3,)))
    g = graph([act("x", 1, 4), act("a", 1, 4), other, act("c", 1, 4), act("y", 1, 4)],
              [op("QUANTIZE", "x", "a"), op("QUANTIZE", "a", "b"), op("QUANTIZE", "b", "c"), op("QUANTIZE", "c", "y")])
    assert [(each.inputs, each.outputs) for each in remove_copies(g).ops] == [
        (("x",), ("b",)), (("b",), ("c",)), (("c",), ("y",))]


def test_a_pass_that_breaks_the_graph_is_caught():
    g = padded_conv(((0, 0), (1, 1), (1, 1), (0, 0)), multiplier=1)
    with pytest.raises(GraphError, match="before anything writes it"):
        run_passes(g, [lambda graph: graph.with_ops(graph.ops[1:])])


SHAPE = (1, 2, 2, 8)
SIGMOID = QuantParams((1 / 256,), (-128,))


def scalar(name: str, code: int) -> Tensor:
    return Tensor(name, (1,), "int8", QUANT, np.array([code], np.int8))


def test_silu_becomes_one_table():
    g = graph([act("x", *SHAPE), act("s", *SHAPE, quant=SIGMOID), act("y", *SHAPE)],
              [op("LOGISTIC", "x", "s"), op("MUL", "x s", "y", activation="NONE")])
    after = fuse_tables(g)
    assert [(each.kind, each.inputs[0], each.name) for each in after.ops] == [("TABLE", "x", "op_y")]
    assert_same_outputs(g, after)


def test_hard_swish_in_parts_becomes_one_table():
    g = graph([act("x", *SHAPE), *(act(name, *SHAPE, quant=OTHER) for name in "abcy"), scalar("three", 9),
               scalar("sixth", 4)],
              [op("ADD", "x three", "a", activation="NONE"), op("RELU6", "a", "b"),
               op("MUL", "x b", "c", activation="NONE"), op("MUL", "c sixth", "y", activation="NONE")])
    after = fuse_tables(g)
    assert kinds(after) == ["TABLE"]
    assert_same_outputs(g, after)


def test_a_single_function_keeps_its_kind():
    g = graph([act("x", *SHAPE), act("y", *SHAPE)], [op("HARD_SWISH", "x", "y")])
    assert kinds(fuse_tables(g)) == ["HARD_SWISH"]


def branches(outputs: str) -> Graph:
    return graph([act("x", *SHAPE), act("r", *SHAPE), act("s", *SHAPE, quant=SIGMOID), act("y", *SHAPE),
                  act("z", *SHAPE)],
                 [op("RELU", "x", "r"), op("LOGISTIC", "r", "s"), op("MUL", "r s", "y", activation="NONE"),
                  op("SUB", "s s", "z", activation="NONE")], outputs=outputs)


@pytest.mark.parametrize(("outputs", "expected"), [
    ("y z", [("TABLE", "x"), ("TABLE", "x")]),
    ("y z s", [("TABLE", "x"), ("TABLE", "x"), ("SUB", "s")]),
    ("y z r", [("RELU", "x"), ("TABLE", "r"), ("TABLE", "r")])])
def test_chains_begin_and_end_where_others_read(outputs, expected):
    g = branches(outputs)
    after = fuse_tables(g)
    assert [(each.kind, each.inputs[0]) for each in after.ops] == expected
    assert_same_outputs(g, after)


def test_a_chain_may_be_float_in_between():
    real = {"quant": None, "dtype": "float32"}
    g = graph([act("x", *SHAPE), act("d", *SHAPE, **real), act("s", *SHAPE, **real), act("m", *SHAPE, **real),
               act("y", *SHAPE)],
              [op("DEQUANTIZE", "x", "d"), op("LOGISTIC", "d", "s"), op("MUL", "d s", "m", activation="NONE"),
               op("QUANTIZE", "m", "y")])
    after = fuse_tables(g)
    assert kinds(after) == ["TABLE"]
    assert_same_outputs(g, after)


def test_two_tensors_are_no_function_of_one():
    g = graph([act("x", *SHAPE), act("z", *SHAPE), act("s", *SHAPE, quant=SIGMOID), act("y", *SHAPE)],
              [op("LOGISTIC", "x", "s"), op("MUL", "z s", "y", activation="NONE")], inputs="x z")
    assert kinds(fuse_tables(g)) == ["LOGISTIC", "MUL"]


def test_a_repeated_tensor_is_no_function():
    g = graph([act("x", 1, 1, 1, 8), scalar("c", 3), act("s", 1, 1, 1, 8, quant=SIGMOID), act("z", *SHAPE),
               act("y", *SHAPE)],
              [op("LOGISTIC", "x", "s"), op("MUL", "z s", "y", activation="NONE")], inputs="x z")
    assert kinds(fuse_tables(g)) == ["LOGISTIC", "MUL"]


def shuffle(shape: tuple[int, ...], split: tuple[int, ...], perm: tuple[int, ...]) -> Graph:
    moved = tuple(split[axis] for axis in perm)
    return graph([act("x", *shape), act("a", *split), act("b", *moved), act("y", *shape)],
                 [op("RESHAPE", "x", "a"), op("TRANSPOSE", "a", "b", perm=perm), op("RESHAPE", "b", "y")])


@pytest.mark.parametrize(("shape", "split", "perm"), [
    ((1, 3, 2, 6), (1, 3, 2, 2, 3), (0, 1, 2, 4, 3)), ((2, 12), (2, 3, 4), (0, 2, 1)),
    ((1, 3, 2, 8), (6, 2, 2, 2), (0, 3, 1, 2))])
def test_a_channel_shuffle_is_a_gather(shape, split, perm):
    g = shuffle(shape, split, perm)
    after = gather_channels(g)
    assert kinds(after) == ["GATHER"] and set(after.tensors) == {"x", "y"}
    assert_same_outputs(g, after)


@pytest.mark.parametrize(("split", "perm"), [
    ((1, 6, 6, 2, 2), (0, 2, 1, 4, 3)), ((1, 6, 6, 4), (0, 2, 1, 3)), ((1, 9, 4, 4), (0, 1, 3, 2))])
def test_a_transpose_that_moves_pixels_stays(split, perm):
    assert kinds(gather_channels(shuffle((1, 6, 6, 4), split, perm))) == ["RESHAPE", "TRANSPOSE", "RESHAPE"]


def test_a_shuffle_whose_parts_are_read_elsewhere_leaves_them():
    g = replace(shuffle((1, 3, 2, 6), (1, 3, 2, 2, 3), (0, 1, 2, 4, 3)), outputs=("y", "b"))
    after = gather_channels(g)
    assert kinds(after) == ["RESHAPE", "TRANSPOSE", "GATHER"]
    assert_same_outputs(g, after)


@pytest.mark.parametrize("seed", range(10))
def test_a_prelu_is_split_without_changing_a_byte(seed):
    rng = np.random.default_rng(seed)
    x, slope, y = (QuantParams((float(np.float32(rng.uniform(0.01, 0.3))),), (int(rng.integers(-128, 128)),))
                   for _ in range(3))
    data = rng.integers(-128, 128, (1, 1, 8)).astype(np.int8)
    g = graph([act("x", 1, 16, 16, 8, quant=x), Tensor("a", data.shape, "int8", slope, data),
               act("y", 1, 16, 16, 8, quant=y)], [op("PRELU", "x a", "y")])
    after = split_prelu(g)
    assert kinds(after) == ["RELU", "MINIMUM", "MUL", "ADD"]
    assert_same_outputs(g, after)


def test_a_prelu_of_one_slope_is_left_to_be_a_table():
    g = graph([act("x", *SHAPE), scalar("a", 3), act("y", *SHAPE)], [op("PRELU", "x a", "y")])
    assert kinds(split_prelu(g)) == ["PRELU"]
