"""Device `sim`: the instruction-level simulator."""

from __future__ import annotations

from ...hw.config import AcceleratorConfig
from ...hw.isa import INSTR_BYTES
from ...sim.errors import MachineError
from ...sim.machine import Machine
from ..errors import DeviceError
from .base import Accelerator, RunResult


class SimAccelerator(Accelerator):
    """Executes the very instructions in DRAM, one after the other, in NumPy; it does not count cycles.

    Args:
        config: configuration of the core.
        dram_bytes: size of its DRAM.
    """

    def __init__(self, config: AcceleratorConfig, dram_bytes: int) -> None:
        super().__init__(config)
        self._machine = Machine(config, dram_bytes)

    def write(self, address: int, data: bytes) -> None:
        self._machine.write(address, data)

    def read(self, address: int, size: int) -> bytes:
        return self._machine.read(address, size)

    def run(self, program: int, count: int) -> RunResult:
        try:
            result = self._machine.run(program, count)
        except MachineError as error:
            raise DeviceError(f"the simulated core stopped: {error}; compile the model again", int(error.code),
                              program + error.index * INSTR_BYTES) from error
        return RunResult(result.dram_bytes_read + count * INSTR_BYTES, result.dram_bytes_written)
