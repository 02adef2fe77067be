"""Operating points of a technology: supply, clock, and the DRAM beside it."""

import math
from dataclasses import dataclass, replace

from .gating import Gating
from .technology import DRAM_TYPES, TECHNOLOGIES, Technology

__all__ = ["LEVELS", "OperatingPoint", "operating_points"]

LEVELS = {"low": 0.7, "medium": 0.85, "nominal": 1.0, "high": 1.1}
"""Supply of the named points, relative to the nominal one."""


@dataclass(frozen=True)
class OperatingPoint:
    """A technology at a supply in volts and a clock in MHz, with a type of DRAM and what is gated.

    ``mhz`` None leaves the clock to `at_clock`. Raises ``ValueError`` for what the technology cannot do.
    """

    technology: Technology
    volts: float
    mhz: float | None = None
    dram: str = "dram"
    gating: Gating = Gating.NONE

    def __post_init__(self) -> None:
        technology = self.technology
        low, high = technology.volts * technology.lowest, technology.volts * technology.highest
        if not low - 1e-9 <= self.volts <= high + 1e-9:
            raise ValueError(f"volts must be between {low:g} and {high:g} for {technology.name}, not {self.volts:g}")
        if self.mhz is not None and not 0 < self.mhz <= self.max_mhz:
            raise ValueError(f"mhz must be above 0 and at most {self.max_mhz} for {technology.name} at "
                             f"{self.volts:g} V, not {self.mhz:g}")
        if self.dram not in DRAM_TYPES:
            raise ValueError(f"dram must be one of {', '.join(DRAM_TYPES)}, not {self.dram!r}")

    @property
    def max_mhz(self) -> int:
        """The highest clock at this supply, in whole MHz."""
        return math.floor(self.technology.max_mhz(self.volts) + 1e-6)

    @property
    def scale(self) -> float:
        """Dynamic energy on chip, relative to that at the nominal supply."""
        return self.technology.energy_scale(self.volts)

    @property
    def seconds(self) -> float:
        """Duration of a cycle; the point must have a clock."""
        assert self.mhz is not None, "a clock, see `at_clock`"
        return 1e-6 / self.mhz

    def at_clock(self, clock_mhz: int) -> "OperatingPoint":
        """Return this point with a clock: ``clock_mhz`` of a configuration unless 0, its own, or else the highest.

        Raises ``ValueError`` when the two differ, or when it is beyond the highest.
        """
        if self.mhz is not None and clock_mhz and self.mhz != clock_mhz:
            raise ValueError(f"mhz must be {clock_mhz} as clock_mhz of the configuration is, not {self.mhz:g}")
        return replace(self, mhz=clock_mhz or self.mhz or self.max_mhz)

    @classmethod
    def parse(cls, text: str) -> "OperatingPoint":
        """Return the point of ``TECHNOLOGY[,KEY=VALUE ...]``, with keys point or volts, mhz, dram and gating.

        Raises ``ValueError`` with one line that says what is wrong.
        """
        name, *settings = text.split(",")
        if name not in TECHNOLOGIES:
            raise ValueError(f"technology must be one of {', '.join(TECHNOLOGIES)}, not {name!r}")
        technology = TECHNOLOGIES[name]
        values = dict[str, str]()
        for setting in settings:
            key, _, value = setting.partition("=")
            if key not in ("point", "volts", "mhz", "dram", "gating"):
                raise ValueError("setting of an energy model must be point=, volts=, mhz=, dram= or gating=, not "
                                 f"{setting!r}")
            if key in values:
                raise ValueError(f"{key} must be given once, not as {values[key]} and {value}")
            values[key] = value
        if "point" in values and "volts" in values:
            raise ValueError(f"volts must come without point, not with point={values['point']}")
        volts = _number("volts", values["volts"]) if "volts" in values else technology.volts
        if "point" in values:
            points = operating_points(technology)
            if values["point"] not in points:
                raise ValueError(f"point must be one of {', '.join(points)} for {name}, not {values['point']!r}")
            volts = points[values["point"]].volts
        mhz = _number("mhz", values["mhz"]) if "mhz" in values else None
        gating = values.get("gating", Gating.NONE)
        if gating not in list(Gating):
            raise ValueError(f"gating must be one of {', '.join(Gating)}, not {gating!r}")
        return cls(technology, volts, mhz, values.get("dram", "dram"), Gating(gating))


def operating_points(technology: Technology, dram: str = "dram") -> dict[str, OperatingPoint]:
    """Return the points of a technology by their name in `LEVELS`, slowest first, each at its highest clock.

    A level is left out where the technology does not allow it or its curve gives no more speed for it.
    """
    found = {}
    for name, share in LEVELS.items():
        volts = round(technology.volts * share, 4)
        if name == "nominal" or (technology.lowest <= share <= technology.highest
                                 and volts <= technology.curve.fastest):
            found[name] = OperatingPoint(technology, volts, None, dram).at_clock(0)
    return found


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{key} must be a number, not {text!r}") from None
