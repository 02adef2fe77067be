"""Devices `rtl` and `netlist`: the Verilated RTL, or what synthesis makes of it, cycle by cycle."""

from __future__ import annotations

from collections.abc import Callable

from ...hw.config import AcceleratorConfig
from ...sim.netlist import build as build_netlist
from ...sim.rtl.activity import Nets
from ...sim.rtl.device import CoreError, CoreTimeout, RtlCore
from ...sim.rtl.signals import save_signal_lists
from ...sim.rtl.waves import Waves
from ..errors import DeviceError
from .base import Accelerator, RunResult


class RtlAccelerator(Accelerator):
    """The RTL or its netlist compiled by Verilator, with a model of the DRAM that `config` describes.

    Args:
        config: configuration of the core.
        dram_bytes: size of its DRAM.
        progress: called with one line before each slow step of the first build.
        waves: what to record; lists of signals for the viewers lie beside it, see `save_signal_lists`.
        activity: count it; not with waves.
        netlist: take the netlist for ECP5, without waves and activity.

    Raises:
        DeviceError: the core cannot be compiled, or it is not the one that `config` describes.
    """

    def __init__(self, config: AcceleratorConfig, dram_bytes: int,
                 progress: Callable[[str], None] | None = None, waves: Waves | None = None,
                 activity: bool = False, netlist: bool = False) -> None:
        super().__init__(config)
        self._counts_activity = activity
        self._name = "netlist" if netlist else "rtl"
        try:
            library = build_netlist(config, progress=progress) if netlist else None
            self._core = RtlCore(config, dram_bytes=dram_bytes, progress=progress, waves=waves,
                                 activity=activity, library=library)
            if waves:
                save_signal_lists(waves, config)
        except RuntimeError as error:
            first, *rest = str(error).splitlines()  # a failed build comes with the tail of its log
            why = "; ".join([first.rstrip(":"), *rest[-1:]])
            raise DeviceError(f"the {self._name} device cannot start: {why}") from error

    def write(self, address: int, data: bytes) -> None:
        self._core.write(address, data)

    def read(self, address: int, size: int) -> bytes:
        return self._core.read(address, size)

    def run(self, program: int, count: int) -> RunResult:
        try:
            result = self._core.run(program, count)
        except CoreError as error:
            raise DeviceError(f"{error}; compile the model again", int(error.code), error.address) from error
        except (CoreTimeout, RuntimeError) as error:
            raise DeviceError(f"the {self._name} device failed: {error}") from error
        return RunResult.measured(result, self.config)

    def nets(self) -> Nets | None:
        return self._core.nets() if self._counts_activity else None

    def close(self) -> None:
        self._core.close()
