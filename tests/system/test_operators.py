"""Every operator on random shapes and scales: TFLite Micro, the golden device and the simulator give the same bytes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from systolith.host.compiler import compile_graph
from systolith.host.devices.golden import execute
from systolith.host.devices.select import open_accelerator
from systolith.host.frontends.tflite import read_tflite
from systolith.host.frontends.tflite_ops import CONVERTERS
from systolith.host.graph import Graph
from systolith.host.program import Layer
from systolith.host.quantparams import UNARY
from systolith.host.runtime.executor import ProgramExecutor
from systolith.host.verify import SIGNATURES
from systolith.hw.config import PRESETS
from tests.operator_case import OperatorCase
from tests.operators import MAKERS, operators
from tests.unit.host.test_tflite_operators import batch_model, uint8_network

OPERATORS = Path(__file__).parents[2] / "docs" / "operators.md"
QUICK = 8
SWEEP = 150
COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The reference has no int8 kernel for these: the golden device is what the others are compared with.
WITHOUT_REFERENCE = {"EXP", "REDUCE_MIN", "RELU_N1_TO_1", "REVERSE_V2", "TILE"}
# These have other tests: they take or give reals, or leave no operator.
UNTRIED = {"DEQUANTIZE", "NEG", "SHAPE"}

Arrays = dict[str, np.ndarray]


def run(graph: Graph, inputs: Arrays, device: str, preset: str = "tiny") -> Arrays:
    """Return the outputs of one sample of any batch size."""
    if device == "golden":
        return execute(graph, inputs)
    config = PRESETS[preset]
    program = compile_graph(graph, config)
    executor = ProgramExecutor(program, open_accelerator(device, config, program.dram_bytes, None))
    try:
        return executor.run(inputs)[0]
    finally:
        executor.close()


def layer(case: OperatorCase) -> Layer:
    """Return where the compiler put the operator of `case`."""
    (found,) = compile_graph(read_tflite(case.model), PRESETS["tiny"]).layers
    return found


def check(kind: str, case: OperatorCase, *devices: str, preset: str = "tiny") -> None:
    graph = read_tflite(case.model)
    inputs = dict(zip(graph.inputs, case.inputs, strict=True))
    expected = [*execute(graph, inputs).values()] if kind in WITHOUT_REFERENCE else case.reference()
    for device in devices:
        found = run(graph, inputs, device, preset)
        for name, want in zip(graph.outputs, expected, strict=True):
            assert_same(found[name], want, f"{device} {preset}, {case}")


def assert_same(got: np.ndarray, want: np.ndarray, what: str) -> None:
    assert (got.shape, got.dtype) == (want.shape, want.dtype), f"{what}: {got.dtype} {got.shape}"
    wrong = np.argwhere(got != want)
    if len(wrong):
        first = tuple(int(i) for i in wrong[0])
        pytest.fail(f"{what}: {len(wrong)} of {want.size} differ; {first}: expected {want[first]}, got {got[first]}")


def test_every_operator_of_the_frontend_is_tried() -> None:
    assert set(MAKERS) | UNTRIED == set(CONVERTERS) and set(MAKERS) > WITHOUT_REFERENCE


@pytest.mark.parametrize("kind", MAKERS)
@settings(COMMON, max_examples=QUICK, derandomize=True)
@given(data=st.data())
def test_operator(kind: str, data: st.DataObject) -> None:
    check(kind, data.draw(operators(kind)), "golden", "sim")


def documented_units() -> dict[str, set[str]]:
    """Return the units that docs/operators.md names for each kind of operator."""
    rows = [line.split("|")[1:3] for line in OPERATORS.read_text().splitlines() if line.startswith("| ")][1:]
    return {kind.strip(): {unit.strip() for unit in units.split(",")}
            for kinds, units in rows for kind in kinds.split(",")}


def test_every_kind_is_documented_once() -> None:
    assert sorted(documented_units()) == sorted(SIGNATURES)


@pytest.mark.parametrize("kind", MAKERS)
@settings(COMMON, max_examples=QUICK, derandomize=True)
@given(data=st.data())
def test_operators_run_where_the_documentation_says(kind: str, data: st.DataObject) -> None:
    graph = read_tflite(data.draw(operators(kind)).model)
    for each in compile_graph(graph, PRESETS["tiny"]).layers:
        assert each.unit in {*documented_units()[each.kind], "cpu"}, each


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind in (*UNARY, "QUANTIZE")])
@settings(COMMON, max_examples=QUICK, derandomize=True)
@given(data=st.data())
def test_functions_of_one_int8_run_on_the_vector_unit(kind: str, data: st.DataObject) -> None:
    assert layer(data.draw(operators(kind))).unit == "vector"


@pytest.mark.parametrize("kind", ["ADD", "MUL", "SUB"])
@settings(COMMON, max_examples=5 * QUICK, derandomize=True)
@given(data=st.data())
def test_pairs_run_on_the_vector_unit_unless_channels_or_some_rows_repeat(kind: str, data: st.DataObject) -> None:
    found = layer(data.draw(operators(kind)))
    assert found.unit == "vector" or re.search("channels like the result|repeated along some", str(found.reason))


@pytest.mark.rtl
@pytest.mark.parametrize("kind", ["HARD_SWISH", "LOGISTIC", "ADD", "MUL", "SUB"])
@settings(COMMON, max_examples=QUICK, derandomize=True)
@given(data=st.data())
def test_element_wise_operators_on_the_rtl(kind: str, data: st.DataObject) -> None:
    check(kind, data.draw(operators(kind)), "rtl")


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
@settings(COMMON, max_examples=SWEEP, print_blob=True)
@given(data=st.data())
def test_sweep(kind: str, data: st.DataObject) -> None:
    case, preset = data.draw(operators(kind)), data.draw(st.sampled_from(["tiny", "ulx3s", "edge"]))
    check(kind, case, "golden", "sim", preset=preset)


@pytest.mark.parametrize("preset", ["tiny", "edge"])
@pytest.mark.parametrize("zero_points", [(127, 128, 128), (127, 117, 131), (0, 255, 0), (255, 90, 200)])
def test_uint8_networks(zero_points: tuple[int, int, int], preset: str) -> None:
    graph = read_tflite(uint8_network(*zero_points))
    for x in np.random.default_rng(1).integers(0, 256, (4, 1, 6, 6, 3)).astype(np.uint8):
        expected, found = (run(graph, {"x": x}, device, preset) for device in ("golden", "sim"))
        for name, want in expected.items():
            assert_same(found[name], want, f"sim, {zero_points}")


def test_a_batch_that_the_model_declares() -> None:
    graph = read_tflite(batch_model((64, 16)))
    x = np.random.default_rng(1).integers(-128, 128, (64, 16)).astype(np.int8)
    assert_same(run(graph, {"x0": x}, "sim")["y0"], run(graph, {"x0": x}, "golden")["y0"], "sim")
