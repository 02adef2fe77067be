"""The accelerator core: one AXI4 master, one AXI4-Lite slave, one interrupt."""

from amaranth import Cat, Module, ResetInserter, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from .axi import ADDR_BITS, AxiMaster, ReadArbiter, axi4_signature, axi_lite_signature
from .block_memory import block_memory
from .compute import ComputeUnit
from .config import AcceleratorConfig
from .csr import CSR_ADDR_BITS, Counter, CsrBlock
from .dma import LoadUnit, StoreUnit
from .fetch import FetchUnit, fetch_bursts
from .isa import INSTR_BYTES, Buffer, ErrorCode, Unit
from .issue import IssueLogic
from .scratchpad import ACT_READ_LATENCY, READERS, WRITERS, ActivationBuffer
from .vector import VectorUnit

__all__ = ["Core"]


class Core(wiring.Component):
    """Fetch a program from DRAM and run it on the load, compute, vector and store units.

    ``issue`` and ``retire`` pulse once per instruction and unit (bit number = `Unit`), for traces and profilers.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            "bus": Out(axi4_signature(ADDR_BITS, config.word_bytes)),
            "csr": Out(axi_lite_signature(CSR_ADDR_BITS)),
            "irq": Out(1),
            "issue": Out(len(Unit)), "retire": Out(len(Unit)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.csrs = csr = CsrBlock(config)
        wiring.connect(m, wiring.flipped(self.csr), csr.bus)

        clear = ResetInserter(csr.soft_reset)
        m.submodules.fetch = fetch = clear(FetchUnit(config))
        m.submodules.load = load = clear(LoadUnit(config))
        m.submodules.compute = compute = clear(ComputeUnit(config))
        m.submodules.vector = vector = clear(VectorUnit(config))
        m.submodules.store = store = clear(StoreUnit(config, ACT_READ_LATENCY))
        m.submodules.issue_logic = issue = clear(IssueLogic(config))
        m.submodules.act = act = ActivationBuffer(config)
        m.submodules.arbiter = arbiter = clear(ReadArbiter(config.word_bytes,
                                                           config.outstanding + fetch_bursts(config)))
        m.submodules.axi = axi = AxiMaster(config.word_bytes)

        # AXI.
        wiring.connect(m, fetch.ar, arbiter.fetch_ar)
        wiring.connect(m, load.ar, arbiter.load_ar)
        wiring.connect(m, arbiter.fetch_r, fetch.r)
        wiring.connect(m, arbiter.load_r, load.r)
        wiring.connect(m, arbiter.ar, axi.ar)
        wiring.connect(m, axi.r, arbiter.r)
        wiring.connect(m, store.aw, axi.aw)
        wiring.connect(m, store.w, axi.w)
        wiring.connect(m, axi.b, store.b)
        wiring.connect(m, axi.bus, wiring.flipped(self.bus))
        m.d.comb += [self.irq.eq(csr.irq), fetch.base.eq(csr.base), load.base.eq(csr.base), store.base.eq(csr.base)]

        # Instructions.
        wiring.connect(m, fetch.o, issue.i)
        units = {Unit.LOAD: load, Unit.COMPUTE: compute, Unit.VECTOR: vector, Unit.STORE: store}
        for unit, component in units.items():
            wiring.connect(m, getattr(issue, f"start_{unit.name.lower()}"), component.start)
            m.d.comb += issue.done[unit].eq(component.done)
        m.d.comb += [
            issue.release.eq(Cat(load.release, compute.release, vector.done, store.release)),
            self.issue.eq(issue.issued), self.retire.eq(issue.done),
        ]

        # Activation buffer, and who holds which bank.
        wiring.connect(m, compute.act, act.read_compute)
        wiring.connect(m, vector.act, act.read_vector)
        wiring.connect(m, vector.out, act.write_vector)
        m.d.comb += [
            act.read_store.en.eq(store.read.en), act.read_store.addr.eq(store.read.addr),
            store.read_data.eq(act.read_store.data),
            act.write_load.en.eq(load.write.en & (load.write.buffer == Buffer.ACT)),
            act.write_load.addr.eq(load.write.addr), act.write_load.data.eq(load.write.data),
        ]
        m.d.comb += [getattr(act, f"hold_read_{u}").eq(issue.held_read[Unit[u.upper()]]) for u in READERS]
        m.d.comb += [getattr(act, f"hold_write_{u}").eq(issue.held_write[Unit[u.upper()]]) for u in WRITERS]

        # Weight and parameter buffers: one writer, one reader each.
        word = unsigned(8 * config.word_bytes)
        for name, depth, buffer, en, addr, out in (
                ("wgt", config.wgt_words, Buffer.WGT, compute.wgt_en, compute.wgt_addr, compute.wgt_data),
                ("param", config.param_words, Buffer.PARAM, vector.param_en, vector.param_addr, vector.param_data)):
            memory = block_memory(word, depth)
            m.submodules[name] = memory
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [write.en.eq(load.write.en & (load.write.buffer == buffer)), write.addr.eq(load.write.addr),
                         write.data.eq(load.write.data), read.en.eq(en), read.addr.eq(addr), out.eq(read.data)]
        m.d.comb += [vector.acc_data.eq(compute.acc_read_data), compute.acc_read_en.eq(vector.acc_en),
                     compute.acc_read_address.eq(vector.acc_address)]

        # Run, finish, fail.
        running, halted = Signal(), Signal()
        begin, starting, finished = Signal(), Signal(), Signal()
        m.d.comb += [
            begin.eq(csr.start & ~running & ~halted), fetch.start.eq(begin), issue.clear.eq(begin),
            fetch.address.eq(csr.program), fetch.count.eq(csr.count),
            finished.eq(running & ~starting & ~fetch.busy & issue.idle & ~csr.error.valid),
            csr.busy.eq(running | ~(fetch.quiet & load.quiet & store.quiet)), csr.done.eq(finished),
        ]
        m.d.sync += starting.eq(begin)  # `fetch.busy` rises one cycle after its start
        with m.If(begin):
            m.d.sync += running.eq(1)
        with m.Elif(finished | csr.error.valid):
            m.d.sync += running.eq(0)

        quiet_cycles = Signal(32)
        progress = Signal()
        m.d.comb += progress.eq(begin | issue.issued.any() | issue.done.any() | compute.active | vector.active
                                | (self.bus.rvalid & self.bus.rready) | (self.bus.wvalid & self.bus.wready))
        m.d.sync += quiet_cycles.eq(quiet_cycles + 1)
        with m.If(progress | ~running):
            m.d.sync += quiet_cycles.eq(0)

        failure = csr.error
        index = Signal(24)
        sources = [(fetch.error, Unit.LOAD), (issue.error, Unit.LOAD), (load.error, Unit.LOAD),
                   (compute.error, Unit.COMPUTE), (vector.error, Unit.VECTOR), (store.error, Unit.STORE)]
        with m.If(running & ~starting):
            for i, (source, unit) in enumerate(sources):
                with m.If(source.valid) if i == 0 else m.Elif(source.valid):
                    m.d.comb += [failure.valid.eq(1), failure.code.eq(source.code), failure.unit.eq(unit),
                                 index.eq(source.index)]
            with m.Elif(quiet_cycles >= csr.watchdog_limit):
                m.d.comb += [failure.valid.eq(1), failure.code.eq(ErrorCode.WATCHDOG),
                             failure.unit.eq(issue.stuck_unit), index.eq(issue.stuck_index)]
        m.d.comb += failure.address.eq(csr.program + index * INSTR_BYTES)
        with m.If(csr.soft_reset):
            m.d.sync += halted.eq(0)
        with m.Elif(failure.valid):
            m.d.sync += halted.eq(1)
        m.d.comb += [unit.halt.eq(halted) for unit in (fetch, load, store, issue)]

        # Performance counters; the waits say why no pixel enters the array, in this order of precedence.
        idle_array = running & ~compute.active
        reasons = (
            (Counter.WAIT_WEIGHTS, compute.starved), (Counter.WAIT_LOAD, issue.blocked_load),
            (Counter.WAIT_VECTOR, issue.blocked_vector), (Counter.WAIT_STORE, issue.blocked_store),
            (Counter.WAIT_BANK, issue.blocked_bank), (Counter.WAIT_FETCH, issue.compute_empty & fetch.busy),
        )
        events = {
            Counter.CYCLES: running,
            Counter.LOAD_BUSY: load.busy, Counter.COMPUTE_BUSY: compute.busy, Counter.VECTOR_BUSY: vector.busy,
            Counter.STORE_BUSY: store.busy, Counter.ARRAY_ACTIVE: compute.active,
            Counter.DRAM_READ: self.bus.rvalid & self.bus.rready,
            Counter.DRAM_WRITE: self.bus.wvalid & self.bus.wready,
            Counter.INSTRUCTIONS: fetch.o.valid & fetch.o.ready,
        }
        earlier = 0
        for counter, reason in reasons:
            events[counter] = idle_array & reason & ~Cat(earlier).any()
            earlier = earlier | reason
        m.d.comb += [csr.events[counter].eq(event) for counter, event in events.items()]
        return m
