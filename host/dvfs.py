"""Dynamic voltage and frequency scaling: one network at every operating point of a technology."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from ..sim.energy import OperatingPoint
from .energy import EnergyReport
from .runtime.performance import performance


def at_points(path: str | Path, points: Mapping[str, OperatingPoint], *, preset: str | None = None,
              settings: Sequence[str] = (), batch: int = 1,
              status: Callable[[str], None] | None = None) -> dict[str, EnergyReport]:
    """Return the energy and the time of a network at each of `points`, such as `operating_points`.

    The cycles are counted with the clock of each point as `clock_mhz`, as a DRAM with banks takes more of them for a
    faster core.

    Args:
        path: a model or a program.
        points: operating points that have a clock in whole MHz.
        preset, settings, batch, status: as for `performance`.

    Raises:
        SystolithError: as for `performance`.
    """
    found = {}
    for name, point in points.items():
        timed = performance(path, preset=preset, settings=[*settings, f"clock_mhz={point.mhz:.0f}"], batch=batch,
                            point=point, status=status)
        assert timed.energy is not None, "asked for"
        found[name] = timed.energy
    return found


def points_table(found: Mapping[str, EnergyReport]) -> Table:
    """Return what `at_points` returns as a table for `rich`."""
    first = next(iter(found.values()))
    table = Table(title=f"operating points of {first.technology}, {first.dram} (a model), per sample",
                  title_justify="left", box=SIMPLE, pad_edge=False)
    for name in ("point", "V", "MHz", "time, ms", "energy, uJ", "power, mW", "EDP, uJ ms", "GOPS/W"):
        table.add_column(name, justify="left" if name == "point" else "right")
    for name, each in found.items():
        table.add_row(name, f"{each.volts:g}", f"{each.mhz:g}", f"{each.seconds * 1e3:,.3f}",
                      f"{each.joules * 1e6:,.2f}", f"{each.watts * 1e3:,.1f}", f"{each.energy_delay * 1e9:,.3g}",
                      f"{each.gops_per_watt:,.1f}")
    return table
