"""Random networks on random cores: the oracle, the golden device, the simulator and the RTL give the same bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from systolith.host.compiler import compile_graph
from systolith.host.devices.golden import execute_batch
from systolith.host.frontends.tflite import read_tflite
from systolith.host.graph import Graph
from systolith.host.program import HwStep, Program
from systolith.host.runtime import Session, batches
from systolith.hw.config import PRESETS, AcceleratorConfig
from systolith.sim.machine import Machine
from systolith.sim.races import find_races
from tests.random_networks import RandomNetwork, random_config, random_network

SAMPLES = 2
QUICK = 24
PER_TEST = 25
SWEEP = [range(first, first + PER_TEST) for first in range(QUICK, QUICK + 20 * PER_TEST, PER_TEST)]
# Cores with little of everything, where the most goes on at the same time; each is one more build of the RTL.
CRAMPED = {
    2: AcceleratorConfig(rows=2, act_kib=1, act_banks=2, wgt_kib=1, param_kib=1, acc_depth=16, queue_depth=2,
                         outstanding=1),
    4: AcceleratorConfig(rows=4, act_kib=1, act_banks=8, wgt_kib=1, param_kib=1, acc_depth=16, queue_depth=4,
                         outstanding=2),
    8: AcceleratorConfig(rows=8, act_kib=4, act_banks=8, wgt_kib=2, param_kib=1, acc_depth=64, queue_depth=2,
                         outstanding=4),
}


def expected(network: RandomNetwork) -> tuple[Graph, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return graph, inputs and outputs of a network, after a check that the golden device equals the oracle."""
    graph, samples = read_tflite(network.model), network.samples(SAMPLES)
    inputs = dict(zip(graph.inputs, samples, strict=True))
    outputs = execute_batch(graph, inputs)
    for name, reference in zip(graph.outputs, network.reference(samples), strict=True):
        np.testing.assert_array_equal(outputs[name], reference, err_msg=f"golden, {network}")
    return graph, inputs, outputs


def check_device(network: RandomNetwork, device: str, *configs: AcceleratorConfig) -> None:
    graph, inputs, outputs = expected(network)
    for config in configs:
        program = compile_graph(graph, config)
        with Session(program, device) as session:
            found = session.run(inputs)
        for name, values in outputs.items():
            np.testing.assert_array_equal(found[name], values, err_msg=f"{device}, {config}, {network}")
        assert_no_races(program, network)


def assert_no_races(program: Program, network: RandomNetwork) -> None:
    machine = Machine(program.config, program.dram_bytes)
    machine.write(0, program.image)
    for step in program.steps:
        if isinstance(step, HwStep):
            steps = machine.steps(step.code_offset, step.count)
            races = list(find_races(steps, program.config, program.dram_bytes // program.config.word_bytes))
            assert not races, f"{races[0]}; {program.config}, {network}"


def random_memory(config: AcceleratorConfig, seed: int) -> AcceleratorConfig:
    """Return the same core at a memory of another speed."""
    rng = np.random.default_rng(seed)
    return replace(config, dram_latency=int(rng.choice([1, 5, 20, 90])),
                   dram_bandwidth=int(rng.choice([1, config.rows, 2 * config.rows])))


def test_a_seed_is_one_network() -> None:
    assert [random_network(seed) for seed in (1, 2)] == [random_network(seed) for seed in (1, 2)]


def test_the_networks_have_every_operator_and_the_cores_every_width() -> None:
    kinds = {layer.split()[0] for seed in range(200) for layer in random_network(seed).layers}
    assert kinds == {"ABS", "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "ELU",
                     "FULLY_CONNECTED", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN",
                     "MINIMUM", "MUL", "PAD", "PRELU", "QUANTIZE", "RELU", "RESHAPE", "RESIZE_BILINEAR",
                     "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SOFTMAX", "STRIDED_SLICE", "SUB", "TANH", "TRANSPOSE",
                     "TRANSPOSE_CONV"}
    assert {random_config(seed).rows for seed in range(50)} == {2, 4, 8, 16}


@pytest.mark.parametrize("seed", range(QUICK))
def test_presets_and_random_cores(seed: int) -> None:
    preset = PRESETS[("tiny", "ulx3s", "edge")[seed % 3]]
    check_device(random_network(seed), "sim", preset, random_config(seed))


def test_batches_of_all_that_can_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_LEAST_GAIN", -1e9)  # even where it saves nothing
    sizes = []
    for seed in range(4 * QUICK):
        network = random_network(seed)
        graph, inputs, outputs = expected(network)
        with Session(graph, "sim", config=random_config(seed), batch=SAMPLES) as session:
            found = session.run(inputs)
            assert session.last_report is not None
            sizes.append(session.last_report.batch)
        for name, values in outputs.items():
            np.testing.assert_array_equal(found[name], values, err_msg=str(network))
    assert sizes.count(SAMPLES) > QUICK // 2


@pytest.mark.slow
@pytest.mark.parametrize("seeds", SWEEP, ids=lambda seeds: f"from-{seeds[0]}")
def test_sweep_of_presets_and_random_cores(seeds: range) -> None:
    for seed in seeds:
        check_device(random_network(seed), "sim", PRESETS["tiny"], PRESETS["edge"], random_config(2 * seed),
                     random_config(2 * seed + 1))


@pytest.mark.rtl
@pytest.mark.parametrize("seed", range(QUICK // 2))
def test_rtl(seed: int) -> None:
    check_device(random_network(seed), "rtl", random_memory(PRESETS["tiny"], seed))


@pytest.mark.rtl
@pytest.mark.slow
@pytest.mark.parametrize("rows", CRAMPED)
@pytest.mark.parametrize("first", range(QUICK, QUICK + 4 * PER_TEST, PER_TEST))
def test_sweep_of_cramped_rtl(rows: int, first: int) -> None:
    for seed in range(first, first + PER_TEST):
        check_device(random_network(seed), "rtl", random_memory(CRAMPED[rows], seed))
