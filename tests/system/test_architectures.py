"""Networks of many kinds, with random weights: the oracle, the golden device and the simulator give the same bytes."""

from __future__ import annotations

import pytest

from systolith.host.compiler import compile_graph
from systolith.host.frontends.tflite import read_tflite
from systolith.host.program import HwStep
from systolith.hw.config import PRESETS
from tests.architectures import ARCHITECTURES, Architecture, activations, classifier, network, squeeze_and_excite
from tests.system.test_random_networks import check_device, random_config

NAMES = [architecture.__name__ for architecture in ARCHITECTURES]
ON_RTL = [pytest.param(each, marks=pytest.mark.slow) if each is classifier else each for each in ARCHITECTURES]


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=NAMES)
def test_architectures(architecture: Architecture) -> None:
    check_device(network(architecture), "sim", PRESETS["tiny"], PRESETS["edge"])


@pytest.mark.parametrize("architecture", [squeeze_and_excite, activations], ids=lambda each: each.__name__)
def test_gates_and_activations_stay_on_the_accelerator(architecture: Architecture) -> None:
    program = compile_graph(read_tflite(network(architecture).model), PRESETS["edge"])
    assert {layer.kind for layer in program.layers if layer.unit == "cpu"} <= {"SOFTMAX"}
    assert sum(isinstance(step, HwStep) for step in program.steps) == 1


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=NAMES)
def test_a_batch_that_the_model_declares(architecture: Architecture) -> None:
    check_device(network(architecture, batch=3), "sim", PRESETS["tiny"])


@pytest.mark.rtl
@pytest.mark.parametrize("architecture", ON_RTL, ids=NAMES)
def test_rtl(architecture: Architecture) -> None:
    check_device(network(architecture), "rtl", PRESETS["tiny"])


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=NAMES)
def test_sweep(architecture: Architecture) -> None:
    for seed in range(1, 11):
        check_device(network(architecture, seed, batch=1 + seed // 9), "sim", PRESETS["ulx3s"], random_config(seed))
