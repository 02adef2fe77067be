"""Energy of a run: what belongs to a layer, what it sums to, and on which devices there is one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from systolith.host.compiler import compile_graph
from systolith.host.energy import EnergyReport, energy_report
from systolith.host.errors import UsageError
from systolith.host.runtime import Session
from systolith.host.runtime.network import load_network
from systolith.host.runtime.performance import performance
from systolith.hw.config import PRESETS, AcceleratorConfig
from systolith.models.zoo import digits
from systolith.sim import native
from systolith.sim.energy import TECHNOLOGIES, Action, OperatingPoint, operating_points

near = partial(pytest.approx, rel=1e-9, abs=0)  # joules are far below the default tolerance
POINT = OperatingPoint.parse("45nm,mhz=200,dram=lpddr4")


def ran(device: str = "sim", samples: int = 1) -> Session:
    session = Session(digits.model_path(), device, preset="tiny")
    info = session.inputs[0]
    session.run(np.zeros((samples * info.shape[0], *info.shape[1:]), info.dtype))
    return session


def total(energies: Sequence[object], field: str, key: str) -> float:
    return sum(getattr(each, field)[key] for each in energies)


def assert_sums(energy: EnergyReport) -> None:
    assert energy.joules == near(sum(energy.components.values()))
    assert energy.joules == near(sum(layer.joules for layer in energy.layers))
    for layer in energy.layers:
        assert layer.joules == near(sum(layer.components.values()))
    for component, joules in energy.components.items():
        assert joules == near(total(energy.layers, "components", component))
    for action, number in energy.actions.items():
        assert number == total(energy.layers, "actions", action)


@pytest.mark.parametrize(("samples", "device"), [(1, "sim"), (11, "sim"),
                                                 pytest.param(1, "rtl", marks=pytest.mark.rtl)])
def test_energy_sums_over_layers_and_components_and_agrees_with_the_counters(samples: int, device: str) -> None:
    session = ran(device, samples)
    report, energy = session.last_report, session.energy(POINT)

    assert report is not None and report.cycles is not None
    assert_sums(energy)
    assert [layer.name for layer in energy.layers] == [layer.name for layer in report.layers]
    assert energy.actions["cycle"] == report.counters["CYCLES"]
    assert energy.actions["mac"] == report.counters["ARRAY_ACTIVE"] * 16
    assert energy.actions["dram_read"] == report.counters["DRAM_READ"] * 4
    assert energy.actions["dram_write"] == report.counters["DRAM_WRITE"] * 4
    assert energy.actions["mac"] >= samples * report.macs
    assert energy.seconds == near(report.counters["CYCLES"] / samples / 200e6)
    assert energy.watts * energy.seconds == near(energy.joules)
    assert energy.energy_delay == near(energy.joules * energy.seconds)
    assert energy.gops_per_watt == near(2 * report.macs / energy.joules / 1e9)


@pytest.mark.parametrize("technology", TECHNOLOGIES)
def test_energy_sums_at_every_operating_point_of_every_technology(technology: str) -> None:
    session = ran()
    for point in operating_points(TECHNOLOGIES[technology]).values():
        energy = session.energy(point)
        assert_sums(energy)
        assert energy.actions == session.energy(POINT).actions
        assert energy.watts * energy.seconds == near(energy.joules)
        assert energy.basis == TECHNOLOGIES[technology].basis


@pytest.mark.rtl
def test_energy_on_the_rtl_is_that_on_the_simulator() -> None:
    assert ran("rtl").energy(POINT) == ran("sim").energy(POINT)


def test_energy_without_data_is_that_of_a_run() -> None:
    report = performance(digits.model_path(), preset="tiny", point=POINT)

    assert report.energy == ran().energy(POINT)
    assert json.loads(json.dumps(report.to_dict()))["energy"]["layers"][0]["actions"]["mac"] > 0
    assert performance(digits.model_path(), preset="tiny").energy is None


def test_a_smaller_node_takes_less_on_chip_and_as_much_in_dram() -> None:
    session = ran()
    old, new = (session.energy(OperatingPoint.parse(name)) for name in ("45nm", "7nm"))

    assert new.components["dram"] == old.components["dram"]
    assert new.components["macs"] < old.components["macs"] / 2
    assert new.leakage_watts is None and new.sram_mm2 is None
    assert new.components["leakage"] == 0
    assert old.sram_mm2 is not None and old.leakage_watts is not None
    assert old.components["leakage"] == near(old.leakage_watts * old.seconds)


def test_the_clock_is_that_of_the_configuration() -> None:
    point = OperatingPoint.parse("45nm")
    at_nominal, at_config = (performance(digits.model_path(), preset="tiny", settings=settings, point=point).energy
                             for settings in ((), ("clock_mhz=80",)))

    assert at_nominal is not None and at_nominal.mhz == 500
    assert at_config is not None and at_config.mhz == 80
    assert at_config.seconds == near(at_nominal.seconds * 500 / 80)
    for settings, message in ((["clock_mhz=80"], "mhz must be 80 as clock_mhz of the configuration is, not 200"),
                              (["clock_mhz=800"], "mhz must be 800 as clock_mhz of the configuration is, not 200")):
        with pytest.raises(UsageError, match=message):
            performance(digits.model_path(), preset="tiny", settings=settings, point=POINT)
    with pytest.raises(UsageError, match="mhz must be above 0 and at most 500 for 45nm at 0.9 V, not 800"):
        performance(digits.model_path(), preset="tiny", settings=["clock_mhz=800"], point=point)


def test_the_clock_of_a_session_is_that_of_its_settings_not_of_its_program(tmp_path: Path) -> None:
    program = compile_graph(load_network(digits.model_path()), AcceleratorConfig.preset("tiny", ["clock_mhz=80"]))
    with Session(program, settings=["clock_mhz=40"]) as session:
        info = session.inputs[0]
        session.run(np.zeros(info.shape, info.dtype))
        assert session.energy(OperatingPoint.parse("45nm")).mhz == 40


def test_layers_on_the_cpu_take_no_energy() -> None:
    session = ran()
    assert session.last_report is not None
    cpu = {layer.name for layer in session.last_report.layers if layer.unit == "cpu"}

    assert cpu
    for layer in session.energy(POINT).layers:
        assert (layer.joules == 0) == (layer.name in cpu)


def test_tables_name_every_layer_and_component() -> None:
    energy = ran().energy(POINT)
    table, summary = energy.tables()

    assert list(table.columns[0].cells)[:-2] == [layer.name for layer in energy.layers]
    headers = [column.header for column in table.columns]
    assert headers[2:] == [name for name, joules in energy.components.items() if joules]
    assert summary.row_count == 6
    assert asdict(energy)["dram"] == "lpddr4"


def test_a_device_without_cycles_has_no_energy() -> None:
    with pytest.raises(UsageError, match="device must count cycles for their energy, unlike 'golden'; use sim or rtl"):
        ran("golden").energy(POINT)


def test_without_a_compiler_there_is_no_energy_but_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTOLITH_CACHE", str(tmp_path))
    monkeypatch.setattr(native.shutil, "which", lambda tool: None)
    with pytest.raises(UsageError, match=r"energy needs cycles; cycles are not counted: .*g\+\+"):
        ran().energy(POINT)


def test_a_network_that_does_nothing_on_the_accelerator_takes_no_energy() -> None:
    energy = energy_report(["softmax"], np.zeros((1, len(Action)), np.int64), 3, 0, PRESETS["tiny"], POINT)

    assert (energy.joules, energy.watts, energy.gops_per_watt) == (0, 0, 0)
    assert [table.row_count for table in energy.tables()] == [3, 6]


def test_a_session_that_has_not_run_has_no_energy() -> None:
    with pytest.raises(UsageError, match="session must have run"):
        Session(digits.model_path(), preset="tiny").energy(POINT)
