"""Cycles per layer and the array's waiting time, from hand-made traces."""

from __future__ import annotations

import numpy as np

from systolith.host.devices.base import RunResult
from systolith.host.profile import InstructionTable, dram_wait_cycles, layer_cycles
from systolith.hw.config import PRESETS
from systolith.hw.isa import Opcode, Unit, encode

CONFIG = PRESETS["tiny"]


def _program() -> InstructionTable:
    """Two layers of load, compute, requantise, and a store."""
    code = [
        encode(Opcode.LOAD),
        encode(Opcode.COMPUTE, {"wait_load": 1}, groups=1, tiles=2, out_h=1, out_w=8),
        encode(Opcode.REQUANT, {"wait_compute": 1}),
        encode(Opcode.LOAD),
        encode(Opcode.COMPUTE, {"wait_load": 2, "wait_vector": 1}, groups=1, tiles=1, out_h=2, out_w=6),
        encode(Opcode.REQUANT, {"wait_compute": 2}),
        encode(Opcode.STORE, {"wait_vector": 2}),
    ]
    return InstructionTable.of(b"".join(code), [0, 0, 0, 1, 1, 1, 1], CONFIG)


def _run(**changes: list[int]) -> RunResult:
    retire = {"LOAD": [10, 50], "COMPUTE": [30, 70], "VECTOR": [35, 75], "STORE": [90], **changes}
    issue = {"LOAD": [0, 10], "COMPUTE": [11, 51], "VECTOR": [31, 71], "STORE": [76]}
    as_trace = [{Unit[name]: np.array(cycles) for name, cycles in trace.items()} for trace in (issue, retire)]
    return RunResult(0, 0, 100, {}, *as_trace)


def test_table_holds_units_waits_and_layers_in_program_order() -> None:
    table = _program()

    assert [Unit(unit).name for unit in table.units] == [
        "LOAD", "COMPUTE", "VECTOR", "LOAD", "COMPUTE", "VECTOR", "STORE"]
    assert table.waits[4].tolist() == [2, 0, 1, 0]


def test_wide_wait_counts_survive() -> None:
    table = InstructionTable.of(encode(Opcode.STORE, {"wait_store": 0xABCDEF, "wait_load": 0x123456}), [0], CONFIG)

    assert table.waits[0].tolist() == [0x123456, 0, 0, 0xABCDEF]


def test_array_cycles_are_tiles_times_their_passes() -> None:
    assert _program().array_cycles.tolist() == [0, 16, 0, 0, 12, 0, 0]


def test_layers_share_the_run_without_gap_or_overlap() -> None:
    cycles = layer_cycles(_program(), _run(), layers=3)

    assert cycles is not None
    # The first tile ends at 30; the second is waited for and worked on until 70, then drained and stored until 100.
    assert cycles.tolist() == [30, 70, 0]


def test_vector_layer_pays_only_for_what_the_array_does_not_hide() -> None:
    code = [
        encode(Opcode.COMPUTE, groups=1, tiles=1, out_h=1, out_w=10),
        encode(Opcode.POOL),
        encode(Opcode.COMPUTE, groups=1, tiles=1, out_h=1, out_w=10),
        encode(Opcode.STORE),
    ]
    table = InstructionTable.of(b"".join(code), [0, 1, 2, 3], CONFIG)
    empty = np.array([], np.int64)
    issue = {Unit.LOAD: empty, Unit.COMPUTE: np.array([0, 20]), Unit.VECTOR: np.array([15]), Unit.STORE: np.array([55])}
    retire = {Unit.LOAD: empty, Unit.COMPUTE: np.array([20, 50]), Unit.VECTOR: np.array([45]),
              Unit.STORE: np.array([60])}

    cycles = layer_cycles(table, RunResult(0, 0, 64, {}, issue, retire), layers=4)

    assert cycles is not None
    # The pool runs from 15 to 45, the array works from 10 to 20 and from 40 to 50.
    assert cycles.tolist() == [20, 20, 10, 14]


def test_a_vector_instruction_does_not_begin_before_the_one_ahead_of_it_ends() -> None:
    code = [encode(Opcode.COMPUTE, groups=1, tiles=1, out_h=1, out_w=10), encode(Opcode.POOL), encode(Opcode.POOL)]
    table = InstructionTable.of(b"".join(code), [0, 1, 2], CONFIG)
    empty = np.array([], np.int64)
    issue = {Unit.LOAD: empty, Unit.COMPUTE: np.array([0]), Unit.VECTOR: np.array([20, 21]), Unit.STORE: empty}
    retire = {Unit.LOAD: empty, Unit.COMPUTE: np.array([20]), Unit.VECTOR: np.array([40, 70]), Unit.STORE: empty}

    cycles = layer_cycles(table, RunResult(0, 0, 70, {}, issue, retire), layers=3)

    assert cycles is not None
    assert cycles.tolist() == [20, 20, 30]


def test_program_without_array_work_belongs_to_its_vector_layers() -> None:
    table = InstructionTable.of(encode(Opcode.POOL) + encode(Opcode.STORE), [0, 1], CONFIG)
    empty = np.array([], np.int64)
    issue = {unit: empty for unit in Unit} | {Unit.VECTOR: np.array([5]), Unit.STORE: np.array([20])}
    retire = {unit: empty for unit in Unit} | {Unit.VECTOR: np.array([20]), Unit.STORE: np.array([30])}

    cycles = layer_cycles(table, RunResult(0, 0, 32, {}, issue, retire), layers=2)

    assert cycles is not None
    assert cycles.tolist() == [15, 17]


def test_array_waits_for_dram_only_while_nothing_else_holds_it() -> None:
    # First tile: free at 0, data at 10. Second: the vector unit is done at 35, data at 50.
    assert dram_wait_cycles(_program(), _run()) == 10 + 15


def test_array_does_not_wait_for_data_that_came_early() -> None:
    assert dram_wait_cycles(_program(), _run(LOAD=[0, 20])) == 0


def test_device_without_a_trace_has_no_profile() -> None:
    assert layer_cycles(_program(), RunResult(0, 0), layers=2) is None
    assert dram_wait_cycles(_program(), RunResult(0, 0)) is None
