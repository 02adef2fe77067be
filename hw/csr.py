"""Control and status registers behind an AXI4-Lite slave: the register map and its hardware."""

import enum
from functools import reduce
from operator import or_

from amaranth import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .axi import OKAY, axi_lite_signature
from .config import ISA_VERSION, AcceleratorConfig

__all__ = ["COUNTER_BITS", "CSR_ADDR_BITS", "CSR_ERROR", "CSR_ID", "START_LATENCY", "Control", "Counter", "CounterFile",
           "Csr", "CsrBlock", "Status", "counter_offset"]

CSR_ID = 0x53595354  # "SYST" in big-endian ASCII
CSR_ADDR_BITS = 12
COUNTER_BITS = 40
# Cycles from the write of START to the strobe `start`; the core counts cycles from the one after it.
START_LATENCY = 1


class Csr(enum.IntEnum):
    """Byte offsets of the 32-bit registers; all other offsets below the counters read 0."""

    ID = 0x00                # `CSR_ID`
    VERSION = 0x04           # `ISA_VERSION`
    HASH_LO = 0x08           # `AcceleratorConfig.hash()`
    HASH_HI = 0x0C
    CONTROL = 0x10           # `Control`
    STATUS = 0x14            # `Status`
    ERROR_CODE = 0x18        # bits 7:0 `ErrorCode`, bits 15:8 `Unit`
    ERROR_ADDRESS = 0x1C     # byte address of the offending instruction, relative to BASE
    BASE = 0x20              # DRAM byte address that all others are relative to
    PROGRAM = 0x24           # byte address of the first instruction
    COUNT = 0x28             # instructions in the program
    WATCHDOG = 0x2C          # cycles without progress before the core stops with an error
    COUNTERS = 0x80          # pairs of low and high word, in the order of `Counter`


class Control(enum.IntFlag):
    """Bits of CONTROL. ``START`` (ignored while busy) and ``RESET`` act when 1 is written and read 0."""

    START = 1
    IRQ_ENABLE = 2
    RESET = 4


class Status(enum.IntFlag):
    """Bits of STATUS. Writing ``DONE`` clears it and the interrupt; ``ERROR`` stays until the next start."""

    BUSY = 1
    DONE = 2
    ERROR = 4


class Counter(enum.IntEnum):
    """Performance counters, cleared at start; cycles unless said otherwise."""

    CYCLES = 0
    LOAD_BUSY = 1
    COMPUTE_BUSY = 2
    VECTOR_BUSY = 3
    STORE_BUSY = 4
    ARRAY_ACTIVE = 5     # pixel words entering the array
    WAIT_LOAD = 6        # the compute unit waits: for a load,
    WAIT_VECTOR = 7      # for the vector unit,
    WAIT_STORE = 8       # for a store,
    WAIT_BANK = 9        # for an activation bank,
    WAIT_WEIGHTS = 10    # for a weight tile,
    WAIT_FETCH = 11      # for an instruction
    DRAM_READ = 12       # beats
    DRAM_WRITE = 13      # beats
    INSTRUCTIONS = 14    # retired


def counter_offset(counter: Counter) -> int:
    """Return the byte offset of the counter's low word; its high word follows."""
    return Csr.COUNTERS + 8 * counter


# What stopped the core. `address` is the instruction's byte address relative to BASE.
CSR_ERROR = StructLayout({"valid": unsigned(1), "code": unsigned(8), "unit": unsigned(8), "address": unsigned(32)})


class CounterFile(wiring.Component):
    """Count ``events``, one bit per `Counter`, in ``COUNTER_BITS`` bits each.

    A few bits per counter count at once. A sweep visits one counter per cycle, in their order, and adds them to its
    total in one memory: ``value`` is the exact value of ``visited`` at the end of the cycle before. ``clear`` sets all
    to 0: the events of the next cycle are the first to count.
    """

    def __init__(self) -> None:
        self.totals = Memory(shape=COUNTER_BITS, depth=len(Counter), init=[])
        super().__init__({
            "events": In(len(Counter)), "clear": In(1), "visited": Out(range(len(Counter))), "value": Out(COUNTER_BITS),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.totals = self.totals
        write, read = self.totals.write_port(), self.totals.read_port(domain="comb")
        # As many cycles pass between two visits as there are counters.
        recent = [Signal(range(len(Counter) + 1), name=f"recent_{counter.name.lower()}") for counter in Counter]
        here = [Signal(name=f"at_{counter.name.lower()}") for counter in Counter]
        first = Signal(init=1)  # in the first round the memory holds what was before
        for bit, (count, visit) in enumerate(zip(recent, here, strict=True)):
            m.d.comb += visit.eq(self.visited == bit)
            m.d.sync += count.eq(Mux(visit, 0, count) + self.events[bit])
        m.d.sync += self.visited.eq(self.visited + 1)
        with m.If(here[-1]):
            m.d.sync += [self.visited.eq(0), first.eq(0)]
        with m.If(self.clear):
            m.d.sync += [self.visited.eq(0), first.eq(1), *(count.eq(0) for count in recent)]
        added = reduce(or_, (Mux(visit, count, 0) for count, visit in zip(recent, here, strict=True)))
        m.d.comb += [
            self.value.eq(Mux(first, 0, read.data) + added),
            read.addr.eq(self.visited), write.addr.eq(self.visited), write.data.eq(self.value), write.en.eq(1),
        ]
        return m


class CsrBlock(wiring.Component):
    """Registers of one core.

    ``start`` and ``soft_reset`` are strobes. ``done`` is a strobe, ``busy`` and ``error.valid`` are levels; the first
    error after a start is kept. ``irq`` is a level: done or error since the last start or acknowledge, if enabled.
    ``events`` has one bit per `Counter`, which counts the cycles in which it is 1. A counter is read in two accesses,
    so its value is consistent only while no event changes it, as after a run; each waits until the sweep of
    `CounterFile` passes.

    Every access is answered with OKAY: other offsets read 0, writes to them and to read-only registers do nothing.
    The registers keep their values in a soft reset, so that the cause of an error can be read after it.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "bus": In(axi_lite_signature(CSR_ADDR_BITS).flip()),
            "start": Out(1), "soft_reset": Out(1), "irq": Out(1),
            "base": Out(32), "program": Out(32), "count": Out(24), "watchdog_limit": Out(32),
            "busy": In(1), "done": In(1), "error": In(CSR_ERROR), "events": In(len(Counter)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus = self.bus
        hash_value = self.config.hash()
        base, program, count = Signal(32), Signal(32), Signal(24)
        watchdog = Signal(32, init=self.config.watchdog & 0xFFFF_FFFF)
        irq_enable, irq_pending, done = Signal(), Signal(), Signal()
        error = Signal(CSR_ERROR)
        m.submodules.counters = counters = CounterFile()
        m.d.comb += [
            self.base.eq(base), self.program.eq(program), self.count.eq(count), self.watchdog_limit.eq(watchdog),
            self.irq.eq(irq_pending & irq_enable),
        ]

        m.d.sync += [self.start.eq(0), self.soft_reset.eq(0)]
        with m.If(self.done):
            m.d.sync += [done.eq(1), irq_pending.eq(1)]
        with m.If(self.error.valid & ~error.valid):
            m.d.sync += [error.eq(self.error), irq_pending.eq(1)]
        m.d.comb += counters.events.eq(self.events)

        # Writes: address and data are taken together, one response at a time.
        write = Signal()
        m.d.comb += [
            write.eq(bus.awvalid & bus.wvalid & ~bus.bvalid),
            bus.awready.eq(write), bus.wready.eq(write), bus.bresp.eq(OKAY), bus.rresp.eq(OKAY),
        ]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(write):
            m.d.sync += bus.bvalid.eq(1)
            with m.Switch(bus.awaddr[2:]):
                for offset, register in ((Csr.BASE, base), (Csr.PROGRAM, program), (Csr.COUNT, count),
                                         (Csr.WATCHDOG, watchdog)):
                    with m.Case(offset >> 2):
                        for lane in range(len(register) // 8):
                            with m.If(bus.wstrb[lane]):
                                m.d.sync += register[8 * lane:8 * lane + 8].eq(bus.wdata[8 * lane:8 * lane + 8])
                with m.Case(Csr.STATUS >> 2):
                    with m.If(bus.wstrb[0] & (bus.wdata & Status.DONE).any()):
                        m.d.sync += [done.eq(0), irq_pending.eq(0)]
                with m.Case(Csr.CONTROL >> 2):
                    with m.If(bus.wstrb[0]):
                        m.d.sync += [irq_enable.eq((bus.wdata & Control.IRQ_ENABLE).any()),
                                     self.soft_reset.eq((bus.wdata & Control.RESET).any())]
                        with m.If((bus.wdata & Control.START).any() & ~self.busy):
                            m.d.sync += [self.start.eq(1), done.eq(0), irq_pending.eq(0), error.eq(0)]
                            m.d.comb += counters.clear.eq(1)

        status = done * Status.DONE + error.valid * Status.ERROR + self.busy * Status.BUSY
        values: dict[int, Value] = {
            Csr.ID: Const(CSR_ID, 32), Csr.VERSION: Const(ISA_VERSION, 32),
            Csr.HASH_LO: Const(hash_value & 0xFFFF_FFFF, 32), Csr.HASH_HI: Const(hash_value >> 32, 32),
            Csr.CONTROL: irq_enable * Control.IRQ_ENABLE, Csr.STATUS: status,
            Csr.ERROR_CODE: Cat(error.code, error.unit), Csr.ERROR_ADDRESS: error.address,
            Csr.BASE: base, Csr.PROGRAM: program, Csr.COUNT: count, Csr.WATCHDOG: watchdog,
        }
        # Reads of counters: the offset is that of one, of its high word, of the one that is visited.
        word = bus.araddr[2:]
        is_counter, high, visited = Signal(), Signal(), Signal()
        offset = (word - (Csr.COUNTERS >> 2))[:len(word)]
        m.d.comb += [is_counter.eq(offset < 2 * len(Counter)), high.eq(offset[0]),
                     visited.eq(offset[1:] == counters.visited)]
        m.d.comb += bus.arready.eq(~bus.rvalid & (~is_counter | visited))
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += bus.rvalid.eq(1)
            with m.Switch(bus.araddr[2:]):
                for address, value in values.items():
                    with m.Case(address >> 2):
                        m.d.sync += bus.rdata.eq(value)
                with m.Default():
                    m.d.sync += bus.rdata.eq(0)
            with m.If(is_counter):
                m.d.sync += bus.rdata.eq(Mux(high, counters.value[32:], counters.value[:32]))
        return m
