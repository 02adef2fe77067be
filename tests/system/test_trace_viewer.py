"""A trace as Perfetto reads it: no complaint, the tracks in their order, and the cycles of the report."""

from __future__ import annotations

import json
from pathlib import Path

from systolith.host.trace import BANDWIDTHS, LAYERS, RUNS, TRACKS
from systolith.models import zoo
from tests.browser import open_browser, require_programs
from tests.command_line import status
from tests.perfetto import open_trace, query
from tests.small_zoo import SMALL

NS = 1000
"""Perfetto's nanoseconds of a cycle, which the trace gives as a microsecond."""


def test_perfetto_reads_the_cycles_of_the_report(tmp_path: Path) -> None:
    require_programs()
    model, trace, report = (tmp_path / name for name in ("m.tflite", "t.json", "r.json"))
    model.write_bytes(zoo.build("mobilenet_v2", **SMALL["mobilenet_v2"]))
    assert status("run", model, "--perf", "--preset", "ulx3s", "--trace", trace, "--report", report) == 0
    values = json.loads(report.read_text())

    with open_browser(tmp_path / "profile") as browser, open_trace(browser, trace):
        problems = query(browser, "select name from stats where severity != 'info' and value > 0", name=str)
        tracks = query(browser, "select t.name as track, count(*) as slices, sum(dur) as cycles from slice s "
                                "join thread_track k on s.track_id = k.id join thread t using (utid) "
                                "group by track order by t.tid", track=str, slices=int, cycles=int)
        layers = query(browser, "select s.name as layer, sum(dur) as cycles from slice s join thread_track k on "
                                f"s.track_id = k.id join thread t using (utid) where t.name = '{LAYERS}' "
                                "group by layer", layer=str, cycles=int)
        nested = query(browser, "select name from slice where depth > 0", name=str)
        counters = query(browser, "select distinct name from counter_track", name=str)

    assert problems == [] and nested == []
    assert [track for track, _, _ in tracks] == list(TRACKS)
    assert {track: cycles for track, _, cycles in tracks}[RUNS] == NS * values["cycles"]
    assert sum(count for track, count, _ in tracks if TRACKS[track] > 3) == values["counters"]["INSTRUCTIONS"]
    assert dict(layers) == {each["name"]: NS * each["cycles"] for each in values["layers"] if each["cycles"]}
    assert {name for (name,) in counters} == {f"{name} bytes per cycle" for name in BANDWIDTHS.values()}
