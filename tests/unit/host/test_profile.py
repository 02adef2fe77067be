"""Cycles per layer and the array's waiting time, from hand-made traces."""

from __future__ import annotations

import numpy as np
import pytest

from systolith.host.devices.base import RunResult
from systolith.host.profile import Cause, InstructionTable, Timeline
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


def _cycles(table: InstructionTable, result: RunResult, layers: int) -> np.ndarray:
    timeline = Timeline.of(table, result)
    assert timeline is not None
    return timeline.cycles(layers)


def _causes(result: RunResult) -> dict[str, int]:
    """Return the cycles of a run of `_program` by cause, those that have any."""
    return {cause.name: int(n) for cause, n in zip(Cause, _cycles(_program(), result, 2).sum(axis=0), strict=True) if n}


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
    cycles = _cycles(_program(), _run(), 3).sum(axis=1)

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

    cycles = _cycles(table, RunResult(0, 0, 64, {}, issue, retire), 4).sum(axis=1)

    # The pool runs from 15 to 45, the array works from 10 to 20 and from 40 to 50.
    assert cycles.tolist() == [20, 20, 10, 14]


def test_a_vector_instruction_does_not_begin_before_the_one_ahead_of_it_ends() -> None:
    code = [encode(Opcode.COMPUTE, groups=1, tiles=1, out_h=1, out_w=10), encode(Opcode.POOL), encode(Opcode.POOL)]
    table = InstructionTable.of(b"".join(code), [0, 1, 2], CONFIG)
    empty = np.array([], np.int64)
    issue = {Unit.LOAD: empty, Unit.COMPUTE: np.array([0]), Unit.VECTOR: np.array([20, 21]), Unit.STORE: empty}
    retire = {Unit.LOAD: empty, Unit.COMPUTE: np.array([20]), Unit.VECTOR: np.array([40, 70]), Unit.STORE: empty}

    cycles = _cycles(table, RunResult(0, 0, 70, {}, issue, retire), 3).sum(axis=1)

    assert cycles.tolist() == [20, 20, 30]


def test_program_without_array_work_belongs_to_its_vector_layers() -> None:
    table = InstructionTable.of(encode(Opcode.POOL) + encode(Opcode.STORE), [0, 1], CONFIG)
    empty = np.array([], np.int64)
    issue = {unit: empty for unit in Unit} | {Unit.VECTOR: np.array([5]), Unit.STORE: np.array([20])}
    retire = {unit: empty for unit in Unit} | {Unit.VECTOR: np.array([20]), Unit.STORE: np.array([30])}

    cycles = _cycles(table, RunResult(0, 0, 32, {}, issue, retire), 2).sum(axis=1)

    assert cycles.tolist() == [15, 17]


def test_words_are_those_that_stream_in_both_modes() -> None:
    code = [encode(Opcode.COMPUTE, groups=3, tiles=2, out_h=2, out_w=3),
            encode(Opcode.COMPUTE, groups=3, tiles=2, out_h=2, out_w=3, fir=1, lead=1, walk_h=4, walk_w=5)]
    assert InstructionTable.of(b"".join(code), [0, 0], CONFIG).words.tolist() == [3 * 2 * 6, 3 * 2 * 21]


def test_array_waits_for_dram_only_while_nothing_else_holds_it() -> None:
    # First tile: free at 0, data at 10, streams from 14 to 30. Second: the vector unit is done at 35, data at 50, and
    # it streams from 58 to 70. Then the vector unit ends at 75, the store unit at 90 and the core at 100.
    assert _causes(_run()) == {"BUSY": 16 + 12, "VECTOR": 5 + 5, "STORE": 15, "DRAM": 10 + 15, "FILL": 4 + 8, "END": 10}


def test_array_does_not_wait_for_data_that_came_early() -> None:
    causes = _causes(_run(LOAD=[0, 20]))
    assert "DRAM" not in causes
    # An instruction that waits for nothing should be granted two cycles before it starts, in cycle 11 or 51.
    assert causes["ISSUE"] == (11 - 2 - 0) + (51 - 2 - 35)


def test_passes_of_few_words_wait_for_weights() -> None:
    table = InstructionTable.of(encode(Opcode.COMPUTE, groups=1, tiles=5, out_h=1, out_w=1), [0], CONFIG)
    empty = np.array([], np.int64)
    issue = {unit: empty for unit in Unit} | {Unit.COMPUTE: np.array([2])}
    retire = {unit: empty for unit in Unit} | {Unit.COMPUTE: np.array([40])}

    cycles = _cycles(table, RunResult(0, 0, 41, {}, issue, retire), 1)[0]

    assert {cause: cycles[cause] for cause in (Cause.BUSY, Cause.WEIGHTS, Cause.FILL, Cause.END)} == {
        Cause.BUSY: 5, Cause.WEIGHTS: 15, Cause.FILL: 20, Cause.END: 1}


def test_a_wait_belongs_to_the_vector_layer_that_runs_meanwhile() -> None:
    code = [encode(Opcode.COMPUTE, groups=1, tiles=1, out_h=1, out_w=10), encode(Opcode.POOL),
            encode(Opcode.COMPUTE, {"wait_vector": 1}, groups=1, tiles=1, out_h=1, out_w=10)]
    table = InstructionTable.of(b"".join(code), [0, 1, 2], CONFIG)
    empty = np.array([], np.int64)
    issue = {Unit.LOAD: empty, Unit.COMPUTE: np.array([0, 47]), Unit.VECTOR: np.array([25]), Unit.STORE: empty}
    retire = {Unit.LOAD: empty, Unit.COMPUTE: np.array([20, 70]), Unit.VECTOR: np.array([45]), Unit.STORE: empty}

    cycles = _cycles(table, RunResult(0, 0, 70, {}, issue, retire), 3)

    assert cycles[:, Cause.VECTOR].tolist() == [0, 20, 5]
    assert cycles.sum() == 70


@pytest.mark.parametrize(("opcode", "bank", "waits"), [
    (Opcode.POOL, 2, {"VECTOR": 35}), (Opcode.STORE, 2, {"STORE": 35}), (Opcode.POOL, 1, {}), (Opcode.STORE, 1, {})])
def test_a_bank_that_is_read_makes_the_array_wait(opcode: Opcode, bank: int, waits: dict[str, int]) -> None:
    code = [encode(Opcode.COMPUTE, {"rd_banks": 1}, groups=1, tiles=1, out_h=1, out_w=10),
            encode(opcode, {"rd_banks": bank}),
            encode(Opcode.COMPUTE, {"rd_banks": 2}, groups=1, tiles=1, out_h=1, out_w=10)]
    table = InstructionTable.of(b"".join(code), [0, 0, 0], CONFIG)
    unit, empty = Unit(table.units[1]), np.array([], np.int64)
    issue = {each: empty for each in Unit} | {Unit.COMPUTE: np.array([0, 57]), unit: np.array([5])}
    retire = {each: empty for each in Unit} | {Unit.COMPUTE: np.array([20, 80]), unit: np.array([55])}

    cycles = _cycles(table, RunResult(0, 0, 80, {}, issue, retire), 1)[0]

    assert {cause.name: n for cause, n in zip(Cause, cycles, strict=True) if n} == {
        "BUSY": 20, "FILL": 10 + 15, **(waits or {"ISSUE": 35})}


def test_device_without_a_trace_has_no_profile() -> None:
    assert Timeline.of(_program(), RunResult(0, 0)) is None
