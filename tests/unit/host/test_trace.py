"""Traces: well-formed events of the Chrome trace-event format, and what they say of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from systolith.host.compiler import compile_graph
from systolith.host.devices.base import RunResult
from systolith.host.errors import DeviceError, UsageError
from systolith.host.frontends.tflite import read_tflite
from systolith.host.report import Report
from systolith.host.runtime import Session
from systolith.host.runtime.performance import performance
from systolith.host.trace import ARRAY, LAYERS, RUNS, TRACKS, TraceFile
from systolith.hw.config import PRESETS
from systolith.hw.isa import INSTR_BYTES, Opcode
from systolith.models.zoo import digits
from tests.random_networks import random_config, random_network

Events = list[dict[str, Any]]
FIELDS = {"M": {"ph", "pid", "tid", "name", "args"}, "X": {"ph", "pid", "tid", "name", "ts", "dur", "args"},
          "C": {"ph", "pid", "tid", "name", "ts", "args"}}
UNITS = ("load", "compute", "vector", "store")


def read(path: Path) -> Events:
    return list(json.loads(path.read_text())["traceEvents"])


def slices(events: Events, track: str) -> Events:
    return sorted((e for e in events if e["ph"] == "X" and e["tid"] == TRACKS[track]), key=lambda e: e["ts"])


def cycles_by(events: Events, track: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for event in slices(events, track):
        found[event["name"]] = found.get(event["name"], 0) + event["dur"]
    return found


def check(events: Events) -> None:
    """Require the documented fields, named tracks, and slices of a track one after the other."""
    named = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert named == {tid: track for track, tid in TRACKS.items()}
    for event in events:
        assert set(event) == FIELDS[event["ph"]], event
        assert isinstance(event["name"], str) and isinstance(event["pid"], int) and isinstance(event["tid"], int)
        assert all(isinstance(event.get(key, 0), int) and event.get(key, 0) >= 0 for key in ("ts", "dur")), event
        assert event["ph"] != "X" or (event["tid"] in named and event["dur"] > 0), event
    total = sum(event["dur"] for event in slices(events, RUNS))
    for track in TRACKS:
        end = 0
        for event in slices(events, track):
            assert event["ts"] >= end, (track, event)
            end = event["ts"] + event["dur"]
        assert end <= total, track
        # These have no gaps either.
        assert track in UNITS or (end == total == sum(event["dur"] for event in slices(events, track))), track


def run(path: Path, seed: int, samples: int, device: str, preset: str | None = None) -> tuple[Events, Report]:
    """Return the trace of a random network, and the report of the same run."""
    network = random_network(seed)
    config = PRESETS[preset] if preset else random_config(seed)
    with TraceFile(path) as trace, Session(read_tflite(network.model), device, config=config) as session:
        session.run(dict(zip((info.name for info in session.inputs), network.samples(samples), strict=True)),
                    trace=trace)
        assert session.last_report is not None
    return read(path), session.last_report


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("seed", range(8))
def test_a_trace_says_what_the_report_says(tmp_path: Path, seed: int, samples: int) -> None:
    events, report = run(tmp_path / "t.json", seed, samples, "sim")

    check(events)
    assert sum(e["dur"] for e in slices(events, RUNS)) == report.counters.get("CYCLES", 0)
    assert sum(len(slices(events, unit)) for unit in UNITS) == report.counters.get("INSTRUCTIONS", 0)
    if samples == 1:  # the average of more is rounded
        assert cycles_by(events, LAYERS) == {e.name: e.cycles for e in report.layers if e.cycles}
        assert cycles_by(events, ARRAY) == {name: n for name, n in (report.stalls or {}).items() if n}
        instructions = report.counters.get("INSTRUCTIONS", 0) * INSTR_BYTES
        moved = {unit: sum(e["args"]["bytes"] for e in slices(events, unit)) for unit in ("load", "store")}
        assert moved == {"load": report.dram_bytes_read - instructions, "store": report.dram_bytes_written}


@pytest.mark.rtl
def test_simulator_and_rtl_give_the_same_file(tmp_path: Path) -> None:
    for seed in range(4):
        files = [tmp_path / f"{device}.json" for device in ("sim", "rtl")]
        for path in files:
            run(path, seed, 2, path.stem, "tiny")
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("batch", [1, 3])
def test_performance_gives_the_trace_of_a_run(tmp_path: Path, batch: int) -> None:
    with TraceFile(tmp_path / "perf.json") as trace:
        performance(digits.model_path(), preset="tiny", batch=batch, trace=trace)
    with TraceFile(tmp_path / "run.json") as trace, Session(digits.model_path(), preset="tiny", batch=batch) as session:
        session.run(np.zeros((batch, 8, 8, 1), np.int8), trace=trace)

    assert (tmp_path / "perf.json").read_bytes() == (tmp_path / "run.json").read_bytes()


def test_slices_are_instructions_with_their_fields(tmp_path: Path) -> None:
    events, _ = run(tmp_path / "t.json", 0, 1, "sim", "tiny")
    program = compile_graph(read_tflite(random_network(0).model), PRESETS["tiny"])

    found = []
    for step in slices(events, RUNS):
        within = range(step["ts"], step["ts"] + step["dur"])
        of_step = [e for unit in UNITS for e in slices(events, unit) if e["ts"] in within]
        found += sorted(of_step, key=lambda e: e["args"]["index"])
        assert [e["args"]["index"] for e in found[-len(of_step):]] == list(range(step["args"]["instructions"]))
    for event, layer, opcode in zip(found, program.layer_index, program.code[::INSTR_BYTES], strict=True):
        name = program.layers[layer].name
        assert event["name"] == f"{Opcode(opcode).name} {name}" and event["args"]["layer"] == name
        assert event["args"]["issue"] <= event["ts"] and event["ts"] + event["dur"] == event["args"]["retire"]
        assert set(event["args"]) > {"index", "layer", "issue", "retire"}


@pytest.mark.parametrize(("unit", "counter"), [("load", "DRAM read"), ("store", "DRAM write")])
def test_bandwidth_is_that_of_the_transfers(tmp_path: Path, unit: str, counter: str) -> None:
    events, _ = run(tmp_path / "t.json", 1, 2, "sim")
    samples = [(e["ts"], e["args"]["bytes per cycle"]) for e in events if e["ph"] == "C" and e["name"] == counter]
    times, rates = np.array(samples).T

    assert (np.diff(times) > 0).all(), "one value per time"
    assert rates[-1] == 0
    assert (rates[:-1] * np.diff(times)).sum() == pytest.approx(sum(e["args"]["bytes"] for e in slices(events, unit)))


def test_an_interrupted_trace_is_complete_json(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), TraceFile(tmp_path / "t.json") as trace:
        performance(digits.model_path(), preset="tiny", trace=trace)
        raise KeyboardInterrupt

    check(read(tmp_path / "t.json"))
    assert trace.cycles > 0


def test_the_unit_of_time_is_stated(tmp_path: Path) -> None:
    with TraceFile(tmp_path / "t.json"):
        pass

    assert json.loads((tmp_path / "t.json").read_text())["otherData"]["time"] == "1 us is 1 clock cycle"


def test_the_file_of_before_survives_a_run_that_does_not_begin(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("of before")
    with pytest.raises(ValueError, match="wrong"), TraceFile(tmp_path / "t.json"):
        raise ValueError("wrong")

    assert (tmp_path / "t.json").read_text() == "of before"


def test_results_without_a_trace_are_refused(tmp_path: Path) -> None:
    program = compile_graph(read_tflite(digits.model_path()), PRESETS["tiny"])
    with pytest.raises(DeviceError, match=r"a trace must come from a device that counts cycles; g\+\+ is missing"), \
            TraceFile(tmp_path / "t.json") as trace:
        trace.add([(program, [RunResult(0, 0, note="g++ is missing")])])


def test_golden_has_no_trace(tmp_path: Path) -> None:
    with TraceFile(tmp_path / "t.json") as trace, Session(digits.model_path(), "golden") as session, \
            pytest.raises(UsageError, match="a trace must come from sim or rtl, not golden, which counts no cycles"):
        session.run(np.zeros((8, 8, 1), np.int8), trace=trace)
