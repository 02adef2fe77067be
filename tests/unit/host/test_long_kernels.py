"""Kernels longer than an instruction holds, and audio: one channel, thousands of samples, kernels of many taps."""

from __future__ import annotations

import numpy as np
import pytest

from systolith.host.compiler import compile_graph
from systolith.host.graph import Graph
from systolith.hw.config import AcceleratorConfig
from systolith.models.ops import out_size

from .graphs import act, graph, op
from .test_compiler import bias, quant, weights
from .test_filters import check_exact

SMALL = AcceleratorConfig(rows=4, act_kib=16, wgt_kib=2, param_kib=1, acc_depth=64, line_words=64)


def convolution(size: tuple[int, int, int], kernel: tuple[int, int], stride: tuple[int, int] = (1, 1),
                pads: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0)), outputs: int = 5,
                middle: bool = False) -> Graph:
    """Return a graph of one convolution over an input of (height, width, channels); a pool comes first if `middle`."""
    rng = np.random.default_rng(sum(kernel))
    *pixels, channels = size
    out = [out_size(n, k, s, 1, pad) for n, k, s, pad in zip(pixels, kernel, stride, pads, strict=True)]
    x, y = act("x", 1, *size, quant=quant(rng)), act("y", 1, *out, outputs, quant=quant(rng))
    tensors = [x, weights(rng, "w", outputs, *kernel, channels), bias(rng, outputs), y]
    attrs = {"stride": stride, "dilation": (1, 1), "pads": pads, "activation": "NONE", "groups": 1}
    if not middle:
        return graph(tensors, [op("CONV_2D", "x w b", "y", **attrs)])
    tensors.insert(1, act("m", 1, *size, quant=x.quant))
    pool = {"kernel": (1, 1), "stride": (1, 1), "pads": ((0, 0), (0, 0)), "activation": "NONE"}
    return graph(tensors, [op("MAX_POOL_2D", "x", "m", **pool), op("CONV_2D", "m w b", "y", **attrs)])


def depthwise(size: tuple[int, int, int], kernel: tuple[int, int]) -> Graph:
    rng = np.random.default_rng(sum(kernel))
    x, y = act("x", 1, *size, quant=quant(rng)), act("y", 1, size[0] - kernel[0] + 1, size[1] - kernel[1] + 1, size[2],
                                                     quant=quant(rng))
    attrs = {"stride": (1, 1), "dilation": (1, 1), "pads": ((0, 0), (0, 0)), "activation": "NONE", "multiplier": 1}
    return graph([x, weights(rng, "w", 1, *kernel, size[2], axis=3), bias(rng, size[2]), y],
                 [op("DEPTHWISE_CONV_2D", "x w b", "y", **attrs)])


@pytest.mark.parametrize("network", [
    convolution((1, 90, 3), (1, 48), (1, 3)),
    convolution((1, 90, 3), (1, 48), (1, 3), middle=True),
    convolution((70, 4, 2), (64, 3), (2, 1), ((5, 30), (1, 1)), middle=True),
    convolution((34, 33, 1), (33, 32), pads=((0, 0), (3, 4)), outputs=3, middle=True),
    depthwise((40, 5, 6), (33, 3)), depthwise((3, 70, 3), (1, 40)), depthwise((110, 2, 3), (100, 1)),
], ids=["gathered", "row", "column with padding", "both", "depthwise column", "depthwise row", "many passes"])
@pytest.mark.parametrize("config", [SMALL, AcceleratorConfig.preset("tiny"), AcceleratorConfig.preset("edge")],
                         ids=["small", "tiny", "edge"])
def test_long_kernels_run_on_the_array(network, config):
    compiled = compile_graph(network, config)
    assert {layer.unit for layer in compiled.layers} <= {"array", "vector"}
    check_exact(network, config)


@pytest.mark.parametrize("columns", [False, True])
def test_a_second_of_audio_is_gathered(columns):
    """16,000 samples are more than coordinates hold; their windows are not, and 80 taps are five words."""
    size, kernel, stride = ((16000, 1, 1), (80, 1), (4, 1)) if columns else ((1, 16000, 1), (1, 80), (1, 4))
    network, edge = convolution(size, kernel, stride, outputs=16), AcceleratorConfig.preset("edge")
    (layer,) = compile_graph(network, edge).layers
    assert layer.unit == "array"
    computes = check_exact(network, edge)
    assert {(body["kh"], body["kw"], body["blocks"]) for body in computes} == {(1, 1, 5)}
