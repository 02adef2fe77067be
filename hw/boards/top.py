"""The system on a board: clock, reset, pins, and the constraint file that goes with them."""

from collections.abc import Iterator

from amaranth import ClockDomain, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In, Out

from ..config import AcceleratorConfig
from ..system import LEDS, System
from .board import Board, Pin
from .pll import Ecp5Pll

__all__ = ["BoardTop"]


class BoardTop(wiring.Component):
    """A `System` with the clock, reset and polarities of a board; each pin is a port.

    Reset is asserted at power-on until the clock is stable, and while the button is pressed.

    Attributes
    ----------
    system : System
    pll : Ecp5Pll
        Where the frequency of the clock comes from; it is the nearest that does not exceed ``mhz``.
    """

    def __init__(self, board: Board, config: AcceleratorConfig, *, mhz: float, memory_kib: int, baud: int,
                 build_id: int = 0):
        self.board = board
        self.pll = Ecp5Pll.nearest(board.clock_hz / 1e6, mhz)
        self.system = System(config, memory_kib=memory_kib, clock_hz=round(self.pll.mhz * 1e6), baud=baud,
                             build_id=build_id)
        super().__init__({name: (In if is_input else Out)(1) for name, _, is_input in self._pins()})

    def _pins(self) -> Iterator[tuple[str, Pin, bool]]:
        """Yield the name of each port, its pin, and whether it is an input."""
        board = self.board
        yield "clock", board.clock, True
        yield "rx", board.rx, True
        yield "tx", board.tx, False
        if board.reset:
            yield "button", board.reset, True
        for name, pin in zip(LEDS.members, board.leds, strict=False):
            yield f"led_{name}", pin, False
        for i, pin in enumerate(board.tied_high):
            yield f"high{i}", pin, False

    def elaborate(self, platform: object) -> Module:
        m = Module()
        board = self.board
        m.domains.sync = ClockDomain()
        locked, button, unready = Signal(), Signal(), Signal()
        m.submodules.pll = self.pll.instance(self.clock, "sync", locked)
        if board.reset:
            m.d.comb += button.eq(self.button ^ board.reset.inverted)
        m.d.comb += unready.eq(button | ~locked)
        m.submodules.reset = ResetSynchronizer(unready, domain="sync", stages=3)

        m.submodules.system = system = self.system
        m.d.comb += [system.rx.eq(self.rx ^ board.rx.inverted), self.tx.eq(system.tx ^ board.tx.inverted)]
        for name, pin in zip(LEDS.members, board.leds, strict=False):
            m.d.comb += getattr(self, f"led_{name}").eq(system.leds[name] ^ pin.inverted)
        for i, _ in enumerate(board.tied_high):
            m.d.comb += getattr(self, f"high{i}").eq(1)
        return m

    def constraints(self) -> str:
        """Return the constraint file in Lattice's preference language (LPF)."""
        lines = []
        for name, pin, _ in self._pins():
            attributes = " ".join(f"{key}={value}" for key, value in pin.attributes.items())
            lines += [f'LOCATE COMP "{name}" SITE "{pin.site}";', f'IOBUF PORT "{name}" {attributes};']
        lines.append(f'FREQUENCY PORT "clock" {self.board.clock_hz / 1e6:g} MHZ;')
        return "\n".join(lines) + "\n"
