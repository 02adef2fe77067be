"""AXI's rule that valid and payload hold until taken, on every port that the DMA drives, whatever its inputs do."""

import pytest
from amaranth import Module
from amaranth.hdl import Assert
from amaranth.lib import wiring

from systolith.hw.axi import ReadArbiter
from systolith.hw.config import AcceleratorConfig
from systolith.hw.dma import LoadUnit, StoreUnit
from systolith.hw.fetch import FetchUnit
from tests.formal.contract import assert_fifo_invariants, assert_holds
from tests.formal.prover import Refuted, has_path, prove

# Small, for the solver; nothing here depends on the sizes.
CONFIG = AcceleratorConfig(rows=2, act_kib=1, act_banks=2, wgt_kib=1, param_kib=1, outstanding=2)

PORTS = {
    "load": (lambda: LoadUnit(CONFIG), ["ar"]),
    "store": (lambda: StoreUnit(CONFIG, 2), ["aw", "w"]),
    "fetch": (lambda: FetchUnit(CONFIG), ["ar", "o"]),
    "arbiter": (lambda: ReadArbiter(CONFIG.word_bytes, 3), ["ar"]),
}


class Beside(wiring.Component):
    """A unit with all its ports free, and assertions about its output streams."""

    def __init__(self, unit, ports):
        self.unit, self.ports = unit, ports
        super().__init__(unit.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit = unit = self.unit
        wiring.connect(m, wiring.flipped(self), unit)
        for port in self.ports:
            assert_holds(m, getattr(unit, port), port)
        if isinstance(unit, StoreUnit):
            # The words FIFO takes what the read port returns without asking, for each word read has its credit.
            words = unit.words
            assert_fifo_invariants(m, words)
            m.d.comb += [
                Assert(~words.i.valid | words.i.ready),
                Assert(unit.credits + words.level + sum(asked[0] for asked in unit.asked) == words.depth),
            ]
        if isinstance(unit, FetchUnit):
            assert_fifo_invariants(m, unit.fifo)
        return m


@pytest.mark.parametrize("unit", PORTS)
def test_streams_hold_until_taken(unit):
    make, ports = PORTS[unit]
    prove(Beside(make(), ports), bound=6)


@pytest.mark.parametrize("unit", PORTS)
def test_valid_does_not_wait_for_ready(unit):
    make, ports = PORTS[unit]
    for port in ports:
        assert not has_path(make(), f"{port}__ready", f"{port}__valid")


class ReturnsCreditsEarly(StoreUnit):
    """Returns a word's credit when it is offered, not when it is taken."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.w.valid & ~self.w.ready & (self.credits != self.words.depth)):
            m.d.sync += self.credits.eq(self.credits + 1)
        return m


class GivesUp(LoadUnit):
    """Withdraws its address when halted."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.halt):
            m.d.comb += self.ar.valid.eq(0)
        return m


@pytest.mark.parametrize("broken, ports", [(lambda: ReturnsCreditsEarly(CONFIG, 2), ["w"]),
                                           (lambda: GivesUp(CONFIG), ["ar"])], ids=["credits", "withdrawal"])
def test_a_broken_unit_is_refuted(broken, ports):
    with pytest.raises(Refuted):
        prove(Beside(broken(), ports), bound=8)
