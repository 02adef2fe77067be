"""Instruction fetch through the read arbiter."""

from itertools import pairwise

import cocotb

from ...hw.axi import ARBITER_LATENCY
from ...hw.fetch import FETCH_DEPTH, FETCH_LATENCY
from ...hw.isa import INSTR_BYTES, ErrorCode
from .dma_tb import TB, Transfer

PROGRAM = 1 << 12


@cocotb.test()
@cocotb.parametrize(stalls=[0.0, 0.3, 0.8])
async def a_program_arrives_in_order_with_its_indices(dut, stalls):
    tb = TB(dut)
    await tb.start(stalls)
    for count in (1, 2, 50):
        tb.fetched.clear()
        program = tb.write_program(PROGRAM + INSTR_BYTES * count, count)
        await tb.fetch(PROGRAM + INSTR_BYTES * count, count)
        await tb.cycles(1)
        await tb.until(lambda: not dut.fetch_busy.value, "end of the program")
        await tb.cycles(1)
        assert tb.fetched == program
    await tb.until(lambda: dut.quiet.value, "quiet")
    assert tb.error("fetch") is None


@cocotb.test()
async def an_empty_program_is_over_at_once(dut):
    tb = TB(dut)
    await tb.start()
    await tb.fetch(PROGRAM, 0)
    await tb.cycles(50)
    assert not dut.fetch_busy.value and not tb.fetched and not tb.bus.bursts["ar"]


@cocotb.test()
async def prefetch_is_bounded_and_keeps_the_bus_busy(dut):
    tb = TB(dut)
    await tb.start()
    count = 40
    beats = INSTR_BYTES // tb.word
    tb.write_program(PROGRAM, count)
    await tb.fetch(PROGRAM, count)
    started = tb.cycle
    await tb.cycles(1)
    await tb.until(lambda: not dut.fetch_busy.value, "end of the program")
    assert tb.bus.first["ar"] - started == FETCH_LATENCY + ARBITER_LATENCY
    spent = tb.bus.beats["r"][-1] - tb.bus.beats["r"][0] + 1
    assert len(tb.bus.beats["r"]) == count * beats
    assert spent <= count * max(beats, 4), f"{count} instructions took {spent} cycles"


@cocotb.test()
async def a_stalled_consumer_stops_the_prefetch(dut):
    tb = TB(dut)
    await tb.start(1.0)
    for channel in (tb.ram.read_if.ar_channel, tb.ram.read_if.r_channel):
        channel.clear_pause_generator()
        channel.pause = False
    tb.write_program(PROGRAM, 20)
    await tb.fetch(PROGRAM, 20)
    await tb.cycles(300)
    taken = len(tb.fetched)
    assert sum(beats for _, beats in tb.bus.bursts["ar"]) * tb.word <= (FETCH_DEPTH + taken) * INSTR_BYTES
    assert dut.fetch__valid.value and dut.fetch_busy.value and dut.quiet.value


@cocotb.test()
async def a_misaligned_program_is_refused(dut):
    tb = TB(dut)
    await tb.start()
    await tb.fetch(PROGRAM + tb.word // 2, 3)
    await tb.cycles(20)
    assert tb.error("fetch") == (ErrorCode.ADDRESS, 0)
    assert not tb.bus.bursts["ar"] and not dut.fetch_busy.value


@cocotb.test()
@cocotb.parametrize(stalls=[0.0, 0.5])
async def a_bus_error_names_the_instruction_and_reset_revives(dut, stalls):
    tb = TB(dut)
    await tb.start(stalls)
    program = tb.write_program(PROGRAM, 20)
    bad = tb.base + PROGRAM + 9 * INSTR_BYTES + INSTR_BYTES - tb.word
    tb.ram.bad = range(bad, bad + 1)
    await tb.fetch(PROGRAM, 20)
    await tb.until(lambda: tb.error("fetch") is not None, "an error")
    assert tb.error("fetch") == (ErrorCode.AXI_READ, 9)
    await tb.until(lambda: dut.quiet.value, "quiet")
    await tb.cycles(40)
    assert tb.fetched == program[:len(tb.fetched)] and len(tb.fetched) <= 9
    tb.ram.bad = range(0)
    await tb.reset()
    tb.fetched.clear()
    await tb.fetch(PROGRAM, 20)
    await tb.cycles(1)
    await tb.until(lambda: not dut.fetch_busy.value, "end of the program")
    await tb.cycles(1)
    assert tb.fetched == program


@cocotb.test()
async def neither_fetch_nor_load_starves(dut):
    """Both have plenty of bursts to issue: while both ask, they take turns."""
    tb = TB(dut)
    await tb.start()
    word, count = tb.word, 60
    tb.write_program(PROGRAM, count)
    rows = 60
    load = Transfer(dram=PROGRAM + count * INSTR_BYTES, local=0, rows=rows, row_words=4, dram_stride=16 * word,
                    local_stride=4)
    task = cocotb.start_soon(tb.issue("load", [load]))
    await tb.fetch(PROGRAM, count)
    await task
    await tb.until(lambda: tb.done["load"] == 1 and not dut.fetch_busy.value, "both")
    program = range(tb.base + PROGRAM, tb.base + PROGRAM + count * INSTR_BYTES)
    owners = [address in program for address, _ in tb.bus.bursts["ar"]]
    # From the first burst of each to the last of whichever ends first, the turns alternate; each side may pause when
    # it has no credit left, so a run can be as long as the other side's pause allows.
    both = owners[max(owners.index(True), owners.index(False)):]
    both = both[:min(len(both) - both[::-1].index(owner) for owner in (True, False))]
    turns = sum(a != b for a, b in pairwise(both))
    assert turns >= len(both) * 3 // 4, f"{turns} turns in {len(both)} bursts"
