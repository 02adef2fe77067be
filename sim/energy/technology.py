"""Energy per action in technologies, with the source of every number; `docs/energy.md` discusses them.

[H] M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, figure 1.1.9: 45 nm, 0.9 V.
[J] N. Jouppi et al., "Ten lessons from three generations shaped Google's TPUv4i", ISCA 2021, table 2: 7 nm.
[M] Measured on netlists of our own gateware in OSU's 180 nm cells: `python -m systolith.sim.energy.measure`.
[A] Y. S. Shao et al., "Aladdin", ISCA 2014: the 40 nm component library at 1 ns, taken for 45 nm as it is.
[F] OpenROAD-flow-scripts, platform nangate45, fakeram45_512x64.lib: an SRAM of 32,768 bits as CACTI models it at 45 nm,
    1.1 V, 25 degrees.
[K] I. Kuon, J. Rose, "Measuring the gap between FPGAs and ASICs", IEEE TCAD 26 (2007): ratio of dynamic power, 90 nm.
[O] M. O'Connor et al., "Fine-grained DRAM", MICRO 2017. GDDR5 as figure 1, HBM2 as section 2.
[L] H. Ha, PhD thesis, Stanford 2018: 32 Gb LPDDR4.
"""

import math
from dataclasses import astuple, dataclass, replace

from .curves import CURVES, Curve

__all__ = ["DRAM_TYPES", "REGISTER_LEAKAGE", "SRAM_AREA", "SRAM_LEAKAGE", "SRAM_LEAKAGE_VOLTS", "TECHNOLOGIES", "Costs",
           "Technology"]

PJ, NW = 1e-12, 1e-9
_SRAM_BITS, _SRAM_BYTES = 64, 8 << 10


@dataclass(frozen=True)
class Costs:
    """Joules per action at the nominal supply.

    Attributes
    ----------
    product
        An int8 product.
    addition
        An int32 addition; one of b bits costs b / 32 of it.
    requantisation
        Of one lane.
    sram
        64 bits from a memory of 8 KiB.
    sram_growth
        Exponent of that in the size of larger memories; smaller ones go with the square root.
    register_clock, register_data
        Of a register bit, per cycle and per word.
    """

    product: float
    addition: float
    requantisation: float
    sram: float
    sram_growth: float
    register_clock: float
    register_data: float

    def access(self, bits: int, memory_bytes: int) -> float:
        """Return the joules to read or write ``bits`` in a memory of ``memory_bytes``."""
        size = memory_bytes / _SRAM_BYTES
        return self.sram * bits / _SRAM_BITS * size ** (self.sram_growth if size > 1 else 0.5)

    def scaled(self, factor: float) -> "Costs":
        """Return all energies times ``factor``."""
        return replace(Costs(*(value * factor for value in astuple(self))), sram_growth=self.sram_growth)


_45NM = Costs(
    product=0.2 * PJ, addition=0.1 * PJ,  # [H]; of 16 and 8 bits it gives 0.05 and 0.03
    requantisation=3.1 * PJ,              # [H], an int32 product; rounding and shifts are not counted
    sram=10 * PJ, sram_growth=0.5,        # [H] 10 pJ for 8 KiB, 20 for 32, 100 for 1 MiB; the law says 113
    register_clock=7.94e-3 * PJ, register_data=1.06e-3 * PJ)  # [A], "internal" and "switching"
_7NM = Costs(
    product=0.07 * PJ, addition=0.03 * PJ, requantisation=1.48 * PJ,      # [J]
    # [J] 7.5 pJ for 8 KiB, 8.5 for 32, 14 for 1 MiB; the law says 9.0 for 32 KiB
    sram=7.5 * PJ, sram_growth=math.log(14 / 7.5) / math.log(1024 / 8),
    # As the int8 product shrinks from [H] to [J].
    register_clock=0.35 * 7.94e-3 * PJ, register_data=0.35 * 1.06e-3 * PJ)
_180NM = replace(
    # Memories, which the netlists do not have, are those of 45 nm, scaled as `CURVES` say.
    _45NM.scaled(CURVES["180nm"].energy(1.8) / CURVES["45nm"].energy(0.9)),
    product=23.1 * PJ, addition=11.3 * PJ, requantisation=532 * PJ, register_clock=0.234 * PJ,
    register_data=0.125 * PJ)  # [M]
# [K] for designs of logic, hard multipliers and memories. Of logic alone it is 14.
_FPGA = 7.1

# Per bit, at the nominal supply of 45 nm: watts of a register [A]; watts of SRAM at 1.1 V, and square micrometres. [F]
REGISTER_LEAKAGE = 74 * NW
SRAM_LEAKAGE = 823_237 * NW / 32_768
SRAM_LEAKAGE_VOLTS = 1.1
SRAM_AREA = 17_301.438 / 32_768

DRAM_TYPES: dict[str, float] = {
    "dram": 1.95e3 * PJ / 64,  # [H] 1.3 to 2.6 nJ per 64 bits, the middle
    "gddr5": 14.0 * PJ,        # [O]
    "lpddr4": 14.0 * PJ,       # [L]
    "hbm2": 3.92 * PJ,         # [O]
}
"""Joules per bit read or written, interface included; idle and refresh power are not."""


@dataclass(frozen=True)
class Technology:
    """A process, or an FPGA.

    Attributes
    ----------
    name
        As users write it.
    basis
        Where ``costs`` come from, for people.
    volts
        Nominal supply.
    mhz
        Highest clock there: an assumption, as no core was laid out.
    costs
        Joules per action there.
    curve
        How delay and energy go with the supply.
    lowest, highest
        Supply at least and at most, relative to the nominal one.
    static
        Whether leakage and area are known.
    """

    name: str
    basis: str
    volts: float
    mhz: float
    costs: Costs
    curve: Curve
    lowest: float = 0.6
    highest: float = 1.1
    static: bool = False

    def max_mhz(self, volts: float) -> float:
        """Return the highest clock at a supply."""
        return self.mhz * self.curve.delay(self.volts) / self.curve.delay(volts)

    def energy_scale(self, volts: float) -> float:
        """Return the dynamic energy at a supply, relative to that at the nominal one."""
        return self.curve.energy(volts) / self.curve.energy(self.volts)


def _between(nanometres: float) -> Costs:
    """Return costs between those of 45 and 7 nm: straight lines in the logarithms of energy and of feature size."""
    share = math.log(45 / nanometres) / math.log(45 / 7)
    mixed = [old ** (1 - share) * new**share for old, new in zip(astuple(_45NM), astuple(_7NM), strict=True)]
    # The exponent is the slope of such a line already.
    return replace(Costs(*mixed), sram_growth=_45NM.sram_growth * (1 - share) + _7NM.sram_growth * share)


_INTERPOLATED = "interpolated between the published 45 and 7 nm"
# Nominal supplies: [H] for 45 nm; the cells for 180 nm; Lattice's data sheet for ECP5; the Predictive Technology Model
# (ptm.asu.edu) for the others. 28 nm goes with the curve of 32 nm, which is the nearest.
TECHNOLOGIES: dict[str, Technology] = {each.name: each for each in (
    Technology("180nm", "logic measured on our netlists, memories scaled from 45 nm", 1.8, 100, _180NM,
               CURVES["180nm"]),
    Technology("45nm", "published", 0.9, 500, _45NM, CURVES["45nm"], static=True),
    Technology("32nm", _INTERPOLATED, 0.9, 600, _between(32), CURVES["32nm"]),
    Technology("28nm", _INTERPOLATED, 0.9, 650, _between(28), CURVES["32nm"]),
    Technology("16nm", _INTERPOLATED, 0.85, 800, _between(16), CURVES["16nm"]),
    Technology("7nm", "published", 0.7, 1000, _7NM, CURVES["7nm"]),
    Technology("ecp5", f"an estimate: 45 nm at 1.1 V times {_FPGA:g}, the published gap between FPGA and ASIC", 1.1, 50,
               _45NM.scaled(_FPGA * CURVES["45nm"].energy(1.1) / CURVES["45nm"].energy(0.9)), CURVES["45nm"],
               lowest=0.95, highest=1.05),
)}
