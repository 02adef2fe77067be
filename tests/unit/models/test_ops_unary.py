"""Golden unary tables against TFLite Micro on all 256 inputs, and against the real function where it has no kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from systolith.host.devices.golden import execute
from systolith.host.frontends.tflite import read_tflite
from systolith.host.graph import Graph, Op, QuantParams, Tensor
from systolith.host.quantparams import UNARY, table
from systolith.models import ops, ops_real
from tests.operator_case import Case

CODES = np.arange(-128, 128).astype(np.int8)
FIXED = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}
# TFLite Micro has no int8 kernel of EXP and RELU_N1_TO_1; that of RELU6 keeps the input's scale.
WITH_REFERENCE = tuple(kind for kind in UNARY if kind not in ("EXP", "RELU6", "RELU_N1_TO_1"))


def one_op(kind: str, x: tuple[float, int], y: tuple[float, int], **attrs: Any) -> Graph:
    tensors = [Tensor(name, (256,), "int8", QuantParams((scale,), (zero_point,)))
               for name, (scale, zero_point) in (("x", x), ("y", y))]
    return Graph("unary", {t.name: t for t in tensors}, (Op(kind, "op", ("x",), ("y",), attrs),), ("x",), ("y",))


@pytest.mark.parametrize("kind", WITH_REFERENCE)
def test_tables_are_those_of_the_reference(kind: str) -> None:
    for seed in range(40):
        c = Case.seeded(kind, seed)
        x = (c.scale(1e-4, 2.0), c.zero_point())
        y = FIXED.get(kind, (c.near(x[0]), c.zero_point()))
        alpha = float(np.float32(c.rng.uniform(-2, 2)))
        c.feed((256,), *x, CODES)
        c.result((256,), *y)
        case = c.done({"alpha": alpha} if kind == "LEAKY_RELU" else None)
        graph = read_tflite(case.model)
        found = table(graph, graph.ops[0])
        assert (found.dtype, found.shape) == (np.int8, (256,))
        np.testing.assert_array_equal(found, case.reference()[0], err_msg=f"seed {seed}, {case}")
        np.testing.assert_array_equal(execute(graph, {graph.inputs[0]: CODES})[graph.outputs[0]], found)


@pytest.mark.parametrize("kind", UNARY)
def test_tables_are_near_the_real_function(kind: str) -> None:
    (x_scale, x_zp), (y_scale, y_zp) = (0.04, 11), FIXED.get(kind, (0.05, -20))
    graph = one_op(kind, (x_scale, x_zp), (y_scale, y_zp), **({"alpha": 0.3} if kind == "LEAKY_RELU" else {}))
    reals = ((CODES.astype(np.float64) - x_zp) * x_scale).astype(np.float32)
    exact = ops_real.leaky_relu(reals, 0.3) if kind == "LEAKY_RELU" else ops_real.UNARY[kind](reals)
    error = table(graph, graph.ops[0]) - np.clip(exact / np.float32(y_scale) + y_zp, -128, 127)
    assert np.abs(error).max() <= 1


def test_a_lookup_takes_entry_x_plus_128() -> None:
    entries = np.arange(256).astype(np.uint8).view(np.int8)
    assert ops.lookup(np.array([-128, 0, 127], np.int8), entries).tolist() == [0, -128, -1]


@pytest.mark.parametrize(("kind", "x_scale"), [("LOGISTIC", 2.0**-30), ("TANH", 2.0**-30)])
def test_scales_that_the_fixed_point_cannot_hold_are_refused(kind: str, x_scale: float) -> None:
    graph = one_op(kind, (x_scale, 0), FIXED[kind])
    with pytest.raises(ValueError, match="at least 2"):
        table(graph, graph.ops[0])


@pytest.mark.parametrize(("function", "best"), [(ops.reduce_min, np.min), (ops.reduce_max, np.max)])
def test_extremes_over_axes(function: Any, best: Any) -> None:
    x = np.random.default_rng(0).integers(-128, 128, (3, 4, 5)).astype(np.int8)
    np.testing.assert_array_equal(function(x, (0, 2), True), best(x, axis=(0, 2), keepdims=True))
    np.testing.assert_array_equal(function(x, (1,), False), best(x, axis=1))


def test_padding_before_space_to_batch_is_the_zero_point() -> None:
    x = np.arange(6).astype(np.int8).reshape(1, 2, 3, 1)
    y = ops.space_to_batch(x, block=(2, 2), paddings=((0, 0), (1, 0)), value=-7)
    assert y[:, :, :, 0].tolist() == [[[-7, 1]], [[0, 2]], [[-7, 4]], [[3, 5]]]
    np.testing.assert_array_equal(ops.batch_to_space(y, block=(2, 2), crops=((0, 0), (1, 0))), x)


def test_a_real_function_that_overflows_saturates_without_a_warning() -> None:
    with np.errstate(over="raise"):
        found = ops.real_table(ops_real.UNARY["EXP"], x_scale=10.0, x_zp=0, y_scale=10.0, y_zp=0)
    assert (found[[0, 128, 255]] == [0, 0, 127]).all()
