"""Contract proofs of `StreamFifo` and `StreamBuffer`, and that the proofs fail for broken ones."""

import pytest
from amaranth import Module, unsigned
from amaranth.hdl import Assert
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from systolith.hw.fifo import StreamBuffer, StreamFifo
from tests.formal.contract import OrderContract, assert_fifo_invariants
from tests.formal.prover import Refuted, has_path, prove

SHAPE = unsigned(3)


class Proof(wiring.Component):
    """A store with free inputs beside its contract and the invariants that make it inductive."""

    i: In(stream.Signature(SHAPE))
    o: Out(stream.Signature(SHAPE))
    watch: In(1)

    def __init__(self, store: StreamFifo | StreamBuffer):
        self.store = store
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.store = store = self.store
        capacity = store.depth if isinstance(store, StreamFifo) else 2
        m.submodules.contract = contract = OrderContract(store.i, store.o, capacity, self.watch)
        connect(m, flipped(self.i), store.i)
        connect(m, store.o, flipped(self.o))
        if isinstance(store, StreamFifo):
            assert_fifo_invariants(m, store)
            spy = store.storage.read_port(domain="comb")
            m.d.comb += [spy.addr.eq((store.consume + contract.ahead) % store.depth),
                         Assert(store.level == contract.count)]
            with m.If(contract.live):
                m.d.comb += Assert(spy.data == contract.data)
        else:
            m.d.comb += [Assert(store.o.valid + store.full == contract.count), Assert(store.o.valid | ~store.full)]
            with m.If(contract.live):
                with m.If(contract.ahead == 0):
                    m.d.comb += Assert(store.o.payload == contract.data)
                with m.Else():
                    m.d.comb += Assert(store.caught == contract.data)
        return m


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_fifo_keeps_the_contract(depth):
    prove(Proof(StreamFifo(SHAPE, depth)), bound=depth + 3)


def test_buffer_keeps_the_contract():
    prove(Proof(StreamBuffer(SHAPE)))


class DropsWhenFull(StreamFifo):
    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.level == self.depth):
            m.d.comb += self.i.ready.eq(self.i.valid)
            m.d.sync += self.level.eq(self.level)
        return m


class SkipsAfterWrap(StreamFifo):
    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If((self.consume == self.depth - 1) & self.o.valid & self.o.ready):
            m.d.sync += self.consume.eq(1)
        return m


class OffersLate(StreamFifo):
    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.o.valid.eq((self.level != 0) & self.o.ready)
        return m


class ForgetsUnderBackPressure(StreamBuffer):
    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.o.valid & ~self.o.ready & self.i.valid):
            m.d.sync += self.o.payload.eq(self.i.payload)
        return m


class TakesWithoutRoom(StreamBuffer):
    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.i.ready.eq(1)
        return m


@pytest.mark.parametrize("broken", [DropsWhenFull, SkipsAfterWrap, OffersLate, ForgetsUnderBackPressure,
                                    TakesWithoutRoom])
def test_the_contract_refutes_a_broken_store(broken):
    store = broken(SHAPE, 2) if issubclass(broken, StreamFifo) else broken(SHAPE)
    with pytest.raises(Refuted):
        prove(Proof(store), bound=10)


def test_buffer_cuts_every_combinational_path():
    for source in ("i__valid", "i__payload", "o__ready"):
        for target in ("o__valid", "o__payload", "i__ready"):
            assert not has_path(StreamBuffer(SHAPE), source, target), f"{source} to {target}"


def test_fifo_does_not_look_through():
    assert not has_path(StreamFifo(SHAPE, 3), "o__ready", "o__valid")
    assert not has_path(StreamFifo(SHAPE, 3), "o__ready", "i__ready")
    assert not has_path(StreamFifo(SHAPE, 3), "i__valid", "o__valid")


def test_a_combinational_path_is_found():
    assert has_path(OffersLate(SHAPE, 3), "o__ready", "o__valid")
