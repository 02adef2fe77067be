"""Exploration: which configurations, what is recorded, that nothing is lost or run twice, and the Pareto front."""

from __future__ import annotations

import csv
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from systolith.host.errors import ConfigError, UsageError
from systolith.host.explore import points, processes
from systolith.host.explore.pareto import compare, metrics_of, pareto
from systolith.host.explore.points import OPTIONS, Recorder, Row
from systolith.host.explore.results import Results
from systolith.host.explore.space import combinations, sample
from systolith.host.runtime.network import load_network
from systolith.host.runtime.performance import performance
from systolith.hw.area import area
from systolith.hw.config import PRESETS, AcceleratorConfig
from systolith.models.zoo import cluttered, digits
from systolith.sim.energy import OperatingPoint
from tests.command_line import refusal, status

# A shell's background jobs inherit an ignored SIGINT; a sweep that can be interrupted does not.
INTERRUPTIBLE = ("import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
                 "from systolith.host.cli import main; main()")
MODEL = digits.model_path()
COLUMNS = {"name": str, "rows": int, "cycles": int, "share": float, "fits": bool}
ROWS: list[Row] = [{"name": "a", "rows": 4, "cycles": 100, "share": 0.1, "fits": True},
                   {"name": "b, or \"c\"", "rows": 8, "cycles": None, "share": 1e-7, "fits": False}]


def explore(path: Path, *args: object, models: tuple[Path, ...] = (MODEL,)) -> int:
    return status("explore", *models, "-o", path, "--preset", "tiny", "--jobs", 1, *args)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# Configurations.


def test_combinations_are_valid_or_have_a_reason() -> None:
    valid, refused = combinations(PRESETS["tiny"], {"rows": (4, 5, 64), "act_kib": (32, 64, 32)})
    assert [(config.rows, config.act_kib) for config in valid] == [(4, 32), (4, 64), (64, 64)]
    assert [dict(each.values) for each in refused] == [
        {"rows": 5, "act_kib": 32}, {"rows": 5, "act_kib": 64}, {"rows": 64, "act_kib": 32}]
    assert refused[0].reason == "rows must be a power of two between 2 and 64, not 5"


def test_too_many_combinations_are_refused_before_they_are_made() -> None:
    with pytest.raises(ConfigError, match="at most 1,000,000 combinations, not 100,000,000"):
        combinations(PRESETS["tiny"], {name: tuple(range(100)) for name in OPTIONS[:4]})


def test_a_sample_is_always_the_same_and_in_order() -> None:
    configs = combinations(PRESETS["tiny"], {"outstanding": range(1, 30)})[0]
    chosen = sample(configs, 5)
    assert chosen == sample(configs, 5) == sorted(chosen, key=lambda config: config.outstanding)
    assert len(chosen) == 5 and sample(configs, 100) == sample(configs, None) == configs


# The front.


def test_a_front_has_what_nothing_dominates() -> None:
    values = np.array([[1, 9], [2, 5], [2, 6], [3, 5], [3, 4], [9, 1], [9, 1], [10, 10]], float)
    assert np.flatnonzero(pareto(values)).tolist() == [0, 1, 4, 5, 6]
    assert pareto(values[:, :1]).tolist() == [True] + 7 * [False]
    assert pareto(np.zeros((0, 2))).tolist() == []


def test_a_front_is_that_of_the_definition() -> None:
    values = np.random.default_rng(1).integers(0, 20, (200, 3)).astype(float)
    expected = [not any((other <= value).all() and (other < value).any() for other in values) for value in values]
    assert pareto(values).tolist() == expected and 1 < sum(expected) < 200


def row(model: str, rows: int, cycles: int, multipliers: int = 1, **changes: object) -> Row:
    found: Row = {**AcceleratorConfig(rows=rows).to_dict(), "model": model, "cycles": cycles, "cpu_operators": 1,
                  "multipliers": multipliers, "problem": None}
    return found | changes  # type: ignore[operator]


def test_a_design_is_judged_by_the_geometric_mean_of_its_networks() -> None:
    found = compare([row("a", 8, 100), row("b", 8, 400), row("a", 16, 10), row("b", 16, 10_000)], ["latency"])
    assert [design.metric("latency") for design in found.candidates] == pytest.approx([200, 316.2], rel=1e-3)
    assert [design.options["rows"] for design in found.front] == [8]


def test_designs_that_do_less_or_do_not_fit_are_not_compared() -> None:
    found = compare([row("a", 4, 10, problem="no"), row("a", 8, 20, cpu_operators=2), row("a", 16, 30, fits=False),
                     row("a", 32, 40, fits=True)], ["latency"])
    assert [design.options["rows"] for design in found.front] == [32]
    assert (found.too_large, found.incomplete) == (1, 1)
    assert compare([row("a", 4, 10), row("b", 8, 10)], ["latency"]).candidates == ()


def test_area_is_two_metrics_and_others_are_refused() -> None:
    assert metrics_of(["latency", "area", "sram"], Recorder().columns) == ("latency", "multipliers", "sram")
    with pytest.raises(UsageError, match="objective must be one of latency, .*, area, not 'beauty'"):
        metrics_of(["beauty"], Recorder().columns)


# The results file.


def open_results(path: Path) -> Results:
    return Results(path, COLUMNS, ["name", "rows"])


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    with open_results(tmp_path / "r.csv") as results:
        for each in ROWS:
            results.append(each)
    with open_results(tmp_path / "r.csv") as results:
        assert [results.find(each) for each in ROWS] == ROWS
        assert results.find({"name": "a", "rows": 8}) is None


def test_at_every_cut_whole_rows_stay_and_the_rest_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    with open_results(path) as results:
        for each in ROWS:
            results.append(each)
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with open_results(path) as results:
            kept = [each for each in ROWS if results.find(each) is not None]
            assert kept == ROWS[:sum(end <= cut for end in ends[1:])]
            for each in ROWS[len(kept):]:
                results.append(each)
        assert path.read_bytes() == whole


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with open_results(tmp_path / "r.csv"), pytest.raises(UsageError, match="must belong to one run at a time"):
        open_results(tmp_path / "r.csv")
    open_results(tmp_path / "r.csv").__exit__(None, None, None)


@pytest.mark.parametrize("content,message", [
    ("name,rows\na,4\n", "the columns of these arguments"),
    ("a file of somebody else", "the columns of these arguments"),
    ("\xff\xfe\n", "must be a results file"),
    ("name,rows,cycles,share,fits\na,4,1,0.5,true\na,many,1,0.5,true\n", "line 3 of .* must be a row of results"),
    ("name,rows,cycles,share,fits\na,4\n", "line 2 of .* must be a row of results"),
])
def test_another_file_is_left_as_it_is(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UsageError, match=message):
        open_results(path)
    assert path.read_bytes() == content.encode("latin-1")


# The command.


def test_a_sweep_records_the_cycles_of_run_perf(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.csv"
    assert explore(path, "--rows", "4,8", "--dram-latency", "20,0x50", "--clock-mhz", 50) == 0
    rows = read(path)
    assert [(r["rows"], r["dram_latency"]) for r in rows] == [("4", "20"), ("4", "80"), ("8", "20"), ("8", "80")]
    for each in rows:
        settings = [f"{name}={each[name]}" for name in OPTIONS]
        report = performance(MODEL, preset="tiny", settings=settings)
        assert int(each["cycles"]) == report.cycles and float(each["utilisation"]) == report.utilisation
        assert int(each["dram_bytes_read"]) == report.dram_bytes_read
        assert float(each["seconds"]) == int(each["cycles"]) / 50e6
        assert int(each["multipliers"]) == area(AcceleratorConfig.preset("tiny", settings)).multipliers
    out = capsys.readouterr().out
    assert "Pareto front" in out and "4 points, 4 of them run" in out


def test_a_model_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = list[Path]()
    monkeypatch.setattr(points, "load_network", lambda path: reads.append(path) or load_network(path))
    assert explore(tmp_path / "s.csv", "--dram-latency", "10,20,30", models=(MODEL, MODEL)) == 0
    assert reads == [MODEL] and len(read(tmp_path / "s.csv")) == 3


def test_options_that_are_names_are_swept(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    assert explore(path, "--dram", "fixed,ddr3_1600_x16", "--clock-mhz", 800) == 0
    rows = read(path)
    assert [(r["dram"], r["clock_mhz"]) for r in rows] == [("fixed", "800"), ("ddr3_1600_x16", "800")]
    assert rows[0]["cycles"] != rows[1]["cycles"]


def test_the_energy_is_that_of_run_energy(tmp_path: Path) -> None:
    assert explore(tmp_path / "s.csv", "--energy", "45nm,mhz=200", "--objective", "latency,energy") == 0
    (found,) = read(tmp_path / "s.csv")
    energy = performance(MODEL, preset="tiny", point=OperatingPoint.parse("45nm,mhz=200")).energy
    assert energy is not None and float(found["microjoules"]) == energy.joules * 1e6 and energy.joules > 0
    assert float(found["seconds"]) == pytest.approx(energy.seconds)


def test_one_clock_is_that_of_energy_and_of_the_configuration(tmp_path: Path) -> None:
    assert explore(tmp_path / "s.csv", "--energy", "45nm", "--clock-mhz", "100,600") == 0
    slow, fast = read(tmp_path / "s.csv")
    assert float(slow["seconds"]) == int(slow["cycles"]) / 100e6
    assert fast["problem"] == "mhz must be above 0 and at most 500 for 45nm at 0.9 V, not 600"


def test_there_are_no_seconds_without_a_clock(tmp_path: Path) -> None:
    assert explore(tmp_path / "s.csv") == 0
    (found,) = read(tmp_path / "s.csv")
    assert found["seconds"] == "" and int(found["cycles"]) > 0


def test_what_is_there_is_not_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.csv"
    assert explore(path, "--rows", "2,4") == 0
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert explore(path, "--rows", "2,4") == 0
    assert "2 points, 1 of them run" in capsys.readouterr().out and path.read_bytes() == whole
    assert explore(path, "--rows", "2,4,8") == 0
    assert "3 points, 1 of them run" in capsys.readouterr().out and path.read_bytes().startswith(whole)


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_stopped_sweep_ends_at_once_and_goes_on_where_it_was(
        stop: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, latencies = tmp_path / "s.csv", ",".join(map(str, range(1, 401)))
    command = ["explore", MODEL, "-o", path, "--preset", "tiny",
               "--dram-latency", latencies, "--jobs", "2"]
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTIBLE, *command],
                               stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        while not path.exists() or path.read_bytes().count(b"\n") < 10:
            assert process.poll() is None, "the sweep ended before it could be killed"
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGSTOP)  # so that it does not end by itself meanwhile
        assert "must belong to one run at a time" in refusal(
            capsys, "explore", MODEL, "-o", path, "--preset", "tiny", "--dram-latency", latencies)
        process.send_signal(stop)
        os.killpg(process.pid, signal.SIGCONT)
        process.wait(timeout=20)
        before = path.read_bytes()
        kept = before[:before.rfind(b"\n") + 1]
        deadline = time.monotonic() + 20
        while group_lives(process.pid):
            assert time.monotonic() < deadline, "the workers must end with their parent"
            time.sleep(0.05)
    finally:
        if group_lives(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
    done = kept.count(b"\n") - 1
    assert 0 < done < 400
    assert explore(path, "--dram-latency", latencies) == 0
    assert f"400 points, {400 - done} of them run" in capsys.readouterr().out
    assert path.read_bytes().startswith(kept)
    assert sorted(int(each["dram_latency"]) for each in read(path)) == list(range(1, 401))


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_processes_give_the_same_rows(tmp_path: Path) -> None:
    models = (MODEL, cluttered.model_path())
    assert explore(tmp_path / "one.csv", "--act-kib", "32,64", models=models) == 0
    assert explore(tmp_path / "two.csv", "--act-kib", "32,64", "--jobs", 2, models=models) == 0
    one, two = (sorted((tmp_path / name).read_bytes().splitlines()) for name in ("one.csv", "two.csv"))
    assert one == two and len(one) == 5


def test_invalid_combinations_are_listed_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explore(tmp_path / "s.csv", "--rows", "4,5,6") == 0
    out = capsys.readouterr().out
    assert "rows must be a power of two between 2 and 64, not 5" in out and "not 6" in out
    assert [each["rows"] for each in read(tmp_path / "s.csv")] == ["4"]


def test_a_core_that_is_too_large_for_an_fpga_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explore(tmp_path / "s.csv", "--rows", "8,16", "--fpga", "lfe5u-85f") == 0
    rows = read(tmp_path / "s.csv")
    assert [each["fits"] for each in rows] == ["true", "false"]
    assert [each["shortage"] for each in rows] == ["", "336 of 156 multipliers"]
    assert "1 that do not fit the FPGA are left out" in capsys.readouterr().out


def test_parquet_holds_the_same_rows(tmp_path: Path) -> None:
    import pyarrow.parquet

    assert explore(tmp_path / "s.parquet", "--rows", "4,8", "--fpga", "lfe5u-45f") == 0
    found = pyarrow.parquet.read_table(tmp_path / "s.parquet").to_pylist()
    assert [each["fits"] for each in found] == [True, False]
    assert [str(each["cycles"]) for each in found] == [each["cycles"] for each in read(tmp_path / "s.csv")]


@pytest.mark.parametrize("name,start", [("p.png", b"\x89PNG"), ("p.svg", b"<?xml")])
@pytest.mark.parametrize("objectives", ["latency", "latency,sram", "latency,area"])
def test_a_plot_is_a_picture(tmp_path: Path, name: str, start: bytes, objectives: str) -> None:
    assert explore(tmp_path / "s.csv", "--rows", "4,8", "--plot", tmp_path / name, "--objective", objectives) == 0
    assert (tmp_path / name).read_bytes().startswith(start)


def test_without_a_configuration_to_compare_there_is_no_plot(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explore(tmp_path / "s.csv", "--rows", "3", "--plot", tmp_path / "p.png") == 0
    assert "p.png: not drawn" in capsys.readouterr().out and not (tmp_path / "p.png").exists()


@pytest.mark.parametrize("package,args", [("pyarrow", ("-o", "s.parquet")),
                                          ("matplotlib", ("-o", "s.csv", "--plot", "p.png"))])
def test_a_missing_extra_is_named_before_the_sweep(package: str, args: tuple[str, ...], tmp_path: Path,
                                                   capsys: pytest.CaptureFixture[str],
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    monkeypatch.chdir(tmp_path)
    extra = {"pyarrow": "parquet", "matplotlib": "plot"}[package]
    assert f"needs {package}; do `pip install 'systolith[{extra}]'`" in refusal(capsys, "explore", MODEL, *args)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("args,message", [
    (("--colour", "4"), "No such option '--colour'"),
    (("--rows", "4,many"), "must be integers separated by commas, not '4,many'"),
    (("--objective", "beauty"), "objective must be one of"),
    (("--objective", "energy"), "objective energy must come with --energy"),
    (("--energy", "3nm"), "technology must be one of 180nm"),
    (("--fpga", "none"), "'none' is not one of 'lfe5u-25f'"),
    (("--plot", "p.bmp"), "must end in .png, .svg, .pdf"),
    (("-o", "s.txt"), "must end in .csv or .parquet"),
])
def test_refusals_are_one_line(args: tuple[str, ...], message: str, tmp_path: Path,
                               capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refusal(capsys, "explore", MODEL, "-o", "s.csv", *args)
    assert list(tmp_path.iterdir()) == []


def test_two_models_of_one_name_and_programs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / MODEL.name
    other.write_bytes(MODEL.read_bytes())
    assert "models must have different names" in refusal(
        capsys, "explore", MODEL, other, "-o", tmp_path / "s.csv")
    assert status("compile", MODEL, "-o", tmp_path / "d.sysl") == 0
    capsys.readouterr()
    assert "must be a model, not a compiled program" in refusal(
        capsys, "explore", tmp_path / "d.sysl", "-o", tmp_path / "s.csv")


def _abort(graphs: object) -> None:
    os.abort()


def test_a_killed_worker_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_start_worker", _abort)
    assert "choose fewer with --jobs" in refusal(
        capsys, "explore", MODEL, "-o", tmp_path / "s.csv", "--preset", "tiny", "--rows", "2,4", "--jobs", "2")
