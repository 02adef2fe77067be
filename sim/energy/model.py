"""Energy, leakage and SRAM area of a core: its sizes, times what `technology` says of one bit or one action."""

import enum

from ...hw.area import memories
from ...hw.array import psum_bits
from ...hw.config import AcceleratorConfig
from .actions import Action, Counts
from .gating import Gating
from .operating import OperatingPoint
from .technology import DRAM_TYPES, REGISTER_LEAKAGE, SRAM_AREA, SRAM_LEAKAGE, SRAM_LEAKAGE_VOLTS, Technology

__all__ = ["Component", "array_register_bits", "energy_of", "leakage_watts", "sram_area_mm2"]


class Component(enum.StrEnum):
    """Where energy goes."""

    MACS = "macs"
    REGISTERS = "registers"        # those of the array: clock and data
    ACTIVATIONS = "activations"    # buffers, in turn
    WEIGHTS = "weights"
    PARAMETERS = "parameters"
    ACCUMULATORS = "accumulators"
    LINES = "lines"
    VECTOR = "vector"
    LEAKAGE = "leakage"
    DRAM = "dram"


def array_register_bits(config: AcceleratorConfig) -> int:
    """Return the register bits of the cells that are clocked in every cycle; weights keep theirs and are left out."""
    cells = config.rows * config.cols
    downward = max(0, config.fir_rows - 1) * config.cols  # the second register per cell of the filter mode
    return cells * (8 + 16 + psum_bits(config.rows)) + 8 * downward


def energy_of(counts: Counts, config: AcceleratorConfig, point: OperatingPoint) -> dict[Component, float]:
    """Return the joules of ``counts`` actions of a core per component; ``point`` must have a clock.

    A write costs what a read does.
    """
    n = {action: int(counts[action]) for action in Action}
    costs, memory = point.technology.costs, {each.name: each for each in memories(config)}

    def words(name: str, *actions: Action) -> float:
        """Return the joules of actions that each read or write a word of one of the memories ``name``."""
        if name not in memory:
            return 0.0
        return sum(n[action] for action in actions) * costs.access(memory[name].bits, memory[name].bytes)

    clocked = n[Action.CYCLE if point.gating is Gating.NONE else Action.ARRAY_WORD]
    products = n[Action.MAC] - (n[Action.ZERO_MAC] if point.gating is Gating.ZERO else 0)
    registers = clocked * costs.register_clock + n[Action.ARRAY_WORD] * costs.register_data
    on_chip = {
        Component.MACS: products * costs.product + n[Action.MAC] * costs.addition * psum_bits(config.rows) / 32,
        Component.REGISTERS: array_register_bits(config) * registers,
        Component.ACTIVATIONS: words("activations", Action.ACT_READ, Action.ACT_WRITE),
        Component.WEIGHTS: words("weights", Action.WGT_READ, Action.WGT_WRITE),
        Component.PARAMETERS: words("parameters", Action.PARAM_READ, Action.PARAM_WRITE),
        Component.ACCUMULATORS: words("accumulators", Action.ACC_READ, Action.ACC_WRITE)
        + n[Action.ACC_WRITE] * config.cols * costs.addition,
        Component.LINES: 2 * words("lines", Action.LINE_WORD),
        Component.VECTOR: n[Action.LANE_ADD] * costs.addition + n[Action.LANE_PRODUCT] * costs.product
        + n[Action.LANE_REQUANT] * costs.requantisation + words("tables", Action.TABLE_READ, Action.TABLE_WRITE),
    }
    leakage = leakage_watts(config, point)
    return {component: joules * point.scale for component, joules in on_chip.items()} | {
        Component.LEAKAGE: (leakage or 0.0) * n[Action.CYCLE] * point.seconds,
        Component.DRAM: 8 * (n[Action.DRAM_READ] + n[Action.DRAM_WRITE]) * DRAM_TYPES[point.dram],
    }


def leakage_watts(config: AcceleratorConfig, point: OperatingPoint) -> float | None:
    """Return the leakage of all memories and of the array's registers, or None where nothing is known of it."""
    if not point.technology.static:
        return None
    return (_sram_bits(config) * SRAM_LEAKAGE * point.volts / SRAM_LEAKAGE_VOLTS
            + array_register_bits(config) * REGISTER_LEAKAGE * point.volts / point.technology.volts)


def sram_area_mm2(config: AcceleratorConfig, technology: Technology) -> float | None:
    """Return the area of all memories as single-ported SRAM, or None where nothing is known of it."""
    return _sram_bits(config) * SRAM_AREA * 1e-6 if technology.static else None


def _sram_bits(config: AcceleratorConfig) -> int:
    return sum(8 * each.bytes * each.count for each in memories(config))
