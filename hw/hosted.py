"""A core with on-chip memory, both open to a host."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .axi import ADDR_BITS, axi4_signature, axi_lite_signature
from .config import AcceleratorConfig
from .core import Core
from .csr import CSR_ADDR_BITS
from .fetch import fetch_bursts
from .interconnect import INTERCONNECT_LATENCY, Interconnect
from .memory import MEMORY_LATENCY, OnChipMemory

__all__ = ["HOSTED_LATENCY", "HostedCore"]

# Cycles from a read burst of the core to its first beat: what `dram_latency` must be for `sim`.
HOSTED_LATENCY = INTERCONNECT_LATENCY + MEMORY_LATENCY


class HostedCore(wiring.Component):
    """A core with on-chip RAM, both open to a host.

    While ``host`` is idle, the core's cycles are those that ``sim`` counts with a ``fixed`` DRAM of latency
    ``HOSTED_LATENCY`` and a bandwidth of two words per cycle.

    Parameters
    ----------
    config : AcceleratorConfig
    memory_words : int
        A multiple of 512.

    Attributes
    ----------
    host
        AXI4 port into the RAM, which begins at address 0; its limits are those of `Interconnect`.
    csr
        Registers of the core.
    """

    def __init__(self, config: AcceleratorConfig, memory_words: int):
        self.config = config
        self.memory_words = memory_words
        super().__init__({
            "host": In(axi4_signature(ADDR_BITS, config.word_bytes)),
            "csr": Out(axi_lite_signature(CSR_ADDR_BITS)),
            "irq": Out(1), "retired": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # All that the core can have in flight, and one burst of the host.
        outstanding = self.config.outstanding + fetch_bursts(self.config) + 1
        m.submodules.core = core = Core(self.config)
        m.submodules.interconnect = interconnect = Interconnect(2, self.config.word_bytes, outstanding)
        m.submodules.memory = memory = OnChipMemory(self.config.word_bytes, self.memory_words, outstanding)
        wiring.connect(m, core.bus, interconnect.port0)
        wiring.connect(m, wiring.flipped(self.host), interconnect.port1)
        wiring.connect(m, interconnect.bus, memory.bus)
        wiring.connect(m, core.csr, wiring.flipped(self.csr))
        m.d.comb += [self.irq.eq(core.irq), self.retired.eq(core.retire.any())]
        return m
