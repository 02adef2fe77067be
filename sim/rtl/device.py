"""A core in Verilator's simulation, driven over its own CSR port as a board would be."""

import ctypes
import enum
import os
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...hw.config import ISA_VERSION, AcceleratorConfig
from ...hw.csr import CSR_ID, Control, Counter, Csr, Status, counter_offset
from ...hw.isa import INSTR_BYTES, ErrorCode, Unit
from ..dram import BankTiming, bank_timing
from ..native import Progress
from ..result import CoreResult
from .activity import ActivityCounts, Nets
from .build import build
from .waves import Waves

__all__ = ["CoreError", "CoreTimeout", "Fault", "RtlCore"]

# Cycles per call of the shared object: a few seconds, so that an interrupt of the process is served in between.
_CHUNK = 1 << 21
# Reads of STATUS, of a few cycles each, until a bus that does not drain counts as dead.
_DRAIN_POLLS = 4000


class Fault(enum.IntEnum):
    """Ways in which the DRAM can misbehave; the first two take an address range."""

    READ_ERROR = 0
    WRITE_ERROR = 1
    NO_READ_DATA = 2
    NO_WRITE_RESPONSE = 3
    NO_ACCEPT = 4


class CoreError(RuntimeError):
    """The core stopped with an error.

    ``code``: what happened; ``unit``: the unit that reports it (LOAD also for instruction fetch); ``address``: byte
    address of the offending instruction relative to BASE.
    """

    def __init__(self, code: ErrorCode, unit: Unit, address: int, program: int) -> None:
        index = (address - program) // INSTR_BYTES
        super().__init__(f"the core stopped with {code.name} in {unit.name} at address {address:#x} "
                         f"(instruction {index})")
        self.code = code
        self.unit = unit
        self.address = address


class CoreTimeout(RuntimeError):
    """The core did not finish within the run's limit of cycles."""


class RtlCore:
    """A Verilated core and its DRAM.

    Parameters
    ----------
    config
        The core; ``dram`` and the options that go with it set up the DRAM, ``watchdog`` the core's limit. Every run
        finds the DRAM as it was at first, except for its contents.
    dram_bytes
        Size of the DRAM, zero at first; pages that are never touched cost nothing.
    stall, seed
        Withhold each AXI handshake of the DRAM with this probability (0 <= stall < 1), for stress tests.
    waves
        File to which the signals are recorded, in another, slower build. Runs follow each other there without a gap:
        the first nanosecond of a run is the sum of the cycles of those before.
    activity
        Count what the nets and the array's cells do in runs, see `nets`, in another, much slower build; not with waves.
    library
        Shared object to use instead of ``build(config)``.
    progress
        Called with one line before each slow step of the build.

    Raises
    ------
    RuntimeError
        If the build fails, or the core behind the CSR port is not the one that ``config`` describes.
    ValueError
        If an option is outside its range.
    OSError
        If the file of waves cannot be written.
    """

    def __init__(self, config: AcceleratorConfig, *, dram_bytes: int = 1 << 26, stall: float = 0.0, seed: int = 0,
                 waves: Waves | None = None, activity: bool = False, library: Path | None = None,
                 progress: Progress | None = None) -> None:
        if not 0 < dram_bytes <= 1 << 32 or dram_bytes % config.word_bytes:
            raise ValueError(f"dram_bytes must be a multiple of {config.word_bytes} up to 4 GiB, not {dram_bytes}")
        if not 0 <= stall < 1:
            raise ValueError(f"stall must be at least 0 and below 1, not {stall}")
        if waves and activity:
            raise ValueError("waves must be None where activity is counted")
        if waves:
            waves.path.open("wb").close()  # Verilator says nothing where it cannot write
        self.config = config
        trace = "vcd" if activity else waves.format if waves else None
        self._lib = _load(library or build(config, trace=trace, progress=progress))
        self._activity = ActivityCounts(self._lib, config) if activity else None
        handle = self._lib.systolith_create(dram_bytes, os.fsencode(waves.path) if waves else None,
                                            self._activity.shape if self._activity else None)
        if not handle:
            raise RuntimeError(f"no memory for a DRAM of {dram_bytes} bytes; ask for a smaller one")
        self._finalizer = weakref.finalize(self, self._lib.systolith_destroy, handle)
        # A view of the DRAM inside the shared object; it never leaves this class, so it cannot outlive the memory.
        self._dram = np.ctypeslib.as_array(self._lib.systolith_memory(handle), (dram_bytes,))
        self._open_handle: int | None = handle
        self._recorded = 0  # cycles of all runs
        if waves:
            self._lib.systolith_window(handle, waves.first, waves.last)
        self._lib.systolith_dram(self._handle, config.dram_latency, config.dram_bandwidth,
                                 ctypes.byref(bank_timing(config)), int(stall * 256), seed & 0xFFFFFFFF)
        self.reset()
        self._check_identity()

    def close(self) -> None:
        """Release the simulation and finish the wave file; the core is of no use afterwards."""
        self._open_handle = None
        self._dram = np.zeros(0, np.uint8)
        self._finalizer()

    def __enter__(self) -> "RtlCore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _handle(self) -> int:
        if self._open_handle is None:
            raise RuntimeError("the core is closed; create another RtlCore")
        return self._open_handle

    def reset(self) -> None:
        """Reset the core and drop what the DRAM has in flight; the DRAM's contents stay."""
        self._lib.systolith_reset(self._handle)

    def write(self, address: int, data: bytes | NDArray[np.generic]) -> None:
        """Copy ``data`` (bytes or a C-contiguous array) to DRAM byte ``address``."""
        source = np.frombuffer(data, np.uint8)
        self._dram[self._span(address, source.size)] = source

    def read(self, address: int, size: int) -> bytes:
        """Return ``size`` bytes from DRAM byte ``address``."""
        return self._dram[self._span(address, size)].tobytes()

    def inject(self, fault: Fault, low: int = 0, high: int = 0) -> None:
        """Make the DRAM misbehave, at byte addresses [low, high) where the fault has a range."""
        self._lib.systolith_fault(self._handle, fault, low, high)

    def clear_faults(self) -> None:
        self._lib.systolith_fault(self._handle, -1, 0, 0)

    def csr_read(self, address: int) -> int:
        """Read one 32-bit CSR over AXI4-Lite. Raises ``RuntimeError`` when the core refuses or does not answer."""
        value = ctypes.c_uint32()
        self._check_csr(self._lib.systolith_csr_read(self._handle, address, ctypes.byref(value)), "read", address)
        return value.value

    def csr_write(self, address: int, value: int) -> None:
        """Write one 32-bit CSR over AXI4-Lite. Raises ``RuntimeError`` as `csr_read` does."""
        self._check_csr(self._lib.systolith_csr_write(self._handle, address, value), "write", address)

    def run(self, program: int, count: int, *, base: int = 0, max_cycles: int = 1 << 34) -> CoreResult:
        """Run ``count`` instructions from DRAM byte ``base + program`` to their end.

        ``base`` is added to every DRAM address of the program.

        Raises
        ------
        CoreError
            If the core stops with an error; it is reset, so the next run starts afresh.
        CoreTimeout
            If it takes more than ``max_cycles``; it is reset likewise.
        RuntimeError
            If the core breaks a rule of AXI.
        """
        for register, value in ((Csr.BASE, base), (Csr.PROGRAM, program), (Csr.COUNT, count),
                                (Csr.WATCHDOG, self.config.watchdog)):
            self.csr_write(register, value)
        origin = self._lib.systolith_begin(self._handle, self._recorded)
        self.csr_write(Csr.CONTROL, Control.START | Control.IRQ_ENABLE)
        self._wait(max_cycles)
        violation = self._lib.systolith_violation(self._handle).decode()
        if violation:
            self.reset()
            raise RuntimeError(f"the core broke a rule of AXI in {violation}")
        if self.csr_read(Csr.STATUS) & Status.ERROR:
            error, address = self.csr_read(Csr.ERROR_CODE), self.csr_read(Csr.ERROR_ADDRESS)
            self._recover()
            raise CoreError(ErrorCode(error & 0xFF), Unit(error >> 8 & 0xFF), address, program)
        self.csr_write(Csr.STATUS, Status.DONE)
        counters = {counter.name: self._counter(counter) for counter in Counter}
        self._recorded += counters[Counter.CYCLES.name]
        issue, retire = ({unit: self._events(unit, kind) - np.uint64(origin) for unit in Unit} for kind in (0, 1))
        macs = self._activity.macs(self._handle, count) if self._activity else None
        return CoreResult(counters[Counter.CYCLES.name], counters, issue, retire, macs)

    def nets(self) -> Nets:
        """Return what the nets did in all runs so far. Raises ``RuntimeError`` where it was not counted."""
        if self._activity is None:
            raise RuntimeError("the core counts no activity; create it with activity=True")
        return self._activity.nets(self._handle)

    def _recover(self) -> None:
        """Do what a board's driver does after an error: let the bus drain, reset the core over its CSR port."""
        for _ in range(_DRAIN_POLLS + self.config.dram_latency):
            if not self.csr_read(Csr.STATUS) & Status.BUSY:
                self.csr_write(Csr.CONTROL, Control.RESET)
                return
        self.reset()  # the bus is dead; on a board this takes a reset of the whole system

    def _wait(self, max_cycles: int) -> None:
        left = max_cycles
        while left > 0:
            if self._lib.systolith_run(self._handle, min(left, _CHUNK)):
                return
            left -= _CHUNK
        self.reset()
        raise CoreTimeout(f"the core did not finish within {max_cycles} cycles; it was reset")

    def _counter(self, counter: Counter) -> int:
        address = counter_offset(counter)
        return self.csr_read(address) | self.csr_read(address + 4) << 32

    def _events(self, unit: Unit, kind: int) -> NDArray[np.uint64]:
        cycles = ctypes.POINTER(ctypes.c_uint64)()
        size = self._lib.systolith_events(self._handle, unit, kind, ctypes.byref(cycles))
        return np.ctypeslib.as_array(cycles, (size,)).copy() if size else np.zeros(0, np.uint64)

    def _check_identity(self) -> None:
        config_hash = self.config.hash()
        for register, expected in ((Csr.ID, CSR_ID), (Csr.VERSION, ISA_VERSION),
                                   (Csr.HASH_LO, config_hash & 0xFFFFFFFF), (Csr.HASH_HI, config_hash >> 32)):
            value = self.csr_read(register)
            if value != expected:
                raise RuntimeError(f"CSR {register.name} must be {expected:#010x}, not {value:#010x}; "
                                   "the core was built from another configuration")

    def _check_csr(self, response: int, access: str, address: int) -> None:
        if response:
            why = "was not answered" if response < 0 else f"was refused with AXI response {response}"
            raise RuntimeError(f"CSR {access} at {address:#x} {why}; reset the core")

    def _span(self, address: int, size: int) -> slice:
        if address < 0 or size < 0 or address + size > self._dram.size:
            raise ValueError(f"DRAM range must lie within {self._dram.size} bytes, not [{address}, {address + size})")
        return slice(address, address + size)


def _load(path: Path) -> ctypes.CDLL:
    lib = ctypes.CDLL(str(path))
    handle, u32, u64 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
    signatures: dict[str, tuple[object, list[object]]] = {
        "create": (handle, [u64, ctypes.c_char_p, ctypes.c_void_p]),
        "destroy": (None, [handle]),
        "memory": (ctypes.POINTER(ctypes.c_uint8), [handle]),
        "reset": (None, [handle]),
        "run": (ctypes.c_int, [handle, u64]),
        "csr_write": (ctypes.c_int, [handle, u32, u32]),
        "csr_read": (ctypes.c_int, [handle, u32, ctypes.POINTER(u32)]),
        "dram": (None, [handle, u32, u32, ctypes.POINTER(BankTiming), u32, u32]),
        "fault": (None, [handle, ctypes.c_int, u64, u64]),
        "events": (u64, [handle, ctypes.c_uint, ctypes.c_uint, ctypes.POINTER(ctypes.POINTER(u64))]),
        "begin": (u64, [handle, u64]),
        "window": (None, [handle, u64, u64]),
        "violation": (ctypes.c_char_p, [handle]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, f"systolith_{name}")
        function.restype, function.argtypes = result, arguments
    return lib
