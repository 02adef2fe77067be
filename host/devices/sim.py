"""Device `sim`: the instruction-level simulator, and the cycle model beside it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from ...hw.config import AcceleratorConfig
from ...hw.isa import INSTR_BYTES, ErrorCode
from ...sim.errors import MachineError
from ...sim.machine import Machine
from ...sim.timing import TimingModel, WatchdogError
from ..errors import DeviceError
from .base import Accelerator, RunResult

# Programs whose timing is kept; a compiled network has one per hardware step.
_CACHED_PROGRAMS = 64


class SimAccelerator(Accelerator):
    """Executes the very instructions in DRAM, one after the other, in NumPy.

    How long they take is computed by the cycle model, once per program, because it does not depend on data. It is
    native code: where it cannot be compiled, the results of runs have a `note` that says why, and no cycles.

    Args:
        config: configuration of the core.
        dram_bytes: size of its DRAM.
        progress: called with one line before the cycle model is compiled.
        activity: count what the array's cells multiply.
    """

    def __init__(self, config: AcceleratorConfig, dram_bytes: int,
                 progress: Callable[[str], None] | None = None, activity: bool = False) -> None:
        super().__init__(config)
        self._machine = Machine(config, dram_bytes, count_macs=activity)
        self._timed: OrderedDict[tuple[int, bytes], RunResult] = OrderedDict()
        self._timing: TimingModel | None = None
        self._note: str | None = None
        try:
            self._timing = TimingModel(config, progress=progress)
        except RuntimeError as error:
            self._note = f"cycles are not counted: {str(error).splitlines()[0].rstrip(':')}"

    def write(self, address: int, data: bytes) -> None:
        self._machine.write(address, data)

    def read(self, address: int, size: int) -> bytes:
        return self._machine.read(address, size)

    def run(self, program: int, count: int) -> RunResult:
        code = self._machine.dram[program:program + count * INSTR_BYTES].tobytes()  # before the run may write there
        try:
            result = self._machine.run(program, count)
        except MachineError as error:
            raise DeviceError(f"the simulated core stopped: {error}; compile the model again", int(error.code),
                              program + error.index * INSTR_BYTES) from error
        if self._timing is None:
            return RunResult(result.dram_bytes_read + count * INSTR_BYTES, result.dram_bytes_written, note=self._note,
                             macs=result.macs)
        key = program, code
        if key not in self._timed:
            self._timed[key] = time_program(self._timing, code, self.config, program)
            if len(self._timed) > _CACHED_PROGRAMS:
                self._timed.popitem(last=False)
        self._timed.move_to_end(key)
        return replace(self._timed[key], macs=result.macs)


def time_program(model: TimingModel, code: bytes, config: AcceleratorConfig, address: int = 0) -> RunResult:
    """Return what `model`, of a core of `config`, computes for the instructions `code` at DRAM byte `address`.

    Raises:
        DeviceError: the core would stop for a lack of progress, or an instruction is not valid.
    """
    try:
        return RunResult.measured(model.run(code, address), config)
    except WatchdogError as error:
        raise DeviceError(f"the simulated core stopped: WATCHDOG, {error}; compile the model again",
                          int(ErrorCode.WATCHDOG), address + error.index * INSTR_BYTES) from error
    except ValueError as error:
        raise DeviceError(f"the program cannot be timed: {error}; compile the model again") from error
