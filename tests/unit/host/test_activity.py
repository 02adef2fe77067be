"""The report of a run's activity, on the devices that count it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from systolith import Session
from systolith.host.errors import UsageError
from systolith.models.zoo import digits
from systolith.sim.activity import MacEvent
from systolith.sim.energy import OperatingPoint

SAMPLES = np.random.default_rng(1).integers(-128, 128, (2, 8, 8, 1), np.int8)


def session(device: str = "sim", **options) -> Session:
    return Session(digits.model_path(), device, preset="tiny", activity=True, **options)


@pytest.mark.rtl
def test_sim_and_rtl_report_the_same_cells() -> None:
    reports = []
    for device in ("sim", "rtl"):
        with session(device) as opened:
            opened.run(SAMPLES)
            reports.append(opened.activity())
    sim, rtl = reports
    assert (sim.array, sim.layers, sim.cycles, sim.samples) == (rtl.array, rtl.layers, rtl.cycles, rtl.samples)
    assert sim.blocks is None and rtl.blocks is not None


def test_layers_sum_to_the_array_and_to_what_the_instructions_do() -> None:
    with session() as opened:
        opened.run(SAMPLES)
        activity, report = opened.activity(), opened.last_report
    assert report is not None and report.cycles is not None
    for event in (each.name.lower() for each in MacEvent):
        assert sum(layer.events[event] for layer in activity.layers) == activity.array.events[event] > 0
    assert activity.array.events["mac"] == report.counters["ARRAY_ACTIVE"] * 16
    assert activity.cycles == report.cycles * len(SAMPLES)
    assert activity.array.cell_cycles == 16 * activity.cycles
    assert activity.array.idle == activity.array.cell_cycles - activity.array.events["mac"]
    idle = [layer.idle for layer in activity.layers]
    assert all(cells is not None and cells >= 0 for cells in idle)


def test_gating_at_zeros_saves_the_products_that_were_counted() -> None:
    with session() as opened:
        opened.run(SAMPLES)
        activity, energy = opened.activity(), opened.energy(OperatingPoint.parse("45nm,gating=zero"))
        ungated = opened.energy(OperatingPoint.parse("45nm"))
    assert energy.actions["zero_mac"] == activity.array.events["zero"]
    assert [layer.actions["zero_mac"] for layer in energy.layers] == [each.events["zero"] for each in activity.layers]
    assert energy.joules == pytest.approx(sum(layer.joules for layer in energy.layers))
    assert energy.components["macs"] < ungated.components["macs"]
    assert (energy.gating, ungated.gating) == ("zero", "none")


def test_gating_at_zeros_needs_a_run_that_counts_them() -> None:
    with Session(digits.model_path(), preset="tiny") as opened:
        opened.run(SAMPLES)
        with pytest.raises(UsageError, match="gating=zero needs a run that counts zero operands"):
            opened.energy(OperatingPoint.parse("45nm,gating=zero"))


def test_a_second_run_counts_anew(tmp_path: Path) -> None:
    with session() as opened:
        opened.run(SAMPLES)
        opened.activity().save(tmp_path / "a.json")
        opened.run(SAMPLES)
        assert json.loads((tmp_path / "a.json").read_text())["array"]["events"] == opened.activity().array.events


def test_activity_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="activity must come from sim or rtl, not golden"):
        session("golden")
    with pytest.raises(UsageError, match="batch must be 1 with activity"):
        session(batch=2)
    with session() as opened, pytest.raises(UsageError, match="session must have run with activity=True"):
        opened.activity()
    with Session(digits.model_path(), preset="tiny") as opened:
        opened.run(SAMPLES)
        with pytest.raises(UsageError, match="session must have run with activity=True"):
            opened.activity()
