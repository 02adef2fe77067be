"""SLIP (RFC 1055): frames as a stream of bytes in which END occurs only between them."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from .protocol import END, ESC, ESC_END, ESC_ESC

assert (END & 1, ESC & 1) == (ESC_END & 1, ESC_ESC & 1) == (0, 1), "bit 0 tells the special bytes apart"

__all__ = ["ELEMENT", "SlipDecoder", "SlipEncoder"]

# A byte of a frame, or (`end`) the boundary between two.
ELEMENT = StructLayout({"data": unsigned(8), "end": unsigned(1)})


class SlipEncoder(wiring.Component):
    """Turn elements into bytes: END for a boundary, two bytes for data that looks like END or ESC.

    An element is looked at in the cycle before its first byte is offered, which keeps the logic small.
    """

    i: In(stream.Signature(ELEMENT))
    o: Out(stream.Signature(8))

    def __init__(self) -> None:
        self.seen = Signal()     # the element at `i` has been looked at:
        self.special = Signal()  # it takes two bytes,
        self.escaped = Signal()  # of which the first has been sent
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        data, end = self.i.payload.data, self.i.payload.end
        m.d.sync += [self.seen.eq(self.i.valid & ~self.i.ready),
                     self.special.eq(~end & ((data == END) | (data == ESC)))]
        m.d.comb += [
            self.o.valid.eq(self.seen), self.i.ready.eq(self.seen & self.o.ready & (~self.special | self.escaped)),
            self.o.payload.eq(Mux(end, END, data)),
        ]
        with m.If(self.special):
            m.d.comb += self.o.payload.eq(Mux(self.escaped, Mux(data[0], ESC_ESC, ESC_END), ESC))
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += self.escaped.eq(self.special & ~self.escaped)
        return m


class SlipDecoder(wiring.Component):
    """Turn bytes into elements. END is a boundary even behind ESC; of what else follows ESC only bit 0 is looked at."""

    i: In(stream.Signature(8))
    o: Out(stream.Signature(ELEMENT))

    def __init__(self) -> None:
        self.escaped = Signal()  # the byte before was ESC
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        escape = Signal()
        m.d.comb += [
            escape.eq((self.i.payload == ESC) & ~self.escaped),
            self.o.valid.eq(self.i.valid & ~escape), self.i.ready.eq(self.o.ready | escape),
            self.o.payload.data.eq(self.i.payload), self.o.payload.end.eq(self.i.payload == END),
        ]
        with m.If(self.escaped):
            m.d.comb += self.o.payload.data.eq(Mux(self.i.payload[0], ESC, END))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += self.escaped.eq(escape)
        return m
