"""Compile a core to a Verilated shared object, once per configuration and toolchain."""

from __future__ import annotations

import dataclasses
import importlib.resources
from pathlib import Path
from typing import Any, Literal

from amaranth.lib import wiring

from ...hw.config import AcceleratorConfig
from ..native import Progress
from ..verilated import cached_verilog, verilated_object

__all__ = ["TraceFormat", "build", "build_verilog", "core_verilog"]

TraceFormat = Literal["fst", "vcd"]

TOP = "core"
_HARNESS = ("harness.cpp", "dram.hpp", "port.hpp", "banks.hpp", "ring.hpp")
# What a format needs besides; for FST in place of packages of the system.
_TRACING: dict[TraceFormat | None, tuple[str, ...]] = {
    None: (), "fst": ("lz4.h", "zlib.h"), "vcd": ("activity.hpp",)}


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

    def generating() -> None:
        if progress:
            progress(f"Generating the Verilog of a {config.rows}x{config.cols} core")

    def make() -> wiring.Component:
        from ...hw.core import Core  # which takes a while to import

        return Core(config)

    return cached_verilog(str(config), TOP, make, generating)


def build_verilog(text: str, word_bytes: int, *, trace: TraceFormat | None = None,
                  progress: Progress | None = None) -> Path:
    """Return the shared object of a Verilog module ``core`` that has the core's ports, under the harness.

    ``word_bytes`` is the width of an AXI beat. Raises ``RuntimeError`` as `build` does.
    """
    harness = importlib.resources.files(__package__)
    sources = {name: harness.joinpath(name).read_text() for name in (*_HARNESS, *_TRACING[trace])}
    flags = [f"--trace-{trace}", "--timescale", _TIMESCALE] if trace else []
    return verilated_object(text, TOP, sources, cxx_flags=f"-DWORD_BYTES={word_bytes}", flags=flags,
                            purpose="build the rtl device",
                            remedy="install a C++ compiler and make, or use the sim device", progress=progress)
