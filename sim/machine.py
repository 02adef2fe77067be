"""Instruction-level machine: executes the very instruction words of a program in DRAM, on NumPy state."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..hw.config import AcceleratorConfig
from ..hw.isa import INSTR_BYTES, ErrorCode, Unit
from .activity import MacCounts, MacEvent
from .decode import decode_instruction
from .errors import MachineError
from .memories import Memories
from .schedule import run_at_random, run_in_order
from .steps import Broken, Step, prepare

__all__ = ["Machine", "MachineError", "MachineResult"]

# Programs whose prepared steps are kept; a compiled network has one per hardware step.
_CACHED_PROGRAMS = 64


@dataclass(frozen=True)
class MachineResult:
    """What one run did: instructions per unit, words streamed into the array, bytes of data over the bus.

    ``dram_bytes_read`` does not include the instructions. ``macs``: per instruction what the array's cells multiplied,
    int64 [instructions, len(MacEvent)], where the machine counts it.
    """

    instructions: dict[Unit, int]
    pixel_words: int
    dram_bytes_read: int
    dram_bytes_written: int
    macs: MacCounts | None = None


class Machine:
    """Functional model of one core with its DRAM.

    ``dram_bytes`` must be a positive multiple of the word size, at most 4 GiB. Buffers and DRAM start as zeros and
    keep their contents between runs, also after an error. ``count_macs`` makes runs in program order slower.
    """

    def __init__(self, config: AcceleratorConfig, dram_bytes: int, count_macs: bool = False):
        if dram_bytes <= 0 or dram_bytes % config.word_bytes or dram_bytes > 1 << 32:
            raise ValueError(f"dram_bytes must be a positive multiple of {config.word_bytes} up to 2^32, "
                             f"not {dram_bytes}")
        self.config = config
        self._memories = Memories(config, dram_bytes)
        self._count_macs = count_macs
        self._cache: OrderedDict[tuple[bytes, int, int], list[Step]] = OrderedDict()

    @property
    def dram(self) -> npt.NDArray[np.uint8]:
        """DRAM, uint8 [dram_bytes]."""
        return self._memories.dram.reshape(-1).view(np.uint8)

    @property
    def act(self) -> npt.NDArray[np.int8]:
        """Activation buffer, int8 [act_words, R]."""
        return self._memories.act[:-1]

    @property
    def wgt(self) -> npt.NDArray[np.int8]:
        """Weight buffer, int8 [wgt_words, R]."""
        return self._memories.wgt

    @property
    def param(self) -> npt.NDArray[np.uint8]:
        """Parameter buffer, uint8 [param_words, R]."""
        return self._memories.param

    @property
    def acc(self) -> npt.NDArray[np.int32]:
        """Accumulators, int32 [acc_depth, R]."""
        return self._memories.acc

    def write(self, addr: int, data: bytes | bytearray | memoryview | npt.NDArray[Any]) -> None:
        """Write bytes (an array's bytes in C order) to DRAM. Raises ``ValueError`` when they do not fit."""
        raw = np.frombuffer(data.tobytes() if isinstance(data, np.ndarray) else data, np.uint8)
        self._check_range(addr, raw.size)
        self.dram[addr:addr + raw.size] = raw

    def read(self, addr: int, n: int) -> bytes:
        """Return ``n`` bytes of DRAM. Raises ``ValueError`` when they are not there."""
        self._check_range(addr, n)
        return self.dram[addr:addr + n].tobytes()

    def _check_range(self, addr: int, n: int) -> None:
        if addr < 0 or n < 0 or addr + n > self.dram.size:
            raise ValueError(f"DRAM range must lie within 0..{self.dram.size}, not {addr}..{addr + n}")

    def steps(self, program_addr: int, count: int, base: int = 0) -> Sequence[Step]:
        """Return the prepared instructions of the program at DRAM byte ``base + program_addr``.

        They are kept between calls while the bytes stay the same. Raises ``ValueError`` for a negative count or
        address, ``MachineError`` with code ADDRESS for an address that is not aligned to an instruction.
        """
        if count < 0:
            raise ValueError(f"count must not be negative, not {count}")
        start = base + program_addr
        if start < 0:
            raise ValueError(f"program address must not be negative, not {start}")
        if start % INSTR_BYTES:
            raise MachineError(ErrorCode.ADDRESS, None, 0,
                               f"program address must be a multiple of {INSTR_BYTES}, not {start:#x}")
        code = self.dram[start:start + count * INSTR_BYTES].tobytes()
        key = (code, count, base)
        steps = self._cache.get(key)
        if steps is None:
            whole = len(code) // INSTR_BYTES
            steps = [self._prepare(code, index, base) for index in range(whole)]
            if whole < count:
                steps.append(Broken(MachineError(ErrorCode.AXI_READ, None, whole,
                                                 "program must lie within DRAM, not run beyond its end"), None))
            self._cache[key] = steps
            if len(self._cache) > _CACHED_PROGRAMS:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return steps

    def _prepare(self, code: bytes, index: int, base: int) -> Step:
        try:
            instruction = decode_instruction(code[index * INSTR_BYTES:(index + 1) * INSTR_BYTES], index)
        except MachineError as error:
            return Broken(error, None)
        return prepare(self.config, instruction, base, len(self._memories.dram))

    def run(self, program_addr: int, count: int, base: int = 0, order: Literal["program", "random"] = "program",
            seed: int = 0) -> MachineResult:
        """Execute ``count`` instructions at DRAM byte ``base + program_addr``; DRAM fields count from ``base``.

        ``order="random"`` takes any order that the hardware could take (see `schedule`), drawn from ``seed``. Raises
        ``MachineError`` when an instruction stops the core; what ran before stays done.
        """
        if order not in ("program", "random"):
            raise ValueError(f"order must be 'program' or 'random', not {order!r}")
        steps = self.steps(program_addr, count, base)
        macs = np.zeros((count, len(MacEvent)), np.int64) if self._count_macs and order == "program" else None

        def watch(step: Step) -> None:
            events = step.mac_events(self._memories)
            if macs is not None and events is not None:
                macs[step.index] = events

        if order == "program":
            run_in_order(steps, self._memories, watch if self._count_macs else None)
        else:
            run_at_random(steps, self._memories, self.config.queue_depth, seed)
        return self._result(steps, macs)

    def _result(self, steps: Sequence[Step], macs: MacCounts | None) -> MachineResult:
        units = [step.unit for step in steps]
        words = {unit: sum(step.dram_words for step in steps if step.unit == unit) for unit in (Unit.LOAD, Unit.STORE)}
        read, written = (words[unit] * self.config.word_bytes for unit in (Unit.LOAD, Unit.STORE))
        return MachineResult({unit: units.count(unit) for unit in Unit}, sum(step.pixel_words for step in steps),
                             read, written, macs)
