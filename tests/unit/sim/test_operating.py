"""Operating points: how fast a technology is at a supply, and what is refused."""

from __future__ import annotations

import pytest

from systolith.sim.energy import LEVELS, TECHNOLOGIES, OperatingPoint, operating_points
from systolith.sim.energy.curves import CURVES


@pytest.mark.parametrize("name", CURVES)
def test_delay_never_rises_with_the_supply_and_energy_always_does(name: str) -> None:
    curve = CURVES[name]
    volts = [0.5 + 0.01 * step for step in range(60)]
    delays, energies = [curve.delay(each) for each in volts], [curve.energy(each) for each in volts]

    assert delays == sorted(delays, reverse=True)
    assert energies == sorted(energies) and len(set(energies)) == len(energies)


def test_a_curve_is_the_published_polynomial_up_to_where_it_turns() -> None:
    curve = CURVES["45nm"]

    assert curve.delay(0.7) == pytest.approx(-501.6 * 0.343 + 1567 * 0.49 - 1619 * 0.7 + 566.1)
    assert 0.94 < curve.fastest < 0.96
    assert curve.delay(1.2) == curve.delay(curve.fastest)


@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_points_trade_speed_for_energy(name: str) -> None:
    technology = TECHNOLOGIES[name]
    points = list(operating_points(technology, "hbm2").values())

    assert operating_points(technology)["nominal"].volts == technology.volts
    assert operating_points(technology)["nominal"].mhz == technology.mhz
    assert all(point.dram == "hbm2" and point.mhz == int(point.mhz or 0) for point in points)
    for slow, fast in zip(points, points[1:], strict=False):
        assert slow.volts < fast.volts and (slow.mhz or 0) < (fast.mhz or 0) and slow.scale < fast.scale


def test_technologies_that_can_scale_have_several_points() -> None:
    assert list(operating_points(TECHNOLOGIES["16nm"])) == list(LEVELS)
    assert list(operating_points(TECHNOLOGIES["ecp5"])) == ["nominal"]


def test_a_point_has_one_clock() -> None:
    low = OperatingPoint.parse("16nm,point=low")

    assert low.at_clock(0) == operating_points(TECHNOLOGIES["16nm"])["low"]
    assert low.at_clock(100).mhz == 100 and low.at_clock(100).seconds == 1e-8
    assert OperatingPoint.parse("16nm,point=low,mhz=100").at_clock(0).mhz == 100
    assert OperatingPoint.parse("16nm,mhz=100").at_clock(100).mhz == 100
    with pytest.raises(ValueError, match="^mhz must be 200 as clock_mhz of the configuration is, not 100$"):
        OperatingPoint.parse("16nm,mhz=100").at_clock(200)
    with pytest.raises(ValueError, match="^mhz must be above 0 and at most 545 for 16nm at 0.595 V, not 600$"):
        low.at_clock(600)


@pytest.mark.parametrize(("text", "message"), [
    ("46nm", "technology must be one of 180nm, 45nm, 32nm, 28nm, 16nm, 7nm, ecp5, not '46nm'"),
    ("7nm,volts=3", "volts must be between 0.42 and 0.77 for 7nm, not 3"),
    ("7nm,volts=nan", "volts must be between 0.42 and 0.77 for 7nm, not nan"),
    ("7nm,mhz=fast", "mhz must be a number, not 'fast'"),
    ("7nm,mhz=0", "mhz must be above 0 and at most 1000 for 7nm at 0.7 V, not 0"),
    ("7nm,mhz=nan", "mhz must be above 0 and at most 1000 for 7nm at 0.7 V, not nan"),
    ("7nm,volts=0.5,mhz=800", "mhz must be above 0 and at most 630 for 7nm at 0.5 V, not 800"),
    ("7nm,dram=core", "dram must be one of dram, gddr5, lpddr4, hbm2, not 'core'"),
    ("7nm,gating=all", "gating must be one of none, clock, zero, not 'all'"),
    ("7nm,clock=1", "setting of an energy model must be point=, volts=, mhz=, dram= or gating=, not 'clock=1'"),
    ("7nm,mhz=1,mhz=2", "mhz must be given once, not as 1 and 2"),
    ("7nm,point=low,volts=0.5", "volts must come without point, not with point=low"),
    ("ecp5,point=low", "point must be one of nominal for ecp5, not 'low'"),
])
def test_points_that_mean_nothing_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        OperatingPoint.parse(text)
    assert str(error.value) == message
