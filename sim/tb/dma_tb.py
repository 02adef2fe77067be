"""Testbench of the DMA: drivers, monitors and reference models around `DmaTop`. Runs inside the simulator."""

import random
from collections import deque
from dataclasses import dataclass, field
from itertools import count

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiBus, AxiRam

from ...hw.axi import BURST_WORDS
from ...hw.config import AcceleratorConfig
from ...hw.isa import ENTRY, ERROR, INSTR_BYTES, Buffer, Opcode, encode
from .dut_dma import READ_LATENCY
from .runner import bench_params

__all__ = ["DRAM_BYTES", "TB", "Transfer"]

DRAM_BYTES = 1 << 18
ALL_BANKS = 0xFF
CLOCK_NS = 10


@dataclass
class Transfer:
    """One LOAD or STORE; addresses as in the instruction."""

    dram: int
    local: int
    rows: int = 1
    row_words: int = 1
    dram_stride: int = 0
    local_stride: int = 0
    buffer: int = Buffer.ACT
    pitch: int = 0
    windows: int = 0
    banks: int = ALL_BANKS

    def encode(self, opcode: Opcode) -> int:
        body = {name: getattr(self, name) for name in ("dram", "dram_stride", "local", "local_stride", "rows",
                                                       "row_words", "buffer", "pitch", "windows")}
        header = {"rd_banks" if opcode is Opcode.STORE else "wr_banks": self.banks}
        return int.from_bytes(encode(opcode, header, **body), "little")

    def words(self, word_bytes: int):
        """Yield (DRAM address, buffer address) of every word of the buffer, in order."""
        for row in range(self.rows):
            for i in range(self.windows if self.pitch else self.row_words):
                yield (self.dram + row * self.dram_stride + i * (self.pitch or word_bytes),
                       self.local + row * self.local_stride + i)


class FaultyRam(AxiRam):
    """Memory that answers SLVERR to accesses in the byte addresses ``bad``."""

    def __init__(self, dut, size):
        self.bad = range(0)
        super().__init__(AxiBus.from_prefix(dut, "bus_"), dut.clk, size=size)
        for interface, method in ((self.read_if, "_read"), (self.write_if, "_write")):
            setattr(interface, method, self._guard(getattr(interface, method)))

    def _guard(self, access):
        async def guarded(address, argument):
            if address in self.bad:
                raise ValueError("address is marked bad")
            return await access(address, argument)
        return guarded


@dataclass
class Bus:
    """What the bus monitor saw."""

    first: dict[str, int] = field(default_factory=dict)    # cycle of the first valid of each channel
    beats: dict[str, list[int]] = field(default_factory=lambda: {"r": [], "w": []})    # cycle of each
    asked: list[int] = field(default_factory=list)         # cycle in which each read burst was taken
    bursts: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: {"ar": [], "aw": []})


class TB:
    """`DmaTop` with an AXI memory, models of the local buffers, and checks of the protocol in every cycle."""

    def __init__(self, dut):
        self.dut = dut
        self.rng = random.Random(cocotb.RANDOM_SEED)
        self.config = AcceleratorConfig.from_dict(bench_params()["config"])
        self.word = self.config.word_bytes
        self.base = 1 << 14
        self.ram = FaultyRam(dut, DRAM_BYTES)
        self.ram.write(0, self.rng.randbytes(DRAM_BYTES))
        self.act = [self.rng.randbytes(self.word) for _ in range(self.config.act_words)]
        self.bus = Bus()
        self.writes: dict[tuple[int, int], bytes] = {}      # (buffer, address) -> word
        self.fetched: list[tuple[int, int]] = []
        self.on_done: dict[str, deque] = {"load": deque(), "store": deque()}
        self.done = {"load": 0, "store": 0, "release": 0}
        self.taken: dict[str, list[int]] = {"load": [], "store": []}    # cycles

    async def start(self, stalls: float = 0.0):
        """Start the clock, reset, and start everything around the DUT; ``stalls`` is the share of idle cycles."""
        dut = self.dut
        for name in ("load", "store"):
            getattr(dut, f"{name}__valid").value = 0
        dut.fetch_start.value = 0
        dut.fetch__ready.value = 1
        dut.base.value = self.base
        dut.halt.value = 0
        dut.read_data.value = 0
        dut.rst.value = 1
        Clock(dut.clk, CLOCK_NS, "ns", impl="gpi").start()
        await self.cycles(3)
        if stalls:
            for channel in (self.ram.read_if.ar_channel, self.ram.read_if.r_channel, self.ram.write_if.aw_channel,
                            self.ram.write_if.w_channel, self.ram.write_if.b_channel):
                channel.set_pause_generator(self._pauses(stalls))
        for task in (self._watch_bus(), self._watch_writes(), self._serve_reads(), self._watch_done(),
                     self._take_instructions(stalls)):
            cocotb.start_soon(task)
        dut.rst.value = 0
        await self.cycles(1)

    async def reset(self):
        """Reset the DUT alone."""
        self.dut.rst.value = 1
        await self.cycles(1)
        self.dut.rst.value = 0
        await self.cycles(1)

    @property
    def cycle(self) -> int:
        """The number of clock cycles since time 0."""
        return int(get_sim_time("ns")) // CLOCK_NS

    async def cycles(self, count):
        for _ in range(count):
            await RisingEdge(self.dut.clk)

    async def until(self, condition, what, cycles=20_000):
        """Wait until ``condition()`` holds; fail with ``what`` otherwise."""
        for _ in range(cycles):
            if condition():
                return
            await RisingEdge(self.dut.clk)
        raise AssertionError(f"{what} must happen within {cycles} cycles")

    def set_read_latency(self, cycles):
        """Let the memory begin to serve a read burst ``cycles`` after it was asked, with no loss of bandwidth."""
        channel, index = self.ram.read_if.ar_channel, count()
        receive = channel.recv

        async def delayed():
            burst = await receive()
            await self.cycles(1)
            number = next(index)
            while self.cycle < self.bus.asked[number] + cycles:
                await self.cycles(1)
            return burst

        channel.recv = delayed

    def _pauses(self, share):
        while True:
            yield self.rng.random() < share

    # Stimulus

    async def issue(self, name, transfers, first_index=0):
        """Give ``transfers`` to the load or store unit, back to back."""
        dut = self.dut
        opcode = Opcode.LOAD if name == "load" else Opcode.STORE
        valid, ready = getattr(dut, f"{name}__valid"), getattr(dut, f"{name}__ready")
        for index, transfer in enumerate(transfers, first_index):
            entry = ENTRY.const({"instr": transfer.encode(opcode), "index": index}).as_value().value
            getattr(dut, f"{name}__payload").value = entry
            valid.value = 1
            while True:
                await RisingEdge(dut.clk)
                if ready.value:
                    break
            self.taken[name].append(self.cycle)
        valid.value = 0

    async def fetch(self, address, count):
        self.dut.fetch_address.value = address
        self.dut.fetch_count.value = count
        self.dut.fetch_start.value = 1
        await RisingEdge(self.dut.clk)
        self.dut.fetch_start.value = 0

    def expect_load(self, transfer):
        """Queue the check, made at its ``done``, that ``transfer`` put DRAM's bytes into the buffer."""
        image = {(int(transfer.buffer), local): self.dram(dram) for dram, local in transfer.words(self.word)}
        self.on_done["load"].append(lambda: self._check_load(image))

    def _check_load(self, image):
        for (buffer, local), data in image.items():
            assert self.writes.get((buffer, local)) == data, f"word {local} of buffer {buffer} after done"

    def expect_store(self, transfer):
        image = {dram: self.act[local] for dram, local in transfer.words(self.word)}
        self.on_done["store"].append(lambda: self._check_store(image))

    def _check_store(self, image):
        for dram, data in image.items():
            assert self.dram(dram) == data, f"DRAM at {dram:#x} after done"

    def dram(self, offset):
        """Return the word at ``base + offset``."""
        return bytes(self.ram.read(self.base + offset, self.word))

    def error(self, name):
        """Return (code, index) of a unit's error, or None."""
        view = ERROR.from_bits(int(getattr(self.dut, f"{name}_error").value))
        return (int(view.code), int(view.index)) if view.valid else None

    # Monitors: values read after the edge are those of the cycle that it ends.

    async def _watch_bus(self):
        dut, bus = self.dut, self.bus
        fields = {"ar": ("araddr", "arlen"), "aw": ("awaddr", "awlen"), "w": ("wdata", "wlast"), "r": ()}
        signals = {channel: ([getattr(dut, f"bus__{name}") for name in names], getattr(dut, f"bus__{channel}valid"),
                             getattr(dut, f"bus__{channel}ready")) for channel, names in fields.items()}
        held: dict[str, list[int]] = {}
        block = BURST_WORDS * self.word
        while True:
            await RisingEdge(dut.clk)
            cycle = self.cycle
            for channel, (payload, valid, ready) in signals.items():
                if not valid.value:
                    assert channel not in held, f"{channel}valid must stay up until taken"
                    continue
                bus.first.setdefault(channel, cycle)
                values = [int(signal.value) for signal in payload]
                assert held.get(channel, values) == values, f"{channel} payload must hold until taken"
                held.pop(channel, None)
                if not ready.value:
                    if payload:
                        held[channel] = values
                elif channel in bus.bursts:
                    address, beats = values[0], values[1] + 1
                    assert address % self.word == 0
                    assert address // block == (address + beats * self.word - 1) // block, "burst crosses its block"
                    bus.bursts[channel].append((address, beats))
                    if channel == "ar":
                        bus.asked.append(cycle)
                else:
                    bus.beats[channel].append(cycle)

    async def _watch_writes(self):
        dut = self.dut
        while True:
            await RisingEdge(dut.clk)
            if dut.write__en.value:
                key = int(dut.write__buffer.value), int(dut.write__addr.value)
                self.writes[key] = int(dut.write__data.value).to_bytes(self.word, "little")
            # After the write of the same cycle, for `done` promises that it counts.
            if dut.load_done.value:
                self.done["load"] += 1
                if self.on_done["load"]:
                    self.on_done["load"].popleft()()

    async def _serve_reads(self):
        """Model the read port: data READ_LATENCY cycles after enable, noise otherwise."""
        dut = self.dut
        pipeline: deque[int | None] = deque([None] * (READ_LATENCY - 1))
        while True:
            await RisingEdge(dut.clk)
            pipeline.append(int(dut.read_addr.value) if dut.read_en.value else None)
            address = pipeline.popleft()
            data = self.rng.randbytes(self.word) if address is None else self.act[address]
            dut.read_data.value = int.from_bytes(data, "little")

    async def _watch_done(self):
        dut = self.dut
        while True:
            await RisingEdge(dut.clk)
            self.done["release"] += int(dut.store_release.value)
            if dut.store_done.value:
                self.done["store"] += 1
                if self.on_done["store"]:
                    self.on_done["store"].popleft()()

    async def _take_instructions(self, stalls):
        dut = self.dut
        while True:
            await RisingEdge(dut.clk)
            if dut.fetch__valid.value and dut.fetch__ready.value:
                entry = ENTRY.from_bits(int(dut.fetch__payload.value))
                self.fetched.append((int(entry.index), int(entry.instr)))
            dut.fetch__ready.value = int(self.rng.random() >= stalls)

    # Programs

    def write_program(self, address, count):
        """Fill DRAM with ``count`` random instructions at ``base + address``; return what fetch must deliver."""
        data = self.rng.randbytes(count * INSTR_BYTES)
        self.ram.write(self.base + address, data)
        return [(i, int.from_bytes(data[i * INSTR_BYTES:(i + 1) * INSTR_BYTES], "little")) for i in range(count)]


