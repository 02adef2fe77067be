"""The whole core with DRAM behind AXI4: bytes of small programs against the instruction-level machine, and errors."""

import logging

import cocotb
import numpy as np
from cocotb.triggers import First, RisingEdge, Timer
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiSlave

from ...hw.csr import CSR_ID, Control, Counter, Csr, Status, counter_offset
from ...hw.isa import INSTR_BYTES, Buffer, ErrorCode, Opcode, Unit, encode
from ..machine import Machine
from .programs import Tokens, link, random_program
from .support import Bench, pauses

PROGRAM = 0x0000
INPUTS = 0x4000
OUTPUTS = 0x8000
DRAM_BYTES = 0x1_0000


class Dram:
    """Target of an AXI slave model: bytes, and an address range that answers with an error."""

    def __init__(self, size):
        self.bytes = bytearray(size)
        self.broken = range(0)

    def _check(self, address, length):
        if address in self.broken or address + length > len(self.bytes):
            raise ValueError(f"no memory at {address:#x}")

    async def read(self, address, length):
        self._check(address, length)
        return bytes(self.bytes[address:address + length])

    async def write(self, address, data):
        self._check(address, len(data))
        self.bytes[address:address + len(data)] = data


class TB(Bench):
    """Core, DRAM, a register master, and the machine that says what DRAM must hold."""

    def __init__(self, dut):
        super().__init__(dut)
        logging.getLogger(f"cocotb.{dut._name}").setLevel("ERROR")  # the models list every signal and burst
        self.dram = Dram(DRAM_BYTES)
        self.memory = AxiSlave(AxiBus.from_prefix(dut, "bus_"), dut.clk, target=self.dram)
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "csr_"), dut.clk)
        self.machine = Machine(self.config, DRAM_BYTES)
        for channel in (self.memory.read_if.ar_channel, self.memory.write_if.aw_channel):
            channel.queue_occupancy_limit = 8
        for channel in (self.memory.read_if.r_channel, self.memory.write_if.w_channel):
            channel.queue_occupancy_limit = 32
        self.channels = (self.memory.read_if.ar_channel, self.memory.read_if.r_channel,
                         self.memory.write_if.aw_channel, self.memory.write_if.w_channel,
                         self.memory.write_if.b_channel)

    def back_pressure(self, probability):
        for channel in self.channels:
            channel.set_pause_generator(pauses(self.rng, probability))

    def fluent(self):
        for channel in self.channels:
            channel.clear_pause_generator()
            channel.pause = False

    async def write(self, register, value):
        await self.registers.write_dword(register, value)

    async def read(self, register):
        return int(await self.registers.read_dword(register))

    async def counter(self, counter):
        return await self.read(counter_offset(counter))

    def place(self, address, data):
        """Write bytes to DRAM and to the machine's."""
        self.dram.bytes[address:address + len(data)] = bytes(data)
        self.machine.write(address, bytes(data))

    async def run(self, program, limit=60_000, base=0):
        """Run ``program`` at PROGRAM and return STATUS after its interrupt."""
        self.dram.bytes[base + PROGRAM:base + PROGRAM + len(program)] = program
        self.machine.write(base + PROGRAM, program)
        await self.write(Csr.BASE, base)
        await self.write(Csr.PROGRAM, PROGRAM)
        await self.write(Csr.COUNT, len(program) // INSTR_BYTES)
        await self.write(Csr.CONTROL, Control.START | Control.IRQ_ENABLE)
        if not int(self.dut.irq.value):
            end = await First(RisingEdge(self.dut.irq), Timer(10 * limit, "ns"))
            assert isinstance(end, RisingEdge), f"the core must finish within {limit} cycles"
        return await self.read(Csr.STATUS)

    async def run_and_compare(self, program, base=0):
        """Run ``program`` on the core and on the machine, and compare all of DRAM."""
        status = await self.run(program, base=base)
        code = await self.read(Csr.ERROR_CODE)
        assert status == Status.DONE, (
            f"STATUS {status}, error {ErrorCode(code & 0xFF).name} "
            f"at {await self.read(Csr.ERROR_ADDRESS) // INSTR_BYTES}")
        self.machine.run(PROGRAM, len(program) // INSTR_BYTES, base=base)
        got, want = np.frombuffer(bytes(self.dram.bytes), np.uint8), self.machine.dram
        wrong = np.flatnonzero(got != want)
        assert not wrong.size, f"{wrong.size} bytes of DRAM differ, the first at {wrong[0]:#x}"
        assert await self.counter(Counter.INSTRUCTIONS) == len(program) // INSTR_BYTES

    async def random_run(self, length, tokens: Tokens):
        bodies, image = random_program(self.rng, self.config, length, range(INPUTS, OUTPUTS),
                                       range(OUTPUTS, DRAM_BYTES))
        self.place(INPUTS, image.tobytes())
        program = link(self.config, bodies, tokens, DRAM_BYTES)
        assert len(program) <= INPUTS - PROGRAM
        await self.run_and_compare(program)
        return bodies

    async def fails(self, program, code, index, unit=None):
        """Assert that ``program`` stops with ``code`` at instruction ``index``; then reset."""
        status = await self.run(program)
        word = await self.read(Csr.ERROR_CODE)
        got = ErrorCode(word & 0xFF).name, await self.read(Csr.ERROR_ADDRESS)
        assert status & Status.ERROR and not status & Status.DONE, f"STATUS {status}"
        assert got == (code.name, PROGRAM + index * INSTR_BYTES), f"{got}"
        assert unit is None or word >> 8 == unit, f"unit {word >> 8}"

    async def recover(self):
        """Let the bus drain, then reset, as a driver does after an error."""
        for _ in range(1000):
            if not await self.read(Csr.STATUS) & Status.BUSY:
                break
        else:
            raise AssertionError("BUSY must fall when no burst is in flight")
        await self.write(Csr.CONTROL, Control.RESET)


@cocotb.test()
async def copies_dram_through_the_activation_buffer(dut):
    tb = TB(dut)
    await tb.reset()
    assert await tb.read(Csr.ID) == CSR_ID
    size = tb.config.word_bytes
    tb.place(INPUTS, tb.rng.randbytes(16 * size))
    await tb.run_and_compare(link(tb.config, [
        (Opcode.LOAD, {"dram": INPUTS, "local": 3, "rows": 1, "row_words": 16}),
        (Opcode.STORE, {"dram": OUTPUTS, "local": 3, "rows": 1, "row_words": 16}),
    ], "serial", DRAM_BYTES))
    assert await tb.counter(Counter.DRAM_WRITE) == 16


@cocotb.test()
async def serial_programs(dut):
    tb = TB(dut)
    await tb.reset()
    for _ in range(tb.params["programs"]):
        await tb.random_run(12, "serial")


@cocotb.test()
async def overlapping_programs(dut):
    tb = TB(dut)
    await tb.reset()
    for number in range(tb.params["programs"]):
        if number % 2:
            tb.back_pressure(tb.rng.choice((0.1, 0.5)))
        else:
            tb.fluent()
        await tb.random_run(30, "minimal")


@cocotb.test()
async def base_moves_the_whole_program(dut):
    tb = TB(dut)
    await tb.reset()
    base, size = 0x2000, tb.config.word_bytes
    tb.place(base + INPUTS, tb.rng.randbytes(8 * size))
    await tb.run_and_compare(link(tb.config, [
        (Opcode.LOAD, {"dram": INPUTS, "rows": 2, "row_words": 4, "dram_stride": 4 * size, "local_stride": 4}),
        (Opcode.STORE, {"dram": OUTPUTS, "rows": 1, "row_words": 8}),
    ], "serial", DRAM_BYTES, base), base=base)


def good_load(words=4):
    return encode(Opcode.LOAD, {"wr_banks": 0xFF}, dram=INPUTS, rows=1, row_words=words)


def bad_programs(config):
    """Return (name, instructions, code, index, unit) of programs that must stop."""
    banks = {"rd_banks": 0xFF, "wr_banks": 0xFF}
    one = {"out_h": 1, "out_w": 1}
    conv = {**one, "in_h": 1, "in_w": 1, "kw": 1, "kh": 1, "blocks": 1, "groups": 1, "tiles": 1}
    pool = {**one, "in_h": 1, "in_w": 1, "kw": 1, "kh": 1}
    act = config.act_words
    other_bank = {"rd_banks": 0b01, "wr_banks": 0b01}
    return [
        ("opcode 0", [good_load(), bytes(INSTR_BYTES)], ErrorCode.OPCODE, 1, None),
        ("opcode 0x7f", [b"\x7f" + good_load()[1:]], ErrorCode.OPCODE, 0, None),
        ("load beyond act", [good_load(), encode(Opcode.LOAD, banks, dram=INPUTS, local=act - 1, rows=1, row_words=2)],
         ErrorCode.ADDRESS, 1, Unit.LOAD),
        ("load beyond wgt", [encode(Opcode.LOAD, banks, dram=INPUTS, local=config.wgt_words, rows=1, row_words=1,
                                    buffer=Buffer.WGT)], ErrorCode.ADDRESS, 0, Unit.LOAD),
        ("load misaligned", [encode(Opcode.LOAD, banks, dram=INPUTS + 1, rows=1, row_words=1)],
         ErrorCode.ADDRESS, 0, Unit.LOAD),
        ("load without rows", [encode(Opcode.LOAD, banks, dram=INPUTS, rows=0, row_words=1)],
         ErrorCode.FIELD, 0, Unit.LOAD),
        ("load to no buffer", [encode(Opcode.LOAD, banks, dram=INPUTS, rows=1, row_words=1, buffer=3)],
         ErrorCode.FIELD, 0, Unit.LOAD),
        ("load to unnamed bank", [encode(Opcode.LOAD, {"wr_banks": 0b10}, dram=INPUTS, rows=1, row_words=1)],
         ErrorCode.BANK, 0, Unit.LOAD),
        ("store beyond act", [encode(Opcode.STORE, banks, dram=OUTPUTS, local=act, rows=1, row_words=1)],
         ErrorCode.ADDRESS, 0, Unit.STORE),
        ("store from unnamed bank", [encode(Opcode.STORE, other_bank, dram=OUTPUTS, local=act - 1, rows=1,
                                            row_words=1)], ErrorCode.BANK, 0, Unit.STORE),
        ("compute without pixels", [encode(Opcode.COMPUTE, banks, **{**conv, "out_w": 0})],
         ErrorCode.FIELD, 0, Unit.COMPUTE),
        ("compute without kernel", [encode(Opcode.COMPUTE, banks, **{**conv, "kh": 0})],
         ErrorCode.FIELD, 0, Unit.COMPUTE),
        ("compute with wrong tiles", [encode(Opcode.COMPUTE, banks, **{**conv, "tiles": 2})],
         ErrorCode.FIELD, 0, Unit.COMPUTE),
        ("compute beyond act", [encode(Opcode.COMPUTE, banks, **{**conv, "in_base": act})],
         ErrorCode.ADDRESS, 0, Unit.COMPUTE),
        ("compute beyond wgt", [encode(Opcode.COMPUTE, banks, **{**conv, "wgt": config.wgt_words - 1})],
         ErrorCode.ADDRESS, 0, Unit.COMPUTE),
        ("compute across halves", [encode(Opcode.COMPUTE, banks, **{**conv, "acc": config.acc_half - 1, "out_w": 2})],
         ErrorCode.ADDRESS, 0, Unit.COMPUTE),
        ("compute from unnamed bank", [encode(Opcode.COMPUTE, other_bank, **{**conv, "in_base": act - 1})],
         ErrorCode.BANK, 0, Unit.COMPUTE),
        ("requant beyond act", [encode(Opcode.REQUANT, banks, **one, groups=1, dst=act)],
         ErrorCode.ADDRESS, 0, Unit.VECTOR),
        ("requant beyond param", [encode(Opcode.REQUANT, banks, **one, groups=1, param=config.param_words - 8)],
         ErrorCode.ADDRESS, 0, Unit.VECTOR),
        ("requant across halves", [encode(Opcode.REQUANT, banks, groups=1, out_h=1, out_w=2, dst_step_x=1,
                                          acc=config.acc_half - 1)], ErrorCode.ADDRESS, 0, Unit.VECTOR),
        ("requant to unnamed bank", [encode(Opcode.REQUANT, other_bank, **one, groups=1, dst=act - 1)],
         ErrorCode.BANK, 0, Unit.VECTOR),
        ("add beyond act", [encode(Opcode.ADD, banks, **one, b=act)], ErrorCode.ADDRESS, 0, Unit.VECTOR),
        ("add from unnamed bank", [encode(Opcode.ADD, other_bank, **one, a=act - 1)], ErrorCode.BANK, 0, Unit.VECTOR),
        ("pool in no mode", [encode(Opcode.POOL, banks, **pool, mode=3)], ErrorCode.FIELD, 0, Unit.VECTOR),
        ("pool beyond act", [encode(Opcode.POOL, banks, **pool, in_base=act)], ErrorCode.ADDRESS, 0, Unit.VECTOR),
        ("token that never comes", [good_load(), encode(Opcode.COMPUTE, {**banks, "wait_vector": 1}, **conv)],
         ErrorCode.WATCHDOG, 1, Unit.COMPUTE),
    ]


@cocotb.test()
async def bad_programs_stop_and_a_reset_recovers(dut):
    tb = TB(dut)
    await tb.reset()
    await tb.write(Csr.WATCHDOG, 400)
    failures = []
    for name, program, code, index, unit in bad_programs(tb.config):
        try:
            await tb.fails(b"".join(program), code, index, unit)
        except AssertionError as error:
            failures.append(f"{name}: {error}")
        await tb.recover()
        await tb.random_run(4, "minimal")
    assert not failures, "\n".join(failures)


@cocotb.test()
async def bus_errors_name_their_instruction(dut):
    tb = TB(dut)
    await tb.reset()
    await tb.write(Csr.WATCHDOG, 2000)
    words = {"rows": 1, "row_words": 40}
    load = encode(Opcode.LOAD, {"wr_banks": 0xFF}, dram=INPUTS, **words)
    store = encode(Opcode.STORE, {"rd_banks": 0xFF}, dram=OUTPUTS, **words)
    for broken, program, code, index, unit in (
            (range(INPUTS, OUTPUTS), store + load, ErrorCode.AXI_READ, 1, Unit.LOAD),
            (range(OUTPUTS, DRAM_BYTES), load + store + load, ErrorCode.AXI_WRITE, 1, Unit.STORE),
            (range(PROGRAM + INSTR_BYTES, INPUTS), load + load, ErrorCode.AXI_READ, 1, Unit.LOAD)):
        for probability in (0, 0.4):
            tb.back_pressure(probability)
            tb.dram.broken = broken
            await tb.fails(program, code, index, unit)
            tb.dram.broken = range(0)
            await tb.recover()
            tb.machine.dram[:] = np.frombuffer(bytes(tb.dram.bytes), np.uint8)  # stores before the error are allowed
            await tb.random_run(4, "minimal")


@cocotb.test()
async def a_silent_bus_trips_the_watchdog(dut):
    tb = TB(dut)
    await tb.reset()
    await tb.write(Csr.WATCHDOG, 300)
    load, store = good_load(), encode(Opcode.STORE, {"rd_banks": 0xFF}, dram=OUTPUTS, rows=1, row_words=40)
    for channel, program, index in ((tb.memory.write_if.w_channel, load + store, 1),
                                    (tb.memory.write_if.aw_channel, load + store, 1),
                                    (tb.memory.write_if.b_channel, load + store, 1)):
        channel.pause = True
        await tb.fails(program, ErrorCode.WATCHDOG, index, Unit.STORE)
        channel.pause = False
        await tb.recover()
        tb.machine.dram[:] = np.frombuffer(bytes(tb.dram.bytes), np.uint8)
        await tb.random_run(4, "minimal")
    tb.memory.read_if.r_channel.pause = True
    await tb.fails(load + store, ErrorCode.WATCHDOG, 0)
    tb.memory.read_if.r_channel.pause = False
    await tb.recover()
    await tb.random_run(4, "minimal")
