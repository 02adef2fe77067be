"""The causes of a run's cycles sum to its cycles and agree with what the core itself counts, on random networks."""

from __future__ import annotations

import pytest

from systolith.host.frontends.tflite import read_tflite
from systolith.host.report import Report
from systolith.host.runtime import Session
from systolith.hw.config import AcceleratorConfig
from tests.random_networks import random_config, random_network

SEEDS = range(16)


def measure(seed: int, config: AcceleratorConfig, samples: int = 1) -> Report:
    network = random_network(seed)
    with Session(read_tflite(network.model), config=config) as session:
        session.run(dict(zip((info.name for info in session.inputs), network.samples(samples), strict=True)))
        assert session.last_report is not None
        return session.last_report


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_causes_sum_to_the_cycles_of_layers_and_run(seed: int, samples: int) -> None:
    report = measure(seed, random_config(seed), samples)

    assert report.stalls is not None and report.cycles == sum(report.stalls.values())
    for name, cycles in report.stalls.items():
        assert cycles == sum((layer.stalls or {})[name] for layer in report.layers)
    for layer in report.layers:
        assert layer.stalls is not None and layer.cycles == sum(layer.stalls.values())
        assert min(layer.stalls.values()) >= 0
        assert layer.unit != "cpu" or layer.cycles == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_the_array_is_busy_as_long_as_the_core_counts(seed: int) -> None:
    report = measure(seed, random_config(seed))

    assert report.stalls is not None
    assert report.stalls["busy"] == report.counters["ARRAY_ACTIVE"]
    # The share in the report is that of the causes.
    assert report.dram_wait == (report.stalls["dram"] / report.cycles if report.cycles else None)


@pytest.mark.parametrize(("preset", "settings", "cause"), [
    ("tiny", ("dram_latency=2000",), "dram"), ("server", (), "weights")])
def test_slow_memory_and_a_large_array_each_show_in_their_cause(
        preset: str, settings: tuple[str, ...], cause: str) -> None:
    other, tiny = measure(3, AcceleratorConfig.preset(preset, settings)), measure(3, AcceleratorConfig.preset("tiny"))

    assert other.stalls is not None and tiny.stalls is not None and other.stalls[cause] > tiny.stalls[cause]
