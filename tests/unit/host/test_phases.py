"""Convolutions that are dealt to several: transposed ones, and depthwise ones with dilation."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from systolith.host.backend.layers import Operand, Window
from systolith.host.backend.layout import Image
from systolith.host.backend.phases import Phase, transposed, undilated
from systolith.host.compiler import compile_graph
from systolith.host.graph import Graph, QuantParams
from systolith.hw.config import AcceleratorConfig

from .graphs import act, const, graph, op
from .simulate import check

TINY = AcceleratorConfig.preset("tiny")
# Buffers so small that outputs stream, one pixel at a time, and weights come in pieces.
CRAMPED = replace(TINY, act_kib=1, wgt_kib=1, queue_depth=2)
FINE = QuantParams((0.002,), (0,))

Taps = set[tuple[int, int]]  # of one output along one axis: input pixel (those in the padding left out) and tap


def taps_of(phases: list[Phase]) -> dict[int, Taps]:
    """Return the taps of the outputs of phases that differ along y alone."""
    found: dict[int, Taps] = {}
    for phase in phases:
        window, x, y = phase.window, phase.x, phase.y
        for q in range(y.image.h):
            rows = [q * window.sy - window.top + k * window.dy for k in range(window.kh)]
            target = y.view.address(q, 0)
            assert target not in found, "two phases must not make the same output"
            found[target] = {(x.view.address(row, 0), tap) for row, tap in zip(rows, phase.taps[0], strict=True)
                             if 0 <= row < x.image.h}
    return found


@pytest.mark.parametrize(("kernel", "stride", "dilation", "before"),
                         list(product((1, 3, 4), (1, 2, 3), (1, 2, 3, 4), (0, 1, 5))))
def test_phases_of_a_dilated_convolution_have_its_taps(kernel, stride, dilation, before):
    size, count = 9, 6
    window = Window(kernel, 1, stride, 1, dilation, 1, before, 0)
    found = undilated(window, Operand("x", Image(size, 1, 1)), Operand("y", Image(count, 1, 1)))
    assert found is not None and all(phase.window.dy == 1 for phase in found)
    reads = {out: {(row, k) for k in range(kernel) if 0 <= (row := out * stride - before + k * dilation) < size}
             for out in range(count)}
    assert taps_of(found) == reads


@pytest.mark.parametrize(("kernel", "stride", "before", "after"),
                         list(product((1, 2, 3, 5), (1, 2, 3), (0, 1, 2), (-2, 0, 1))))
def test_phases_of_a_transposed_convolution_have_its_taps(kernel, stride, before, after):
    size = 4
    count = (size - 1) * stride + kernel - before - after
    found = transposed((kernel, 1), (stride, 1), (before, 0), Operand("x", Image(size, 1, 1)),
                       Operand("y", Image(count, 1, 1)))
    reads: dict[int, Taps] = {out: set() for out in range(count)}
    for row, tap in product(range(size), range(kernel)):
        if 0 <= row * stride + tap - before < count:
            reads[row * stride + tap - before].add((row, tap))
    assert taps_of(found) == reads


def test_a_dilation_that_leaves_a_phase_without_input_has_no_phases():
    window = Window(2, 1, dy=5)
    assert undilated(window, Operand("x", Image(4, 1, 1)), Operand("y", Image(5, 1, 1))) is None


def transpose_conv(kernel: tuple[int, int], stride: tuple[int, int], pads, size=(3, 4), channels=(5, 6)) -> Graph:
    out = [(size[i] - 1) * stride[i] + kernel[i] - sum(pads[i]) for i in range(2)]
    tensors = [act("x", 1, *size, channels[0]), const("w", channels[1], *kernel, channels[0], quant=FINE),
               const("b", channels[1], dtype="int32"), act("y", 1, *out, channels[1])]
    return graph(tensors, [op("TRANSPOSE_CONV", "x w b", "y", stride=stride, pads=pads, activation="NONE")])


@pytest.mark.parametrize("config", [TINY, CRAMPED], ids=["tiny", "cramped"])
@pytest.mark.parametrize("stride", list(product((1, 2, 3), repeat=2)))
@pytest.mark.parametrize("kernel", list(product((1, 2, 3, 4), repeat=2)))
def test_transposed_convolutions_equal_golden(kernel, stride, config):
    for pads in ({((0, 0), (0, 0)), ((1, 0), (0, 1)), ((0, -1), (0, -2))}
                 if min(kernel) > 1 else {((0, 0), (0, 0)), ((0, -1), (0, -2))}):
        network = transpose_conv(kernel, stride, pads)
        compiled = compile_graph(network, config)
        assert [layer.unit for layer in compiled.layers] == ["array"]
        check(network, compiled, seeds=1)


def dilated(kernel: tuple[int, int], dilation: tuple[int, int], stride: tuple[int, int] = (1, 1), size=(12, 13),
            before: int = 2) -> Graph:
    out = [(size[i] + 2 * before - (kernel[i] - 1) * dilation[i] - 1) // stride[i] + 1 for i in range(2)]
    tensors = [act("x", 1, *size, 6), const("w", 1, *kernel, 6, quant=FINE), act("y", 1, *out, 6)]
    attrs = {"stride": stride, "dilation": dilation, "pads": ((before, before),) * 2, "activation": "NONE"}
    return graph(tensors, [op("DEPTHWISE_CONV_2D", "x w", "y", **attrs, multiplier=1)])


@pytest.mark.parametrize("config", [TINY, CRAMPED, AcceleratorConfig.preset("edge")], ids=["tiny", "cramped", "edge"])
@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (2, 3), (4, 4)])
@pytest.mark.parametrize("dilation", [(2, 2), (1, 3), (4, 2), (6, 6)])
def test_dilated_depthwise_convolutions_equal_golden(dilation, stride, config):
    for kernel in ((3, 3), (2, 1), (1, 2), (5, 2)):
        if (kernel[0] - 1) * dilation[0] < 16 and (kernel[1] - 1) * dilation[1] < 16:
            network = dilated(kernel, dilation, stride)
            check(network, compile_graph(network, config), seeds=1)


def test_phases_share_their_weights():
    near, far = (compile_graph(dilated((3, 3), (d, d), before=d), TINY) for d in (1, 2))
    assert len(far.image) - len(near.image) < 64 * (len(far.layer_index) - len(near.layer_index)) + 512
    assert len(far.layer_index) > 4
