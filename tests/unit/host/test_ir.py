"""The graph IR: look-ups, counts and the verifier."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from systolith.host.errors import DeviceError, GraphError, SystolithError
from systolith.host.graph import Graph, QuantParams
from systolith.host.verify import SIGNATURES, verify
from tests.unit.host.graphs import CONV, act, const, conv_graph, graph, op


def chain() -> Graph:
    """x -> a -> y, where ADD reads x and a."""
    tensors = [act("x", 1, 4), act("a", 1, 4), act("y", 1, 4)]
    return graph(tensors, [op("RESHAPE", "x", "a"), op("ADD", "x a", "y", activation="RELU")])


def test_producer_and_consumers_follow_the_edges():
    g = chain()
    assert g.producer("x") is None
    assert g.producer("a") is g.ops[0]
    assert g.consumers("x") == g.ops
    assert g.consumers("y") == ()


def test_an_operator_that_reads_a_tensor_twice_is_one_consumer():
    g = graph([act("x", 1, 4), act("y", 1, 4)], [op("ADD", "x x", "y", activation="NONE")])
    verify(g)
    assert g.consumers("x") == g.ops


def test_with_ops_drops_tensors_that_nothing_uses():
    g = chain()
    assert set(replace(g, outputs=("a",)).with_ops(g.ops[:1]).tensors) == {"x", "a"}


@pytest.mark.parametrize(("kind", "weights", "y", "attrs", "macs"), [
    ("CONV_2D", (8, 3, 3, 4), (1, 6, 6, 8), CONV, 6 * 6 * 8 * 3 * 3 * 4),
    ("CONV_2D", (8, 3, 3, 2), (1, 6, 6, 8), {**CONV, "groups": 2}, 6 * 6 * 8 * 3 * 3 * 4 // 2),
    ("DEPTHWISE_CONV_2D", (1, 3, 3, 8), (1, 6, 6, 8), {**CONV, "multiplier": 2}, 6 * 6 * 8 * 3 * 3),
    ("FULLY_CONNECTED", (10, 64), (4, 10), {"activation": "NONE", "keep_dims": False}, 4 * 64 * 10),
])
def test_macs_count_every_tap_of_every_output(kind, weights, y, attrs, macs):
    g = graph([act("x", 1, 8, 8, 4), const("w", *weights), act("y", *y)], [op(kind, "x w", "y", **attrs)])
    verify(g)
    assert g.macs(g.ops[0]) == g.macs() == macs


def test_operators_without_products_count_no_macs():
    assert chain().macs() == 0


def test_scale_of_a_per_channel_tensor_is_refused():
    with pytest.raises(ValueError, match="must be quantised per tensor"):
        _ = act("x", 2, quant=QuantParams((1.0, 2.0), (0, 0), 0)).scale


def with_tensor(g: Graph, name: str, **changes) -> Graph:
    """`g` with fields of one tensor changed."""
    return replace(g, tensors={**g.tensors, name: replace(g.tensors[name], **changes)})


def test_a_well_formed_graph_passes():
    verify(conv_graph())


@pytest.mark.parametrize(("broken", "problem"), [
    pytest.param(replace(chain(), ops=chain().ops[::-1]), "before anything writes it", id="order"),
    pytest.param(replace(chain(), ops=(*chain().ops, replace(chain().ops[0], name="again"))), "already has a value",
                 id="written twice"),
    pytest.param(replace(chain(), ops=(chain().ops[0], chain().ops[0])), "two operators are named", id="op name"),
    pytest.param(replace(chain(), outputs=("z",)), "nothing writes graph output 'z'", id="output"),
    pytest.param(replace(chain(), outputs=()), "no output", id="no output"),
    pytest.param(replace(chain(), inputs=("q",)), "graph input 'q' does not exist", id="input"),
    pytest.param(replace(chain(), inputs=("x", "x")), "listed twice", id="input twice"),
    pytest.param(replace(chain(), ops=(op("SQRT", "x", "y"),)), "not one of ABS", id="kind"),
    pytest.param(replace(chain(), ops=(op("RESHAPE", "x x", "y"),)), "2 inputs, not 1 to 1", id="operand count"),
    pytest.param(with_tensor(chain(), "y", shape=(1, 5)), r"must have an output of shape \(1, 4\)", id="shape"),
    pytest.param(with_tensor(chain(), "y", dtype="int32"), "it mixes int8 and int32", id="dtype"),
    pytest.param(with_tensor(chain(), "y", quant=None), "must be quantised per tensor", id="unquantised"),
    pytest.param(with_tensor(chain(), "y", quant=QuantParams((0.0,), (0,))), "scale > 0", id="zero scale"),
    pytest.param(with_tensor(chain(), "y", quant=QuantParams((float("nan"),), (0,))), "finite", id="nan scale"),
    pytest.param(with_tensor(chain(), "y", quant=QuantParams((1.0,), (200,))), "fit int8", id="zero point"),
    pytest.param(with_tensor(chain(), "y", shape=(1, 0)), "positive sizes", id="empty"),
    pytest.param(conv_graph(stride=(0, 1)), "stride must be >= 1", id="stride"),
    pytest.param(conv_graph(pads=((-1, 0), (0, 0))), "pads must be >= 0", id="pads"),
    pytest.param(conv_graph(activation="TANH"), "activation must be one of", id="activation"),
    pytest.param(conv_graph(dilation=(3, 1)), "at least 7 pixels", id="window too large"),
    pytest.param(conv_graph(groups=2), "do not match weights", id="groups"),
    pytest.param(replace(with_tensor(conv_graph(), "w", data=None), inputs=("x", "w")), "must be a constant",
                 id="weights not constant"),
    pytest.param(with_tensor(conv_graph(), "w", shape=(5, 3, 3, 3)), "holds int8", id="constant of another shape"),
    pytest.param(with_tensor(conv_graph(), "w", quant=QuantParams((1.0,) * 5, (1,) * 5, 0)), "symmetric",
                 id="weight zero point"),
    pytest.param(with_tensor(conv_graph(), "w", quant=QuantParams((1.0,) * 2, (0,) * 2, 3)), "along axis 0",
                 id="quantised axis"),
    pytest.param(with_tensor(conv_graph(), "w", quant=QuantParams((1.0,) * 4, (0,) * 4, 0)), "not 5 each",
                 id="scale count"),
    pytest.param(with_tensor(conv_graph(), "b", shape=(4,), data=np.zeros(4, np.int32)), r"shape \(5,\)", id="bias"),
])
def test_the_verifier_names_what_is_wrong(broken, problem):
    with pytest.raises(GraphError, match=problem) as caught:
        verify(broken)
    assert "\n" not in str(caught.value)


def test_softmax_must_have_the_output_scale_of_the_reference():
    g = graph([act("x", 1, 4), act("y", 1, 4, quant=QuantParams((1 / 128,), (-128,)))],
              [op("SOFTMAX", "x", "y", beta=1.0)])
    with pytest.raises(GraphError, match="1/256"):
        verify(g)


def test_pooling_must_keep_the_scale():
    attrs = {"kernel": (2, 2), "stride": (2, 2), "pads": ((0, 0), (0, 0)), "activation": "NONE"}
    g = graph([act("x", 1, 4, 4, 1), act("y", 1, 2, 2, 1, quant=QuantParams((0.25,), (3,)))],
              [op("MAX_POOL_2D", "x", "y", **attrs)])
    with pytest.raises(GraphError, match="equal scales"):
        verify(g)


def test_every_kind_has_a_signature_that_requires_what_it_lists():
    for signature in SIGNATURES.values():
        assert 1 <= signature.required <= len(signature.inputs)


def test_device_errors_carry_code_and_address():
    error = DeviceError("the core stopped", code=3, address=0x40)
    assert isinstance(error, SystolithError)
    assert (str(error), error.code, error.address) == ("the core stopped", 3, 0x40)
