"""Energy, leakage and SRAM area of a core: its sizes, times what `technology` says of one bit or one action."""

import enum

from ...hw.array import older_lines, psum_bits
from ...hw.config import AcceleratorConfig
from ...hw.isa import TABLE_ENTRIES
from .actions import Action, Counts
from .technology import (
    DRAM_TYPES,
    INT8_PRODUCT,
    INT32_ADD,
    INT32_PRODUCT,
    REGISTER_CLOCK,
    REGISTER_LEAKAGE,
    REGISTER_SWITCH,
    SRAM_AREA,
    SRAM_LEAKAGE,
    SRAM_LEAKAGE_VOLTS,
    OperatingPoint,
    Technology,
    sram_access,
)

__all__ = ["Component", "array_register_bits", "energy_of", "leakage_watts", "sram_area_mm2", "sram_bytes"]


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


def sram_bytes(config: AcceleratorConfig) -> dict[Component, int]:
    """Return the size of each memory; look-up tables are part of the vector unit."""
    return {
        Component.ACTIVATIONS: config.act_kib << 10,
        Component.WEIGHTS: config.wgt_kib << 10,
        Component.PARAMETERS: config.param_kib << 10,
        Component.ACCUMULATORS: config.acc_depth * config.cols * 4,
        Component.LINES: config.line_words * config.word_bytes * older_lines(config.fir_rows),
        Component.VECTOR: TABLE_ENTRIES * config.cols,
    }


def energy_of(counts: Counts, config: AcceleratorConfig, point: OperatingPoint) -> dict[Component, float]:
    """Return the joules of ``counts`` actions of a core per component.

    A write costs what a read does. The line buffer reads and writes in every cycle, as its circle turns in all of them.
    """
    n = {action: int(counts[action]) for action in Action}
    sizes = sram_bytes(config)
    word, acc_word = 8 * config.word_bytes, 32 * config.cols
    registers = n[Action.CYCLE] * REGISTER_CLOCK + n[Action.ARRAY_WORD] * REGISTER_SWITCH

    def access(bits: int, component: Component, parts: int = 1) -> float:
        """Return the joules to access one of the ``parts`` equal memories that the component consists of."""
        return sram_access(bits, sizes[component] // parts)

    mac = INT8_PRODUCT + INT32_ADD * psum_bits(config.rows) / 32
    on_chip = {
        Component.MACS: n[Action.MAC] * mac,
        Component.REGISTERS: array_register_bits(config) * registers,
        Component.ACTIVATIONS: (n[Action.ACT_READ] + n[Action.ACT_WRITE]) * access(
            word, Component.ACTIVATIONS, config.act_banks),
        Component.WEIGHTS: (n[Action.WGT_READ] + n[Action.WGT_WRITE]) * access(word, Component.WEIGHTS),
        Component.PARAMETERS: (n[Action.PARAM_READ] + n[Action.PARAM_WRITE]) * access(word, Component.PARAMETERS),
        Component.ACCUMULATORS: (n[Action.ACC_READ] + n[Action.ACC_WRITE]) * access(
            acc_word, Component.ACCUMULATORS, 2) + n[Action.ACC_WRITE] * config.cols * INT32_ADD,
        Component.LINES: 2 * n[Action.CYCLE] * access(word * older_lines(config.fir_rows), Component.LINES),
        Component.VECTOR: n[Action.LANE_ADD] * INT32_ADD + n[Action.LANE_PRODUCT] * INT8_PRODUCT
        + n[Action.LANE_REQUANT] * INT32_PRODUCT
        + (n[Action.TABLE_READ] + n[Action.TABLE_WRITE]) * access(8, Component.VECTOR, config.cols),
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
    bits = 8 * sum(sram_bytes(config).values())
    return (bits * SRAM_LEAKAGE * point.volts / SRAM_LEAKAGE_VOLTS
            + array_register_bits(config) * REGISTER_LEAKAGE * point.volts / point.technology.volts)


def sram_area_mm2(config: AcceleratorConfig, technology: Technology) -> float | None:
    """Return the area of all memories as single-ported SRAM, or None where nothing is known of it."""
    return 8 * sum(sram_bytes(config).values()) * SRAM_AREA * 1e-6 if technology.static else None
