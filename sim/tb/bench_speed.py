"""Measure how fast the whole core simulates under cocotb: one program again and again, DRAM and CSRs by cocotbext-axi.

Not a test of the core, although the outputs are checked; `systolith.sim.speed` starts it.
"""

import json
import logging
import time

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam

from ...hw.csr import CSR_ID, Control, Counter, Csr, Status, counter_offset
from ..speed import bench_parameters

RESET_CYCLES = 4


@cocotb.test()
async def simulates(dut):
    logging.getLogger(f"cocotb.{dut._name}").setLevel("ERROR")  # the models list every signal and burst
    workload, limit, result = bench_parameters()
    dut.rst.value = 1
    Clock(dut.clk, 10, "ns", impl="gpi").start()
    for _ in range(RESET_CYCLES):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    # Not earlier: in a four-state simulator the models would sample outputs that are unknown until the reset.
    ram = AxiRam(AxiBus.from_prefix(dut, "bus_"), dut.clk, size=workload.dram_bytes)
    registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "csr_"), dut.clk)
    ram.write(0, workload.image)
    # A read and a write also give the CSR port's inputs their first known values.
    assert await registers.read_dword(Csr.ID) == CSR_ID
    await registers.write_dword(Csr.BASE, 0)
    await registers.write_dword(Csr.PROGRAM, workload.program)
    await registers.write_dword(Csr.COUNT, workload.count)

    runs = cycles = 0
    start, cpu_start = time.perf_counter(), time.process_time()
    while True:
        ram.write(workload.output, bytes(len(workload.expected)))
        await registers.write_dword(Csr.CONTROL, Control.START | Control.IRQ_ENABLE)
        await RisingEdge(dut.irq)
        status = await registers.read_dword(Csr.STATUS)
        assert status == Status.DONE, (f"STATUS must be DONE, not {status}; error code "
                                       f"{await registers.read_dword(Csr.ERROR_CODE):#x} at "
                                       f"{await registers.read_dword(Csr.ERROR_ADDRESS):#x}")
        assert ram.read(workload.output, len(workload.expected)) == workload.expected, "the outputs must be golden's"
        runs += 1
        cycles += await registers.read_dword(counter_offset(Counter.CYCLES))
        seconds = time.perf_counter() - start
        if seconds >= limit:
            break
        await registers.write_dword(Csr.STATUS, Status.DONE)
    result.write_text(json.dumps({"runs": runs, "cycles": cycles, "seconds": seconds,
                                  "cpu_seconds": time.process_time() - cpu_start}))
