"""What the DRAM model of both devices is told about the DRAM of a configuration."""

import ctypes
from dataclasses import asdict

from ..hw.config import AcceleratorConfig
from ..hw.dram import DRAMS, DramDevice

__all__ = ["BankTiming", "bank_timing"]


class BankTiming(ctypes.Structure):
    """Mirrors `BankTiming` of rtl/banks.hpp: a `DramDevice` in units of a millionth of a core cycle."""

    _fields_ = [(name, ctypes.c_uint64) for name in DramDevice.__dataclass_fields__]


# The fields that are not times.
_COUNTS = ("banks", "row_bytes", "burst_bytes")


def bank_timing(config: AcceleratorConfig) -> BankTiming:
    """Return the timing of the banks of ``config.dram``, all 0 when it has none."""
    if config.dram not in DRAMS:
        return BankTiming()
    # A picosecond is as many millionths of a cycle as the clock has megahertz.
    values = {name: value if name in _COUNTS else value * config.clock_mhz
              for name, value in asdict(DRAMS[config.dram]).items()}
    return BankTiming(**values)
