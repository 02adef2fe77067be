"""On-chip memory behind an interconnect of two masters: what a board's core and host see."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from ...hw.axi import ADDR_BITS, axi4_signature
from ...hw.interconnect import Interconnect
from ...hw.memory import OnChipMemory


class SharedMemory(wiring.Component):
    """An `OnChipMemory` with two AXI4 ports."""

    def __init__(self, data_bytes: int, words: int, outstanding: int):
        self.data_bytes, self.words, self.outstanding = data_bytes, words, outstanding
        signature = axi4_signature(ADDR_BITS, data_bytes)
        super().__init__({"port0": In(signature), "port1": In(signature)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.interconnect = interconnect = Interconnect(2, self.data_bytes, self.outstanding)
        m.submodules.memory = memory = OnChipMemory(self.data_bytes, self.words, self.outstanding)
        wiring.connect(m, wiring.flipped(self.port0), interconnect.port0)
        wiring.connect(m, wiring.flipped(self.port1), interconnect.port1)
        wiring.connect(m, interconnect.bus, memory.bus)
        return m
