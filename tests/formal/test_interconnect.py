"""What the interconnect promises its masters and its slave, whatever they do that AXI allows."""

import pytest
from amaranth import Cat, Module, Signal
from amaranth.hdl import Assert, Assume
from amaranth.lib import stream, wiring

from systolith.hw.axi import AXI_ADDRESS, RESPONSE, read_data_layout, write_data_layout
from systolith.hw.interconnect import Interconnect
from tests.formal.contract import assert_holds
from tests.formal.prover import Refuted, has_path, prove

SIZE = 1  # byte in a beat: nothing depends on it
LAYOUTS = {"ar": AXI_ADDRESS, "aw": AXI_ADDRESS, "w": write_data_layout(SIZE), "r": read_data_layout(SIZE),
           "b": RESPONSE}


def channel(m: Module, bus, name: str, label: str):
    """Return a channel of an AXI port as a stream to look at."""
    view = stream.Signature(LAYOUTS[name]).create(path=(f"{label}_{name}",))
    m.d.comb += [view.valid.eq(getattr(bus, name + "valid")), view.ready.eq(getattr(bus, name + "ready"))]
    m.d.comb += [view.payload[part].eq(getattr(bus, name + part)) for part in LAYOUTS[name].members]
    return view


class Proof(wiring.Component):
    """An interconnect with free masters and a free slave that keep AXI's rule, and assertions that it does."""

    def __init__(self, interconnect: Interconnect):
        self.interconnect = interconnect
        super().__init__(interconnect.signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.interconnect = dut = self.interconnect
        wiring.connect(m, wiring.flipped(self), dut)
        ports = [getattr(self, f"port{i}") for i in range(dut.masters)]
        for bus, label, driven in ((self.bus, "bus", ("r", "b")),
                                   *((port, f"port{i}", ("ar", "aw", "w")) for i, port in enumerate(ports))):
            for name in LAYOUTS:
                view = channel(m, bus, name, label)
                if name in driven:
                    self._assume_holds(m, view, f"{label}_{name}")
                else:
                    assert_holds(m, view, f"{label}_{name}")
        # A beat or response goes to one master.
        for name in ("r", "b"):
            seen = Cat(getattr(port, f"{name}valid") for port in ports)
            m.d.comb += Assert((seen & (seen - 1)) == 0)
        # Of two masters that ask, the one that had the last grant does not get the next.
        for name in ("ar", "aw"):
            granted = [getattr(port, f"{name}valid") & getattr(port, f"{name}ready") for port in ports]
            for i, port in enumerate(ports):
                other_won = Signal(name=f"{name}_{i}_lost")
                with m.If(granted[1 - i] & getattr(port, f"{name}valid")):
                    m.d.sync += other_won.eq(1)
                with m.Elif(granted[i]):
                    m.d.sync += other_won.eq(0)
                with m.If(other_won):
                    m.d.comb += [Assert(~granted[1 - i]), Assert(getattr(port, f"{name}valid"))]
        return m

    @staticmethod
    def _assume_holds(m: Module, view, label: str) -> None:
        payload = view.payload.as_value()
        stalled, before = Signal(name=f"{label}_stalled"), Signal(len(payload), name=f"{label}_before")
        m.d.sync += [stalled.eq(view.valid & ~view.ready), before.eq(payload)]
        with m.If(stalled):
            m.d.comb += [Assume(view.valid), Assume(payload == before)]


def test_streams_hold_answers_have_one_master_and_grants_alternate():
    prove(Proof(Interconnect(2, SIZE, 2)), bound=8, induction=None)


@pytest.mark.parametrize("name", ["ar", "aw", "w"])
def test_valid_does_not_wait_for_ready(name):
    assert not has_path(Interconnect(2, SIZE, 2), f"bus__{name}ready", f"bus__{name}valid")
    assert not has_path(Interconnect(2, SIZE, 2), f"bus__{name}ready", f"port0__{name}ready")


class AlwaysTheFirst(Interconnect):
    """Grants port 0 whenever it asks."""

    def _choose(self, m, valid, last, chosen):
        m.d.comb += chosen.eq(~valid[0])


class AnswersAll(Interconnect):
    """Offers responses to both masters."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.port1.bvalid.eq(self.port0.bvalid)
        return m


@pytest.mark.parametrize("broken", [AlwaysTheFirst, AnswersAll])
def test_a_broken_interconnect_is_refuted(broken):
    with pytest.raises(Refuted):
        prove(Proof(broken(2, SIZE, 2)), bound=8, induction=None)
