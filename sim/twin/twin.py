"""A simulated board that is driven by the bytes on its serial line alone."""

from __future__ import annotations

import ctypes
import importlib.resources
import weakref
from pathlib import Path

from amaranth.lib import wiring

from ...hw.config import AcceleratorConfig
from ...hw.link.uart import MIN_DIVISOR
from ...hw.system import LEDS, System
from ..native import Progress
from ..verilated import cached_verilog, verilated_object

__all__ = ["Twin"]

_TOP = "system"
_OUT_BYTES = 4096  # that one call may return


class Twin:
    """The `System` of a board in Verilator's simulation, its line as fast as the gateware allows.

    Parameters
    ----------
    config
        The core.
    memory_kib
        Size of the on-chip memory.
    clock_hz, build_id
        What the system says about itself.
    progress
        Called with one line before each slow step of the first build.

    Raises
    ------
    RuntimeError
        If a tool is missing or the compilation fails.
    ValueError
        If the system cannot be built with these numbers.
    """

    def __init__(self, config: AcceleratorConfig, memory_kib: int, *, clock_hz: int = 25_000_000, build_id: int = 0,
                 progress: Progress | None = None) -> None:
        self.config = config
        self.memory_kib = memory_kib
        self.clock_hz = clock_hz
        self.build_id = build_id
        self._lib = _load(self._build(progress))
        self._handle = self._lib.twin_create()
        self._finalizer = weakref.finalize(self, self._lib.twin_destroy, self._handle)
        self._out = (ctypes.c_uint8 * _OUT_BYTES)()
        self.reset()

    def reset(self) -> None:
        """Press the reset button; what travels on the line is lost."""
        self._lib.twin_reset(self._handle)

    def run(self, data: bytes, cycles: int) -> tuple[int, bytes]:
        """Simulate up to ``cycles`` while ``data`` arrives; return how much of it did, and what was sent."""
        taken, given = ctypes.c_uint64(), ctypes.c_uint64()
        self._lib.twin_run(self._handle, cycles, data, len(data), ctypes.byref(taken), self._out, _OUT_BYTES,
                           ctypes.byref(given))
        return taken.value, bytes(self._out[:given.value])

    @property
    def cycles(self) -> int:
        """Cycles that were simulated."""
        count: int = self._lib.twin_cycles(self._handle)
        return count

    @property
    def leds(self) -> dict[str, bool]:
        """Which of `LEDS` are lit."""
        lit = LEDS.from_bits(self._lib.twin_leds(self._handle))
        return {name: bool(lit[name]) for name in LEDS.members}

    def close(self) -> None:
        """Release the simulation; the twin is of no use afterwards."""
        self._finalizer()

    def _build(self, progress: Progress | None) -> Path:
        def generating() -> None:
            if progress:
                progress(f"Generating the Verilog of a board with a {self.config.rows}x{self.config.cols} core")

        def make() -> wiring.Component:
            return System(self.config, memory_kib=self.memory_kib, clock_hz=self.clock_hz,
                          baud=self.clock_hz // MIN_DIVISOR, build_id=self.build_id)

        identity = f"{self.config} {self.memory_kib} {self.clock_hz} {self.build_id}"
        text = cached_verilog(identity, _TOP, make, generating)
        harness = importlib.resources.files(__package__).joinpath("harness.cpp").read_text()
        return verilated_object(text, _TOP, {"harness.cpp": harness}, cxx_flags=f"-DDIVISOR={MIN_DIVISOR}",
                                purpose="build the digital twin", remedy="install a C++ compiler and make",
                                progress=progress)


def _load(path: Path) -> ctypes.CDLL:
    lib = ctypes.CDLL(str(path))
    handle, u64 = ctypes.c_void_p, ctypes.c_uint64
    counted = ctypes.POINTER(u64)
    lib.twin_create.restype, lib.twin_create.argtypes = handle, []
    lib.twin_destroy.restype, lib.twin_destroy.argtypes = None, [handle]
    lib.twin_reset.restype, lib.twin_reset.argtypes = None, [handle]
    lib.twin_run.restype = u64
    lib.twin_run.argtypes = [handle, u64, ctypes.c_char_p, u64, counted, ctypes.POINTER(ctypes.c_uint8), u64, counted]
    lib.twin_cycles.restype, lib.twin_cycles.argtypes = u64, [handle]
    lib.twin_leds.restype, lib.twin_leds.argtypes = ctypes.c_uint, [handle]
    return lib
