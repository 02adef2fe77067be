"""A core with on-chip memory: bytes and counters of random programs against the machine and the cycle model."""

import logging
from dataclasses import replace

import cocotb
import numpy as np
from cocotb.triggers import First, RisingEdge, Timer
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiMaster

from ...hw.csr import Control, Counter, Csr, Status, counter_offset
from ...hw.hosted import HOSTED_LATENCY
from ...hw.isa import INSTR_BYTES
from ..machine import Machine
from ..timing import TimingModel
from .programs import link, random_program
from .support import Bench

PROGRAM, INPUTS, OUTPUTS = 0x0000, 0x4000, 0x8000


class TB(Bench):
    """The core and its memory, a host, and the models that say what both must do."""

    def __init__(self, dut):
        super().__init__(dut)
        logging.getLogger(f"cocotb.{dut._name}").setLevel("ERROR")
        self.size = self.params["memory_bytes"]
        self.host = AxiMaster(AxiBus.from_prefix(dut, "host_"), dut.clk)
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "csr_"), dut.clk)
        self.machine = Machine(self.config, self.size)
        self.timing = TimingModel(replace(self.config, dram="fixed", dram_latency=HOSTED_LATENCY,
                                          dram_bandwidth=2 * self.config.word_bytes))

    async def read(self, register):
        return int(await self.registers.read_dword(register))

    async def place(self, address, data):
        await self.host.write(address, data, awid=0)
        self.machine.write(address, data)

    async def start(self, count):
        await self.registers.write_dword(Csr.PROGRAM, PROGRAM)
        await self.registers.write_dword(Csr.COUNT, count)
        await self.registers.write_dword(Csr.CONTROL, Control.START | Control.IRQ_ENABLE)

    async def finish(self):
        if not int(self.dut.irq.value):
            end = await First(RisingEdge(self.dut.irq), Timer(1_000_000, "ns"))
            assert isinstance(end, RisingEdge), "the core must finish"
        assert await self.read(Csr.STATUS) == Status.DONE

    async def counters(self):
        return {counter.name: await self.read(counter_offset(counter)) for counter in Counter}

    async def random_program(self, length, tokens):
        """Place a random program and its data; return its code."""
        bodies, image = random_program(self.rng, self.config, length, range(INPUTS, OUTPUTS), range(OUTPUTS, self.size))
        code = link(self.config, bodies, tokens, self.size)
        assert len(code) <= INPUTS - PROGRAM
        await self.place(INPUTS, image.tobytes())
        await self.place(PROGRAM, code)
        return code

    async def compare_bytes(self, code):
        self.machine.run(PROGRAM, len(code) // INSTR_BYTES)
        found = np.frombuffer((await self.host.read(0, self.size, arid=0)).data, np.uint8)
        wrong = np.flatnonzero(found != self.machine.dram)
        assert not wrong.size, f"{wrong.size} bytes of memory differ, the first at {wrong[0]:#x}"


@cocotb.test()
async def cycles_are_those_of_the_cycle_model(dut):
    tb = TB(dut)
    await tb.reset()
    await tb.place(0, bytes(tb.size))
    for number in range(tb.params["programs"]):
        code = await tb.random_program(tb.rng.randint(5, 30), "minimal" if number % 2 else "serial")
        await tb.start(len(code) // INSTR_BYTES)
        await tb.finish()
        assert await tb.counters() == tb.timing.run(code).counters
        await tb.compare_bytes(code)


@cocotb.test()
async def a_host_may_use_the_memory_meanwhile(dut):
    tb = TB(dut)
    await tb.reset()
    await tb.place(0, bytes(tb.size))
    code = await tb.random_program(30, "minimal")
    await tb.start(len(code) // INSTR_BYTES)
    reads = 0
    while not int(dut.irq.value):
        found = await tb.host.read(INPUTS, 256, arid=0)
        assert found.data == tb.machine.read(INPUTS, 256)
        reads += 1
    assert reads > 3
    await tb.finish()
    assert (await tb.counters())["CYCLES"] > tb.timing.run(code).cycles, "the host must have cost the core something"
    await tb.compare_bytes(code)
