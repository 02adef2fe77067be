"""What every stream promises, as assertions that a proof adds beside the design.

*Hold*: valid, once up, stays up with the same payload until the transfer. *Order*: what goes in comes out, once, in
order, unchanged, and no later than the capacity allows.
"""

from typing import Any

from amaranth import Module, Signal, Value
from amaranth.hdl import Assert, Assume, Elaboratable

from systolith.hw.fifo import StreamFifo


def _stalled(m: Module, stream: Any, name: str) -> tuple[Signal, Value]:
    """Return whether the transfer of the cycle before was stalled, and that it is the same now."""
    payload = Value.cast(stream.payload)
    stalled, before = Signal(name=f"{name}_stalled"), Signal(len(payload), name=f"{name}_before")
    m.d.sync += [stalled.eq(stream.valid & ~stream.ready), before.eq(payload)]
    return stalled, stream.valid & (payload == before)


def assert_holds(m: Module, stream: Any, name: str) -> None:
    """Assert that the producer of ``stream`` keeps a stalled transfer unchanged."""
    stalled, same = _stalled(m, stream, name)
    with m.If(stalled):
        m.d.comb += Assert(same)


def assume_holds(m: Module, stream: Any, name: str) -> None:
    """Assume what `assert_holds` asserts, of a stream that comes from outside."""
    stalled, same = _stalled(m, stream, name)
    with m.If(stalled):
        m.d.comb += Assume(same)


def assert_fifo_invariants(m: Module, fifo: StreamFifo) -> None:
    """Assert what relates the pointers of ``fifo``, so that proofs about its owner are inductive."""
    m.d.comb += [
        Assert(fifo.level <= fifo.depth), Assert(fifo.consume < fifo.depth), Assert(fifo.produce < fifo.depth),
        Assert(fifo.produce == (fifo.consume + fifo.level) % fifo.depth),
    ]


class OrderContract(Elaboratable):
    """Follow one element, chosen freely by ``watch``, through a store between the streams ``i`` and ``o``.

    Asserts that at most ``capacity`` elements are inside, that it takes one whenever there is room and offers one
    whenever it holds one (so valid does not wait for ready), and that the watched element leaves unchanged, after
    exactly the elements that entered before it. Since every element may be the watched one, none is lost, doubled
    or overtaken.

    ``count``, ``live``, ``ahead`` and ``data`` (elements inside; the watched one is inside, behind how many, its
    payload) are for the invariants of a particular store.
    """

    def __init__(self, i: Any, o: Any, capacity: int, watch: Value):
        self.i, self.o, self.capacity, self.watch = i, o, capacity, watch
        self.count = Signal(range(capacity + 2))
        self.live = Signal()
        self.ahead = Signal(range(capacity + 2))
        self.data = Signal(len(Value.cast(i.payload)))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i, o = self.i, self.o
        push, pop = Signal(), Signal()
        m.d.comb += [push.eq(i.valid & i.ready), pop.eq(o.valid & o.ready)]
        m.d.sync += self.count.eq(self.count + push - pop)
        m.d.comb += [
            Assert(self.count <= self.capacity),
            Assert(i.ready == (self.count != self.capacity)),
            Assert(o.valid == (self.count != 0)),
        ]
        with m.If(self.live):
            m.d.comb += Assert(self.ahead < self.count)
            with m.If(pop):
                m.d.sync += self.ahead.eq(self.ahead - 1)
                with m.If(self.ahead == 0):
                    m.d.comb += Assert(Value.cast(o.payload) == self.data)
                    m.d.sync += self.live.eq(0)
        with m.Elif(push & self.watch):
            m.d.sync += [self.live.eq(1), self.ahead.eq(self.count - pop), self.data.eq(i.payload)]
        assert_holds(m, o, "o")
        return m
