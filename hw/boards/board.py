"""What a board is: an FPGA, and the pins that a system uses."""

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Board", "Pin"]


@dataclass(frozen=True)
class Pin:
    """A pin of the FPGA.

    Attributes
    ----------
    site
        Its name on the package.
    inverted
        Whether it is low when what it stands for is true.
    attributes
        Of its buffer, as the constraint file has them.
    """

    site: str
    inverted: bool = False
    attributes: dict[str, str] = field(default_factory=lambda: {"IO_TYPE": "LVCMOS33"})


@dataclass(frozen=True)
class Board:
    """A board with an FPGA.

    Attributes
    ----------
    name, title
        For the command line and for people.
    source
        Where its pins come from.
    part
        FPGA, a name of `hw.area.PARTS`.
    device, package, speed
        Options of nextpnr.
    clock, clock_hz
        Pin of the oscillator and its frequency.
    rx, tx
        Serial line from and to the host.
    leds
        Lights, as many as there are, at most four: see `hw.system.LEDS`.
    reset
        Button that resets everything, if there is one.
    tied_high
        Pins that must be high for the board to work.
    preset, mhz
        Preset and clock of the system unless told otherwise.
    loader
        Arguments of openFPGALoader in front of the file.
    """

    name: str
    title: str
    source: str
    part: str
    device: str
    package: str
    speed: Literal["6", "7", "8"]
    clock: Pin
    clock_hz: int
    rx: Pin
    tx: Pin
    leds: tuple[Pin, ...]
    preset: str
    mhz: float
    loader: tuple[str, ...]
    reset: Pin | None = None
    tied_high: tuple[Pin, ...] = ()
