"""Devices by name."""

from __future__ import annotations

from collections.abc import Callable

from ...hw.config import AcceleratorConfig
from ...sim.rtl.waves import Waves
from ..errors import UsageError
from .base import Accelerator

GOLDEN = "golden"
DEVICES = (GOLDEN, "sim", "rtl")
"""The devices of this computer whose insides can be watched. `golden` executes graphs, the others programs."""
NETLIST = "netlist"
"""The device `rtl` after synthesis for ECP5."""
SERIAL = "serial:"
"""How the name of a board begins; what follows is a `SerialAddress`."""
NAMES = (*DEVICES, NETLIST, f"{SERIAL}PORT")
"""What `Session` and the command line accept, for people."""


def check_device(name: str) -> None:
    """Raise `UsageError` unless `name` is a device."""
    if name not in (*DEVICES, NETLIST) and not is_board(name):
        raise UsageError(f"device must be one of {', '.join(NAMES)}, not {name!r}")


def is_board(name: str) -> bool:
    """Tell whether a device is a board, to which every byte goes over a serial line."""
    return name.startswith(SERIAL)


def open_accelerator(name: str, config: AcceleratorConfig, dram_bytes: int,
                     progress: Callable[[str], None] | None = None, waves: Waves | None = None,
                     activity: bool = False) -> Accelerator:
    """Return the device `name` with `dram_bytes` of DRAM, ready to run.

    Args:
        name: a device except `golden`.
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
    if name in ("rtl", NETLIST):
        from .rtl import RtlAccelerator
        return RtlAccelerator(config, dram_bytes, progress, waves, activity, netlist=name == NETLIST)
    if is_board(name):
        from .serial import SerialAccelerator, SerialAddress
        return SerialAccelerator(config, dram_bytes, SerialAddress.parse(name.removeprefix(SERIAL)), progress)
    raise UsageError(f"a program must run on one of {', '.join(NAMES[1:])}, not {name!r}")
