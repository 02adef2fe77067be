"""The cycle model of a core: how long a program takes, and when each of its instructions runs."""

import ctypes

import numpy as np

from ...hw.compute import array_empty, compute_latency
from ...hw.config import AcceleratorConfig
from ...hw.csr import Counter
from ...hw.fetch import fetch_bursts
from ...hw.isa import INSTR_BYTES, UNIT_OF, Unit
from ..dram import BankTiming, bank_timing
from ..native import Progress
from ..result import CoreResult
from .build import build

__all__ = ["TimingModel", "WatchdogError"]

# The unit of each opcode that exists.
_UNITS = np.zeros(1 << 8, np.uint8)
_UNITS[list(UNIT_OF)] = list(UNIT_OF.values())
# Outcomes of core.cpp.
_WATCHDOG, _EMPTY = 1, 2


class WatchdogError(RuntimeError):
    """The core would stop for a lack of progress: on which unit, at which instruction of the program."""

    def __init__(self, unit: Unit, index: int) -> None:
        super().__init__(f"the core makes no progress in {unit.name} at instruction {index}")
        self.unit = unit
        self.index = index


class _Settings(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in (
        "rows", "banks", "queue_depth", "outstanding", "fetch_bursts", "compute_latency", "array_empty",
        "dram_latency", "dram_bandwidth", "watchdog", "step_all")] + [("dram_banks", BankTiming)]


class _Result(ctypes.Structure):
    _fields_ = [("counters", ctypes.c_uint64 * len(Counter)), ("outcome", ctypes.c_uint32), ("unit", ctypes.c_uint32),
                ("index", ctypes.c_uint32)]


class TimingModel:
    """Cycle model of one core with the DRAM that ``config`` describes.

    Parameters
    ----------
    config
        The core.
    step_all
        Go through every cycle instead of counting equal ones at once: slow, the same result.
    progress
        Called with one line before the model is compiled.

    Raises
    ------
    RuntimeError
        If the model must be compiled and g++ is missing or fails.
    """

    def __init__(self, config: AcceleratorConfig, *, step_all: bool = False, progress: Progress | None = None) -> None:
        self._lib = ctypes.CDLL(str(build(config.word_bytes, progress)))
        self._settings = _Settings(
            config.rows, config.act_banks, config.queue_depth, config.outstanding, fetch_bursts(config),
            compute_latency(config), array_empty(config), config.dram_latency, config.dram_bandwidth, config.watchdog,
            step_all, bank_timing(config))

    def run(self, code: bytes, address: int = 0) -> CoreResult:
        """Return what the core would measure of a program at DRAM byte ``address`` whose fields count from byte 0.

        Time depends on the instructions alone, not on data. An instruction that would stop the core is not noticed,
        except for those below.

        Raises
        ------
        WatchdogError
            If the program would not come to its end.
        ValueError
            If an instruction does not exist or does nothing.
        """
        count = len(code) // INSTR_BYTES
        issue, retire = np.zeros((2, count), np.uint64)
        result = _Result()
        pointer = ctypes.POINTER(ctypes.c_uint64)
        self._lib.systolith_timing(ctypes.byref(self._settings), code, ctypes.c_uint32(count),
                                   ctypes.c_uint32(address), issue.ctypes.data_as(pointer),
                                   retire.ctypes.data_as(pointer), ctypes.byref(result))
        if result.outcome == _EMPTY:
            raise ValueError(f"instruction {result.index} must have an opcode that exists and work to do")
        if result.outcome == _WATCHDOG:
            raise WatchdogError(Unit(result.unit), result.index)
        units = _UNITS[np.frombuffer(code, np.uint8)[::INSTR_BYTES]]
        of = {unit: np.flatnonzero(units == unit) for unit in Unit}
        counters = {counter.name: int(result.counters[counter]) for counter in Counter}
        return CoreResult(counters[Counter.CYCLES.name], counters, {unit: issue[of[unit]] for unit in Unit},
                          {unit: retire[of[unit]] for unit in Unit})
