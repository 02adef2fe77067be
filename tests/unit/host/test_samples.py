"""Operators on batches of images that the model declares: one layer per sample."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from systolith.host.backend.lower_move import MAX_COPIES
from systolith.host.compiler import compile_graph
from systolith.host.graph import Graph, QuantParams
from systolith.hw.config import AcceleratorConfig

from .graphs import CONV, act, const, graph, op
from .simulate import check

TINY = AcceleratorConfig.preset("tiny")
CRAMPED = replace(TINY, act_kib=1, wgt_kib=1, queue_depth=2)
FINE = QuantParams((0.002,), (0,))
PADS = ((1, 0), (1, 1))
POOL: dict[str, Any] = {"kernel": (3, 2), "stride": (2, 1), "pads": PADS, "activation": "NONE"}
# Shape of a sample, operator, shape of its weights, shape of a sample of the result, attributes.
CASES: dict[str, tuple[tuple[int, ...], str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "convolution": ((5, 6, 3), "CONV_2D", (7, 3, 3, 3), (4, 6, 7), {**CONV, "pads": PADS}),
    "pointwise": ((5, 6, 9), "CONV_2D", (7, 1, 1, 9), (5, 6, 7), CONV),
    "grouped": ((5, 6, 8), "CONV_2D", (8, 2, 2, 4), (4, 5, 8), {**CONV, "groups": 2}),
    "depthwise": ((7, 6, 6), "DEPTHWISE_CONV_2D", (1, 3, 3, 6), (6, 6, 6),
                  {"stride": (1, 1), "dilation": (1, 1), "pads": PADS, "activation": "NONE", "multiplier": 1}),
    "dilated": ((9, 8, 6), "DEPTHWISE_CONV_2D", (1, 3, 2, 6), (6, 8, 6),
                {"stride": (1, 1), "dilation": (2, 2), "pads": PADS, "activation": "NONE", "multiplier": 1}),
    "transposed": ((3, 4, 5), "TRANSPOSE_CONV", (6, 3, 3, 5), (6, 7, 6),
                   {"stride": (2, 2), "pads": PADS, "activation": "NONE"}),
    "maximum": ((6, 7, 6), "MAX_POOL_2D", (), (3, 8, 6), POOL),
    "average": ((6, 7, 6), "AVERAGE_POOL_2D", (), (3, 8, 6), POOL),
    "padding": ((3, 4, 6), "PAD", (), (4, 6, 6), {"paddings": ((0, 0), *PADS, (0, 0))}),
    "mean": ((4, 5, 6), "MEAN", (), (6,), {"axes": (1, 2), "keepdims": False}),
    "mean of rows": ((4, 5, 6), "MEAN", (), (1, 5, 6), {"axes": (1,), "keepdims": True}),
}


def case(name: str, samples: int) -> Graph:
    shape, kind, kernel, out, attrs = CASES[name]
    tensors = [act("x", samples, *shape), act("y", samples, *out)]
    if kernel:
        tensors.append(const("w", *kernel, quant=FINE))
    return graph(tensors, [op(kind, "x w" if kernel else "x", "y", **attrs)])


@pytest.mark.parametrize("config", [TINY, CRAMPED], ids=["tiny", "cramped"])
@pytest.mark.parametrize("samples", [2, 3])
@pytest.mark.parametrize("name", CASES)
def test_samples_run_on_the_accelerator_and_equal_golden(name, samples, config):
    network = case(name, samples)
    compiled = compile_graph(network, config)
    assert [layer.unit for layer in compiled.layers] != ["cpu"], compiled.layers
    check(network, compiled, seeds=1)


def test_samples_share_their_weights():
    one, three = (compile_graph(case("grouped", samples), TINY) for samples in (1, 3))
    assert len(three.image) - len(one.image) <= 64 * (len(three.layer_index) - len(one.layer_index)) + 256


def test_large_batches_run_on_the_cpu_with_a_reason():
    (layer,) = compile_graph(case("maximum", MAX_COPIES + 1), TINY).layers
    assert layer.unit == "cpu" and "at most 64 images" in (layer.reason or "")
