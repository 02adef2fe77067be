"""Synthesis to standard cells: the energy per cycle of a pipeline, with the toggles of its netlist simulated.

The cells are OSU's for a 180 nm process (Debian's `qflow-tech-osu018`) at 1.8 V and 25 degrees; OpenSTA (Debian's
`opensta`) gives the power of each cell. There is no layout: wires, the clock tree, and glitches, as the simulation has
no delays, are left out.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.back import verilog
from amaranth.lib import wiring

from ..synthesis import ToolError, find_tool, run_tool, run_yosys
from .liberty import LIBERTY, Bits, function_of, read_library

__all__ = ["CellEnergy", "cell_energy"]

_STA = "sta"
_INSTALL = "`apt-get install qflow-tech-osu018 opensta`"
_PERIOD_NS = 20.0
_FLIP_FLOP = "DFFPOSX1"

Words = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class CellEnergy:
    """Energy of a netlist in joules per cycle, without leakage, and the clock that it reaches.

    Attributes
    ----------
    clock
        Of the flip-flops when nothing toggles.
    registers
        What their data add.
    logic
        Of all other cells.
    flip_flops, cells
        How many there are of either kind.
    mhz
        Clock frequency of the longest path from register to register.
    """

    clock: float
    registers: float
    logic: float
    flip_flops: int
    cells: int
    mhz: float


def cell_energy(design: wiring.Component, inputs: Mapping[str, Words]) -> CellEnergy:
    """Return the energy per cycle of ``design`` after synthesis, averaged over its inputs.

    Parameters
    ----------
    design : Component
        A pipeline: one clock domain, ``sync``, and no register that depends on itself.
    inputs : mapping
        A word for each cycle, int [cycles], by Verilog name of the port; those that are not there are 0.

    Raises ``ToolError`` when a tool or the cells are missing.
    """
    if not LIBERTY.is_file():
        raise ToolError(f"{LIBERTY} cannot be found; do {_INSTALL}")
    find_tool(_STA, _INSTALL)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cells.lib").write_bytes(LIBERTY.read_bytes())  # YoWASP sees no absolute path
        (folder / "in.v").write_text(verilog.convert(design, name="top", emit_src=False), encoding="utf-8")
        run_yosys("read_liberty -lib cells.lib; read_verilog in.v; synth -flatten -top top; "
                  "dfflibmap -liberty cells.lib; abc -liberty cells.lib; setundef -zero; splitnets -ports -format :; "
                  "opt_clean -purge; rename -enumerate -pattern x%; write_verilog -noattr -noexpr -norename top.v; "
                  "write_json top.json", folder)
        netlist = json.loads((folder / "top.json").read_text(encoding="utf-8"))["modules"]["top"]
        still, slack = _power(folder, 0)
        moving, _ = _power(folder, 1)
    toggles = _toggles(netlist, inputs)
    clock, registers, logic, flip_flops = 0.0, 0.0, 0.0, 0
    for name, cell in netlist["cells"].items():
        moved = toggles[name] * (moving[name] - still[name])  # the power of a cell is linear in its activity
        if cell["type"] == _FLIP_FLOP:
            clock, registers, flip_flops = clock + still[name], registers + moved, flip_flops + 1
        else:
            logic += moved
    return CellEnergy(clock, registers, logic, flip_flops, len(netlist["cells"]) - flip_flops,
                      1e3 / (_PERIOD_NS - slack))


def _power(folder: Path, activity: int) -> tuple[dict[str, float], float]:
    """Return joules per cycle of each cell when every net toggles ``activity`` times per cycle, and the slack in ns."""
    (folder / "power.tcl").write_text(
        "read_liberty cells.lib\nread_verilog top.v\nlink_design top\n"
        f"create_clock -period {_PERIOD_NS} [get_ports clk]\nset_input_transition 0.06 [all_inputs]\n"
        f"set_input_delay 0 -clock [all_clocks] [all_inputs]\n"
        f"set_power_activity -global -activity {activity} -duty 0.5\n"
        "report_power -digits 9 -instances [get_cells *]\nreport_worst_slack -digits 4\n", encoding="utf-8")
    report = run_tool(_STA, "-no_splash", "-exit", "power.tcl", folder=folder)
    number = r"(\d\S+)\s+"
    rows = re.findall(rf"^\s*{number}{number}{number}{number}(\S+)$", report, re.MULTILINE)  # leakage, total come last
    slack = re.search(r"^worst slack (\S+)", report, re.MULTILINE)
    if not rows or slack is None or "Error" in report:  # which its exit status does not tell
        raise ToolError(f"{_STA} must report power, not {report.strip().partition(chr(10))[0]!r}")
    return ({name: (float(internal) + float(switching)) * _PERIOD_NS * 1e-9
             for internal, switching, _, _, name in rows}, float(slack[1]))


def _toggles(netlist: dict[str, Any], inputs: Mapping[str, Words]) -> dict[str, float]:
    """Return how often per cycle the output of each cell changes; the netlist is simulated without delays."""
    functions = {(cell.name, pin): function_of(function) for cell in read_library(LIBERTY).cells.values()
                 for pin, function in cell.outputs.items() if not cell.sequential}
    cells: dict[str, dict[str, Any]] = netlist["cells"]
    cycles = len(next(iter(inputs.values())))
    nets: dict[int | str, Bits] = {"0": np.zeros(cycles, bool), "1": np.ones(cycles, bool)}
    for port, bits in netlist["ports"].items():
        name, _, index = port.partition(":")
        nets[bits["bits"][0]] = (inputs[name] >> int(index or 0) & 1).astype(bool) if name in inputs else nets["0"]
    driver = {net: name for name, cell in cells.items() for net in _pins(cell, "output").values()}
    before = {name: {driver[net] for net in _pins(cell, "input").values() if net in driver}
              for name, cell in cells.items()}
    found = {}
    for name in TopologicalSorter(before).static_order():
        cell = cells[name]
        pins = {pin: nets[net] for pin, net in _pins(cell, "input").items()}
        ((output, net),) = _pins(cell, "output").items()
        nets[net] = values = np.concatenate(([False], pins["D"][:-1])) if cell["type"] == _FLIP_FLOP else \
            functions[cell["type"], output](pins)
        found[name] = int(np.count_nonzero(values[1:] != values[:-1])) / (cycles - 1)
    return found


def _pins(cell: dict[str, Any], direction: str) -> dict[str, int | str]:
    """Return the net at each pin of a cell."""
    return {pin: cell["connections"][pin][0] for pin, found in cell["port_directions"].items() if found == direction}
