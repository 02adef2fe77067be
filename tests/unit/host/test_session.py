"""Sessions, executors and devices, with a hand-assembled program: copy a tensor, then reshape it on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from systolith.host.devices.base import Accelerator, RunResult
from systolith.host.devices.golden import execute_batch
from systolith.host.devices.select import open_accelerator
from systolith.host.errors import ConfigError, DeviceError, ProgramError, ShapeError, UsageError
from systolith.host.frontends.tflite import read_tflite
from systolith.host.graph import Graph, Op, QuantParams, Tensor
from systolith.host.program import Binding, CpuStep, HwStep, Layer, Port, Program
from systolith.host.runtime import Session
from systolith.host.runtime.measurement import Measurement
from systolith.hw.config import AcceleratorConfig
from systolith.hw.isa import INSTR_BYTES, ErrorCode, Opcode, PoolMode, Unit, encode
from systolith.sim import native
from tests.unit.host.test_tflite_operators import batch_model

CONFIG = AcceleratorConfig.preset("tiny")
QUANT = QuantParams((0.5,), (1,))
SHAPE, FLAT = (1, 2, 2, 4), (1, 16)
INPUT, OUTPUT = 1024, 2048  # DRAM bytes of the tensors
SECOND_BANK = CONFIG.bank_words  # first word of it
COPY = [
    encode(Opcode.LOAD, {"wr_banks": 1}, dram=INPUT, rows=1, row_words=4),
    encode(Opcode.POOL, {"wait_load": 1, "rd_banks": 1, "wr_banks": 2}, dst=SECOND_BANK, dst_step_x=1, dst_step_y=2,
           out_h=2, out_w=2, in_h=2, in_w=2, step_x=1, step_y=2, tap_x=1, tap_y=2, stride_x=1, stride_y=1, kw=1, kh=1,
           mode=PoolMode.MAX, lo=-128, hi=127),
    encode(Opcode.STORE, {"wait_vector": 1, "rd_banks": 2}, dram=OUTPUT, local=SECOND_BANK, rows=1, row_words=4),
]


def make_program(code: Sequence[bytes] = COPY) -> Program:
    tensors = [Tensor(name, shape, "int8", QUANT) for name, shape in (("x", SHAPE), ("copy", SHAPE), ("y", FLAT))]
    ops = (Op("MAX_POOL_2D", "copy_0", ("x",), ("copy",)), Op("RESHAPE", "flatten_1", ("copy",), ("y",)))
    bindings = Binding("x", SHAPE, INPUT, 4, 4), Binding("copy", SHAPE, OUTPUT, 4, 4)
    return Program(
        model="copy", config=CONFIG,
        inputs=(Port("x", SHAPE, "int8", 0.5, 1),), outputs=(Port("y", FLAT, "int8", 0.5, 1),),
        graph=Graph("copy", {tensor.name: tensor for tensor in tensors}, ops, ("x",), ("y",)),
        steps=(HwStep(0, 0, len(code), bindings[:1], bindings[1:]), CpuStep(1)),
        layers=(Layer("copy_0", "MAX_POOL_2D", 640, "vector"), Layer("flatten_1", "RESHAPE", 0, "cpu", "a reason")),
        layer_index=np.zeros(len(code), np.uint16), image=b"".join(code), dram_bytes=4096)


def samples(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(-128, 128, (count, *SHAPE[1:]), np.int8)


@pytest.mark.parametrize("device", ["sim", pytest.param("rtl", marks=pytest.mark.rtl)])
def test_program_runs_step_by_step(device: str) -> None:
    x, done = samples(3), []

    with Session(make_program(), device) as session:
        outputs = session.run(x, progress=lambda *counts: done.append(counts))

    np.testing.assert_array_equal(outputs["y"], x.reshape(3, 16))
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_session_describes_its_inputs_and_outputs_and_returns_reals() -> None:
    session = Session(make_program(), "sim")
    x = samples(1)

    assert [(info.name, info.shape, info.dtype, info.scale, info.zero_point) for info in session.inputs] == [
        ("x", SHAPE, "int8", 0.5, 1)]
    assert [info.shape for info in session.outputs] == [FLAT]
    np.testing.assert_array_equal(session.run(x, dequantize=True)["y"], (x.reshape(1, 16) - np.float32(1)) * 0.5)


def test_report_of_the_simulator_has_bytes_and_cycles() -> None:
    session = Session(make_program(), "sim")
    session.run(samples(2))
    report = session.last_report

    assert report is not None
    assert (report.model, report.device, report.preset, report.samples) == ("copy", "sim", "tiny", 2)
    assert (report.dram_bytes_read, report.dram_bytes_written) == (16 + 3 * INSTR_BYTES, 16)
    assert report.macs == 640 and report.cycles and report.note is None
    assert report.counters["CYCLES"] == 2 * report.cycles
    assert [(layer.unit, layer.cycles, layer.reason) for layer in report.layers] == [
        ("vector", report.cycles, None), ("cpu", 0, "a reason")]


def test_simulator_without_a_compiler_leaves_out_the_cycles_and_says_why(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYSTOLITH_CACHE", str(tmp_path))
    monkeypatch.setattr(native.shutil, "which", lambda tool: None)
    session, x = Session(make_program(), "sim"), samples(2)
    outputs = session.run(x)
    report = session.last_report

    np.testing.assert_array_equal(outputs["y"], x.reshape(2, 16))
    assert report is not None and report.note is not None
    assert report.note.startswith("cycles are not counted: g++ must be installed") and "\n" not in report.note
    assert (report.dram_bytes_read, report.dram_bytes_written) == (16 + 3 * INSTR_BYTES, 16)
    assert (report.macs, report.cycles, report.utilisation, report.dram_wait) == (640, None, None, None)
    assert [(layer.unit, layer.cycles, layer.reason) for layer in report.layers] == [
        ("vector", None, None), ("cpu", None, "a reason")]
    assert report.table().caption == report.note


@pytest.mark.parametrize("device", ["sim", pytest.param("rtl", marks=pytest.mark.rtl)])
def test_watchdog_stops_the_device(device: str) -> None:
    session = Session(make_program(), device, settings=["watchdog=64", "dram_latency=100"])

    with pytest.raises(DeviceError, match="WATCHDOG") as caught:
        session.run(samples(1))

    assert (caught.value.code, caught.value.address) == (ErrorCode.WATCHDOG, 0)


@pytest.mark.parametrize("device", ["sim", pytest.param("rtl", marks=pytest.mark.rtl)])
@pytest.mark.parametrize(("code", "error", "index"), [
    ([COPY[0], bytes(INSTR_BYTES), COPY[2]], ErrorCode.OPCODE, 1),
    ([encode(Opcode.LOAD, {"wr_banks": 15}, local=CONFIG.act_words - 1, rows=1, row_words=4)], ErrorCode.ADDRESS, 0),
    ([*COPY[:2], encode(Opcode.STORE, {"wait_vector": 1, "rd_banks": 1}, dram=OUTPUT, local=SECOND_BANK, rows=1,
                        row_words=4)], ErrorCode.BANK, 2),
])
def test_device_error_names_code_and_instruction(code: list[bytes], error: ErrorCode, index: int, device: str) -> None:
    session = Session(make_program(code), device)

    for _ in range(2):  # the session survives
        with pytest.raises(DeviceError, match=error.name) as caught:
            session.run(samples(1))
        assert (caught.value.code, caught.value.address) == (error, index * INSTR_BYTES)
        assert "\n" not in str(caught.value)


class CountingAccelerator(Accelerator):
    """Reports a fixed number of cycles per run, one more each time."""

    def __init__(self) -> None:
        super().__init__(CONFIG)
        self.dram, self.runs = bytearray(4096), 0

    def write(self, address: int, data: bytes) -> None:
        self.dram[address : address + len(data)] = data

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.dram[address : address + size])

    def run(self, program: int, count: int) -> RunResult:
        self.runs += 1
        trace = {Unit.LOAD: np.array([4]), Unit.COMPUTE: np.array([], int), Unit.VECTOR: np.array([8]),
                 Unit.STORE: np.array([9])}
        return RunResult(208, 16, 9 + self.runs, {"LOAD_BUSY": 3}, trace, trace)


def test_measurements_are_averaged_over_samples_and_layers_sum_to_the_total() -> None:
    program, device = make_program(), CountingAccelerator()
    measurement = Measurement(program)
    for _ in range(4):  # 10, 11, 12 and 13 cycles
        measurement.add([(program, [device.run(0, 3)])])

    report = measurement.report("board", 0.5)

    assert report.cycles == 11 == sum(layer.cycles or 0 for layer in report.layers)
    assert report.utilisation == pytest.approx(640 / (11 * 16))
    assert (report.dram_bytes_read, report.dram_bytes_written, report.samples) == (208, 16, 4)
    assert report.counters == {"LOAD_BUSY": 12}
    assert report.dram_wait == 0
    assert report.to_dict()["layers"][0]["name"] == "copy_0"


def test_report_of_the_golden_device_has_macs_only() -> None:
    graph = make_program().graph
    flatten = graph.with_ops([replace(graph.ops[1], inputs=("x",))])
    session = Session(replace(flatten, inputs=("x",)), "golden")

    outputs = session.run(samples(2))

    np.testing.assert_array_equal(outputs["y"], samples(2).reshape(2, 16))
    assert session.last_report is not None
    assert (session.last_report.cycles, session.last_report.dram_bytes_read) == (None, None)
    assert [(layer.op, layer.unit) for layer in session.last_report.layers] == [("RESHAPE", "cpu")]


def test_closed_session_refuses_to_run() -> None:
    session = Session(make_program(), "sim")
    session.close()
    session.close()

    with pytest.raises(UsageError, match="must be open"):
        session.run(samples(1))


def test_program_is_refused_for_another_core() -> None:
    with pytest.raises(ProgramError, match=r"\(rows 4 instead of 8, .*compile the model for this one"):
        Session(make_program(), "sim", preset="ulx3s")
    with pytest.raises(ProgramError, match="queue_depth 4 instead of 16"):
        Session(make_program(), "sim", settings=["queue_depth=16"])
    with pytest.raises(ProgramError):
        Session(make_program(), "sim", config=AcceleratorConfig())


def test_program_keeps_its_configuration_except_the_memory_around_it() -> None:
    program = replace(make_program(), config=replace(CONFIG, dram_latency=99))

    assert Session(program, "sim", settings=["dram_bandwidth=2"]).config == replace(
        CONFIG, dram_latency=99, dram_bandwidth=2)


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"device": "gpu"}, UsageError, "device must be one of golden, sim, rtl, netlist, serial:PORT, not 'gpu'"),
    ({"config": CONFIG, "preset": "tiny"}, UsageError, "config must come alone"),
    ({"preset": "huge"}, ConfigError, "preset must be one of"),
    ({"settings": ["rows=3"]}, ConfigError, "rows must be a power of two"),
])
def test_options_that_do_not_go_together_are_refused(options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Session(make_program(), **options)


def test_golden_is_no_accelerator() -> None:
    with pytest.raises(UsageError, match="must run on one of sim, rtl"):
        open_accelerator("golden", CONFIG, 4096)


@pytest.mark.parametrize("device", ["golden", "sim"])
def test_a_batch_that_the_model_declares_is_one_sample(device):
    g = read_tflite(batch_model((4, 16)))
    x = np.random.default_rng(0).integers(-128, 128, (12, 16)).astype(np.int8)
    expected = execute_batch(g, {"x0": x})["y0"]
    with Session(g, device, preset="tiny") as session:
        for samples in (x, x.reshape(3, 4, 16)):
            np.testing.assert_array_equal(session.run(samples)["y0"], expected)
        assert session.last_report is not None and session.last_report.samples == 3
        with pytest.raises(ShapeError, match="a multiple of 4 entries"):
            session.run(x[:6])
