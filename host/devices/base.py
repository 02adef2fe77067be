"""What every device that executes programs offers: a DRAM to write and read, and runs with measurements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np
import numpy.typing as npt

from ...hw.config import AcceleratorConfig
from ...hw.csr import Counter
from ...hw.isa import Unit
from ...sim.activity import MacCounts
from ...sim.result import CoreResult
from ...sim.rtl.activity import Nets

Trace = Mapping[Unit, npt.NDArray[np.int64]]
"""Per unit, the cycle of each of its instructions in program order; int64 [instructions of the unit]."""


@dataclass(frozen=True)
class RunResult:
    """Measurements of one program run; a device leaves out what it does not know.

    Attributes:
        dram_bytes_read: bytes read from DRAM, instructions included.
        dram_bytes_written: bytes written to DRAM.
        cycles: clock cycles from start to completion, or None.
        counters: the device's counters by name.
        issue: cycle in which each instruction started, or None.
        retire: cycle in which the effects of each instruction were complete, or None.
        macs: what the array's cells multiplied, int64 [instructions, len(MacEvent)], where the device counts activity.
        note: why the device leaves out what it else would know, one line, or None.
    """

    dram_bytes_read: int
    dram_bytes_written: int
    cycles: int | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    issue: Trace | None = None
    retire: Trace | None = None
    note: str | None = None
    macs: MacCounts | None = None

    @classmethod
    def measured(cls, result: CoreResult, config: AcceleratorConfig) -> RunResult:
        """Return what a core of `config` measured."""
        read, written = (result.counters[counter.name] * config.word_bytes  # they count beats
                         for counter in (Counter.DRAM_READ, Counter.DRAM_WRITE))
        issue, retire = ({unit: cycles.astype(np.int64) for unit, cycles in trace.items()}
                         for trace in (result.issue, result.retire))
        return cls(read, written, result.cycles, result.counters, issue, retire, macs=result.macs)


class Accelerator(ABC):
    """One accelerator core with its DRAM; the runtime drives all of them through these calls.

    Args:
        config: configuration of the core; the device refuses programs for another one.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config

    @abstractmethod
    def write(self, address: int, data: bytes) -> None:
        """Write `data` to DRAM from byte `address` on."""

    @abstractmethod
    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes of DRAM from byte `address` on."""

    @abstractmethod
    def run(self, program: int, count: int) -> RunResult:
        """Execute `count` instructions from DRAM byte `program` on and wait for their end.

        Raises:
            DeviceError: the core stopped with an error; the next run starts afresh.
        """

    def nets(self) -> Nets | None:
        """Return what the nets did in all runs so far, or None for a device that does not count it."""
        return None

    def close(self) -> None:  # noqa: B027 - most devices hold nothing to give back
        """Give the device back; it may not be used any more."""

    def __enter__(self) -> Accelerator:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()
