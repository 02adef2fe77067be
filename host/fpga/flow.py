"""The whole way from a design to a bitstream, cached by its build ID."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil

from ...sim.native import cache_dir
from . import report as reading
from .design import Design, tool_versions
from .placement import Placement
from .report import BuildReport
from .tools import Progress, pack, place_and_route, synthesise

__all__ = ["BuildResult", "build", "find_build"]

BITSTREAM, REPORT, PLACEMENT = "systolith.bit", "report.json", "placement.json"


@dataclass(frozen=True)
class BuildResult:
    """A report, and the folder that holds it and, when timing is met, the bitstream."""

    report: BuildReport
    folder: Path

    @property
    def bitstream(self) -> Path:
        return self.folder / BITSTREAM

    @property
    def placement(self) -> Placement:
        return Placement.load(self.folder / PLACEMENT)


def find_build(build_id: int) -> BuildResult | None:
    """Return the build with this ID if it is cached: what is on a board that says so."""
    folder = _folder(build_id)
    try:
        return BuildResult(BuildReport.from_json((folder / REPORT).read_text(encoding="utf-8")), folder)
    except FileNotFoundError:
        return None


def build(design: Design, *, seeds: int = 1, progress: Progress = lambda stage, share: None) -> BuildResult:
    """Build ``design``, or take it from the cache when as many seeds were tried there.

    Of all seeds the one whose slowest clock has most to spare is kept. There is no bitstream when even that one misses
    its frequency at the slow corner.

    Raises `BuildError` when a tool fails.
    """
    cached = find_build(design.build_id)
    if cached and len(cached.report.seeds) >= seeds:
        return cached
    target = _folder(design.build_id)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}.") as name:
        report = _build_in(Path(name), design, seeds, progress)
        kept = Path(name) / "kept"
        (kept / REPORT).write_text(report.to_json(), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        os.replace(kept, target)
    return BuildResult(report, target)


def _folder(build_id: int) -> Path:
    return cache_dir() / "bitstreams" / f"{build_id:016x}"


def elaborate(design: Design, folder: Path) -> None:
    """Write the gateware top.il, which carries the build ID, and its constraints top.lpf."""
    top = design.top(design.build_id)
    # As RTLIL, because Yosys takes minutes to read the contents of a large memory in Verilog.
    (folder / "top.il").write_text(rtlil.convert(top, name="top", emit_src=False), encoding="utf-8")
    (folder / "top.lpf").write_text(top.constraints(), encoding="utf-8")


def _named(progress: Progress, suffix: str) -> Progress:
    return lambda stage, share: progress(stage + suffix, share)


def _build_in(work: Path, design: Design, seeds: int, progress: Progress) -> BuildReport:
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(step: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        seconds[step] = round(time.monotonic() - began, 1)

    with timed("elaboration"):
        progress("elaboration", None)
        elaborate(design, work)
    with timed("synthesis"):
        synthesise(work, progress)

    board = design.board
    options = (board.device, "--package", board.package, "--speed", board.speed)
    kept = work / "kept"
    kept.mkdir()
    ratios: dict[int, float] = {}
    with timed("place and route"):
        for seed in range(1, seeds + 1):
            place_and_route(work, options, seed, _named(progress, f" (seed {seed} of {seeds})" if seeds > 1 else ""))
            found = json.loads((work / "report.json").read_text(encoding="utf-8"))
            ratios[seed] = min(clock.achieved / clock.required for clock in reading.read_clocks(found))
            if ratios[seed] == max(ratios.values()):
                best = found
                os.replace(work / "top.config", kept / "top.config")
                placement = Placement.of_netlist(json.loads((work / "placed.json").read_text(encoding="utf-8")))
    report = BuildReport(
        f"{design.build_id:016x}",
        {"board": board.name, "title": board.title, "config": design.config.to_dict(), "mhz": design.pll.mhz,
         "memory_kib": design.memory_kib, "baud": design.baud},
        tool_versions(), reading.read_resources(best), reading.read_cells(work / "stat.json"),
        placement.count(), design.config.rows * design.config.cols, reading.read_clocks(best), reading.read_path(best),
        max(ratios, key=lambda seed: ratios[seed]), ratios, seconds)
    placement.save(kept / PLACEMENT)
    if report.met:
        pack(kept, progress)
        os.replace(kept / "top.bit", kept / BITSTREAM)
    (kept / "top.config").unlink()
    return report
