"""Elastic stream storage: a first-in first-out buffer and a register slice."""

from typing import Any

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["StreamBuffer", "StreamFifo"]


class StreamFifo(wiring.Component):
    """Store up to ``depth`` elements between the streams ``i`` and ``o``, in order, at one element per cycle.

    An element is at ``o`` in the cycle after it was taken at ``i``. The storage is read asynchronously, so it suits
    distributed RAM. `amaranth.lib.fifo` would serve too, but hides the storage from proofs by induction.

    Parameters
    ----------
    shape : ShapeLike
        Shape of the payload.
    depth : int
        Elements held, at least 1; otherwise ``ValueError``.
    """

    def __init__(self, shape: Any, depth: int):
        if not isinstance(depth, int) or depth < 1:
            raise ValueError(f"depth must be an integer of at least 1, not {depth!r}")
        self.shape = shape
        self.depth = depth
        self.storage = Memory(shape=shape, depth=depth, init=[])
        self.produce = Signal(range(depth))
        self.consume = Signal(range(depth))
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
            "level": Out(range(depth + 1)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.storage = self.storage
        write = self.storage.write_port()
        read = self.storage.read_port(domain="comb")
        push = self.i.valid & self.i.ready
        pop = self.o.valid & self.o.ready

        m.d.comb += [
            self.i.ready.eq(self.level != self.depth),
            self.o.valid.eq(self.level != 0),
            write.addr.eq(self.produce), write.data.eq(self.i.payload), write.en.eq(push),
            read.addr.eq(self.consume), self.o.payload.eq(read.data),
        ]
        for pointer, move in ((self.produce, push), (self.consume, pop)):
            with m.If(move):
                m.d.sync += pointer.eq(pointer + 1)
                with m.If(pointer == self.depth - 1):
                    m.d.sync += pointer.eq(0)
        with m.If(push & ~pop):
            m.d.sync += self.level.eq(self.level + 1)
        with m.Elif(pop & ~push):
            m.d.sync += self.level.eq(self.level - 1)
        return m


class StreamBuffer(wiring.Component):
    """Cut every combinational path between the streams ``i`` and ``o`` at full throughput.

    Two registers: one at the output, and one that catches the element in flight when ``o`` stalls.
    """

    def __init__(self, shape: Any):
        self.shape = shape
        self.full = Signal()
        self.caught = Signal(shape)
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.i.ready.eq(~self.full)
        with m.If(self.o.ready | ~self.o.valid):
            m.d.sync += [self.o.valid.eq(self.i.valid | self.full), self.full.eq(0)]
            with m.If(self.full):
                m.d.sync += self.o.payload.eq(self.caught)
            with m.Else():
                m.d.sync += self.o.payload.eq(self.i.payload)
        with m.Elif(self.i.valid & self.i.ready):
            m.d.sync += [self.full.eq(1), self.caught.eq(self.i.payload)]
        return m
