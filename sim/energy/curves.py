"""Delay and energy of CMOS over its supply, as published polynomials.

[S] A. Stillmaker, B. Baas, "Scaling equations for the accurate prediction of CMOS device performance from 180 nm to
    7 nm", Integration 58 (2017), tables 5 and 6, and corrigendum: fits to simulations of high-performance devices.
"""

import math
from dataclasses import dataclass

__all__ = ["CURVES", "Curve"]


@dataclass(frozen=True)
class Curve:
    """``delays``: a3, a2, a1, a0 of a delay factor a3 V^3 + a2 V^2 + a1 V + a0; ``energies``: a2, a1, a0 likewise."""

    delays: tuple[float, float, float, float]
    energies: tuple[float, float, float]

    def delay(self, volts: float) -> float:
        """Return the delay factor. The cubic rises again beyond ``fastest``, which is the fit and not the devices."""
        return _polynomial(self.delays, min(volts, self.fastest))

    def energy(self, volts: float) -> float:
        """Return the energy factor."""
        return _polynomial(self.energies, volts)

    @property
    def fastest(self) -> float:
        """The supply at which the delay is least, infinity when it falls for ever."""
        a, b, c = 3 * self.delays[0], 2 * self.delays[1], self.delays[2]
        if not a:
            return -c / b
        square = b * b - 4 * a * c
        return (-b + math.sqrt(square)) / (2 * a) if square > 0 else math.inf


CURVES: dict[str, Curve] = {
    "180nm": Curve((0, 97.09, -356.7, 406.5), (24.64, -17.98, 0)),
    "45nm": Curve((-501.6, 1567, -1619, 566.1), (1.018, -0.3107, 0.1539)),
    "32nm": Curve((-1047, 2982, -2797, 873.5), (0.8367, -0.4341, 0.1701)),
    "16nm": Curve((0, 24.8, -47.52, 28.87), (0.2958, -0.1241, 0.03024)),
    "7nm": Curve((-28.58, 76.6, -70.26, 24.69), (0.1776, -0.09097, 0.02447)),
}
"""[S] for each node."""


def _polynomial(coefficients: tuple[float, ...], x: float) -> float:
    value = 0.0
    for coefficient in coefficients:
        value = value * x + coefficient
    return value
