"""The host link between a serial line with faults and AXI slaves with stalls."""

import itertools
import logging

import cocotb
from cocotb.queue import Queue
from cocotb.triggers import FallingEdge, RisingEdge, Timer, with_timeout
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteSlave, AxiSlave

from ...hw.csr import CSR_ADDR_BITS
from ...hw.link.frames import FRAME_BYTES
from ...hw.link.protocol import (
    CRC_BYTES,
    END,
    HEADER,
    IDENTITY,
    MAGIC,
    MAX_READ,
    NUMBER_OFFSET,
    OP,
    VERSION,
    Space,
    Status,
    Unframer,
    frame,
    next_number,
    request,
)
from .bench_core import Dram
from .support import Bench, pauses

CYCLE_NS = 10
MEMORY_BYTES = 0x2000
CSR_BYTES = 1 << CSR_ADDR_BITS


class Registers(Dram):
    """Remembers every write."""

    def __init__(self):
        super().__init__(CSR_BYTES)
        self.writes = []

    async def write(self, address, data):
        await super().write(address, data)
        self.writes.append((address, bytes(data)))


class Computer(Bench):
    """A device with a link, and a computer at the other end of its line."""

    def __init__(self, dut):
        super().__init__(dut)
        logging.getLogger(f"cocotb.{dut._name}").setLevel("ERROR")  # the models list every signal and burst
        # How long a bit of the computer takes, of either direction.
        self.bit = round(self.params["divisor"] * CYCLE_NS * 1000 * (1 + self.params["deviation"]))
        self.answers = Queue()
        self.tags = itertools.cycle(range(256))
        self.number = 0

    async def begin(self):
        await self.reset(rx=1)
        cocotb.start_soon(self._listen())

    async def _listen(self):
        unframer = Unframer()
        while True:
            await FallingEdge(self.dut.tx)
            await Timer(self.bit // 2, "ps")
            assert int(self.dut.tx.value) == 0, "a start bit must last"
            byte = 0
            for i in range(8):
                await Timer(self.bit, "ps")
                byte |= int(self.dut.tx.value) << i
            await Timer(self.bit, "ps")
            assert int(self.dut.tx.value) == 1, "a byte must end with a stop bit"
            for contents in unframer.feed(bytes([byte])):
                self.answers.put_nowait(contents)

    async def bit_out(self, value, bits=1.0):
        self.dut.rx.value = value
        await Timer(round(self.bit * bits), "ps")

    async def send(self, data):
        """Send bytes without a pause between them."""
        for byte in data:
            await self.bit_out(0)
            for i in range(8):
                await self.bit_out(byte >> i & 1)
            await self.bit_out(1)

    async def answer(self):
        """Return tag, payload and status of the next answer."""
        contents = await with_timeout(self.answers.get(), 20 * MAX_READ * self.bit, "ps")
        return contents[0], contents[1:-1], Status(contents[-1])

    async def silence(self, bytes_long=60):
        await Timer(10 * bytes_long * self.bit, "ps")
        assert self.answers.empty(), "what is damaged must not be answered"

    async def ask(self, space, address, **what):
        """Send one request and return payload and status of its answer."""
        tag = next(self.tags)
        await self.send(frame(request(tag, space, address, **what)))
        answered, payload, status = await self.answer()
        assert answered == tag
        return payload, status

    async def ask_raw(self, contents):
        """Send a request made by hand and return its status."""
        await self.send(frame(contents))
        tag, payload, status = await self.answer()
        assert (tag, payload) == (contents[0], b"")
        return status

    async def read(self, space, address, size):
        payload, status = await self.ask(space, address, read=size)
        assert (status, len(payload)) == (Status.OK, size)
        return payload

    async def write(self, space, address, data):
        assert await self.ask(space, address, data=data) == (b"", Status.OK)

    def register(self, offset):
        return self.number << CSR_ADDR_BITS | offset

    async def write_register(self, offset, data):
        await self.write(Space.CSR, self.register(offset), data)
        self.number = next_number(self.number)

    async def identity(self):
        data = await self.read(Space.LINK, 0, IDENTITY.size // 8)
        return IDENTITY.from_bits(int.from_bytes(data, "little"))


class TB(Computer):
    """The link, memory and registers behind it, and the computer."""

    def __init__(self, dut):
        super().__init__(dut)
        self.memory, self.registers = Dram(MEMORY_BYTES), Registers()
        self.memory.bytes[:] = self.rng.randbytes(MEMORY_BYTES)
        self.registers.bytes[:] = self.rng.randbytes(CSR_BYTES)
        self.slaves = (AxiSlave(AxiBus.from_prefix(dut, "bus_"), dut.clk, target=self.memory),
                       AxiLiteSlave(AxiLiteBus.from_prefix(dut, "csr_"), dut.clk, target=self.registers))

    def back_pressure(self, probability):
        for slave in self.slaves:
            for channel in (slave.read_if.ar_channel, slave.read_if.r_channel, slave.write_if.aw_channel,
                            slave.write_if.w_channel, slave.write_if.b_channel):
                channel.set_pause_generator(pauses(self.rng, probability))

    def random_memory_request(self, most=64):
        """Return keyword arguments and address of a request that does not fail, and what its answer holds."""
        word, rng = self.config.word_bytes, self.rng
        if rng.random() < 0.5:
            size = rng.choice((1, word, rng.randint(1, most)))
            address = rng.randrange(MEMORY_BYTES - size + 1)
            return address, {"read": size}, bytes(self.memory.bytes[address:address + size])
        size = word * rng.choice((1, rng.randint(1, max(1, most // word))))
        return word * rng.randrange((MEMORY_BYTES - size) // word + 1), {"data": rng.randbytes(size)}, b""


@cocotb.test()
async def identity_is_what_the_board_was_built_with(dut):
    tb = TB(dut)
    await tb.begin()
    found = await tb.identity()
    assert (found.magic, found.version, found.number, found.reserved) == (MAGIC, VERSION, 0, 0)
    assert (found.build_id, found.config_hash) == (tb.params["build_id"], tb.config.hash())
    assert (found.memory_bytes, found.clock_hz) == (MEMORY_BYTES, tb.params["clock_hz"])


@cocotb.test()
async def memory_is_read_and_written(dut):
    tb = TB(dut)
    await tb.begin()
    for probability in (0, 0.5):
        tb.back_pressure(probability)
        for _ in range(12):
            address, what, expected = tb.random_memory_request()
            assert await tb.ask(Space.MEMORY, address, **what) == (expected, Status.OK)
            data = what.get("data", b"")
            assert tb.memory.bytes[address:address + len(data)] == data
    await tb.write(Space.MEMORY, 0, everything := bytes(range(256)))
    assert await tb.read(Space.MEMORY, 0, MAX_READ) == everything


@cocotb.test()
async def requests_need_not_wait_for_answers(dut):
    tb = TB(dut)
    await tb.begin()
    expected = []
    for tag in range(30):
        address, what, payload = tb.random_memory_request(24)
        expected.append((tag, payload, Status.OK))
        data = what.get("data", b"")
        tb.memory.bytes[address:address + len(data)] = data  # which the link then does once more
        await tb.send(frame(request(tag, Space.MEMORY, address, **what)))
    assert [await tb.answer() for _ in expected] == expected


@cocotb.test()
async def registers_are_written_byte_by_byte_and_once(dut):
    tb = TB(dut)
    await tb.begin()
    tb.back_pressure(0.3)
    tb.number = 0xA5FFC
    await tb.write(Space.LINK, NUMBER_OFFSET, tb.number.to_bytes(3, "little"))
    for _ in range(5):
        data = tb.rng.randbytes(tb.rng.randint(1, 9))
        offset = tb.rng.randrange(CSR_BYTES - len(data))
        tb.registers.writes.clear()
        repeated = frame(request(77, Space.CSR, tb.register(offset), data=data))
        await tb.write_register(offset, data)
        assert tb.registers.writes == [(offset + i, data[i:i + 1]) for i in range(len(data))]
        await tb.send(repeated)  # as when its answer was lost
        assert await tb.answer() == (77, b"", Status.NUMBER)
        assert len(tb.registers.writes) == len(data), "a repeated write must not be done again"
        assert (await tb.identity()).number == tb.number, "which tells that the first one was done"
        assert await tb.read(Space.CSR, tb.register(offset), len(data)) == data
        wrong = tb.register(offset) ^ 1 << tb.rng.randrange(CSR_ADDR_BITS, 32)
        assert await tb.ask(Space.CSR, wrong, read=4) == (b"", Status.NUMBER)


@cocotb.test()
async def damaged_frames_do_nothing(dut):
    tb = TB(dut)
    await tb.begin()
    before = bytes(tb.memory.bytes)
    for _ in range(25):
        good = bytearray(frame(request(1, Space.MEMORY, 0, data=tb.rng.randbytes(4 * tb.config.word_bytes))))
        kind, place = tb.rng.choice(("flip", "drop", "insert", "cut")), tb.rng.randrange(1, len(good) - 1)
        if kind == "flip":
            good[place] ^= 1 << tb.rng.randrange(8)
        elif kind == "drop":
            del good[place]
        elif kind == "insert":
            good[place:place] = tb.rng.randbytes(1) if tb.rng.random() < 0.5 else bytes([END])
        else:
            del good[place:]
        if bytes(good) in (frame(contents) for contents in Unframer().feed(bytes(good))):
            continue  # an inserted byte may stand for itself
        await tb.send(good)
        assert await tb.read(Space.MEMORY, 0, 1) == before[:1]
    await tb.silence(20)
    assert tb.memory.bytes == before


@cocotb.test()
async def noise_on_the_line_spoils_no_later_frame(dut):
    tb = TB(dut)
    await tb.begin()
    for noise in (b"", b"\x00", bytes([END]), bytes([END]) * 3, b"\xff" * 40, tb.rng.randbytes(300)):
        await tb.send(noise)
        assert (await tb.identity()).magic == MAGIC
    await tb.bit_out(0, 0.2)  # shorter than half a bit
    await tb.bit_out(1, 12)
    assert (await tb.identity()).magic == MAGIC
    await tb.bit_out(0, 35)  # a break
    await tb.bit_out(1, 1)
    assert (await tb.identity()).magic == MAGIC
    for stuck in (9, 10):  # a byte whose stop bit is missing
        await tb.send(frame(request(1, Space.MEMORY, 0, read=1))[:4])
        await tb.bit_out(0, stuck)
        await tb.bit_out(1, 2)
        assert (await tb.identity()).magic == MAGIC


@cocotb.test()
async def requests_that_make_no_sense_are_refused(dut):
    tb = TB(dut)
    await tb.begin()
    word = tb.config.word_bytes
    before = bytes(tb.memory.bytes)
    assert await tb.ask(Space.MEMORY, 1, data=bytes(word)) == (b"", Status.FORMAT)
    assert await tb.ask(Space.MEMORY, 0, data=bytes(word - 1)) == (b"", Status.FORMAT)
    assert tb.memory.bytes == before
    assert await tb.ask(Space.MEMORY, 0, data=before[:word] + b"\x55") == (b"", Status.FORMAT)
    for op in (OP.const({"space": 3}), OP.const({"reserved": 1}), OP.const({"write": 1, "space": 1, "reserved": 16})):
        header = HEADER.const({"tag": 9, "op": op}).as_value().value.to_bytes(HEADER.size // 8, "little")
        assert await tb.ask_raw(header + bytes(5)) == Status.OP
    assert await tb.ask_raw(request(5, Space.MEMORY, 0, read=3) + b"\x00") == Status.FORMAT
    for length in range(HEADER.size // 8 + 1):  # nothing follows a header
        await tb.send(frame(request(6, Space.MEMORY, 0, read=3)[:length]))
    await tb.send(bytes([END]) + bytes(CRC_BYTES) + bytes([END]))
    await tb.silence()
    assert tb.memory.bytes == before
    await tb.write(Space.LINK, 0, tb.rng.randbytes(NUMBER_OFFSET) + bytes(3) + tb.rng.randbytes(28))
    await identity_is_right(tb)


async def identity_is_right(tb):
    found = await tb.identity()
    assert (found.magic, found.build_id, found.number) == (MAGIC, tb.params["build_id"], 0)


@cocotb.test()
async def errors_of_the_bus_are_reported(dut):
    tb = TB(dut)
    await tb.begin()
    word = tb.config.word_bytes
    tb.memory.broken = tb.registers.broken = range(0x100, 0x100 + word)
    assert (await tb.ask(Space.MEMORY, 0x100 - word, read=3 * word))[1] == Status.BUS
    for size in (2, 5):
        assert await tb.ask(Space.MEMORY, 0x100 - word, data=bytes(size * word)) == (b"", Status.BUS)
    assert (await tb.ask(Space.MEMORY, MEMORY_BYTES, read=1))[1] == Status.BUS
    assert (await tb.ask(Space.CSR, 0xFF, read=4))[1] == Status.BUS
    assert await tb.ask(Space.CSR, 0xFF, data=bytes(4)) == (b"", Status.BUS)
    assert (await tb.identity()).number == 0, "a write that failed is not counted"
    assert await tb.read(Space.MEMORY, 0x100 + word, 4) == tb.memory.bytes[0x100 + word:0x104 + word]


@cocotb.test()
async def frames_that_find_no_room_are_dropped(dut):
    tb = TB(dut)
    await tb.begin()
    word = tb.config.word_bytes
    most = (FRAME_BYTES - 1 - HEADER.size // 8) // word * word
    await tb.write(Space.MEMORY, 0, data := tb.rng.randbytes(most))
    assert tb.memory.bytes[:most] == data
    await tb.send(frame(request(1, Space.MEMORY, 0, data=bytes(most + word))))
    await tb.silence(20)
    assert tb.memory.bytes[:most] == data
    tb.slaves[0].write_if.b_channel.pause = True  # nothing is finished, so all else has to wait
    for tag in range(10):
        await tb.send(frame(request(tag, Space.MEMORY, tag * MAX_READ, data=bytes(MAX_READ))))
    tb.slaves[0].write_if.b_channel.pause = False
    await RisingEdge(dut.clk)
    taken = (FRAME_BYTES - 1) // (MAX_READ + HEADER.size // 8)
    tags = [(await tb.answer())[0] for _ in range(taken)]
    assert tags == list(range(taken))
    assert (await tb.identity()).magic == MAGIC
