"""Memories and products that synthesis makes of each block whose model is ours, beside the netlist of the same."""

import random

from amaranth import ClockSignal, Instance, Module, ResetSignal, Shape, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["MEMORIES", "NETLIST", "OUTCOME", "STIMULUS", "Cells", "Comparison"]

NETLIST = "netlist"  # name of its module

# Words, bits per word, and bits per enable, of one block RAM in each of its widths.
MEMORIES = {"x1": (16384, 1, 1), "x2": (8192, 2, 2), "x4": (4096, 4, 4), "x9": (2048, 9, 9), "x18": (1024, 18, 9),
            "x36": (512, 36, 9)}
_PRODUCTS: dict[str, tuple[Shape, Shape]] = {
    "unsigned": (unsigned(18), unsigned(18)), "signed": (signed(18), signed(18)), "mixed": (unsigned(17), signed(18)),
    "narrow": (signed(8), signed(9))}

STIMULUS = data.StructLayout({
    **{name: data.StructLayout({"write": bits // enabled, "write_address": (words - 1).bit_length(), "data": bits,
                                "read": 1, "read_address": (words - 1).bit_length()})
       for name, (words, bits, enabled) in MEMORIES.items()},
    **{name: data.StructLayout({"a": a, "b": b}) for name, (a, b) in _PRODUCTS.items()}})
OUTCOME = data.StructLayout({**{name: bits for name, (_, bits, _) in MEMORIES.items()},
                             **{name: 36 for name in _PRODUCTS}})


class Cells(wiring.Component):
    """The memories, with contents of their own at first, and the products."""

    stimulus: In(STIMULUS)
    outcome: Out(OUTCOME)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rng = random.Random(1)
        for name, (words, bits, enabled) in MEMORIES.items():
            given = self.stimulus[name]
            memory = Memory(shape=bits, depth=words, init=[rng.getrandbits(bits) for _ in range(words)])
            m.submodules[name] = memory
            write = memory.write_port(granularity=enabled if enabled < bits else None)
            read = memory.read_port()
            m.d.comb += [write.en.eq(given.write), write.addr.eq(given.write_address), write.data.eq(given.data),
                         read.en.eq(given.read), read.addr.eq(given.read_address), self.outcome[name].eq(read.data)]
        for name in _PRODUCTS:
            m.d.comb += self.outcome[name].eq(self.stimulus[name].a * self.stimulus[name].b)
        return m


class Comparison(wiring.Component):
    """`Cells` and its netlist side by side."""

    stimulus: In(STIMULUS)
    expected: Out(OUTCOME)
    found: Out(OUTCOME)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.cells = cells = Cells()
        found = Signal(OUTCOME.size)
        m.submodules.netlist = Instance(NETLIST, i_clk=ClockSignal(), i_rst=ResetSignal(),
                                        i_stimulus=self.stimulus.as_value(), o_outcome=found)
        m.d.comb += [cells.stimulus.eq(self.stimulus), self.expected.eq(cells.outcome),
                     self.found.as_value().eq(found)]
        return m
