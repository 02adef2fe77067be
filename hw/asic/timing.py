"""Static timing and power of a netlist with OpenSTA: no layout, so wires are nothing and the clock is ideal."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..synthesis import ToolError, find_tool, run_tool

__all__ = ["Analysis", "Point", "Watts", "analyse", "parse_analysis"]

_STA = "sta"
_INSTALL = "`apt-get install opensta`"
_EVERY = 10_000_000  # more endpoints than there are

_SCRIPT = """read_liberty corner.lib
read_liberty macros_timing.lib
read_verilog mapped.v
link_design {top}
set_cmd_units -time ns -capacitance pF -power W
create_clock -name clk -period {period} [get_ports clk]
puts "== slacks"
report_checks -path_delay max -format end -group_count {every} -endpoint_count 1 -digits 4
puts "== path"
report_checks -path_delay max -format full -digits 4
{patch}
source activity.tcl
puts "== power"
catch {{report_power -digits 9 -instances [get_cells -hierarchical *]}}
puts "== end"
"""
# `set_power_activity -pins` of OpenSTA 2.0.17, which Debian has, calls a procedure that it lacks for its `pins`.
_PATCH = """if {[info procs ::sta::get_pins_error] == ""} {
  proc ::sta::get_pins_error {name found} { uplevel 1 [list set pins $found] }
}"""


@dataclass(frozen=True)
class Point:
    """A pin on a path and its cell; ``delay`` of the step to it, and ``time`` since the clock edge, in ns."""

    pin: str
    cell: str
    delay: float
    time: float


@dataclass(frozen=True)
class Watts:
    """Power of cells: inside of them, of the nets that they drive, and leakage."""

    internal: float = 0.0
    switching: float = 0.0
    leakage: float = 0.0

    def __add__(self, other: "Watts") -> "Watts":
        return Watts(self.internal + other.internal, self.switching + other.switching, self.leakage + other.leakage)

    @property
    def total(self) -> float:
        return self.internal + self.switching + self.leakage


@dataclass(frozen=True)
class Analysis:
    """``slacks``: ns by endpoint, of paths between registers and memories. ``path``: the longest. ``power``: by cell,
    with its path in the hierarchy."""

    slacks: Mapping[str, float]
    path: tuple[Point, ...]
    power: Mapping[str, Watts]


def find_sta() -> None:
    """Raise ``ToolError`` unless OpenSTA is there."""
    find_tool(_STA, _INSTALL)


def analyse(netlist: str, top: str, liberty: str, macros: str, period_ns: float, activity: str,
            folder: Path) -> Analysis:
    """Return timing and power of a netlist at a clock.

    Parameters
    ----------
    netlist : str
        Verilog with the names of `netlist.plain`.
    top : str
        Its top module, whose clock is ``clk``.
    liberty, macros : str
        The library of a corner, and that of the memories.
    period_ns : float
        Of the clock.
    activity : str
        Commands of OpenSTA that set how often pins toggle.
    folder : Path
        Where files may be written.

    Raises ``ToolError`` when OpenSTA is missing or fails.
    """
    find_sta()
    for name, text in {"corner.lib": liberty, "macros_timing.lib": macros, "mapped.v": netlist,
                       "activity.tcl": activity,
                       "sta.tcl": _SCRIPT.format(top=top, period=period_ns, every=_EVERY, patch=_PATCH)}.items():
        (folder / name).write_text(text, encoding="utf-8")
    return parse_analysis(run_tool(_STA, "-no_splash", "-exit", "sta.tcl", folder=folder))


def parse_analysis(report: str) -> Analysis:
    """Return what OpenSTA printed. Raises ``ToolError`` with its first error."""
    error = re.search(r"^Error: (.*)", report, re.MULTILINE)
    parts = re.split(r"^== \w+\n", report, flags=re.MULTILINE)
    if error or len(parts) != 5:
        raise ToolError(f"{_STA} failed: {error[1] if error else report.strip().splitlines()[-1:]}")
    _, slacks, path, power, _ = parts
    # Activities that vanish behind wide conjunctions have no number in OpenSTA, and such cells no row: they take none.
    number = r"(-?[\d.]+(?:e[-+]\d+)?)"
    return Analysis(
        {pin: float(slack) for pin, slack in re.findall(
            rf"^(\S+) \(\S+\)\s+{number}\s+{number}\s+{number} \(\w+\)$".replace(number, r"-?[\d.]+", 2), slacks,
            re.MULTILINE)},
        tuple(Point(pin, cell, float(delay), float(time)) for delay, time, pin, cell in re.findall(
            rf"^\s*{number}\s+{number} [v^] (\S+) \((\S+)\)$", path, re.MULTILINE)),
        {name: Watts(*map(float, values)) for *values, name in re.findall(
            rf"^\s*{number}\s+{number}\s+{number}\s+[-\d.e+]+ (\S+)$", power, re.MULTILINE)})
