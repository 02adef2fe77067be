"""Measure the energy per action at 180 nm on netlists of our own gateware: `python -m systolith.sim.energy.measure`.

Needs Debian's `qflow-tech-osu018` and `opensta`, and `pip install 'systolith[fpga]'`; takes a few seconds. The results
are the costs of the technology `180nm`. See `hw/asic/energy.py` for what they leave out.
"""

import sys

import numpy as np
from amaranth import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...hw.asic.energy import CellEnergy, Words, cell_energy
from ...hw.requant import Requantiser
from ...hw.synthesis import ToolError

__all__ = ["main", "measure"]

_CYCLES = 4096
_SEED = 1


class _Product(wiring.Component):
    """The product of a cell of the array, between its registers."""

    def __init__(self) -> None:
        super().__init__({"x": In(signed(8)), "w": In(signed(8)), "product": Out(signed(16))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        x, product = Signal(signed(8), reset_less=True), Signal(signed(16), reset_less=True)
        m.d.sync += [x.eq(self.x), product.eq(x * self.w)]
        m.d.comb += self.product.eq(product)
        return m


class _Sum(wiring.Component):
    """An int32 addition."""

    def __init__(self) -> None:
        super().__init__({"a": In(signed(32)), "b": In(signed(32)), "y": Out(signed(32))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        y = Signal(signed(32), reset_less=True)
        m.d.sync += y.eq(self.a + self.b)
        m.d.comb += self.y.eq(y)
        return m


def measure() -> dict[str, CellEnergy]:
    """Return the energy of each netlist with random data: a new activation per cycle, and weights that stand.

    Raises ``ToolError`` when a tool is missing.
    """
    rng = np.random.default_rng(_SEED)

    def activations() -> Words:
        return rng.integers(-128, 128, _CYCLES)

    def sums() -> Words:
        return sum((activations() * activations() for _ in range(16)), np.zeros(_CYCLES, np.int64))

    weights = np.repeat(rng.integers(-128, 128, _CYCLES // 64), 64)
    multipliers = np.repeat(rng.integers(1 << 30, 1 << 31, _CYCLES // 64), 64)
    return {
        "product": cell_energy(_Product(), {"x": activations(), "w": weights}),
        "sum": cell_energy(_Sum(), {"a": sums(), "b": activations() * activations()}),
        "requantiser": cell_energy(Requantiser(1), {
            "x": sums(), "mult": multipliers, "shift": np.full(_CYCLES, -8), "lo": np.full(_CYCLES, -128),
            "hi": np.full(_CYCLES, 127)}),
    }


def main() -> None:
    """Print a line per netlist."""
    try:
        measured = measure()
    except ToolError as error:
        sys.exit(f"measure: {error}")
    print(f"{'pJ per cycle':14} {'clock':>8} {'data':>8} {'logic':>8} {'flip-flops':>11} {'cells':>6} {'MHz':>5}")
    for name, each in measured.items():
        print(f"{name:14} {each.clock * 1e12:8.3f} {each.registers * 1e12:8.3f} {each.logic * 1e12:8.3f} "
              f"{each.flip_flops:11} {each.cells:6} {each.mhz:5.0f}")


if __name__ == "__main__":
    main()
