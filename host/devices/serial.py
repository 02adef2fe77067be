"""Device `serial`: a board at a serial port, or its digital twin."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from ...hw.config import PRESETS, AcceleratorConfig
from ...hw.csr import Control, Counter, Csr, Status
from ...hw.isa import ErrorCode, Unit
from ...hw.link.protocol import BAUD
from ...sim.rtl.device import CoreError
from ..errors import DeviceError, UsageError
from ..transports.link import Link
from ..transports.serial_line import SerialLine
from .base import Accelerator, RunResult

__all__ = ["SerialAccelerator", "SerialAddress"]

_WORD = struct.Struct("<I")
_SETTINGS = struct.Struct("<4I")  # BASE, PROGRAM, COUNT, WATCHDOG
_COUNTER = struct.Struct("<Q")
_LONG_LOAD = 16 * 1024  # bytes whose transfer is worth a word about its progress
_DRAIN_SECONDS = 10.0
_NOTE = "a board counts the cycles of a run, not those of each instruction"
_LONGEST_POLL = 0.02    # seconds between two looks at whether a run has ended


@dataclass(frozen=True)
class SerialAddress:
    """Where a board is: `PORT[,baud=N][,build=ID]`.

    Attributes:
        port: name of the serial port.
        baud: bits per second.
        build_id: the only bitstream that is wanted, or None for any.
    """

    port: str
    baud: int = BAUD
    build_id: int | None = None

    @classmethod
    def parse(cls, text: str) -> SerialAddress:
        """Return the address in `text`. Raises `UsageError`."""
        port, *options = text.split(",")
        if not port:
            raise UsageError("device serial must come with a port, such as serial:/dev/ttyUSB0")
        values: dict[str, int] = {}
        for option in options:
            key, _, value = option.partition("=")
            try:
                name, base = {"baud": ("baud", 10), "build": ("build_id", 16)}[key]
                values[name] = int(value, base)
            except KeyError:
                raise UsageError(f"options of device serial must be baud=N or build=ID, not {option!r}") from None
            except ValueError:
                raise UsageError(f"{key} of device serial must be a number, not {value!r}") from None
        if values.get("baud", BAUD) <= 0:
            raise UsageError(f"baud must be positive, not {values['baud']}")
        return cls(port, **values)


class SerialAccelerator(Accelerator):
    """A board with a core of `config` and enough memory.

    It counts the cycles of a run, but not those of each instruction.

    Args:
        config: configuration of the core.
        dram_bytes: size of the memory that is needed.
        address: where the board is.
        progress: called with one line now and then while something takes long.

    Raises:
        DeviceError: the board does not answer, is another one than asked for, or is too small.
    """

    def __init__(self, config: AcceleratorConfig, dram_bytes: int, address: SerialAddress,
                 progress: Callable[[str], None] | None = None) -> None:
        super().__init__(config)
        self._port = address.port
        self._progress = progress or (lambda line: None)
        self._progress(f"opening {address.port}")
        self._link = Link(SerialLine(address.port, address.baud), config.word_bytes, self._progress)
        try:
            self._check(dram_bytes, address)
            self._drain("is busy with what another process has started")
            self._reset()  # whoever used it before may have left it halted
        except BaseException:
            self._link.close()
            raise

    def write(self, address: int, data: bytes) -> None:
        # The link writes whole words.
        word = self.config.word_bytes
        before, behind = address % word, -(address + len(data)) % word
        if before:
            data = self._link.read_memory(address - before, before) + data
        if behind:
            data += self._link.read_memory(address - before + len(data), behind)
        total = len(data) // 1024

        def progress(done: int) -> None:
            self._progress(f"loading: {done // 1024} of {total} KiB")

        self._link.write_memory(address - before, data, progress if len(data) >= _LONG_LOAD else None)

    def read(self, address: int, size: int) -> bytes:
        return self._link.read_memory(address, size)

    def run(self, program: int, count: int) -> RunResult:
        link = self._link
        link.write_registers(Csr.BASE, _SETTINGS.pack(0, program, count, self.config.watchdog))
        link.write_registers(Csr.CONTROL, bytes([Control.START]))
        pause = 0.0
        while (status := self._read(Csr.STATUS)) & Status.BUSY:
            time.sleep(pause)
            pause = min(_LONGEST_POLL, 2 * pause + 0.001)
            if status & Status.ERROR:
                break
        if status & Status.ERROR:
            raise self._stopped(program)
        if not status & Status.DONE:
            raise DeviceError(f"the board on {self._port} did not start; reset it and run again")
        values = link.read_registers(Csr.COUNTERS, _COUNTER.size * len(Counter))
        counters = {counter.name: value
                    for counter, (value,) in zip(Counter, _COUNTER.iter_unpack(values), strict=True)}
        read, written = (counters[counter.name] * self.config.word_bytes  # they count beats
                         for counter in (Counter.DRAM_READ, Counter.DRAM_WRITE))
        return RunResult(read, written, counters[Counter.CYCLES.name], counters, note=_NOTE)

    def close(self) -> None:
        self._link.close()

    def _read(self, register: Csr) -> int:
        value: int = _WORD.unpack(self._link.read_registers(register, _WORD.size))[0]
        return value

    def _check(self, dram_bytes: int, address: SerialAddress) -> None:
        identity = self._link.identity
        if address.build_id not in (None, identity.build_id):
            raise DeviceError(f"the board on {self._port} must have build {address.build_id:016x}, not "
                              f"{identity.build_id:016x}; load its bitstream")
        if identity.config_hash != self.config.hash():
            raise DeviceError(f"the program is for configuration {_named(self.config.hash())}, but the board on "
                              f"{self._port} has {_named(identity.config_hash)}; compile for the board's, or build a "
                              "bitstream for the program's with 'systolith build'")
        if dram_bytes > identity.memory_bytes:
            raise DeviceError(f"the program needs {-(-dram_bytes // 1024)} KiB of memory, but the board on "
                              f"{self._port} has {identity.memory_bytes // 1024} KiB; use a smaller network or a board "
                              "with more")

    def _drain(self, why: str) -> None:
        """Wait until nothing is in flight on the bus: a reset before that would break its protocol."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self._read(Csr.STATUS) & Status.BUSY:
            if time.monotonic() > deadline:
                raise DeviceError(f"the board on {self._port} {why}; wait for its end or reset the board")
            time.sleep(_LONGEST_POLL)

    def _reset(self) -> None:
        self._link.write_registers(Csr.CONTROL, bytes([Control.RESET]))

    def _stopped(self, program: int) -> DeviceError:
        """Return the error that stopped the core, and make it ready for the next program."""
        code, address = self._read(Csr.ERROR_CODE), self._read(Csr.ERROR_ADDRESS)
        self._drain("stopped with an error, and its memory answers no more")
        self._reset()
        error = CoreError(ErrorCode(code & 0xFF), Unit(code >> 8 & 0xFF), address, program)
        return DeviceError(f"{error}; compile the model again", int(error.code), address)


def _named(config_hash: int) -> str:
    names = [name for name, preset in PRESETS.items() if preset.hash() == config_hash]
    return f"{config_hash:016x}" + "".join(f" (preset {name})" for name in names)
