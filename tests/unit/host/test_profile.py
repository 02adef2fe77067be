"""Cycles per layer and the array's waiting time, from hand-made traces."""

from __future__ import annotations

import numpy as np

from systolith.host.devices.base import RunResult
from systolith.host.profile import InstructionTable, dram_wait_cycles, layer_cycles
from systolith.hw.isa import Opcode, Unit, encode


def _program() -> InstructionTable:
    """Two layers of load, compute, requantise, and a store."""
    code = [
        encode(Opcode.LOAD),
        encode(Opcode.COMPUTE, {"wait_load": 1}),
        encode(Opcode.REQUANT, {"wait_compute": 1}),
        encode(Opcode.LOAD),
        encode(Opcode.COMPUTE, {"wait_load": 2, "wait_vector": 1}),
        encode(Opcode.REQUANT, {"wait_compute": 2}),
        encode(Opcode.STORE, {"wait_vector": 2}),
    ]
    return InstructionTable.of(b"".join(code), [0, 0, 0, 1, 1, 1, 1])


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
    table = InstructionTable.of(encode(Opcode.STORE, {"wait_store": 0xABCDEF, "wait_load": 0x123456}), [0])

    assert table.waits[0].tolist() == [0x123456, 0, 0, 0xABCDEF]


def test_layers_are_charged_with_what_they_add_and_sum_to_the_run() -> None:
    cycles = layer_cycles(_program(), _run(), layers=3)

    assert cycles is not None
    assert cycles.tolist() == [35, 65, 0]


def test_layer_that_ends_before_an_earlier_one_costs_nothing() -> None:
    table = InstructionTable.of(b"".join([encode(Opcode.LOAD), encode(Opcode.LOAD), encode(Opcode.STORE)]), [1, 0, 2])
    trace = {Unit.LOAD: np.array([20, 40]), Unit.COMPUTE: np.array([]), Unit.VECTOR: np.array([]),
             Unit.STORE: np.array([60])}

    cycles = layer_cycles(table, RunResult(0, 0, 64, {}, trace, trace), layers=3)

    assert cycles is not None
    assert cycles.tolist() == [40, 0, 24]


def test_array_waits_for_dram_only_while_nothing_else_holds_it() -> None:
    # First tile: free at 0, data at 10. Second: the vector unit is done at 35, data at 50.
    assert dram_wait_cycles(_program(), _run()) == 10 + 15


def test_array_does_not_wait_for_data_that_came_early() -> None:
    assert dram_wait_cycles(_program(), _run(LOAD=[0, 20])) == 0


def test_device_without_a_trace_has_no_profile() -> None:
    assert layer_cycles(_program(), RunResult(0, 0), layers=2) is None
    assert dram_wait_cycles(_program(), RunResult(0, 0)) is None
