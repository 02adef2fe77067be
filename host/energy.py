"""The energy of a run, by layer and component: what its instructions did, in a technology. `docs/energy.md`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from ..hw.config import AcceleratorConfig
from ..hw.isa import INSTR_BYTES
from ..sim.decode import decode_instruction
from ..sim.energy import Action, Component, Gating, OperatingPoint, actions_of, energy_of, leakage_watts, sram_area_mm2
from .errors import UsageError
from .profile import hardware_code
from .program import Program


@dataclass(frozen=True)
class LayerEnergy:
    """One operator of the network, named and in order as in the report; joules per sample, actions of all samples."""

    name: str
    joules: float
    components: Mapping[str, float]
    actions: Mapping[str, int]


@dataclass(frozen=True)
class EnergyReport:
    """Modelled energy of the accelerator and its DRAM, without the CPU; per sample unless it says otherwise.

    Attributes:
        technology: name of the node.
        basis: where its energies per action come from.
        volts, mhz: supply and clock.
        dram: type of the DRAM.
        gating: what of the array is gated.
        joules: energy; the layers sum to it, and so do the components.
        seconds: cycles at that clock.
        watts: joules / seconds.
        energy_delay: joules * seconds.
        gops_per_watt: useful operations, two per multiply-accumulate of the network, in 10^9 per joule.
        leakage_watts: leakage, which `joules` includes, or None where the technology has no figure and it is left out.
        sram_mm2: area of the memories, or None likewise.
        components: joules by component.
        actions: how often each action happened, over all samples.
        layers: the operators.
    """

    technology: str
    basis: str
    volts: float
    mhz: float
    dram: str
    gating: str
    joules: float
    seconds: float
    watts: float
    energy_delay: float
    gops_per_watt: float
    leakage_watts: float | None
    sram_mm2: float | None
    components: Mapping[str, float]
    actions: Mapping[str, int]
    layers: tuple[LayerEnergy, ...]

    def tables(self) -> list[Table]:
        """Return the layers, and the components, as tables for `rich`."""
        gating = "" if self.gating == Gating.NONE else f", gating={self.gating}"
        title = (f"energy per sample at {self.technology}, {self.volts:g} V, {self.mhz:g} MHz, {self.dram}{gating} "
                 "(a model)")
        # Components of no layer are left out.
        names = [name for name, joules in self.components.items() if joules]
        table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
        table.add_column("layer, uJ", overflow="fold")
        for name in ("total", *names):
            table.add_column(name, justify="right")
        for layer in self.layers:
            table.add_row(layer.name, *(_micro(joules) for joules in (
                layer.joules, *(layer.components[name] for name in names))))
        table.add_section()
        table.add_row("total", _micro(self.joules), *(_micro(self.components[name]) for name in names))
        table.add_row("share", "", *(f"{self.components[name] / self.joules:.1%}" for name in names))
        summary = Table(box=None, show_header=False, pad_edge=False)
        summary.add_row("energy per action", self.basis)
        summary.add_row("power", f"{self.watts * 1e3:,.1f} mW")
        summary.add_row("energy-delay product", f"{self.energy_delay * 1e9:,.3g} uJ ms")
        summary.add_row("efficiency", f"{self.gops_per_watt:,.1f} GOPS/W")
        summary.add_row("leakage", "left out: no figure" if self.leakage_watts is None
                        else f"{self.leakage_watts * 1e3:,.1f} mW")
        if self.sram_mm2 is not None:
            summary.add_row("memories", f"{self.sram_mm2:,.2f} mm2")
        return [table, summary]


def clocked(point: OperatingPoint, config: AcceleratorConfig) -> OperatingPoint:
    """Return `point` with the one clock that it and `config` have.

    Raises:
        UsageError: they have different ones, or the clock is too fast.
    """
    try:
        return point.at_clock(config.clock_mhz)
    except ValueError as error:
        raise UsageError(str(error)) from None


def program_actions(program: Program) -> np.ndarray:
    """Return what each layer does in one run of `program`, int64 [layers, len(Action)]; cycles are 0."""
    counts = np.zeros((len(program.layers), len(Action)), np.int64)
    for code, layers in hardware_code(program):
        for index, layer in enumerate(layers):
            at = index * INSTR_BYTES
            counts[layer] += actions_of(program.config, decode_instruction(code[at:at + INSTR_BYTES], index))
    return counts


def energy_report(names: Sequence[str], actions: np.ndarray, samples: int, macs: int, config: AcceleratorConfig,
                  point: OperatingPoint) -> EnergyReport:
    """Return the energy of `actions`, int64 [layers, len(Action)], of all `samples`; `macs` are useful, per sample.

    `point` must have a clock, see `clocked`.
    """
    assert point.mhz is not None, "a clock"
    per_layer = [{component: joules / samples for component, joules in energy_of(counts, config, point).items()}
                 for counts in actions]
    layers = tuple(LayerEnergy(name, sum(parts.values()), _named(parts), _counts(counts))
                   for name, parts, counts in zip(names, per_layer, actions, strict=True))
    components = {component: sum(parts[component] for parts in per_layer) for component in Component}
    total = actions.sum(axis=0)
    joules = sum(components.values())
    seconds = int(total[Action.CYCLE]) / samples * point.seconds
    return EnergyReport(
        technology=point.technology.name, basis=point.technology.basis, volts=point.volts, mhz=point.mhz,
        dram=point.dram, gating=point.gating.value, joules=joules, seconds=seconds,
        watts=joules / seconds if seconds else 0.0,
        energy_delay=joules * seconds,
        gops_per_watt=2e-9 * macs / joules if joules else 0.0, leakage_watts=leakage_watts(config, point),
        sram_mm2=sram_area_mm2(config, point.technology), components=_named(components), actions=_counts(total),
        layers=layers)


def _named(parts: Mapping[Component, float]) -> dict[str, float]:
    return {component.value: joules for component, joules in parts.items()}


def _counts(counts: np.ndarray) -> dict[str, int]:
    return {action.name.lower(): int(counts[action]) for action in Action}


def _micro(joules: float) -> str:
    return f"{joules * 1e6:,.2f}"
