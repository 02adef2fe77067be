"""Energy per action in technologies, with the source of every number; `docs/energy.md` discusses them.

The anchor is 45 nm at 0.9 V. Other nodes scale logic and memory by the published factors; DRAM does not scale.

[H] M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, figure 1.1.9: 45 nm, 0.9 V.
[S] A. Stillmaker, B. Baas, "Scaling equations for the accurate prediction of CMOS device performance from 180 nm to
    7 nm", Integration 58 (2017), table 6 and corrigendum: energy factor a2 V^2 + a1 V + a0 of high-performance devices.
[A] Y. S. Shao et al., "Aladdin", ISCA 2014: the 40 nm component library at 1 ns, taken for 45 nm as it is.
[F] OpenROAD-flow-scripts, platform nangate45, fakeram45_512x64.lib: an SRAM of 32,768 bits as CACTI models it at 45 nm,
    1.1 V, 25 degrees.
[O] M. O'Connor et al., "Fine-grained DRAM", MICRO 2017. GDDR5 as figure 1, HBM2 as section 2.
[L] H. Ha, PhD thesis, Stanford 2018: 32 Gb LPDDR4.
"""

from dataclasses import dataclass, replace

__all__ = ["DRAM_TYPES", "INT8_PRODUCT", "INT32_ADD", "INT32_PRODUCT", "REGISTER_CLOCK", "REGISTER_LEAKAGE",
           "REGISTER_SWITCH", "SRAM_AREA", "SRAM_LEAKAGE", "SRAM_LEAKAGE_VOLTS", "TECHNOLOGIES", "OperatingPoint",
           "Technology", "sram_access"]

PJ, NW = 1e-12, 1e-9

# Joules at the anchor. [H]
INT8_PRODUCT = 0.2 * PJ
INT32_ADD = 0.1 * PJ    # an addition of b bits costs b / 32 of it; [H] gives 0.05 for 16 bits and 0.03 for 8
INT32_PRODUCT = 3.1 * PJ
_SRAM_8K = 10 * PJ      # 64 bits from a memory of 8 KiB
_SRAM_BITS, _SRAM_BYTES = 64, 8 << 10

# Per bit of a register: joules per cycle for its clock ("internal") and for its data ("switching"), watts. [A]
REGISTER_CLOCK = 7.94e-3 * PJ
REGISTER_SWITCH = 1.06e-3 * PJ
REGISTER_LEAKAGE = 74 * NW

# Per bit of SRAM: watts at 1.1 V, and square micrometres. [F]
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

_ANCHOR_FACTOR = (1.018, -0.3107, 0.1539)  # [S] 45 nm
_ANCHOR_VOLTS = 0.9


@dataclass(frozen=True)
class Technology:
    """A node. ``volts``: nominal supply. ``mhz``: clock by default, an assumption. ``factor``: a2, a1, a0 of [S].

    ``static``: whether leakage and area are known.
    """

    name: str
    volts: float
    mhz: float
    factor: tuple[float, float, float]
    static: bool = False

    @property
    def scale(self) -> float:
        """Dynamic energy at ``volts`` relative to the anchor."""
        return _factor(self.factor, self.volts) / _factor(_ANCHOR_FACTOR, _ANCHOR_VOLTS)


def _factor(polynomial: tuple[float, float, float], volts: float) -> float:
    a2, a1, a0 = polynomial
    return a2 * volts * volts + a1 * volts + a0


# Nominal supplies: [H] for 45 nm; the Predictive Technology Model that [S] simulates (ptm.asu.edu) for the others.
TECHNOLOGIES: dict[str, Technology] = {each.name: each for each in (
    Technology("45nm", _ANCHOR_VOLTS, 500, _ANCHOR_FACTOR, static=True),
    Technology("32nm", 0.9, 600, (0.8367, -0.4341, 0.1701)),
    Technology("16nm", 0.85, 800, (0.2958, -0.1241, 0.03024)),
    Technology("7nm", 0.7, 1000, (0.1776, -0.09097, 0.02447)),
)}


@dataclass(frozen=True)
class OperatingPoint:
    """A technology at a supply in volts and a clock in MHz, with a type of DRAM.

    Raises ``ValueError`` for values that mean nothing; no timing is checked.
    """

    technology: Technology
    volts: float
    mhz: float
    dram: str = "dram"

    def __post_init__(self) -> None:
        nominal = self.technology.volts
        if not nominal / 2 <= self.volts <= nominal * 1.5:
            raise ValueError(f"volts must be between {nominal / 2:g} and {nominal * 1.5:g} for {self.technology.name}, "
                             f"not {self.volts:g}")
        if not 0 < self.mhz <= 10_000:
            raise ValueError(f"mhz must be above 0 and at most 10000, not {self.mhz:g}")
        if self.dram not in DRAM_TYPES:
            raise ValueError(f"dram must be one of {', '.join(DRAM_TYPES)}, not {self.dram!r}")

    @property
    def scale(self) -> float:
        """Dynamic energy on chip relative to the anchor: that of the technology, and the square of the voltage."""
        return self.technology.scale * (self.volts / self.technology.volts) ** 2

    @property
    def seconds(self) -> float:
        """Duration of a cycle."""
        return 1e-6 / self.mhz

    @classmethod
    def parse(cls, text: str) -> "OperatingPoint":
        """Return the point of ``TECHNOLOGY[,KEY=VALUE ...]``, with keys volts, mhz and dram.

        Raises ``ValueError`` with one line that says what is wrong.
        """
        name, *settings = text.split(",")
        if name not in TECHNOLOGIES:
            raise ValueError(f"technology must be one of {', '.join(TECHNOLOGIES)}, not {name!r}")
        technology = TECHNOLOGIES[name]
        point = cls(technology, technology.volts, technology.mhz)
        for setting in settings:
            key, _, value = setting.partition("=")
            if key == "dram":
                point = replace(point, dram=value)
            elif key in ("volts", "mhz"):
                try:
                    number = float(value)
                except ValueError:
                    raise ValueError(f"{key} must be a number, not {value!r}") from None
                point = replace(point, volts=number) if key == "volts" else replace(point, mhz=number)
            else:
                raise ValueError(f"setting of an energy model must be volts=, mhz= or dram=, not {setting!r}")
        return point


def sram_access(bits: int, memory_bytes: int) -> float:
    """Return the joules at the anchor to read or write ``bits`` in a memory of ``memory_bytes``: a square-root law."""
    return _SRAM_8K * bits / _SRAM_BITS * (memory_bytes / _SRAM_BYTES) ** 0.5


