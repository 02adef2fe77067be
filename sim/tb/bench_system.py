"""A whole system over its serial line: identity, memory, a program, an error, and what the lights say."""

import cocotb

from ...hw.csr import Control, Counter, Csr, Status, counter_offset
from ...hw.hosted import HOSTED_LATENCY
from ...hw.isa import INSTR_BYTES, ErrorCode, Opcode, encode
from ...hw.link.protocol import Space
from ...hw.system import LEDS
from ..timing import TimingModel
from .bench_link import Computer
from .programs import link

PROGRAM, INPUTS, OUTPUTS = 0x000, 0x400, 0x600


class TB(Computer):
    def lights(self):
        return LEDS.from_bits(int(self.dut.leds.value))

    async def status(self):
        return int.from_bytes(await self.read(Space.CSR, self.register(Csr.STATUS), 4), "little")

    async def run(self, program):
        """Run a program and return STATUS."""
        await self.write(Space.MEMORY, PROGRAM, program)
        for register, value in ((Csr.PROGRAM, PROGRAM), (Csr.COUNT, len(program) // INSTR_BYTES),
                                (Csr.CONTROL, Control.START)):
            await self.write_register(register, int(value).to_bytes(4, "little"))
        while (status := await self.status()) & Status.BUSY:
            pass
        return status


@cocotb.test()
async def identity_is_that_of_the_build(dut):
    tb = TB(dut)
    await tb.begin()
    found = await tb.identity()
    assert (found.build_id, found.config_hash) == (tb.params["build_id"], tb.config.hash())
    assert (found.memory_bytes, found.clock_hz) == (1024 * tb.params["memory_kib"], tb.params["clock_hz"])


@cocotb.test()
async def a_program_runs_in_the_cycles_of_the_model(dut):
    tb = TB(dut)
    await tb.begin()
    assert not tb.lights().busy
    size = tb.config.word_bytes
    data = tb.rng.randbytes(24 * size)
    await tb.write(Space.MEMORY, INPUTS, data)
    assert tb.lights().link
    program = link(tb.config, [(Opcode.LOAD, {"dram": INPUTS, "rows": 1, "row_words": 24}),
                               (Opcode.STORE, {"dram": OUTPUTS, "rows": 1, "row_words": 24})], "serial",
                   1024 * tb.params["memory_kib"])
    assert await tb.run(program) == Status.DONE
    assert tb.lights().busy and not tb.lights().error
    assert await tb.read(Space.MEMORY, OUTPUTS, len(data)) == data
    cycles = await tb.read(Space.CSR, tb.register(counter_offset(Counter.CYCLES)), 4)
    model = TimingModel(tb.config.preset("tiny").from_dict({
        **tb.config.to_dict(), "dram_latency": HOSTED_LATENCY, "dram_bandwidth": 2 * size}))
    assert int.from_bytes(cycles, "little") == model.run(program).cycles


@cocotb.test()
async def the_light_of_errors_shows_what_the_host_was_told(dut):
    tb = TB(dut)
    await tb.begin()
    beyond = encode(Opcode.LOAD, {"wr_banks": 0xFF}, dram=1024 * tb.params["memory_kib"], rows=1, row_words=1)
    assert await tb.run(beyond) & Status.ERROR
    assert tb.lights().error
    code = await tb.read(Space.CSR, tb.register(Csr.ERROR_CODE), 1)
    assert code[0] == ErrorCode.AXI_READ
    await tb.write_register(Csr.CONTROL, int(Control.RESET).to_bytes(4, "little"))
    good = link(tb.config, [(Opcode.LOAD, {"dram": INPUTS, "rows": 1, "row_words": 1})], "serial", 1 << 16)
    assert await tb.run(good) == Status.DONE
    assert not tb.lights().error


@cocotb.test()
async def the_heart_beats(dut):
    tb = TB(dut)
    await tb.begin()
    seen = set()
    for _ in range(40):
        await tb.tick(tb.params["clock_hz"] // 100)
        seen.add(tb.lights().heartbeat)
    assert seen == {0, 1}
