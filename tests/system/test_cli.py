"""The command line as a contract: what it prints and writes, and how it refuses what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from systolith.host.cli import main
from systolith.host.program import HwStep, Program
from systolith.host.report import config_hash
from systolith.host.runtime import Session
from systolith.hw.config import AcceleratorConfig
from systolith.hw.isa import INSTR_BYTES
from systolith.models.tflite_writer import TFLiteBuilder
from systolith.models.zoo import digits
from systolith.sim import native

MODEL = digits.model_path()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "digits.sysl"
    assert status("compile", MODEL, "-o", path, "--preset", "tiny") == 0
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(1).integers(-128, 128, (3, 8, 8, 1), np.int8))
    return path


def status(*args: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(arg) for arg in args])
    return int(stop.value.code or 0)


def refusal(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """Run a command that must fail; return the one line that it says."""
    capsys.readouterr()
    assert status(*args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1 and err.endswith("\n"), err
    assert err.startswith("systolith: error: ") and "Traceback" not in err
    return err


def golden(images: Path) -> np.ndarray:
    (expected,) = Session(MODEL, "golden").run(np.load(images)).values()
    return expected


def test_model_and_program_give_the_golden_bytes(tmp_path: Path, images: Path, program: Path) -> None:
    for network, device in ((MODEL, "sim"), (program, "sim"), (program, "golden")):
        assert status("run", network, "--input", images, "--output", tmp_path / "y.npy", "--device", device) == 0
        found = np.load(tmp_path / "y.npy")
        assert found.dtype == np.int8
        np.testing.assert_array_equal(found, golden(images))


def test_a_batch_runs_at_once_from_a_model_and_from_a_program(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b, rng = TFLiteBuilder(), np.random.default_rng(3)
    x, y = b.tensor("x", (1, 96), "int8", 0.1), b.tensor("y", (1, 48), "int8", 1.0)
    w = b.tensor("w", (48, 96), "int8", 0.01, data=rng.integers(-127, 128, (48, 96), np.int8))
    b.op("FULLY_CONNECTED", [x, w], [y])
    model, program = tmp_path / "dense.tflite", tmp_path / "dense.sysl"
    model.write_bytes(b.build([x], [y]))
    np.save(tmp_path / "x.npy", rng.integers(-128, 128, (5, 96), np.int8))
    assert status("compile", model, "-o", program, "--preset", "tiny") == 0
    (expected,) = Session(model, "golden").run(np.load(tmp_path / "x.npy")).values()

    for options, batch in ((("--batch", 2), 2), (("--batch", 1), 1), ((), 4)):
        for network in ((model, "--preset", "tiny"), (program,)):
            assert status("run", *network, *options, "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy",
                          "--report", tmp_path / "r.json") == 0
            np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)
            assert json.loads((tmp_path / "r.json").read_text())["batch"] == batch
            assert ("5 samples, up to" in capsys.readouterr().out) == (batch > 1)


def test_outputs_go_by_name_into_an_npz_file(tmp_path: Path, images: Path) -> None:
    assert status("run", MODEL, "--input", images, "--output", tmp_path / "y.npz", "--device", "golden") == 0

    with np.load(tmp_path / "y.npz") as found:
        np.testing.assert_array_equal(found["probabilities"], golden(images))


def test_inputs_may_come_by_name_and_as_reals(tmp_path: Path, images: Path) -> None:
    real = (np.load(images).astype(np.float32) + 128) * digits.INPUT_SCALE
    np.savez(tmp_path / "x.npz", image=real)

    assert status("run", MODEL, "--input", tmp_path / "x.npz", "--output", tmp_path / "y.npy") == 0

    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), golden(images))


@pytest.mark.parametrize("device", ["golden", "sim"])
def test_report_has_the_promised_keys(tmp_path: Path, images: Path, device: str) -> None:
    assert status("run", MODEL, "--input", images, "--device", device, "--report", tmp_path / "r.json") == 0

    report = json.loads((tmp_path / "r.json").read_text())
    assert {"model", "device", "preset", "config_hash", "samples", "macs", "cycles", "utilisation", "dram_bytes_read",
            "dram_bytes_written", "seconds", "layers"} <= set(report)
    assert (report["model"], report["device"], report["preset"]) == (MODEL.stem, device, "edge")
    assert report["config_hash"] == config_hash(AcceleratorConfig.preset("edge"))
    assert report["samples"] == 3
    assert report["macs"] == sum(layer["macs"] for layer in report["layers"]) > 0
    assert all({"name", "op", "macs", "cycles", "utilisation", "unit"} <= set(layer) for layer in report["layers"])
    assert {layer["unit"] for layer in report["layers"]} <= {"array", "vector", "cpu"}


@pytest.mark.parametrize("samples", [1, 3])
def test_perf_reports_what_a_run_does_without_data(
        tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str], samples: int) -> None:
    options = ("--batch", samples, "--set", "dram_bandwidth=2")
    assert status("run", MODEL, "--perf", *options, "--report", tmp_path / "perf.json") == 0
    assert "CONV_2D" in (out := capsys.readouterr().out) and "counted without data in" in out
    np.save(tmp_path / "x.npy", np.load(images)[:samples])
    assert status("run", MODEL, "--input", tmp_path / "x.npy", *options, "--report", tmp_path / "run.json") == 0

    counted, run = (json.loads((tmp_path / name).read_text()) for name in ("perf.json", "run.json"))
    assert counted["cycles"] > 0 and counted.pop("seconds") > 0 and run.pop("seconds") > 0
    assert counted == run


def test_stalls_are_shown_by_layer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert status("run", MODEL, "--perf", "--stalls", "--report", tmp_path / "r.json") == 0

    _, shown = capsys.readouterr().out.split("cycles by cause")
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 120
    report = json.loads((tmp_path / "r.json").read_text())
    for record in (report, *(layer for layer in report["layers"] if layer["cycles"])):
        counts = [f"{count:,}" for count in (*record["stalls"].values(), record["cycles"])]
        row = "total" if record is report else record["name"]
        assert [row, *counts] in [line.split() for line in shown.splitlines()]


@pytest.mark.parametrize("device", ["sim", pytest.param("rtl", marks=pytest.mark.rtl), "perf"])
def test_trace_ends_with_the_last_cycle_of_the_last_sample(tmp_path: Path, images: Path, program: Path,
                                                           device: str) -> None:
    how = ("--perf", "--batch", 3) if device == "perf" else ("--input", images, "--device", device)
    assert status("run", program, *how, "--trace", tmp_path / "t.json", "--report", tmp_path / "r.json") == 0

    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    end = max(event["ts"] + event["dur"] for event in events if event["ph"] == "X")
    assert end == json.loads((tmp_path / "r.json").read_text())["counters"]["CYCLES"]


@pytest.mark.rtl
def test_activity_is_in_its_file_and_in_the_report(capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                                   images: Path) -> None:
    arguments = ("run", MODEL, "--input", images, "--preset", "tiny")
    assert status(*arguments, "--activity", tmp_path / "a.json", "--report", tmp_path / "r.json") == 0
    assert "multiplications of the array's cells" in capsys.readouterr().out
    activity = json.loads((tmp_path / "a.json").read_text())
    assert activity == json.loads((tmp_path / "r.json").read_text())["activity"]
    assert status(*arguments, "--device", "rtl", "--activity", tmp_path / "a.saif") == 0
    assert "(INSTANCE array" in (tmp_path / "a.saif").read_text()


def test_perf_without_a_compiler_says_what_to_install(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTOLITH_CACHE", str(tmp_path))
    monkeypatch.setattr(native.shutil, "which", lambda tool: None)
    assert "g++ must be installed to count cycles" in refusal(capsys, "run", MODEL, "--perf")


def test_perf_of_a_program_uses_its_configuration(tmp_path: Path, program: Path) -> None:
    cycles = []
    for settings in ((), ("--set", "dram_latency=500")):
        assert status("run", program, "--perf", *settings, "--report", tmp_path / "r.json") == 0
        report = json.loads((tmp_path / "r.json").read_text())
        assert report["preset"] == "tiny"
        cycles.append(report["cycles"])
    assert cycles[0] < cycles[1]


def test_memory_timing_may_change_after_compilation(tmp_path: Path, images: Path, program: Path) -> None:
    assert status("run", program, "--input", images, "--preset", "tiny", "--set", "dram_latency=77") == 0
    assert status("run", program, "--input", images, "--set", "dram_bandwidth=3") == 0


def test_info_names_operators_and_what_runs_on_the_cpu(capsys: pytest.CaptureFixture[str], program: Path) -> None:
    for args in (("info", MODEL, "--preset", "tiny"), ("info", program)):
        assert status(*args) == 0
        out = capsys.readouterr().out
        for word in ("CONV_2D", "1x8x8x1", "1x10", "147,456", "322,880", "on the CPU: SOFTMAX",
                     "several samples at once from FULLY_CONNECTED"):
            assert word in out


def test_disasm_prints_one_line_per_instruction(capsys: pytest.CaptureFixture[str], program: Path) -> None:
    assert status("disasm", program) == 0

    out = capsys.readouterr().out
    for word in ("load", "compute", "requant", "add", "pool", "store", "CPU, SOFTMAX"):
        assert word in out


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ((), ("compile",), ("run",), ("info",), ("disasm",)):
        assert status(*command, "--help") == 0
        assert "Example" in capsys.readouterr().out


def test_reader_that_has_gone_sees_no_message(program: Path) -> None:
    command = [sys.executable, "-c", "from systolith.host.cli import main; main()", "disasm", str(program)]
    reader, writer = os.pipe()
    os.close(reader)

    with os.fdopen(writer, "wb") as output:
        process = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, cwd=os.sep, check=False)

    assert (process.returncode, process.stderr) == (0, b"")


@pytest.mark.parametrize(("args", "message"), [
    ((), "Missing command"),
    (("fly",), "No such command 'fly'"),
    (("run",), "Missing argument 'MODEL|PROGRAM'"),
    (("run", MODEL), "Missing option '--input'"),
    (("run", MODEL, "--perf", "--input", "{x}"), "--perf must come without --input, --output and --device"),
    (("run", MODEL, "--perf", "--device", "rtl"), "--perf must come without --input, --output and --device"),
    (("run", MODEL, "--input", "{x}", "--device", "golden", "--stalls"),
     "--stalls must come with --device sim or rtl, not golden, which counts no cycles"),
    (("run", MODEL, "--input", "{x}", "--device", "golden", "--trace", "{tmp}/t.json"),
     "--trace must come with --device sim or rtl, not golden, which counts no cycles"),
    (("run", MODEL, "--perf", "--trace", "{tmp}/none/t.json"), "create it"),
    (("run", MODEL, "--perf", "--energy", "46nm"), "technology must be one of 180nm, 45nm, 32nm, 28nm, "),
    (("run", MODEL, "--perf", "--energy", "7nm,volts=0.5,mhz=900"), "mhz must be above 0 and at most 630 for 7nm"),
    (("run", MODEL, "--input", "{x}", "--energy", "7nm,mhz=9", "--preset", "tiny", "--set", "clock_mhz=8"),
     "mhz must be 8 as clock_mhz of the configuration is, not 9"),
    (("run", MODEL, "--perf", "--dvfs"), "--dvfs must come with --perf and --energy TECHNOLOGY"),
    (("run", MODEL, "--input", "{x}", "--energy", "7nm", "--dvfs"), "--dvfs must come with --perf and --energy"),
    (("run", MODEL, "--perf", "--set", "dram=ddr3_1600_x16"), "clock_mhz must be set with dram=ddr3_1600_x16"),
    (("run", MODEL, "--input", "{x}", "--device", "golden", "--energy", "7nm"),
     "--energy must come with --device sim or rtl, not golden, which counts no cycles"),
    (("run", MODEL, "--input", "{x}", "--waves", "{tmp}/w.fst"), "--waves must come with --device rtl, not sim"),
    (("run", MODEL, "--perf", "--waves", "{tmp}/w.fst"), "--waves must come with --device rtl, not --perf"),
    (("run", MODEL, "--input", "{x}", "--device", "rtl", "--waves", "{tmp}/w.txt"), "must end in .fst or .vcd"),
    (("run", MODEL, "--input", "{x}", "--device", "rtl", "--waves", "{tmp}/none/w.fst"), "create it"),
    (("run", MODEL, "--input", "{x}", "--device", "rtl", "--waves", "{tmp}/w.fst", "--batch", "2"),
     "batch must be 1 with waves"),
    (("run", MODEL, "--input", "{x}", "--activity", "{tmp}/a.csv"), "must end in .json or .saif, not 'a.csv'"),
    (("run", MODEL, "--input", "{x}", "--activity", "{tmp}/a.saif"), "must come with --device rtl, not sim"),
    (("run", MODEL, "--input", "{x}", "--activity", "{tmp}/none/a.json"), "create it"),
    (("run", MODEL, "--perf", "--activity", "{tmp}/a.json"), "--activity must come with --device sim or rtl, not perf"),
    (("run", MODEL, "--input", "{x}", "--device", "golden", "--activity", "{tmp}/a.json"), "not golden"),
    (("run", MODEL, "--input", "{x}", "--device", "rtl", "--activity", "{tmp}/a.json", "--waves", "{tmp}/w.fst"),
     "a session that does not count activity"),
    (("run", MODEL, "--perf", "--energy", "45nm,gating=zero"), "gating=zero needs a run that counts zero operands"),
    (("run", MODEL, "--perf", "--preset", "huge"), "preset must be one of tiny, ulx3s, edge, server"),
    (("run", MODEL, "--input", "{x}", "--fast"), "No such option"),
    (("compile", MODEL), "Missing option"),
    (("twin", "--board", "arty"), "board must be one of ulx3s-85f, "),
    (("twin", "--board", "ulx3s-85f", "--memory-kib", "3"), "memory must be a multiple of 4 KiB, not 3 KiB"),
    (("run", MODEL, "--input", "{x}", "--device", "gpu"),
     "device must be one of golden, sim, rtl, netlist, serial:PORT, not 'gpu'"),
    (("run", MODEL, "--input", "{x}", "--device", "serial:/none/tty"), "/none/tty does not exist; plug the board in"),
    (("run", MODEL, "--input", "{x}", "--preset", "huge"), "preset must be one of tiny, ulx3s, edge, server"),
    (("run", MODEL, "--input", "{x}", "--set", "rows=3"), "rows must be a power of two between 2 and 64, not 3"),
    (("run", MODEL, "--input", "{x}", "--set", "rows"), "setting must be KEY=VALUE"),
    (("run", MODEL, "--input", "{x}", "--set", "cows=3"), "setting 'cows' must be one of"),
    (("run", MODEL, "--input", "{x}", "--set", "rows=many"), "rows must be an integer"),
    (("run", "{tmp}/none.tflite", "--input", "{x}"), "No such file"),
    (("run", MODEL, "--input", "{tmp}/none.npy"), "No such file"),
    (("run", MODEL, "--input", MODEL), "must be a NumPy .npy or .npz file"),
    (("run", MODEL, "--input", "{x}", "--output", "{tmp}/none/y.npy"), "create it"),
    (("run", MODEL, "--input", "{x}", "--output", "{tmp}"), "must be a file, not a folder"),
    (("run", MODEL, "--input", "{x}", "--report", "{tmp}/none/r.json"), "create it"),
    (("compile", MODEL, "-o", "{tmp}/none/p.sysl"), "create it"),
    (("run", "{x}", "--input", "{x}"), "not a TFLite model"),
    (("disasm", MODEL), "not a compiled program"),
    (("compile", "{program}", "-o", "{tmp}/p.sysl"), "must be a model, not a compiled program"),
    (("run", "{program}", "--input", "{x}", "--preset", "edge"), "compiled for configuration"),
    (("run", "{program}", "--input", "{x}", "--set", "act_kib=256"), "act_kib 64 instead of 256"),
    (("info", "{tmp}/none.tflite"), "No such file"),
])
def test_wrong_usage_is_refused_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path, images: Path,
                                            program: Path, args: tuple[object, ...], message: str) -> None:
    filled = [str(arg).format(tmp=tmp_path, x=images, program=program) for arg in args]

    assert message in refusal(capsys, *filled)


@pytest.mark.parametrize(("array", "message"), [
    (np.zeros((3, 8, 8, 3), np.int8), "must have shape (1, 8, 8, 1), or (N, 8, 8, 1) for N samples"),
    (np.zeros(7, np.int8), "must have shape"),
    (np.zeros((0, 8, 8, 1), np.int8), "at least one sample"),
    (np.zeros((1, 8, 8, 1), np.int32), "not int32"),
    (np.zeros((1, 8, 8, 1), np.complex64), "not complex64"),
    (np.full((1, 8, 8, 1), np.nan, np.float32), "NaN"),
], ids=["channels", "rank", "none", "int32", "complex", "nan"])
def test_wrong_input_is_refused_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path, array: np.ndarray,
                                            message: str) -> None:
    np.save(tmp_path / "x.npy", array)

    assert message in refusal(capsys, "run", MODEL, "--input", tmp_path / "x.npy")


@pytest.mark.parametrize("size", [0, 3, 8, 100, 5_000, -1])
def test_truncated_model_is_refused_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path, size: int) -> None:
    (tmp_path / "cut.tflite").write_bytes(MODEL.read_bytes()[:size])

    refusal(capsys, "info", tmp_path / "cut.tflite")


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_are_refused_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path, seed: int) -> None:
    raw = np.random.default_rng(seed).bytes(4096)
    (tmp_path / "random.tflite").write_bytes(raw[:4] + b"TFL3" + raw[8:] if seed % 2 else raw)

    refusal(capsys, "run", tmp_path / "random.tflite", "--input", tmp_path / "random.tflite")
    refusal(capsys, "info", tmp_path / "random.tflite")


def test_damaged_model_is_compiled_or_refused_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Damage in the tables that say what the network is, in front of and behind the weights."""
    path = tmp_path / "damaged.tflite"
    for seed in range(100):
        rng, raw = np.random.default_rng(seed), np.frombuffer(MODEL.read_bytes(), np.uint8).copy()
        place = int(rng.integers(4000))
        raw[place if seed % 2 else len(raw) - 1 - place] ^= 1 << rng.integers(8)
        path.write_bytes(raw.tobytes())
        if status("compile", path, "-o", tmp_path / "p.sysl", "--preset", "tiny") == 0:
            assert not capsys.readouterr().err, f"seed {seed}"
        else:
            refusal(capsys, "compile", path, "-o", tmp_path / "p.sysl", "--preset", "tiny")


@pytest.mark.parametrize("position", [0, 8, 12, 20, 60, 1_000, -1])
def test_program_with_a_flipped_bit_is_refused_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                                           images: Path, program: Path, position: int) -> None:
    raw = bytearray(program.read_bytes())
    raw[position] ^= 0x10
    (tmp_path / "flipped.sysl").write_bytes(raw)

    refusal(capsys, "run", tmp_path / "flipped.sysl", "--input", images)


@pytest.mark.parametrize("size", [9, 40, 200, -1])
def test_truncated_program_is_refused_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path, program: Path,
                                                  size: int) -> None:
    (tmp_path / "cut.sysl").write_bytes(program.read_bytes()[:size])

    refusal(capsys, "disasm", tmp_path / "cut.sysl")


@pytest.fixture
def softmax(tmp_path: Path) -> Path:
    """A network that has nothing for the accelerator to do."""
    b = TFLiteBuilder()
    x, y = b.tensor("x", (1, 10), "int8", 0.1), b.tensor("y", (1, 10), "int8", 1 / 256, -128)
    b.op("SOFTMAX", [x], [y])
    (tmp_path / "softmax.tflite").write_bytes(b.build([x], [y]))
    return tmp_path / "softmax.tflite"


@pytest.mark.parametrize("device", ["golden", "sim", pytest.param("rtl", marks=pytest.mark.rtl)])
def test_network_that_runs_on_the_cpu_entirely(tmp_path: Path, softmax: Path, device: str) -> None:
    x, y = np.arange(20, dtype=np.int8).reshape(2, 10), tmp_path / "y.npy"
    np.save(tmp_path / "x.npy", x)
    assert status("run", softmax, "--input", tmp_path / "x.npy", "--output", y, "--device", device, "--preset",
                  "tiny") == 0

    np.testing.assert_array_equal(np.load(y), Session(softmax, "golden").run(x)["y"])


def test_program_without_instructions(capsys: pytest.CaptureFixture[str], tmp_path: Path, softmax: Path) -> None:
    for command in (("compile", softmax, "-o", tmp_path / "p.sysl"), ("info", tmp_path / "p.sysl"),
                    ("disasm", tmp_path / "p.sysl")):
        assert status(*command) == 0
        assert "CPU" in capsys.readouterr().out


@pytest.mark.parametrize("device", ["sim", pytest.param("rtl", marks=pytest.mark.rtl)])
def test_program_that_stops_the_core_is_refused_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                                            images: Path, program: Path, device: str) -> None:
    good = Program.load(program)
    place = next(step.code_offset for step in good.steps if isinstance(step, HwStep)) + 7 * INSTR_BYTES
    replace(good, image=good.image[:place] + b"\xee" + good.image[place + 1 :]).save(tmp_path / "bad.sysl")

    message = refusal(capsys, "run", tmp_path / "bad.sysl", "--input", images, "--device", device)

    assert "OPCODE" in message and "instruction 7" in message and "compile the model again" in message


def test_infinities_saturate(tmp_path: Path) -> None:
    reals = np.where(np.arange(64) % 2, np.inf, -np.inf).astype(np.float32).reshape(1, 8, 8, 1)
    np.save(tmp_path / "x.npy", reals)

    assert status("run", MODEL, "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy") == 0

    np.save(tmp_path / "x.npy", np.where(reals > 0, 127, -128).astype(np.int8))
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), golden(tmp_path / "x.npy"))
