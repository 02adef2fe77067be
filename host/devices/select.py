"""Devices by name."""

from __future__ import annotations

from collections.abc import Callable

from ...hw.config import AcceleratorConfig
from ...sim.rtl.waves import Waves
from ..errors import UsageError
from .base import Accelerator

GOLDEN = "golden"
DEVICES = (GOLDEN, "sim", "rtl")
"""What `Session` and the command line accept. `golden` executes graphs, the others programs."""


def check_device(name: str) -> None:
    """Raise `UsageError` unless `name` is a device."""
    if name not in DEVICES:
        raise UsageError(f"device must be one of {', '.join(DEVICES)}, not {name!r}")


def open_accelerator(name: str, config: AcceleratorConfig, dram_bytes: int,
                     progress: Callable[[str], None] | None = None, waves: Waves | None = None,
                     activity: bool = False) -> Accelerator:
    """Return the device `name` with `dram_bytes` of DRAM, ready to run.

    Args:
        name: one of `DEVICES` except `golden`.
        config: configuration of the core.
        dram_bytes: size of its DRAM, at least.
        progress: called with one line before each slow step.
        waves: what to record; only the device `rtl` has signals.
        activity: count what the array's cells multiply and, on `rtl`, what the nets do; not with waves.

    Raises:
        UsageError: there is no such device.
        DeviceError: the device cannot start.
    """
    # A device is imported when it is asked for: a simulation needs no C++ compiler, and `info` needs no device.
    if name == "sim":
        from .sim import SimAccelerator
        return SimAccelerator(config, dram_bytes, progress, activity)
    if name == "rtl":
        from .rtl import RtlAccelerator
        return RtlAccelerator(config, dram_bytes, progress, waves, activity)
    raise UsageError(f"a program must run on one of {', '.join(DEVICES[1:])}, not {name!r}")
