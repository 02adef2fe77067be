"""A board as a model in Python, and a line to it that damages, loses and interrupts."""

from __future__ import annotations

import random
from collections import deque

from systolith.host.errors import DeviceError
from systolith.host.transports.serial_line import LineLost
from systolith.hw.config import AcceleratorConfig
from systolith.hw.csr import CSR_ADDR_BITS, Control, Counter, Csr, counter_offset
from systolith.hw.csr import Status as CoreStatus
from systolith.hw.isa import INSTR_BYTES
from systolith.hw.link.protocol import (
    HEADER,
    IDENTITY,
    MAGIC,
    NUMBER_BITS,
    NUMBER_OFFSET,
    VERSION,
    Space,
    Status,
    Unframer,
    frame,
    next_number,
)
from systolith.sim.errors import MachineError
from systolith.sim.machine import Machine


class BoardModel:
    """Executes requests as docs/host-link.md says; memory is written in words of 4 bytes."""

    def __init__(self, memory_bytes: int = 1 << 16, version: int = VERSION, **identity: int) -> None:
        self.identity = identity
        self.memory: bytearray | memoryview = bytearray(memory_bytes)
        self.registers = bytearray(1 << CSR_ADDR_BITS)
        self.writes: list[tuple[int, bytes]] = []  # to registers
        self.number = 0
        self.version = version
        self.unframer = Unframer()

    def reset(self) -> None:
        self.number = 0

    def feed(self, data: bytes) -> bytes:
        """Return what the board sends when it receives `data`."""
        return b"".join(frame(self.answer(contents)) for contents in self.unframer.feed(data))

    def answer(self, contents: bytes) -> bytes:
        size = HEADER.size // 8
        header = HEADER.from_bits(int.from_bytes(contents[:size], "little"))
        payload, status = self.execute(header.op.write, Space(header.op.space), header.address, contents[size:])
        return bytes([header.tag]) + payload + bytes([status])

    def execute(self, write: int, space: Space, address: int, data: bytes) -> tuple[bytes, Status]:
        identity = IDENTITY.const({"magic": MAGIC, "version": self.version, "number": self.number,
                                   "memory_bytes": len(self.memory), **self.identity}).as_value().value
        target = {Space.LINK: bytearray(identity.to_bytes(IDENTITY.size // 8, "little")), Space.MEMORY: self.memory,
                  Space.CSR: self.registers}[space]
        if space == Space.CSR:
            if address >> CSR_ADDR_BITS != self.number:
                return b"", Status.NUMBER
            address &= (1 << CSR_ADDR_BITS) - 1
        end = address + (len(data) if write else data[0] + 1)
        if end > len(target):
            return b"", Status.BUS
        if not write:
            return bytes(target[address:end]), Status.OK
        if space == Space.MEMORY and (address % 4 or len(data) % 4):
            return b"", Status.FORMAT
        target[address:end] = data
        if space == Space.LINK:
            self.number = int.from_bytes(target[NUMBER_OFFSET:NUMBER_OFFSET + 4], "little") % (1 << NUMBER_BITS)
        if space == Space.CSR:
            self.writes.append((address, data))
            self.number = next_number(self.number)
        return b"", Status.OK


class CoreModel(BoardModel):
    """A board whose core is the instruction-level machine; it takes 1000 cycles for any program."""

    def __init__(self, config: AcceleratorConfig, memory_bytes: int = 1 << 18, build_id: int = 0) -> None:
        super().__init__(memory_bytes, config_hash=config.hash(), build_id=build_id)
        self.machine = Machine(config, memory_bytes)
        self.memory = memoryview(self.machine.dram)
        self.runs = 0

    def register(self, offset: int) -> int:
        return int.from_bytes(self.registers[offset:offset + 4], "little")

    def execute(self, write: int, space: Space, address: int, data: bytes) -> tuple[bytes, Status]:
        result = super().execute(write, space, address, data)
        if write and space == Space.CSR and result[1] == Status.OK and (
                address % (1 << CSR_ADDR_BITS), data[0] & Control.START) == (Csr.CONTROL, Control.START):
            self.run(self.register(Csr.PROGRAM), self.register(Csr.COUNT))
        return result

    def run(self, program: int, count: int) -> None:
        self.runs += 1
        status, cycles = CoreStatus.DONE, counter_offset(Counter.CYCLES)
        self.registers[cycles:cycles + 8] = (1000).to_bytes(8, "little")
        try:
            self.machine.run(program, count)
        except MachineError as error:
            status = CoreStatus.ERROR
            self.registers[Csr.ERROR_CODE:Csr.ERROR_CODE + 2] = bytes([error.code, error.unit or 0])
            address = program + error.index * INSTR_BYTES
            self.registers[Csr.ERROR_ADDRESS:Csr.ERROR_ADDRESS + 4] = address.to_bytes(4, "little")
        self.registers[Csr.STATUS] = status


class FaultyLine:
    """A line to a `BoardModel`.

    Args:
        board: the other end, None for nobody.
        damaged, dropped: probability of either for a byte, in both directions.
        lost_after: bytes written after which the connection is lost, once.
        on_loss: called then.
        comes_back: whether it can be opened again.
    """

    port, baud = "/dev/model", 3_000_000

    def __init__(self, board: BoardModel | None, *, damaged: float = 0, dropped: float = 0, seed: int = 1,
                 lost_after: int | None = None, on_loss=lambda: None, comes_back: bool = True) -> None:
        self.board, self.damaged, self.dropped = board, damaged, dropped
        self.rng = random.Random(seed)
        self.lost_after, self.on_loss, self.comes_back = lost_after, on_loss, comes_back
        self.answers: deque[bytes] = deque()
        self.written = self.reopened = 0
        self.is_lost = self.closed = False

    def faults(self, data: bytes) -> bytes:
        kept = bytearray(byte for byte in data if self.rng.random() >= self.dropped)
        for i in range(len(kept)):
            if self.rng.random() < self.damaged:
                kept[i] ^= 1 << self.rng.randrange(8)
        return bytes(kept)

    def write(self, data: bytes) -> None:
        self.check()
        self.written += len(data)
        if self.lost_after is not None and self.written > self.lost_after:
            self.lost_after, self.is_lost = None, True
            self.board.feed(data[:len(data) // 2])
            self.on_loss()
            self.check()
        if self.board:
            self.answers.append(self.faults(self.board.feed(self.faults(data))))

    def read(self, seconds: float) -> bytes:
        self.check()
        return self.answers.popleft() if self.answers else b""

    def check(self) -> None:
        if self.is_lost:
            raise LineLost("gone")

    def reopen(self, seconds: float) -> None:
        if not self.comes_back:
            raise DeviceError(f"the connection was lost and did not come back within {seconds:g} s")
        self.reopened += 1
        self.is_lost = False
        self.answers.clear()

    def close(self) -> None:
        self.closed = True
