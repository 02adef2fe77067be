"""Simulate a core with cocotb, in Verilator or in Icarus Verilog, and measure the speed.

Needs the `test` extra (cocotb, cocotbext-axi, filelock), and `iverilog` on PATH for Icarus Verilog.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from .native import cache_dir
from .rtl.build import TOP
from .verilator import verilator_environment

__all__ = ["Simulator", "Speed", "Workload", "bench_parameters", "measure", "missing_packages"]

Simulator = Literal["verilator", "icarus"]

PACKAGES = ("cocotb", "cocotbext", "filelock")
_BENCH = "systolith.sim.tb.bench_speed"
_PARAMETERS = "SYSTOLITH_SPEED_PARAMETERS"
_BUILD_ARGUMENTS = {
    "verilator": ["-O3", "-Wno-fatal", "-Wno-lint", "-Wno-style",  # Amaranth's style is not Verilator's
                  # The C++ compiler takes minutes over the large function of a flat design.
                  "--output-split", "3000", "--output-split-cfuncs", "300"],
    "icarus": [],
}


@dataclass(frozen=True)
class Workload:
    """A program, its DRAM and what it must compute.

    Attributes:
        dram_bytes: size of the DRAM.
        image: what DRAM holds at first, from byte 0 on, inputs included.
        program: DRAM byte of the first instruction.
        count: instructions.
        output: DRAM byte of the output.
        expected: its bytes after a run.
    """

    dram_bytes: int
    image: bytes
    program: int
    count: int
    output: int
    expected: bytes


@dataclass(frozen=True)
class Speed:
    """What a simulator did.

    Attributes:
        runs: runs of the program.
        cycles: clock cycles of all runs, from start to end as the core counts them.
        seconds: wall time of the simulation, without compilation, elaboration and reset.
        cpu_seconds: CPU time of the same, which other work on the computer disturbs less.
    """

    runs: int
    cycles: int
    seconds: float
    cpu_seconds: float

    @property
    def cycles_per_second(self) -> float:
        """Speed by wall time."""
        return self.cycles / self.seconds

    @property
    def cycles_per_cpu_second(self) -> float:
        """Speed by CPU time."""
        return self.cycles / self.cpu_seconds


def missing_packages() -> list[str]:
    """Return the Python packages that `measure` needs and that are not installed."""
    return [name for name in PACKAGES if find_spec(name) is None]


def measure(simulator: Simulator, verilog: str, workload: Workload, seconds: float,
            progress: Callable[[str], None] | None = None) -> Speed:
    """Run `workload` on the module `core` of `verilog` again and again, for `seconds` and at least once.

    Args:
        simulator: "verilator" or "icarus".
        verilog: the core, as `rtl.build.core_verilog` writes it.
        workload: the program.
        seconds: wall time until no other run begins.
        progress: called with one line before each slow step.

    Raises:
        RuntimeError: the core does not compile, or a run fails or computes something else; the message ends with the
            log's path.
    """
    from cocotb_tools.runner import get_results, get_runner

    folder = _build(simulator, verilog, progress)
    if progress:
        progress(f"Simulating with cocotb and {simulator.capitalize()}")
    with TemporaryDirectory(dir=folder) as name:
        run = Path(name)
        parameters = {"seconds": seconds, "result": str(run / "speed.json"), "image": str(run / "image"),
                      "expected": str(run / "expected"), "dram_bytes": workload.dram_bytes,
                      "program": workload.program, "count": workload.count, "output": workload.output}
        (run / "image").write_bytes(workload.image)
        (run / "expected").write_bytes(workload.expected)
        log = folder / "run.log"
        with _failure(f"the run with cocotb and {simulator.capitalize()} failed", log):
            results = get_runner(simulator).test(
                test_module=_BENCH, hdl_toplevel=TOP, hdl_toplevel_lang="verilog", build_dir=folder, test_dir=run,
                results_xml=str(run / "results.xml"), log_file=log, extra_env={_PARAMETERS: json.dumps(parameters)})
            if get_results(results) != (1, 0):
                raise RuntimeError("a check failed")
        return Speed(**json.loads((run / "speed.json").read_text()))


def bench_parameters() -> tuple[Workload, float, Path]:
    """Return, inside the simulator, the workload, the seconds to run it for, and the file for the measurement."""
    values = json.loads(os.environ[_PARAMETERS])
    for name in ("image", "expected"):
        values[name] = Path(values[name]).read_bytes()
    seconds, result = values.pop("seconds"), Path(values.pop("result"))
    return Workload(**values), seconds, result


def _build(simulator: Simulator, verilog: str, progress: Callable[[str], None] | None) -> Path:
    """Return the folder of the compiled core; it is compiled once per Verilog and versions of the tools."""
    from cocotb_tools.runner import get_runner
    from filelock import FileLock

    tools = [metadata.version("cocotb"), metadata.version("verilator"), sys.prefix]
    key = hashlib.sha256("\0".join([verilog, simulator, *tools]).encode()).hexdigest()[:32]
    folder = cache_dir() / "cocotb" / f"{simulator}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        built = folder / "built"
        if not built.exists():
            if progress:
                progress(f"Compiling the core with {simulator.capitalize()} for cocotb (cached afterwards)")
            source, log = folder / f"{TOP}.v", folder / "build.log"
            source.write_text(_with_start_event(verilog) if simulator == "icarus" else verilog)
            with verilator_environment(), _failure(f"{simulator.capitalize()} could not compile the core", log):
                get_runner(simulator).build(sources=[source], hdl_toplevel=TOP, build_dir=folder, log_file=log,
                                            timescale=("1ns", "1ps"), build_args=_BUILD_ARGUMENTS[simulator])
            built.touch()
    return folder


def _with_start_event(verilog: str) -> str:
    """Return `verilog` with every combinational process run at time 0.

    Icarus runs `always @*` when an input changes. For processes whose inputs never do, Yosys has all of them read a
    variable with an initial value, but Icarus 11 sets that before it looks for changes.
    """
    return re.sub(r"reg (\\\$auto\$verilog_backend\S+ ) = 0;", r"reg \1; initial #0 \1 = 0;", verilog)


@contextmanager
def _failure(what: str, log: Path) -> Iterator[None]:
    # cocotb's runners leave by SystemExit or RuntimeError.
    try:
        yield
    except (SystemExit, RuntimeError) as error:
        raise RuntimeError(f"{what} ({error}); see {log}") from error
