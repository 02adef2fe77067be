"""A whole network gives the same bytes on every device, and its report adds up."""

from __future__ import annotations

import numpy as np
import pytest
from tflite_micro import runtime as tflite_micro

from systolith.host.report import Report
from systolith.host.runtime import Session
from systolith.hw.config import PRESETS
from systolith.models.zoo import digits

SAMPLES = 12
RTL_TINY = pytest.param("rtl", "tiny", marks=pytest.mark.rtl)
RTL = [pytest.param("rtl", preset, marks=[pytest.mark.rtl, pytest.mark.slow]) for preset in PRESETS if preset != "tiny"]


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    interpreter = tflite_micro.Interpreter.from_file(str(digits.model_path()), arena_size=1 << 20)
    outputs = []
    for image in digits.held_out(SAMPLES)[0]:
        interpreter.set_input(image[None], 0)
        interpreter.invoke()
        outputs.append(interpreter.get_output(0))
    return np.concatenate(outputs)


@pytest.mark.parametrize(("device", "preset"),
                         [("golden", "edge"), *(("sim", preset) for preset in PRESETS), RTL_TINY, *RTL])
def test_digits_have_the_oracles_bytes(device: str, preset: str, expected: np.ndarray) -> None:
    with Session(digits.model_path(), device, preset=preset) as session:
        (found,) = session.run(digits.held_out(SAMPLES)[0]).values()

    np.testing.assert_array_equal(found, expected)


def measure(samples: int, settings: tuple[str, ...] = ()) -> Report:
    with Session(digits.model_path(), "rtl", preset="tiny", settings=settings) as session:
        session.run(digits.held_out(samples)[0])
        assert session.last_report is not None
        return session.last_report


@pytest.mark.rtl
def test_report_of_the_rtl_adds_up() -> None:
    report = measure(3)

    assert report.cycles is not None and report.utilisation is not None and report.dram_wait is not None
    assert report.cycles * 3 == report.counters["CYCLES"]
    assert report.cycles == sum(layer.cycles or 0 for layer in report.layers)
    assert report.stalls is not None and sum(report.stalls.values()) == report.cycles
    assert all(layer.stalls is not None and sum(layer.stalls.values()) == layer.cycles for layer in report.layers)
    assert report.macs == sum(layer.macs for layer in report.layers)
    assert report.utilisation == report.macs / (report.cycles * 4 * 4)
    assert 0 <= report.dram_wait < 1
    assert all(layer.cycles for layer in report.layers if layer.unit == "array")


@pytest.mark.rtl
def test_rtl_and_simulator_move_the_same_bytes() -> None:
    with Session(digits.model_path(), "sim", preset="tiny") as session:
        session.run(digits.held_out(1)[0])
        simulated = session.last_report
    report = measure(1)

    assert simulated is not None
    assert (report.dram_bytes_read, report.dram_bytes_written) == (
        simulated.dram_bytes_read, simulated.dram_bytes_written)


@pytest.mark.rtl
def test_slow_memory_costs_cycles_and_the_report_says_so() -> None:
    fast, slow = measure(1), measure(1, ("dram_latency=2000",))

    assert fast.cycles and slow.cycles and slow.cycles > fast.cycles
    assert fast.dram_wait is not None and slow.dram_wait is not None and slow.dram_wait > fast.dram_wait
