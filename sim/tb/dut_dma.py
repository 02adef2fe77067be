"""Design under test: instruction fetch, load and store unit on one AXI4 bus."""

from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ...hw.axi import ADDR_BITS, AxiMaster, ReadArbiter, axi4_signature
from ...hw.config import AcceleratorConfig
from ...hw.dma import LoadUnit, StoreUnit, local_write_signature
from ...hw.fetch import FetchUnit, fetch_bursts
from ...hw.isa import ENTRY, ERROR

__all__ = ["READ_LATENCY", "DmaTop"]

READ_LATENCY = 2


class DmaTop(wiring.Component):
    """The DMA half of a core; an error in one unit does not halt the others here."""

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        word = 8 * config.word_bytes
        super().__init__({
            "bus": Out(axi4_signature(ADDR_BITS, config.word_bytes)), "base": In(ADDR_BITS), "halt": In(1),
            "quiet": Out(1),
            "load": In(stream.Signature(ENTRY)), "load_done": Out(1), "load_error": Out(ERROR),
            "write": Out(local_write_signature(config)),
            "store": In(stream.Signature(ENTRY)), "store_done": Out(1), "store_release": Out(1),
            "store_error": Out(ERROR), "read_en": Out(1), "read_addr": Out(20), "read_data": In(word),
            "fetch_start": In(1), "fetch_address": In(ADDR_BITS), "fetch_count": In(24), "fetch_busy": Out(1),
            "fetch_error": Out(ERROR), "fetch": Out(stream.Signature(ENTRY)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.load = load = LoadUnit(config)
        m.submodules.store = store = StoreUnit(config, READ_LATENCY)
        m.submodules.fetch = fetch = FetchUnit(config)
        m.submodules.arbiter = arbiter = ReadArbiter(config.word_bytes, config.outstanding + fetch_bursts(config))
        m.submodules.axi = axi = AxiMaster(config.word_bytes)
        connect(m, load.ar, arbiter.load_ar)
        connect(m, arbiter.load_r, load.r)
        connect(m, fetch.ar, arbiter.fetch_ar)
        connect(m, arbiter.fetch_r, fetch.r)
        connect(m, arbiter.ar, axi.ar)
        connect(m, axi.r, arbiter.r)
        connect(m, store.aw, axi.aw)
        connect(m, store.w, axi.w)
        connect(m, axi.b, store.b)
        connect(m, axi.bus, flipped(self.bus))
        connect(m, flipped(self.load), load.start)
        connect(m, flipped(self.store), store.start)
        connect(m, fetch.o, flipped(self.fetch))
        connect(m, load.write, flipped(self.write))
        m.d.comb += [unit.base.eq(self.base) for unit in (load, store, fetch)]
        m.d.comb += [unit.halt.eq(self.halt) for unit in (load, store, fetch)]
        m.d.comb += [
            self.quiet.eq(load.quiet & store.quiet & fetch.quiet),
            self.load_done.eq(load.done), self.load_error.eq(load.error),
            self.store_done.eq(store.done), self.store_release.eq(store.release), self.store_error.eq(store.error),
            self.read_en.eq(store.read.en), self.read_addr.eq(store.read.addr), store.read_data.eq(self.read_data),
            fetch.start.eq(self.fetch_start), fetch.address.eq(self.fetch_address), fetch.count.eq(self.fetch_count),
            self.fetch_busy.eq(fetch.busy), self.fetch_error.eq(fetch.error),
        ]
        return m
