"""The register block against an AXI4-Lite master."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from ...hw.config import ISA_VERSION, AcceleratorConfig
from ...hw.csr import COUNTER_BITS, CSR_ERROR, CSR_ID, Control, Counter, Csr, Status, counter_offset
from ...hw.isa import ErrorCode, Unit
from .runner import bench_params


class TB:
    """Clock, reset, and a master on the bus."""

    def __init__(self, dut):
        self.dut = dut
        self.rng = random.Random(cocotb.RANDOM_SEED)
        self.config = AcceleratorConfig.from_dict(bench_params()["config"])
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "bus_"), dut.clk)
        self.starts = self.resets = 0

    async def reset(self):
        dut = self.dut
        for signal in (dut.busy, dut.done, dut.error, dut.events):
            signal.value = 0
        dut.rst.value = 1
        Clock(dut.clk, 10, "ns", impl="gpi").start()
        for _ in range(3):
            await RisingEdge(dut.clk)
        dut.rst.value = 0
        await RisingEdge(dut.clk)
        cocotb.start_soon(self._count_strobes())

    async def _count_strobes(self):
        while True:
            await RisingEdge(self.dut.clk)
            self.starts += int(self.dut.start.value)
            self.resets += int(self.dut.soft_reset.value)

    async def read(self, offset):
        return int(await self.master.read_dword(offset))

    async def write(self, offset, value):
        await self.master.write_dword(offset, value)

    async def counter(self, counter):
        offset = counter_offset(counter)
        return await self.read(offset) | await self.read(offset + 4) << 32

    async def cycle(self, **values):
        """Set inputs for one cycle, then clear them."""
        for name, value in values.items():
            getattr(self.dut, name).value = value
        await RisingEdge(self.dut.clk)
        for name in values:
            getattr(self.dut, name).value = 0

    async def fail(self, code, unit, address):
        await self.cycle(error=CSR_ERROR.const({"valid": 1, "code": code, "unit": unit,
                                                "address": address}).as_value().value)


@cocotb.test()
async def identity_and_reset_values(dut):
    tb = TB(dut)
    await tb.reset()
    assert await tb.read(Csr.ID) == CSR_ID
    assert await tb.read(Csr.VERSION) == ISA_VERSION
    assert await tb.read(Csr.HASH_LO) | await tb.read(Csr.HASH_HI) << 32 == tb.config.hash()
    assert await tb.read(Csr.WATCHDOG) == tb.config.watchdog
    for offset in (Csr.CONTROL, Csr.STATUS, Csr.ERROR_CODE, Csr.ERROR_ADDRESS, Csr.BASE, Csr.PROGRAM, Csr.COUNT):
        assert await tb.read(offset) == 0


@cocotb.test()
async def registers_keep_what_is_written_byte_by_byte(dut):
    tb = TB(dut)
    await tb.reset()
    ports = {Csr.BASE: (dut.base, 32), Csr.PROGRAM: (dut.program, 32), Csr.COUNT: (dut.count, 24),
             Csr.WATCHDOG: (dut.watchdog_limit, 32)}
    expected = {offset: await tb.read(offset) for offset in ports}
    for _ in range(40):
        offset = tb.rng.choice(list(ports))
        first = tb.rng.randrange(4)
        data = tb.rng.randbytes(tb.rng.randint(1, 4 - first))
        await tb.master.write(offset + first, data)
        value = bytearray(expected[offset].to_bytes(4, "little"))
        value[first:first + len(data)] = data
        expected[offset] = int.from_bytes(value, "little") & ((1 << ports[offset][1]) - 1)
        for register, (port, _) in ports.items():
            assert int(port.value) == await tb.read(register) == expected[register]


@cocotb.test()
async def other_offsets_read_zero_and_ignore_writes(dut):
    tb = TB(dut)
    await tb.reset()
    before = {offset: await tb.read(offset) for offset in Csr if offset != Csr.COUNTERS}
    unmapped = [0x30, 0x7C, counter_offset(Counter(len(Counter) - 1)) + 8, 0x100, 0x800, 0xFFC]
    for offset in unmapped + [Csr.ID, Csr.VERSION, Csr.HASH_LO, Csr.HASH_HI, Csr.ERROR_CODE, Csr.ERROR_ADDRESS,
                              counter_offset(Counter.CYCLES)]:
        response = await tb.master.write(offset, b"\xff\xff\xff\xff")
        assert response.resp == AxiResp.OKAY
    for offset in unmapped:
        response = await tb.master.read(offset, 4)
        assert (response.resp, response.data) == (AxiResp.OKAY, bytes(4))
    assert {offset: await tb.read(offset) for offset in before} == before
    assert await tb.counter(Counter.CYCLES) == 0


@cocotb.test()
async def start_done_and_interrupt(dut):
    tb = TB(dut)
    await tb.reset()
    await tb.write(Csr.CONTROL, Control.START | Control.IRQ_ENABLE)
    assert tb.starts == 1
    assert await tb.read(Csr.CONTROL) == Control.IRQ_ENABLE
    dut.busy.value = 1
    assert await tb.read(Csr.STATUS) == Status.BUSY
    await tb.write(Csr.CONTROL, Control.START | Control.IRQ_ENABLE)
    assert tb.starts == 1, "start while busy is ignored"
    await tb.cycle(done=1, busy=0)
    assert await tb.read(Csr.STATUS) == Status.DONE
    assert int(dut.irq.value) == 1
    await tb.write(Csr.CONTROL, 0)
    assert int(dut.irq.value) == 0, "a disabled interrupt is not raised"
    await tb.write(Csr.CONTROL, Control.IRQ_ENABLE)
    await tb.write(Csr.STATUS, Status.BUSY | Status.ERROR)
    assert int(dut.irq.value) == 1 and await tb.read(Csr.STATUS) == Status.DONE
    await tb.write(Csr.STATUS, Status.DONE)
    assert int(dut.irq.value) == 0 and await tb.read(Csr.STATUS) == 0
    await tb.write(Csr.CONTROL, Control.RESET)
    assert (tb.starts, tb.resets) == (1, 1)


@cocotb.test()
async def the_first_error_stays_until_the_next_start(dut):
    tb = TB(dut)
    await tb.reset()
    await tb.write(Csr.CONTROL, Control.START | Control.IRQ_ENABLE)
    await tb.fail(ErrorCode.BANK, Unit.STORE, 0x1240)
    await tb.fail(ErrorCode.AXI_READ, Unit.LOAD, 0x5555)
    assert int(dut.irq.value) == 1
    await tb.write(Csr.STATUS, Status.DONE | Status.ERROR)
    await tb.write(Csr.CONTROL, Control.RESET)
    assert await tb.read(Csr.STATUS) == Status.ERROR
    assert await tb.read(Csr.ERROR_CODE) == ErrorCode.BANK | Unit.STORE << 8
    assert await tb.read(Csr.ERROR_ADDRESS) == 0x1240
    await tb.write(Csr.CONTROL, Control.START)
    for offset in (Csr.STATUS, Csr.ERROR_CODE, Csr.ERROR_ADDRESS):
        assert await tb.read(offset) == 0


@cocotb.test()
async def counters_count_their_events_and_start_at_zero(dut):
    tb = TB(dut)
    await tb.reset()
    for _ in range(2):
        await tb.write(Csr.CONTROL, Control.START)
        expected = [0] * len(Counter)
        for _ in range(100):
            events = tb.rng.getrandbits(len(Counter))
            expected = [count + (events >> bit & 1) for bit, count in enumerate(expected)]
            dut.events.value = events
            await RisingEdge(dut.clk)
        dut.events.value = 0
        await RisingEdge(dut.clk)
        assert [await tb.counter(counter) for counter in Counter] == expected


@cocotb.test()
async def counters_have_forty_bits(dut):
    tb = TB(dut)
    await tb.reset()
    await tb.counter(Counter.CYCLES)  # the first round, in which the totals are set to 0, is over
    totals = dut.counters.totals
    for before in ((1 << 32) - 1, (1 << COUNTER_BITS) - 1):
        totals[Counter.CYCLES].value = before
        await tb.cycle(events=1 << Counter.CYCLES)
        await RisingEdge(dut.clk)
        assert await tb.counter(Counter.CYCLES) == (before + 1) % (1 << COUNTER_BITS)


@cocotb.test()
async def events_in_every_cycle_are_counted(dut):
    tb = TB(dut)
    await tb.reset()
    await tb.write(Csr.CONTROL, Control.START)
    expected = [3 * (bit + 1) for bit in range(len(Counter))]
    for cycle in range(max(expected)):
        dut.events.value = sum(1 << bit for bit, count in enumerate(expected) if cycle < count)
        await RisingEdge(dut.clk)
    dut.events.value = 0
    await RisingEdge(dut.clk)
    assert [await tb.counter(counter) for counter in Counter] == expected


@cocotb.test()
async def responses_wait_for_a_slow_master(dut):
    tb = TB(dut)
    await tb.reset()

    def pauses():
        while True:
            yield tb.rng.random() < 0.6

    for channel in (tb.master.write_if.aw_channel, tb.master.write_if.w_channel, tb.master.write_if.b_channel,
                    tb.master.read_if.ar_channel, tb.master.read_if.r_channel):
        channel.set_pause_generator(pauses())
    for _ in range(40):
        value = tb.rng.getrandbits(32)
        await tb.write(Csr.BASE, value)
        assert await tb.read(Csr.BASE) == value
