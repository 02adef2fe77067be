"""Action counts against hand-made cases and the core's own counters; energy per action against published figures."""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import partial

import numpy as np
import pytest
from amaranth.back import rtlil

from systolith.hw.array import SystolicArray
from systolith.hw.config import PRESETS, AcceleratorConfig
from systolith.hw.isa import INSTR_BYTES, Buffer, Opcode, encode
from systolith.sim.decode import decode_instruction
from systolith.sim.energy import TECHNOLOGIES, Action, Component, Gating, OperatingPoint, actions_of, energy_of
from systolith.sim.energy.curves import CURVES
from systolith.sim.energy.model import array_register_bits
from systolith.sim.filter import FilterCompute
from systolith.sim.memories import FILL
from systolith.sim.result import CoreResult
from systolith.sim.rtl import RtlCore
from systolith.sim.steps import Compute, prepare
from systolith.sim.tb.programs import link
from systolith.sim.timing import TimingModel
from systolith.sim.vector_steps import Pool

from .test_timing import BODIES, DENSE, DRAM_BYTES, FILTER, OUT, PAIR, TABLE, TINY, random_code

EDGE = PRESETS["edge"]
R = TINY.rows
near = partial(pytest.approx, rel=1e-9, abs=0)  # joules are far below the default tolerance


def actions(opcode: Opcode, fields: dict[str, int], config: AcceleratorConfig = TINY) -> dict[str, int]:
    """Return what one instruction does besides its fetch, without what it does not do."""
    counts = actions_of(config, decode_instruction(encode(opcode, **fields), 0))
    counts[Action.DRAM_READ] -= INSTR_BYTES
    return {action.name: int(counts[action]) for action in Action if counts[action]}


def point(text: str) -> OperatingPoint:
    return OperatingPoint.parse(text).at_clock(0)


def program_actions(code: bytes, config: AcceleratorConfig) -> np.ndarray:
    return sum((actions_of(config, decode_instruction(code[at:at + INSTR_BYTES], 0))
                for at in range(0, len(code), INSTR_BYTES)), np.zeros(len(Action), np.int64))


def assert_counters(code: bytes, config: AcceleratorConfig, measured: CoreResult) -> None:
    counts = program_actions(code, config)
    assert counts[Action.ARRAY_WORD] == measured.counters["ARRAY_ACTIVE"]
    assert counts[Action.MAC] == measured.counters["ARRAY_ACTIVE"] * config.rows * config.cols
    assert counts[Action.DRAM_READ] == measured.counters["DRAM_READ"] * config.word_bytes
    assert counts[Action.DRAM_WRITE] == measured.counters["DRAM_WRITE"] * config.word_bytes


def programs() -> Iterable[bytes]:
    for body in BODIES.values():
        yield link(TINY, [body], "serial", DRAM_BYTES)
    for seed in range(6):
        yield random_code(seed, TINY)


def test_multiplications_and_dram_bytes_are_those_of_the_cycle_model() -> None:
    model = TimingModel(TINY)
    for code in programs():
        assert_counters(code, TINY, model.run(code))


@pytest.mark.rtl
def test_multiplications_and_dram_bytes_are_those_of_the_rtl() -> None:
    with RtlCore(TINY, dram_bytes=DRAM_BYTES) as core:
        for code in programs():
            core.write(0, code)
            assert_counters(code, TINY, core.run(0, len(code) // INSTR_BYTES))


def test_activations_read_are_those_that_the_machine_gathers() -> None:
    checked = set()
    for code in programs():
        for index, at in enumerate(range(0, len(code), INSTR_BYTES)):
            instruction = decode_instruction(code[at:at + INSTR_BYTES], index)
            step = prepare(TINY, instruction, 0, DRAM_BYTES // R)
            if not isinstance(step, Compute | FilterCompute | Pool):
                continue
            words = step.streams if isinstance(step, FilterCompute) else step.words
            # Groups that read the same words share one entry of the array.
            repeats = 1 if isinstance(step, Pool) else instruction.fields["groups"] // len(words)
            assert actions_of(TINY, instruction)[Action.ACT_READ] == (words != FILL).sum() * repeats
            checked.add(type(step))
    assert checked == {Compute, FilterCompute, Pool}


def test_a_convolution_reads_no_padding_and_no_accumulator_in_its_first_pass() -> None:
    # A 3x3 kernel with one pixel of padding over a 4x4 image: of 4x4 outputs, 10 of 12 taps along each axis are inside.
    fields = {"in_h": 4, "in_w": 4, "step_x": 1, "step_y": 4, "stride_x": 1, "stride_y": 1, "out_h": 4, "out_w": 4,
              "kw": 3, "kh": 3, "tap_x": 1, "tap_y": 4, "dil_x": 1, "dil_y": 1, "iy0": -1, "ix0": -1, "blocks": 2,
              "tiles": 18, "groups": 3, "step_block": 16}
    words = 3 * 18 * 16

    counts = actions(Opcode.COMPUTE, fields)

    assert counts == {"MAC": words * R * R, "ARRAY_WORD": words, "ACT_READ": 3 * 2 * 10 * 10, "WGT_READ": 3 * 18 * R,
                      "ACC_READ": words - 3 * 16, "ACC_WRITE": words}
    assert actions(Opcode.COMPUTE, {**fields, "accumulate": 1}) == {**counts, "ACC_READ": words}


def test_a_strided_convolution_counts_the_taps_inside() -> None:
    # Outputs at -1, 1, 3 with taps 0 and 2 further: -1 1 | 1 3 | 3 5 of an axis of 4, that is 4 of 6 inside.
    fields = {"in_h": 4, "in_w": 4, "stride_x": 2, "stride_y": 2, "out_h": 3, "out_w": 3, "kw": 2, "kh": 2, "dil_x": 2,
              "dil_y": 2, "iy0": -1, "ix0": -1, "blocks": 1, "tiles": 4, "groups": 1}

    assert actions(Opcode.COMPUTE, fields)["ACT_READ"] == 4 * 4


def test_a_dense_layer_reads_its_input_for_each_group() -> None:
    assert actions(Opcode.COMPUTE, DENSE) == {"MAC": 12 * R * R, "ARRAY_WORD": 12, "ACT_READ": 12, "WGT_READ": 12 * R,
                                              "ACC_READ": 9, "ACC_WRITE": 12}


def test_a_filter_streams_its_lead_and_whole_lines_but_accumulates_outputs() -> None:
    assert actions(Opcode.COMPUTE, FILTER) == {
        "MAC": 2 * 37 * R * R, "ARRAY_WORD": 2 * 37, "LINE_WORD": 2 * 37, "ACT_READ": 2 * 36, "WGT_READ": 2 * R,
        "ACC_WRITE": 2 * 16}


def test_transfers() -> None:
    load = {"rows": 3, "row_words": 5}
    assert actions(Opcode.LOAD, load) == {"DRAM_READ": 15 * R, "ACT_WRITE": 15}
    assert actions(Opcode.LOAD, {**load, "buffer": Buffer.WGT}) == {"DRAM_READ": 15 * R, "WGT_WRITE": 15}
    assert actions(Opcode.LOAD, {**load, "buffer": Buffer.PARAM}) == {"DRAM_READ": 15 * R, "PARAM_WRITE": 15}
    assert actions(Opcode.LOAD, {**load, "pitch": 1, "windows": 8}) == {"DRAM_READ": 15 * R, "ACT_WRITE": 24}
    assert actions(Opcode.STORE, load) == {"DRAM_WRITE": 15 * R, "ACT_READ": 15}


def test_vector_instructions() -> None:
    words = OUT["out_h"] * OUT["out_w"]
    lanes = words * R
    assert actions(Opcode.REQUANT, {**OUT, "groups": 2}) == {
        "ACC_READ": 2 * words, "PARAM_READ": 18, "LANE_ADD": 2 * lanes, "LANE_REQUANT": 2 * lanes,
        "ACT_WRITE": 2 * words}
    assert actions(Opcode.ADD, PAIR) == {
        "ACT_READ": 2 * words, "LANE_ADD": lanes, "LANE_REQUANT": 2 * lanes, "ACT_WRITE": words}
    assert actions(Opcode.MUL, PAIR) == {
        "ACT_READ": 2 * words, "LANE_PRODUCT": lanes, "LANE_REQUANT": lanes, "ACT_WRITE": words}
    look_up = {"ACT_READ": words, "TABLE_READ": lanes, "LANE_REQUANT": lanes, "ACT_WRITE": words}
    assert actions(Opcode.TABLE, TABLE) == look_up
    assert actions(Opcode.TABLE, {**TABLE, "reload": 1}) == {**look_up, "PARAM_READ": 256, "TABLE_WRITE": 256 * R}
    # 2x2 windows from -1 on, without overlap: one tap of each axis is padding.
    pool = {**OUT, "out_h": 3, "out_w": 3, "kh": 2, "kw": 2, "stride_x": 2, "stride_y": 2, "iy0": -1, "ix0": -1,
            "in_h": 9, "in_w": 9}
    assert actions(Opcode.POOL, pool) == {
        "ACT_READ": 25, "LANE_ADD": 9 * 4 * R, "LANE_REQUANT": 9 * R, "ACT_WRITE": 9}


@pytest.mark.parametrize("name", ["tiny", "ulx3s", "edge"])
def test_most_clocked_registers_of_the_array_are_in_its_cells(name: str) -> None:
    config = PRESETS[name]
    text = rtlil.convert(SystolicArray(config.rows, config.fir_rows))
    registers = [cell.split("\n", 1) for cell in text.split("cell $dff ")[1:]]
    bits = sum(int(body.split("parameter \\WIDTH ")[1].split()[0]) for _, body in registers)
    weights = 2 * 8 * config.rows * config.cols

    # The rest skews and aligns words, and holds the lines that enter.
    assert 0.6 < array_register_bits(config) / (bits - weights) <= 1


def test_energy_is_the_sum_over_actions() -> None:
    rng = random.Random(1)
    first, second = (np.array([rng.randrange(1 << 40) for _ in Action]) for _ in range(2))

    both = energy_of(first + second, EDGE, point("45nm"))

    for component, joules in both.items():
        parts = sum(energy_of(each, EDGE, point("45nm"))[component] for each in (first, second))
        assert joules == near(parts)
        assert joules > 0


@pytest.mark.parametrize("technology", TECHNOLOGIES)
@pytest.mark.parametrize("action", [action for action in Action if action != Action.ZERO_MAC])  # part of MAC
def test_every_action_costs_energy(action: Action, technology: str) -> None:
    counts = np.zeros(len(Action), np.int64)
    counts[action] = 1

    assert sum(energy_of(counts, EDGE, point(technology)).values()) > 0


@pytest.mark.parametrize(("technology", "picojoules"), [("45nm", 0.2 + 0.1 * 20 / 32), ("7nm", 0.07 + 0.03 * 20 / 32)])
def test_a_multiplication_costs_what_was_published(technology: str, picojoules: float) -> None:
    counts = np.zeros(len(Action), np.int64)
    counts[Action.MAC] = 1

    # An int8 product, and 20 of 32 bits of an int32 addition.
    assert energy_of(counts, EDGE, point(technology))[Component.MACS] == near(picojoules * 1e-12)


@pytest.mark.parametrize(("technology", "picojoules"), [("45nm", (10, 20, 100)), ("7nm", (7.5, 8.5, 14))])
def test_an_access_to_a_memory_costs_nearly_what_was_published(technology: str, picojoules: tuple[float, ...]) -> None:
    costs = TECHNOLOGIES[technology].costs
    for kib, expected in zip((8, 32, 1024), picojoules, strict=True):
        assert costs.access(64, kib << 10) == pytest.approx(expected * 1e-12, rel=0.15, abs=0)
    assert costs.access(64, 2 << 10) == near(costs.access(64, 8 << 10) / 2)


def test_an_access_pays_for_one_bank() -> None:
    counts = np.zeros(len(Action), np.int64)
    counts[Action.ACT_READ] = 1

    # 128 bits of one of four banks of 64 KiB.
    assert energy_of(counts, EDGE, point("45nm"))[Component.ACTIVATIONS] == near(10e-12 * 2 * 8**0.5)


def test_the_line_buffer_costs_a_read_and_a_write() -> None:
    counts = np.zeros(len(Action), np.int64)
    counts[Action.LINE_WORD] = 1

    # Two older lines of 512 words of 16 bytes.
    assert energy_of(counts, EDGE, point("45nm"))[Component.LINES] == near(2 * 10e-12 * 4 * 2**0.5)
    assert energy_of(counts, PRESETS["ulx3s"], point("45nm"))[Component.LINES] == 0


def test_energies_between_two_nodes_lie_between_theirs() -> None:
    for kib in (1, 8, 64, 1024):
        energies = [TECHNOLOGIES[name].costs.access(64, kib << 10) for name in ("45nm", "32nm", "28nm", "16nm", "7nm")]
        assert energies == sorted(energies, reverse=True) and len(set(energies)) == 5
    products = [TECHNOLOGIES[name].costs.product for name in ("45nm", "32nm", "28nm", "16nm", "7nm")]
    assert products == sorted(products, reverse=True) and len(set(products)) == 5


def test_scaling_is_that_of_the_published_example() -> None:
    # The corrigendum computes the energy factor of 32 nm at 0.9 V as 0.4571.
    assert CURVES["32nm"].energy(0.9) == pytest.approx(0.4571, abs=5e-5)


def test_energy_on_chip_goes_with_the_curve_of_the_technology_and_dram_does_not() -> None:
    counts = np.full(len(Action), 1000)
    nominal, low = (energy_of(counts, TINY, point(f"16nm,volts={volts}")) for volts in (0.85, 0.6))
    curve = CURVES["16nm"]

    assert low[Component.MACS] / nominal[Component.MACS] == near(curve.energy(0.6) / curve.energy(0.85))
    assert low[Component.DRAM] == nominal[Component.DRAM]
    assert nominal[Component.LEAKAGE] == 0


def gated(counts: np.ndarray, gating: str) -> dict[Component, float]:
    return energy_of(counts, EDGE, OperatingPoint.parse(f"45nm,gating={gating}").at_clock(0))


def test_gating_saves_what_it_says_and_nothing_else() -> None:
    counts = np.arange(100, 100 + len(Action))
    counts[[Action.CYCLE, Action.ARRAY_WORD, Action.MAC, Action.ZERO_MAC]] = 1000, 300, 300 * 256, 20_000
    none, clock, zero = (gated(counts, gating) for gating in Gating)
    assert none == energy_of(counts, EDGE, OperatingPoint.parse("45nm").at_clock(0))
    idle = np.zeros_like(counts)
    idle[Action.CYCLE] = 1000 - 300  # cycles without a word
    assert none[Component.REGISTERS] - clock[Component.REGISTERS] == near(gated(idle, "none")[Component.REGISTERS])
    assert clock[Component.MACS] - zero[Component.MACS] == near(20_000 * 0.2e-12)  # int8 products
    for component in Component:
        if component != Component.REGISTERS:
            assert none[component] == clock[component]
        if component != Component.MACS:
            assert clock[component] == zero[component]
