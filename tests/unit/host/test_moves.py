"""Operators that move data, compiled and run on the instruction-level machine, against the golden device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from systolith.host.compiler import compile_graph
from systolith.host.graph import Graph, Op, QuantParams, Tensor
from systolith.host.program import HwStep, Program
from systolith.hw.config import AcceleratorConfig
from systolith.hw.isa import INSTR_BYTES, Opcode, decode

from .graphs import CONV, act, const, graph, op
from .simulate import check

TINY = AcceleratorConfig.preset("tiny")
CRAMPED = replace(TINY, act_kib=1, wgt_kib=1, queue_depth=2)
CONFIGS = pytest.mark.parametrize("config", [TINY, CRAMPED], ids=["tiny", "cramped"])
FINE = QuantParams((0.002,), (0,))  # of weights, for sums that few clamps hide
SAME = {**CONV, "pads": ((1, 1), (1, 1))}


def opcodes(program: Program) -> list[Opcode]:
    starts = [each.code_offset + i * INSTR_BYTES for each in program.steps if isinstance(each, HwStep)
              for i in range(each.count)]
    return [decode(program.image[start:start + INSTR_BYTES])[0] for start in starts]


def units(program: Program) -> dict[str, str]:
    return {layer.name: layer.unit for layer in program.layers}


def conv(x: Tensor, name: str, channels: int) -> tuple[list[Tensor], Op]:
    """A 3x3 convolution of x that keeps the size of the image."""
    kernel = const(f"w{name}", channels, 3, 3, x.shape[-1], quant=FINE)
    return [kernel, act(name, *x.shape[:-1], channels)], op("CONV_2D", f"{x.name} {kernel.name}", name, **SAME)


def pool(x: Tensor, name: str) -> tuple[list[Tensor], Op]:
    attrs = {"kernel": (2, 2), "stride": (1, 1), "pads": ((1, 0), (1, 0)), "activation": "NONE"}
    return [act(name, *x.shape)], op("MAX_POOL_2D", x.name, name, **attrs)


def joined(*channels: int, pooled: bool = False) -> Graph:
    """Convolutions of x side by side, concatenated, and a convolution or pooling of that."""
    x = act("x", 1, 5, 6, 3)
    parts = [conv(x, f"p{i}", count) for i, count in enumerate(channels)]
    whole = act("t", 1, 5, 6, sum(channels))
    end = pool(whole, "y") if pooled else conv(whole, "y", 5)
    names = " ".join(f"p{i}" for i in range(len(channels)))
    return graph([x, *(t for tensors, _ in parts for t in tensors), whole, *end[0]],
                 [*(each for _, each in parts), op("CONCATENATION", names, "t", axis=3), end[1]])


@CONFIGS
@pytest.mark.parametrize("channels", [(4, 8), (8, 4, 3), (4, 4, 4, 4)])
def test_joining_whole_channel_blocks_moves_no_byte(channels, config):
    network = joined(*channels)
    compiled = compile_graph(network, config)
    assert "op_t" not in units(compiled) and Opcode.POOL not in opcodes(compiled)
    check(network, compiled)


@CONFIGS
@pytest.mark.parametrize("channels", [(3, 4), (5, 9, 2), (1, 1, 1)])
def test_joining_parts_of_channel_blocks_is_one_convolution(channels, config):
    network = joined(*channels, pooled=True)
    compiled = compile_graph(network, config)
    assert units(compiled)["op_t"] == "array" and opcodes(compiled).count(Opcode.COMPUTE) > len(channels)
    check(network, compiled)


@CONFIGS
@pytest.mark.parametrize("channels", [(3, 4), (7, 12), (4, 3, 8)])
def test_a_convolution_reads_parts_of_channel_blocks_as_they_are(channels, config):
    network = joined(*channels)
    compiled = compile_graph(network, config)
    assert "op_t" not in units(compiled) and Opcode.POOL not in opcodes(compiled)
    check(network, compiled)


@CONFIGS
def test_a_joined_tensor_may_be_joined_again_and_read_before_it_is_complete(config):
    x, shape = act("x", 1, 5, 6, 3), (1, 5, 6)
    a, b, c = conv(x, "a", 4), conv(act("a", *shape, 4), "b", 8), conv(act("t", *shape, 12), "c", 4)
    end = conv(act("u", *shape, 16), "y", 6)
    network = graph([x, *a[0], *b[0], act("t", *shape, 12), *c[0], act("u", *shape, 16), *end[0]],
                    [a[1], b[1], op("CONCATENATION", "a b", "t", axis=3), c[1],
                     op("CONCATENATION", "t c", "u", axis=3), end[1]])
    compiled = compile_graph(network, config)
    assert Opcode.POOL not in opcodes(compiled)
    check(network, compiled)


@CONFIGS
def test_an_operand_twice_an_input_and_an_output_are_copied(config):
    x = act("x", 1, 5, 6, 4)
    a = conv(x, "a", 4)
    network = graph([x, *a[0], act("y", 1, 5, 6, 16)],
                    [a[1], op("CONCATENATION", "a x a a", "y", axis=3)], outputs="y a")
    compiled = compile_graph(network, config)
    assert set(units(compiled).values()) == {"array", "vector"}
    check(network, compiled)


def split(axis: int, begin: int, size: int, stride: int = 1, pooled: bool = False) -> Graph:
    """A convolution of x, a part of it along an axis, and a convolution or pooling of that."""
    whole, part = [1, 6, 7, 12], [1, 6, 7, 12]
    part[axis] = size
    x, shape = act("x", 1, 6, 7, 3), tuple(part)
    before = conv(x, "a", 12)
    after = pool(act("b", *shape), "y") if pooled else conv(act("b", *shape), "y", 5)
    attrs = {"begin": tuple(begin if i == axis else 0 for i in range(4)), "size": shape,
             "stride": tuple(stride if i == axis else 1 for i in range(4))}
    return graph([x, *before[0], act("a", *whole), act("b", *shape), *after[0]],
                 [before[1], op("SLICE", "a", "b", **attrs), after[1]])


@CONFIGS
@pytest.mark.parametrize(("axis", "begin", "size", "stride"), [
    (3, 4, 4, 1), (3, 8, 3, 1), (1, 2, 3, 1), (2, 3, 4, 1), (1, 1, 3, 2), (2, 0, 3, 3)])
def test_evenly_spaced_parts_are_read_where_they_are(axis, begin, size, stride, config):
    network = split(axis, begin, size, stride)
    compiled = compile_graph(network, config)
    assert "op_b" not in units(compiled) and Opcode.POOL not in opcodes(compiled)
    check(network, compiled)


@CONFIGS
@pytest.mark.parametrize(("begin", "size", "stride"), [(1, 4, 1), (3, 9, 1), (0, 6, 2), (11, 12, -1)])
def test_channels_that_change_their_places_are_one_convolution(begin, size, stride, config):
    network = split(3, begin, size, stride, pooled=True)
    compiled = compile_graph(network, config)
    assert units(compiled)["op_b"] == "array"
    check(network, compiled)


MOVES = {
    "height": ((1, 3, 5, 6), "CONCATENATION", (1, 6, 5, 6), {"axis": 1}),
    "width": ((1, 3, 5, 6), "CONCATENATION", (1, 3, 10, 6), {"axis": 2}),
    "batch": ((2, 3, 5, 6), "CONCATENATION", (4, 3, 5, 6), {"axis": 0}),
    "rows": ((3, 6), "CONCATENATION", (6, 6), {"axis": 0}),
    "vector": ((7,), "CONCATENATION", (14,), {"axis": 0}),
    "twice": ((1, 4, 5, 6), "RESIZE_NEAREST_NEIGHBOR", (1, 8, 10, 6), {}),
    "centres": ((1, 4, 5, 6), "RESIZE_NEAREST_NEIGHBOR", (1, 12, 10, 6), {"half_pixel_centers": True}),
    "smaller": ((1, 8, 9, 6), "RESIZE_NEAREST_NEIGHBOR", (1, 4, 3, 6), {}),
    "uneven": ((1, 4, 5, 6), "RESIZE_NEAREST_NEIGHBOR", (1, 7, 3, 6), {}),
    "corners": ((1, 4, 5, 6), "RESIZE_NEAREST_NEIGHBOR", (1, 7, 9, 6), {"align_corners": True}),
    "taken": ((1, 4, 5, 6), "GATHER", (1, 4, 7, 6), {"axis": 2, "indices": (4, 0, 2, 2, 2, 3, 4)}),
    "shuffled": ((1, 4, 5, 6), "GATHER", (1, 4, 5, 6), {"axis": 3, "indices": (0, 3, 1, 4, 2, 5)}),
    "reversed": ((1, 2, 3, 14), "GATHER", (1, 2, 3, 14), {"axis": 3, "indices": tuple(range(13, -1, -1))}),
    "repeated": ((1, 2, 3, 6), "GATHER", (1, 2, 3, 12), {"axis": 3, "indices": tuple(np.repeat(range(6), 2))}),
}


@CONFIGS
@pytest.mark.parametrize("name", MOVES)
def test_moves_run_on_the_accelerator(name, config):
    shape, kind, out, attrs = MOVES[name]
    if kind.startswith("RESIZE"):
        attrs = {"align_corners": False, "half_pixel_centers": False} | attrs
    elif kind == "GATHER":
        attrs = attrs | {"indices": tuple(int(i) for i in attrs["indices"])}
    inputs = "x x" if kind == "CONCATENATION" else "x"
    network = graph([act("x", *shape), act("y", *out)], [op(kind, inputs, "y", **attrs)])
    compiled = compile_graph(network, config)
    assert units(compiled)["op_y"] in ("array", "vector"), compiled.layers
    check(network, compiled)


@pytest.mark.parametrize(("shape", "attrs", "reason"), [
    ((2, 3, 4, 5), {"axis": 1}, "outermost axis"), ((1, 80, 2, 4), {"axis": 2, "flip": True}, "at most 64 copies")])
def test_moves_of_many_pieces_run_on_the_cpu_with_a_reason(shape, attrs, reason):
    if "flip" in attrs:
        rows = {"begin": (0, 79, 0, 0), "size": shape, "stride": (1, -1, 1, 1)}
        network = graph([act("x", *shape), act("y", *shape)], [op("SLICE", "x", "y", **rows)])
    else:
        out = [size * (2 if i == attrs["axis"] else 1) for i, size in enumerate(shape)]
        network = graph([act("x", *shape), act("y", *out)], [op("CONCATENATION", "x x", "y", **attrs)])
    (layer,) = compile_graph(network, TINY).layers
    assert layer.unit == "cpu" and reason in (layer.reason or "")


def test_a_part_of_an_input_is_loaded_before_it_is_read():
    attrs = {"begin": (0, 0, 0, 4), "size": (1, 40, 20, 4), "stride": (1, 1, 1, 1)}
    x, part = act("x", 1, 40, 20, 8), act("p", 1, 40, 20, 4)
    end = conv(part, "y", 4)
    network = graph([x, part, *end[0]], [op("SLICE", "x", "p", **attrs), end[1]])
    check(network, compile_graph(network, replace(TINY, act_kib=64)))


def test_an_input_that_is_read_in_part_and_then_flattened_is_loaded_whole():
    """The dense layer walks the same tensor as a single pixel."""
    x, kernel = act("x", 1, 24, 24, 4), const("w", 4, 2, 2, 4, quant=FINE)
    dense = const("d", 3, 2304)
    network = graph([x, kernel, act("a", 1, 3, 3, 4), dense, act("y", 1, 3, quant=QuantParams((500.0,), (0,)))],
                    [op("CONV_2D", "x w", "a", **{**CONV, "stride": (8, 8)}),
                     op("FULLY_CONNECTED", "x d", "y", activation="NONE", keep_dims=False)], outputs="a y")
    check(network, compile_graph(network, replace(TINY, act_kib=64)))


def test_a_gathered_image_of_one_long_row_arrives_piece_by_piece():
    x, kernel = act("x", 1, 1, 300, 1), const("w", 4, 1, 3, 1, quant=FINE)
    network = graph([x, kernel, act("y", 1, 1, 298, 4)], [op("CONV_2D", "x w", "y", **CONV)])
    check(network, compile_graph(network, replace(TINY, act_kib=64)))
