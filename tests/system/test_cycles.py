"""The `sim` device reports the same cycles as the `rtl` device: in all, of each layer, and in every counter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from systolith.host.compiler import compile_graph
from systolith.host.frontends.tflite import read_tflite
from systolith.host.program import Program
from systolith.host.report import Report
from systolith.host.runtime import Session
from systolith.hw.config import PRESETS, AcceleratorConfig
from systolith.hw.dram import DRAMS
from systolith.models.zoo import digits
from tests.random_networks import random_network
from tests.shared_data import shared_file

from .test_random_networks import CRAMPED, random_memory

pytestmark = pytest.mark.rtl

QUICK = range(8)
PER_TEST = 20
MEMORIES = ((), ("dram_latency=1", "dram_bandwidth=1"), ("dram_latency=120", "dram_bandwidth=6"),
            ("dram=ddr3_1600_x16", "clock_mhz=100"), ("dram=lpddr4_3200_x16", "clock_mhz=800"))
NETWORKS = ("ad_autoencoder", "ic_resnet8", "kws_dscnn", "vww_mobilenetv1_025_96", "mobilenetv2_10_224")


def report(program: Program, device: str, config: AcceleratorConfig) -> Report:
    """Return the report of a program on zeros; seconds and device, which may differ, are empty."""
    inputs = {port.name: np.zeros(port.shape, port.dtype) for port in program.inputs}
    with Session(program, device, config=config) as session:
        session.run(inputs)
        assert session.last_report is not None
        return replace(session.last_report, seconds=0, device="")


def assert_same(model: bytes | Path, *configs: AcceleratorConfig) -> None:
    graph = read_tflite(model)
    for config in configs:
        program = compile_graph(graph, config)
        expected = report(program, "rtl", config)
        assert expected.cycles or not program.layer_index.size
        assert report(program, "sim", config) == expected, config


def memories(preset: str, settings: Sequence[Sequence[str]] = MEMORIES) -> list[AcceleratorConfig]:
    return [AcceleratorConfig.preset(preset, each) for each in settings]


def test_digits() -> None:
    assert_same(digits.model_path(), *memories("tiny"))


@pytest.mark.parametrize("seed", QUICK)
def test_random_networks(seed: int) -> None:
    banked = replace(PRESETS["tiny"], dram=tuple(DRAMS)[seed % len(DRAMS)], clock_mhz=100 + 150 * seed)
    assert_same(random_network(seed).model, PRESETS["tiny"], random_memory(PRESETS["tiny"], seed), banked)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["ulx3s", "edge", "server"])
def test_digits_on_other_presets(preset: str) -> None:
    assert_same(digits.model_path(), *memories(preset))


@pytest.mark.slow
@pytest.mark.parametrize("rows", CRAMPED)
@pytest.mark.parametrize("first", range(len(QUICK), len(QUICK) + 3 * PER_TEST, PER_TEST))
def test_sweep_of_random_networks_on_cramped_cores(rows: int, first: int) -> None:
    for seed in range(first, first + PER_TEST):
        assert_same(random_network(seed).model, random_memory(CRAMPED[rows], seed))


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["tiny", "ulx3s", "edge"])
@pytest.mark.parametrize("network", NETWORKS)
def test_published_networks(network: str, preset: str) -> None:
    large = network == "mobilenetv2_10_224"
    assert_same(shared_file(f"models/{network}_int8.tflite"), *memories(preset, MEMORIES[:1] if large else MEMORIES))
