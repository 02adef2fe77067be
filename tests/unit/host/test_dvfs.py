"""A network at every operating point of a technology."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from systolith.host.cli import main
from systolith.host.dvfs import at_points, points_table
from systolith.host.runtime.performance import performance
from systolith.models.zoo import digits
from systolith.sim.energy import TECHNOLOGIES, OperatingPoint, operating_points

POINTS = operating_points(TECHNOLOGIES["16nm"], "lpddr4")
MODEL = digits.model_path()


def test_the_energy_at_a_point_is_that_of_a_run_there() -> None:
    found = at_points(MODEL, POINTS, preset="tiny")

    assert list(found) == list(POINTS)
    for name, energy in found.items():
        assert energy == performance(MODEL, preset="tiny",
                                     point=OperatingPoint.parse(f"16nm,point={name},dram=lpddr4")).energy
    times, energies = [each.seconds for each in found.values()], [each.joules for each in found.values()]
    assert times == sorted(times, reverse=True)
    assert energies == sorted(energies)


def test_a_dram_with_banks_takes_more_cycles_of_a_faster_core() -> None:
    found = at_points(MODEL, POINTS, preset="tiny", settings=["dram=ddr3_1600_x16", "clock_mhz=100"])

    cycles = [each.actions["cycle"] for each in found.values()]
    assert cycles == sorted(cycles) and len(set(cycles)) == len(cycles)


def test_the_table_has_a_row_per_point() -> None:
    table = points_table(at_points(MODEL, POINTS, preset="tiny"))

    assert list(table.columns[0].cells) == list(POINTS)
    assert list(table.columns[2].cells) == [f"{point.mhz:g}" for point in POINTS.values()]


def test_the_report_of_the_command_has_all_points(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["run", str(MODEL), "--perf", "--preset", "tiny", "--energy", "16nm", "--dvfs", "--report",
              str(tmp_path / "r.json")])

    assert "operating points of 16nm" in capsys.readouterr().out
    report = json.loads((tmp_path / "r.json").read_text())
    assert list(report["operating_points"]) == list(POINTS)
    assert report["operating_points"]["nominal"] == report["energy"]
