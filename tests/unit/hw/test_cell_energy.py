"""Energy of a netlist of standard cells."""

from pathlib import Path

import numpy as np
import pytest
from amaranth import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from systolith.hw.asic import energy
from systolith.hw.asic.energy import cell_energy
from systolith.hw.synthesis import ToolError
from systolith.sim.energy import TECHNOLOGIES
from systolith.sim.energy.measure import measure
from tests.cells import with_cells

near = pytest.approx


class Delay(wiring.Component):
    """A register of 8 bits."""

    x: In(signed(8))
    y: Out(signed(8))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        y = Signal(signed(8), reset_less=True)
        m.d.sync += y.eq(self.x)
        m.d.comb += self.y.eq(y)
        return m


def test_without_the_cells_the_error_says_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "LIBERTY", Path("none.lib"))
    design = Delay()
    design._MustUse__silence = True
    with pytest.raises(ToolError, match="cannot be found; do `apt-get install qflow-tech-osu018 opensta`"):
        cell_energy(design, {"x": np.zeros(2, np.int64)})


@with_cells
def test_registers_take_energy_for_the_clock_and_in_proportion_to_what_toggles() -> None:
    still = cell_energy(Delay(), {"x": np.zeros(100, np.int64)})
    moving, half = (cell_energy(Delay(), {"x": np.resize(pattern, 801)}) for pattern in ([0, -1], [0, 0, -1, -1]))

    assert still.flip_flops == 8 and still.registers == 0 and still.clock > 0
    assert moving.clock == still.clock
    assert half.registers == near(moving.registers / 2, rel=0.01)


@with_cells
@pytest.mark.slow
def test_the_energies_at_180_nm_are_those_measured() -> None:
    costs, measured = TECHNOLOGIES["180nm"].costs, measure()
    product, addition, requantiser = measured["product"], measured["sum"], measured["requantiser"]

    assert costs.product == near(product.logic, rel=0.01)
    assert costs.addition == near(addition.logic, rel=0.01)
    assert costs.requantisation == near(requantiser.clock + requantiser.registers + requantiser.logic, rel=0.01)
    assert costs.register_clock == near(product.clock / product.flip_flops, rel=0.01)
    assert costs.register_data == near(product.registers / product.flip_flops, rel=0.01)
    # Without wires: the clock that the technology assumes must be well below.
    assert TECHNOLOGIES["180nm"].mhz < 0.75 * min(each.mhz for each in measured.values())
