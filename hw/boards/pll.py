"""Clock frequencies of the ECP5's phase-locked loop, EHXPLLL."""

from dataclasses import dataclass

from amaranth import ClockSignal, Const, Instance, Signal

__all__ = ["Ecp5Pll"]

# Lattice FPGA-DS-02012 (ECP5 and ECP5-5G family data sheet), sysCLOCK PLL timing, MHz.
_INPUT = (8, 400)
_OUTPUT = (3.125, 400)
_PHASE_DETECTOR = (3.125, 400)
_OSCILLATOR = (400, 800)
_LARGEST_DIVIDER = 128


@dataclass(frozen=True)
class Ecp5Pll:
    """Dividers of an EHXPLLL whose output CLKOP is fed back.

    ``mhz`` = ``input_mhz`` * ``feedback`` / ``reference``; the oscillator runs at ``mhz`` * ``output``.
    """

    input_mhz: float
    reference: int
    feedback: int
    output: int

    @property
    def mhz(self) -> float:
        return self.input_mhz * self.feedback / self.reference

    @property
    def oscillator_mhz(self) -> float:
        return self.mhz * self.output

    @classmethod
    def nearest(cls, input_mhz: float, mhz: float) -> "Ecp5Pll":
        """Return the dividers for the frequency nearest to ``mhz`` but not above it.

        Among equals the phase detector runs as fast as it can, and the oscillator in the middle of its range.
        Raises ``ValueError`` when a frequency is out of range.
        """
        for name, value, (low, high) in (("input clock", input_mhz, _INPUT), ("clock", mhz, _OUTPUT)):
            if not low <= value <= high:
                raise ValueError(f"{name} must be between {low} and {high} MHz, not {value:g}")
        found = []
        for reference in range(1, int(input_mhz / _PHASE_DETECTOR[0]) + 1):
            feedback = min(int(mhz * reference / input_mhz * (1 + 1e-9)), _LARGEST_DIVIDER)
            got = input_mhz * feedback / reference
            found += [((got, -reference, -abs(got * output - sum(_OSCILLATOR) / 2)),
                       cls(input_mhz, reference, feedback, output))
                      for output in range(1, _LARGEST_DIVIDER + 1) if _OSCILLATOR[0] <= got * output <= _OSCILLATOR[1]]
        if not found:
            raise ValueError(f"clock must be one that a PLL can make of {input_mhz:g} MHz, not {mhz:g} MHz")
        return max(found, key=lambda entry: entry[0])[1]

    def instance(self, clock: Signal, domain: str, locked: Signal) -> Instance:
        """Return the primitive that drives the clock of ``domain`` from ``clock``."""
        disabled = ("PLLRST_ENA", "INTFB_WAKE", "STDBY_ENABLE", "DPHASE_SOURCE")
        return Instance(
            "EHXPLLL", **{f"p_{name}": "DISABLED" for name in disabled},
            **{f"p_OUTDIVIDER_MUX{output}": f"DIV{output}" for output in "ABCD"},
            p_CLKI_DIV=self.reference, p_CLKFB_DIV=self.feedback, p_FEEDBK_PATH="CLKOP",
            p_CLKOP_ENABLE="ENABLED", p_CLKOP_DIV=self.output, p_CLKOP_CPHASE=self.output // 2, p_CLKOP_FPHASE=0,
            a_FREQUENCY_PIN_CLKI=f"{self.input_mhz:g}", a_FREQUENCY_PIN_CLKOP=f"{self.mhz:g}",
            # Loop filter and charge pump as the vendor's generator sets them.
            a_ICP_CURRENT="12", a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1", a_MFG_GMCREF_SEL="2",
            i_CLKI=clock, i_CLKFB=ClockSignal(domain), o_CLKOP=ClockSignal(domain), o_LOCK=locked,
            i_RST=Const(0), i_STDBY=Const(0), i_PHASESEL0=Const(0), i_PHASESEL1=Const(0), i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1), i_PHASELOADREG=Const(1), i_PLLWAKESYNC=Const(0), i_ENCLKOP=Const(0))
