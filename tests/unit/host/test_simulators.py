"""The comparison with SCALE-Sim: that both run the same layers, and what is made of SCALE-Sim's report."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import pytest

from systolith.host.bench import simulators
from systolith.host.frontends import read_model
from systolith.host.frontends.scalesim import graph_of, layers_of
from systolith.host.frontends.scalesim_config import read_scalesim_config, write_scalesim_config
from systolith.host.runtime.performance import performance
from systolith.hw.config import PRESETS
from systolith.models.zoo import cluttered, digits
from tests.command_line import refusal, status

TOPOLOGY = "Layer, H, W, KH, KW, C, N, S,\nfirst, 8, 8, 3, 3, 3, 5, 1,\nDP1, 6, 6, 3, 3, 2, 1, 1,\n"
# Takes what SCALE-Sim takes, and reports two layers for each depthwise one, as it does for two channels.
PEER = """
import pathlib, sys
class scalesim:
    def __init__(self, save_disk_space, verbose, config, topology, layout):
        assert "ArrayHeight = 4" in open(config).read()
        self.line = open(topology).read().splitlines()[1]
        assert open(layout).read().splitlines()[1].split(",")[5] == self.line.split(",")[5]
    def run_scale(self, top_path):
        folder = pathlib.Path(top_path, "run")
        folder.mkdir(parents=True)
        rows = 2 if self.line.startswith("DP") else 1
        (folder / "COMPUTE_REPORT.csv").write_text("header\\n" + "0, 1000, 900, 10, 50.0, 1, 1,\\n" * rows)
"""


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package in SCALE-Sim's place; the file that it consists of."""
    package = tmp_path / "site" / "scalesim"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "scale_sim.py").write_text(PEER)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    return package / "scale_sim.py"


def test_layers_side_by_side(peer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text(TOPOLOGY)
    assert status("bench", "simulators", path, "--preset", "tiny") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    found = {line[0]: line[1:5] for line in lines if line and line[0] in ("first", "DP1", "total")}
    layers = simulators.choose([path], False, None)
    ours = [performance(graph_of("t", [layer]), preset="tiny").cycles for layer in layers]
    assert found == {"first": ["4,860", "1,000", "10", f"{ours[0]:,}"], "DP1": ["288", "2,000", "20", f"{ours[1]:,}"],
                     "total": ["5,148", "3,000", "30", f"{sum(ours):,}"]}


@pytest.mark.parametrize("change,message", [
    (("folder.mkdir(parents=True)", "raise TypeError('only arrays')"), "first, but: TypeError: only arrays"),
    (("1000, 900", "many, 900"), "first, but: its report cannot be read"),
])
def test_a_failure_of_scale_sim_is_one_line(change: tuple[str, str], message: str, peer: Path, tmp_path: Path,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    peer.write_text(PEER.replace(*change))
    path = tmp_path / "t.csv"
    path.write_text(TOPOLOGY)
    assert message in refusal(capsys, "bench", "simulators", path, "--preset", "tiny")


@pytest.mark.parametrize("args,message", [
    (("t.csv", "--all"), "--all must come without files"),
    (("odd.csv",), "layer a of odd.csv must have equal strides for SCALE-Sim, not 1 and 2"),
    ((), "bench simulators needs SCALE-Sim; do `pip install 'systolith[peers]'`"),
])
def test_refusals(args: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "scalesim" else find(name))
    Path("odd.csv").write_text("Layer, H, W, KH, KW, C, N, S, S,\na, 8, 8, 3, 3, 3, 5, 1, 2,\n")
    assert message in refusal(capsys, "bench", "simulators", *args)


def test_layers_of_a_model_have_its_macs_and_outputs() -> None:
    for path in (digits.model_path(), cluttered.model_path()):
        graph = read_model(path)
        layers = layers_of(graph)
        ops = [op for op in graph.ops if graph.macs(op)]
        assert [layer.macs for layer in layers] == [graph.macs(op) for op in ops]
        assert [math.prod(layer.output) * layer.outputs for layer in layers] == [graph.result(op).size for op in ops]
        assert [layer.depthwise for layer in layers] == [op.kind == "DEPTHWISE_CONV_2D" for op in ops]
        assert graph_of("again", layers).macs() == graph.macs()


def test_layers_are_chosen(tmp_path: Path) -> None:
    assert [layer.name for layer in simulators.choose([], False, None)] == list(simulators.DEFAULT)
    everything = simulators.choose([], True, None)
    assert len(everything) == 21 and sum(layer.macs for layer in everything) == 1_814_073_344
    assert len(simulators.choose([digits.model_path()] * 2, False, 2)) == 4


def test_a_configuration_for_scale_sim_is_that_of_the_core(tmp_path: Path) -> None:
    for config in PRESETS.values():
        write_scalesim_config(config, tmp_path / "s.cfg")
        found = read_scalesim_config(tmp_path / "s.cfg")
        assert found.settings == (f"rows={config.rows}", f"act_kib={config.act_kib}", f"wgt_kib={config.wgt_kib}",
                                  f"dram_bandwidth={config.dram_bandwidth}")


@pytest.mark.slow
def test_scale_sim_itself(tmp_path: Path) -> None:
    """In an environment of its own, which takes minutes to make."""
    root, python = Path(__file__).parents[3], tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{root}[peers]"], check=True)
    (tmp_path / "t.csv").write_text("Layer, M, N, K,\nproduct, 196, 64, 64,\n")
    done = subprocess.run([python.with_name("systolith"), "bench", "simulators", tmp_path / "t.csv"], check=True,
                          capture_output=True, text=True)
    (row,) = [line.split() for line in done.stdout.splitlines() if line.startswith(" product")]
    # 16 tiles of weights, each 16 cycles to load, 196 pixels, and 30 to drain and in part to fill; then the prefetch.
    cycles = int(row[2].replace(",", ""))
    assert row[1] == "802,816" and 16 * (16 + 196 + 14) <= cycles
    assert float(row[-2].replace(",", "")) > 10, "sim is faster"
