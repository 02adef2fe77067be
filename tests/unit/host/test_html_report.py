"""`systolith report`: what it refuses, and that its page is one file which asks for nothing else."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from systolith.host.html_report import theme
from systolith.host.html_report.source import load
from systolith.host.profile import Cause
from systolith.models.zoo import digits
from systolith.sim.energy import Component
from tests.command_line import refusal, status

MODEL = str(digits.model_path())


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "r.json"
    assert status("run", MODEL, "--perf", "--energy", "16nm", "--report", path) == 0
    return path


class _Tags(HTMLParser):
    """Collects the attributes of all elements, and how many elements of each name there are."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str | None]] = []
        self.names: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs


def changed(path: Path, folder: Path, **values: Any) -> Path:
    """Return a copy of a report with some keys changed, and those changed to Ellipsis left out."""
    content = {**json.loads(path.read_text()), **values}
    copy = folder / "changed.json"
    copy.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))
    return copy


def page(report: Path, folder: Path) -> str:
    assert status("report", report, "-o", folder / "p.html") == 0
    return (folder / "p.html").read_text()


def test_every_cause_and_component_has_a_colour() -> None:
    assert set(theme.CAUSES) == {cause.name.lower() for cause in Cause}
    assert set(theme.COMPONENTS) == {component.value for component in Component}
    assert len(set(theme.CAUSES.values())) == len(theme.CAUSES)


def test_a_page_refers_to_nothing_outside(report: Path, tmp_path: Path) -> None:
    tags = _Tags(page(report, tmp_path))

    assert not {"img", "iframe", "base", "object"} & set(tags.names)
    assert [value for name, value in tags.attributes if name in ("src", "href", "action")] == ["data:,"]
    policy = next(value for name, value in tags.attributes if name == "content" and value and "default-src" in value)
    assert "default-src 'none'" in policy and "http" not in policy


def test_a_page_has_the_charts_of_what_the_report_holds(report: Path, tmp_path: Path) -> None:
    def charts(path: Path) -> set[str]:
        data = re.search(r'id="charts-data">(.*?)</script>', page(path, tmp_path), re.S)
        assert data is not None
        return set(json.loads(data[1]))

    assert charts(report) == {"stalls", "roofline", "timeline", "array", "components", "energy"}
    assert charts(changed(report, tmp_path, energy=None)) == {"stalls", "roofline", "timeline", "array"}
    assert charts(changed(report, tmp_path, energy=None, views=None)) == {"stalls", "roofline"}
    assert charts(changed(report, tmp_path, energy=None, views=None, macs=0)) == {"stalls"}


def test_a_page_of_many_layers_numbers_them(report: Path, tmp_path: Path) -> None:
    layers = json.loads(report.read_text())["layers"] * 15

    assert "layer number" in page(changed(report, tmp_path, layers=layers, energy=None, views=None), tmp_path)
    assert "layer number" not in page(report, tmp_path)


def test_names_are_text_and_not_markup(report: Path, tmp_path: Path) -> None:
    layers = json.loads(report.read_text())["layers"]
    layers[0]["name"] = "</script><b id='evil'>&amp;"

    text = page(changed(report, tmp_path, layers=layers, model="<i>m</i>"), tmp_path)

    assert "</script><b" not in text and "<i>m" not in text
    assert "evil" not in [value for _, value in _Tags(text).attributes]


def test_a_report_is_one_line_per_layer(report: Path) -> None:
    text = report.read_text()

    assert len(text.splitlines()) < 200
    assert sum(line.startswith('{"name": "conv_2d_0"') for line in text.splitlines()) == 2  # cycles, and energy


def test_values_of_another_shape_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], report: Path) -> None:
    capsys.readouterr()
    for values in ({"stalls": 3}, {"config": {"rows": 3}}, {"config": []}, {"views": {"cycles": 7}},
                   {"energy": {"a": 1}}):
        assert "must be a report of this version" in refusal(
            capsys, "report", changed(report, tmp_path, **values), "-o", tmp_path / "p.html")


@pytest.mark.parametrize(("text", "message"), [
    ("{", "must be a report in JSON"), ("[1]", "must be the report of a run, not other JSON"),
    ('{"layers": [], "traceEvents": []}', "must be the report of a run, not other JSON"),
    ('{"layers": [], "device": "sim"}', "must be a report of this version, but has no 'config'"),
    ('{"layers": [3], "device": "sim"}', "must be the report of a run"),
    ("\xff", "must be a report in JSON")])
def test_other_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str) -> None:
    (tmp_path / "r.json").write_text(text, encoding="latin-1")

    assert message in refusal(capsys, "report", tmp_path / "r.json", "-o", tmp_path / "p.html")
    assert not (tmp_path / "p.html").exists()


def test_missing_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], report: Path) -> None:
    capsys.readouterr()
    assert "cannot read" in refusal(capsys, "report", tmp_path / "none.json", "-o", tmp_path / "p.html")
    assert "must exist; create it" in refusal(capsys, "report", report, "-o", tmp_path / "none" / "p.html")
    assert "must be a file, not a folder" in refusal(capsys, "report", report, "-o", tmp_path)


def test_runs_without_cycles_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], report: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 8, 8, 1), np.int8))
    assert status("run", MODEL, "--input", tmp_path / "x.npy", "--device", "golden", "--report",
                  tmp_path / "g.json") == 0
    capsys.readouterr()

    golden = refusal(capsys, "report", tmp_path / "g.json", "-o", tmp_path / "p.html")
    cpu = refusal(capsys, "report", changed(report, tmp_path, cycles=0), "-o", tmp_path / "p.html")
    uncounted = refusal(capsys, "report", changed(report, tmp_path, cycles=None, note="there is no g++"), "-o",
                        tmp_path / "p.html")

    assert "must be of a device that counts cycles, not of golden; run with --device sim or rtl" in golden
    assert "whose operators all run on the CPU" in cpu and "there is no g++" in uncounted


def test_a_report_without_its_extra_says_what_to_install(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                         report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    capsys.readouterr()

    assert "pip install systolith[report]" in refusal(capsys, "report", report, "-o", tmp_path / "p.html")


def test_the_configuration_comes_back(report: Path) -> None:
    source = load(report)

    assert (source.config.rows, source.values["preset"]) == (16, "edge")
