"""The models of the cells against the memories and products that synthesis makes them of."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from .dut_cells import MEMORIES, OUTCOME, STIMULUS

CYCLES = 6000
POOL = 8  # addresses at a time, so that what is written is read, also in the same cycle
POOL_CYCLES = 100


@cocotb.test()
async def netlist_and_rtl_read_and_multiply_alike(dut):
    rng = random.Random(cocotb.RANDOM_SEED)
    Clock(dut.clk, 10, "ns", impl="gpi").start()
    dut.rst.value = 0
    pools = {}
    for cycle in range(CYCLES):
        if cycle % POOL_CYCLES == 0:
            pools = {name: rng.sample(range(words), POOL) for name, (words, _, _) in MEMORIES.items()}
        word = rng.getrandbits(STIMULUS.size)
        for name in MEMORIES:
            field = STIMULUS[name]
            for port in ("write_address", "read_address"):
                place = field.offset + field.shape[port].offset
                mask = (1 << field.shape[port].width) - 1
                word = word & ~(mask << place) | rng.choice(pools[name]) << place
        dut.stimulus.value = word
        await FallingEdge(dut.clk)
        expected, found = (OUTCOME.from_bits(int(port.value)) for port in (dut.expected, dut.found))
        for name in OUTCOME.members:
            assert found[name] == expected[name], (
                f"{name} must give {expected[name]:#x} in cycle {cycle}, not {found[name]:#x}")
