"""A simulated board that is driven by the bytes on its serial line alone."""

from __future__ import annotations

import ctypes
import importlib.resources
import weakref
from pathlib import Path

from ...hw.boards.top import BoardTop
from ..native import Progress
from ..verilated import cached_verilog, verilated_object

__all__ = ["Twin"]

_TOP = "board"
_OUT_BYTES = 4096  # that one call may return


class Twin:
    """A board in Verilator's simulation: its top module, of which only the PLL is replaced by the clock itself.

    Parameters
    ----------
    top
        The gateware; the line costs least to simulate at a quarter of the clock.
    progress
        Called with one line before each slow step of the first build.

    Raises
    ------
    RuntimeError
        If a tool is missing or the compilation fails.
    """

    def __init__(self, top: BoardTop, progress: Progress | None = None) -> None:
        self.top = top
        self._lib = _load(self._build(progress))
        self._handle = self._lib.twin_create()
        self._finalizer = weakref.finalize(self, self._lib.twin_destroy, self._handle)
        self._out = (ctypes.c_uint8 * _OUT_BYTES)()

    def power_up(self) -> None:
        """Begin anew; memory, and what travels on the line, is lost."""
        self._lib.twin_power_up(self._handle)

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

    def close(self) -> None:
        """Release the simulation; the twin is of no use afterwards."""
        self._finalizer()

    def _build(self, progress: Progress | None) -> Path:
        board, system = self.top.board, self.top.system
        config = system.config

        def generating() -> None:
            if progress:
                progress(f"Generating the Verilog of {board.name} with a {config.rows}x{config.cols} core")

        identity = f"{board} {config} {system.memory_kib} {system.clock_hz} {system.baud} {system.build_id}"
        text = cached_verilog(identity, _TOP, lambda: self.top, generating)
        folder = importlib.resources.files(__package__)
        text += folder.joinpath("ehxplll.v").read_text()
        flags = [f"-DDIVISOR={system.divisor}", f"-DRX_INVERTED={board.rx.inverted:d}",
                 f"-DTX_INVERTED={board.tx.inverted:d}"]
        if board.reset:
            flags.append(f"-DBUTTON_UP={board.reset.inverted:d}")
        return verilated_object(text, _TOP, {"harness.cpp": folder.joinpath("harness.cpp").read_text()},
                                cxx_flags=" ".join(flags), purpose="build the digital twin",
                                remedy="install a C++ compiler and make", progress=progress)


def _load(path: Path) -> ctypes.CDLL:
    lib = ctypes.CDLL(str(path))
    handle, u64 = ctypes.c_void_p, ctypes.c_uint64
    counted = ctypes.POINTER(u64)
    lib.twin_create.restype, lib.twin_create.argtypes = handle, []
    lib.twin_destroy.restype, lib.twin_destroy.argtypes = None, [handle]
    lib.twin_power_up.restype, lib.twin_power_up.argtypes = None, [handle]
    lib.twin_run.restype = u64
    lib.twin_run.argtypes = [handle, u64, ctypes.c_char_p, u64, counted, ctypes.POINTER(ctypes.c_uint8), u64, counted]
    lib.twin_cycles.restype, lib.twin_cycles.argtypes = u64, [handle]
    return lib
