"""Graphs for several samples at once, against the golden device sample by sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from systolith.host.batching import batched, refusal, split
from systolith.host.compiler import compile_graph
from systolith.host.devices.golden import execute, execute_batch
from systolith.host.graph import Graph, Op, Tensor
from systolith.host.inspection import describe
from systolith.host.quantparams import FIXED_OUTPUT
from systolith.host.verify import verify
from systolith.hw.config import AcceleratorConfig

from .graphs import CONV, QUANT, act, const, conv_graph, graph, op
from .simulate import random_inputs

FC = {"activation": "NONE", "keep_dims": False}
PLAIN = {"activation": "NONE"}


def chain(*tensors: Tensor, ops: list[Op], inputs: str = "x", outputs: str = "y") -> Graph:
    made = graph(list(tensors), ops, inputs, outputs)
    verify(made)
    return made


ROWWISE = {
    "rows of a matrix": chain(act("x", 3, 8), const("w", 5, 8), act("y", 3, 5), ops=[op("FULLY_CONNECTED", "x w", "y",
                                                                                      **FC)]),
    "pixels": chain(act("x", 1, 2, 2, 6), const("w", 5, 6), act("y", 1, 2, 2, 5),
                    ops=[op("FULLY_CONNECTED", "x w", "y", activation="RELU", keep_dims=True)]),
    "flattened": chain(act("x", 1, 2, 2, 6), const("w", 5, 24), const("b", 5, dtype="int32"), act("y", 1, 5),
                       ops=[op("FULLY_CONNECTED", "x w b", "y", **FC)]),
    "single pixel": chain(act("x", 1, 1, 1, 6), const("w", 5, 1, 1, 6), const("b", 5, dtype="int32"),
                          act("y", 1, 1, 1, 5), ops=[op("CONV_2D", "x w b", "y", **CONV)]),
    "reshaped": chain(act("x", 2, 6), act("a", 1, 3, 4), act("y", 1, 3, 4),
                      ops=[op("RESHAPE", "x", "a"), op("RELU", "a", "y")]),
    "broadcast": chain(act("x", 1, 2, 6), const("c", 6), act("a", 1, 2, 6), act("z", 1, 2, 1), act("y", 1, 2, 6),
                       ops=[op("MUL", "x c", "a", **PLAIN), op("ADD", "a z", "y", **PLAIN)], inputs="x z"),
    "looked up": chain(act("x", 2, 6), const("t", 256), act("y", 2, 6), ops=[op("TABLE", "x t", "y")]),
    "joined": chain(act("x", 2, 6), act("z", 2, 3), act("a", 2, 9), act("y", 2, 2),
                    ops=[op("CONCATENATION", "x z", "a", axis=1),
                         op("SLICE", "a", "y", begin=(0, 5), size=(2, 2), stride=(1, 2))], inputs="x z"),
    "softmax": chain(act("x", 2, 6), act("y", 2, 6, quant=FIXED_OUTPUT["SOFTMAX"]),
                     ops=[op("SOFTMAX", "x", "y", beta=1.0)]),
}


@pytest.mark.parametrize("name", ROWWISE)
def test_samples_at_once_equal_samples_one_by_one(name: str) -> None:
    single, samples = ROWWISE[name], 3
    several = batched(single, samples)
    verify(several)
    inputs = random_inputs(several)
    np.testing.assert_array_equal(execute(several, inputs)["y"], execute_batch(single, inputs)["y"])
    assert several.tensors["y"].shape[0] == samples * single.tensors["y"].shape[0]


REFUSED: dict[str, tuple[list[Tensor], str, str, dict[str, Any]]] = {
    "across axis 0": ([act("x", 2, 6), act("y", 4, 6)], "CONCATENATION", "x x", {"axis": 0}),
    "it works across": ([act("x", 2, 6), act("y", 1, 6)], "SLICE", "x", {"begin": (1, 0), "size": (1, 6),
                                                                        "stride": (1, 1)}),
    "joins a constant": ([act("x", 2, 6), const("c", 2, 6, quant=QUANT), act("y", 2, 12)], "CONCATENATION", "x c",
                         {"axis": 1}),
    "windows are those of an image": ([act("x", 1, 4, 4, 6), const("w", 5, 3, 3, 6), act("y", 1, 2, 2, 5)],
                                      "CONV_2D", "x w", CONV),
    "does not treat samples as rows": ([act("x", 1, 2, 2, 4), act("y", 1, 4)], "MEAN", "x",
                                       {"axes": (1, 2), "keepdims": False}),
    "it works across axis 0": ([act("x", 6), act("y", 6, quant=FIXED_OUTPUT["SOFTMAX"])], "SOFTMAX", "x",
                               {"beta": 1.0}),
    "operand 'c' is not broadcast": ([act("x", 2, 6), const("c", 2, 6), act("y", 2, 6)], "ADD", "x c", PLAIN),
    "operand 'z' is not broadcast": ([act("x", 6, 6), act("z", 6), act("y", 6, 6)], "ADD", "x z", PLAIN),
    "operand 'x' is not broadcast": ([act("x", 1, 6), act("z", 2, 6), act("y", 2, 6)], "ADD", "x z", PLAIN),
    "its input has no axis for the samples": ([act("x", 6), const("w", 5, 6), act("y", 5)], "FULLY_CONNECTED", "x w",
                                              {**PLAIN, "keep_dims": True}),
    "it has no axis for the samples": ([act("x"), act("y", 1)], "RESHAPE", "x", {}),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_not_for_several_samples_is_refused_with_the_reason(reason: str) -> None:
    tensors, kind, inputs, attrs = REFUSED[reason]
    names = [t.name for t in tensors if t.data is None and t.name != "y"]
    single = chain(*tensors, ops=[op(kind, inputs, "y", **attrs)], inputs=" ".join(names))
    assert reason in (refusal(single, single.ops[0]) or "")
    with pytest.raises(ValueError, match=f"{kind} op_y must run sample by sample: .*{reason}"):
        batched(single, 2)


def convolution_and_dense() -> Graph:
    """x -> CONV_2D -> a, an output -> FULLY_CONNECTED -> b; b + z -> y."""
    return chain(act("x", 1, 4, 4, 6), const("w", 5, 3, 3, 6), act("a", 1, 2, 2, 5), act("f", 1, 20), const("v", 7, 20),
                 act("b", 1, 7), act("z", 1, 7), act("y", 1, 7),
                 ops=[op("CONV_2D", "x w", "a", **CONV), op("RESHAPE", "a", "f"),
                      op("FULLY_CONNECTED", "f v", "b", **FC), op("ADD", "b z", "y", **PLAIN)],
                 inputs="x z", outputs="a y")


def test_a_dense_tail_is_cut_off_where_its_weights_begin() -> None:
    parts = split(convolution_and_dense())
    assert parts is not None and parts.head is not None
    assert [each.kind for each in parts.head.ops] == ["CONV_2D", "RESHAPE"] and parts.head.outputs == ("a", "f")
    assert [each.kind for each in parts.tail.ops] == ["FULLY_CONNECTED", "ADD"]
    assert (parts.tail.inputs, parts.tail.outputs) == (("f", "z"), ("y",))
    for part in (parts.head, parts.tail, batched(parts.tail, 4)):
        verify(part)


@pytest.mark.parametrize("name", [name for name in ROWWISE if "weight" in name or "flat" in name or "pix" in name])
def test_a_network_of_rows_is_all_tail(name: str) -> None:
    assert split(ROWWISE[name]) == (None, ROWWISE[name])


@pytest.mark.parametrize("name", ["softmax", "broadcast"])
def test_a_network_without_weights_gains_nothing(name: str) -> None:
    assert split(ROWWISE[name]) is None


def test_a_convolution_behind_the_dense_layer_keeps_all_sample_by_sample() -> None:
    single = chain(act("x", 1, 16), const("v", 16, 16), act("b", 1, 16), act("c", 1, 4, 4, 1), const("w", 5, 3, 3, 1),
                   act("y", 1, 2, 2, 5), ops=[op("FULLY_CONNECTED", "x v", "b", **FC), op("RESHAPE", "b", "c"),
                                              op("CONV_2D", "c w", "y", **CONV)])
    assert split(single) is None


@pytest.mark.parametrize(("network", "line"), [
    (ROWWISE["flattened"], "several samples at once, where"), (ROWWISE["softmax"], "no weights to share"),
    (convolution_and_dense(), "several samples at once from FULLY_CONNECTED op_b on"),
    (conv_graph(), "samples one by one because of CONV_2D op_y: its windows are those of an image")])
def test_info_says_what_runs_for_several_samples(network: Graph, line: str) -> None:
    described = describe(compile_graph(network, AcceleratorConfig.preset("tiny")))
    assert any(isinstance(part, str) and part.startswith("batches ") and line in part for part in described)
