"""SCALE-Sim's files: topologies as graphs, and configurations as settings."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from systolith.host.errors import ConfigError, ModelError
from systolith.host.frontends import read_model
from systolith.host.frontends.scalesim import graph_of
from systolith.host.frontends.scalesim_config import read_scalesim_config
from systolith.host.frontends.scalesim_topology import Layer, read_topology, write_topology
from systolith.host.runtime import Session
from systolith.host.runtime.performance import performance
from systolith.hw.config import AcceleratorConfig
from tests.command_line import refusal, status

HEADER = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
LAYERS = HEADER + "stem, 9, 8, 3, 2, 3, 5, 2,\n\nDP1, 6, 6, 3, 3, 5, 1, 1,\nhead, 1, 1, 1, 1, 20, 7, 1,\n"
PRODUCTS = "Layer, M, N, K,\nqkv, 12, 10, 9,\nout, 7, 3, 5, 2:4,\n"
CONFIG = """[general]
run_name = test

[architecture_presets]
ArrayHeight:    8
ArrayWidth:     8
IfmapSramSzkB:  40
FilterSramSzkB: 32
OfmapSramSzkB:  40
IfmapOffset:    0
Dataflow : ws
Bandwidth : 4

[run_presets]
InterfaceBandwidth: USER
"""


def file(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


# Topologies.


def test_layers_of_both_forms(tmp_path: Path) -> None:
    assert read_topology(file(tmp_path / "t.csv", LAYERS)) == [
        Layer("stem", (9, 8), (3, 2), 3, 5, (2, 2)), Layer("DP1", (6, 6), (3, 3), 5, 1),
        Layer("head", (1, 1), (1, 1), 20, 7)]
    assert read_topology(file(tmp_path / "t.csv", PRODUCTS)) == [
        Layer("qkv", (3, 4), (1, 1), 9, 10), Layer("out", (1, 7), (1, 1), 5, 3)]
    two = HEADER + "a, 9, 9, 3, 3, 2, 2, 2, 1, 1:4"  # a second stride, a ratio, no comma at the end
    assert read_topology(file(tmp_path / "t.csv", two)) == [Layer("a", (9, 9), (3, 3), 2, 2, (2, 1))]


@pytest.mark.parametrize("size,kernel,stride,outputs", [
    (9, 3, 2, 4), (8, 3, 2, 4), (7, 3, 1, 5), (5, 5, 3, 1), (6, 1, 4, 3)])
def test_outputs_are_rounded_up_as_in_scale_sim(size: int, kernel: int, stride: int, outputs: int) -> None:
    layer = Layer("a", (size, size), (kernel, kernel), 2, 3, (stride, stride))
    graph = graph_of("t", [layer])
    assert layer.output == (outputs, outputs) and graph.tensors["a"].shape == (1, outputs, outputs, 3)
    assert layer.macs == graph.macs() == (outputs * kernel) ** 2 * 6


def test_layers_are_independent_and_their_weights_always_the_same(tmp_path: Path) -> None:
    path = file(tmp_path / "net.csv", LAYERS)
    graph, again = read_model(path), read_model(path)
    assert graph.name == "net" and graph.inputs == ("stem.input", "DP1.input", "head.input")
    assert graph.outputs == ("stem", "DP1", "head")
    assert [op.kind for op in graph.ops] == ["CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D"]
    assert graph.macs() == sum(layer.macs for layer in read_topology(path))
    for name, tensor in graph.tensors.items():
        assert tensor.data is None or np.array_equal(tensor.data, again.tensors[name].data)


def test_layers_of_one_name_get_numbers() -> None:
    layer = Layer("a", (2, 2), (1, 1), 1, 1)
    assert graph_of("t", [layer, layer, layer]).outputs == ("a", "a#2", "a#3")


@pytest.mark.parametrize("device", ["sim", pytest.param("rtl", marks=pytest.mark.rtl)])
@pytest.mark.parametrize("content", [LAYERS, PRODUCTS], ids=["layers", "products"])
def test_a_topology_runs_on_the_device_as_on_golden(device: str, content: str, tmp_path: Path) -> None:
    path = file(tmp_path / "t.csv", content)
    random = np.random.default_rng(5)
    with Session(path, "golden") as golden, Session(path, device, preset="tiny") as session:
        inputs = {info.name: random.integers(-128, 128, info.shape, np.int8) for info in session.inputs}
        expected, found = golden.run(inputs), session.run(inputs)
        assert all(layer.unit == "array" for layer in session.last_report.layers)
    assert all(np.array_equal(found[name], value) for name, value in expected.items())
    assert all(20 < value.std() < 60 for value in expected.values() if value.size > 50), "sums fill int8"


def test_a_written_topology_is_read_as_it_was(tmp_path: Path) -> None:
    layers = read_topology(file(tmp_path / "t.csv", LAYERS))
    write_topology(layers, tmp_path / "u.csv")
    assert read_topology(tmp_path / "u.csv") == layers


def test_cycles_without_data_are_those_of_the_graph(tmp_path: Path) -> None:
    path = file(tmp_path / "t.csv", LAYERS)
    report = performance(path, preset="tiny")
    assert report.macs == read_model(path).macs() and len(report.layers) == 3 and report.cycles
    assert status("info", path) == 0 and status("compile", path, "-o", tmp_path / "t.sysl") == 0
    assert status("run", path, "--perf", "--preset", "tiny", "--report", tmp_path / "r.json") == 0


@pytest.mark.parametrize("content,message", [
    ("", "line 1 of .*t.csv must be the header"),
    ("a, 8, 8, 3, 3, 1, 1, 1,\n", "line 1 of .*t.csv must be the header"),
    (HEADER, "must have between 1 and 10,000 layers, not 0"),
    (HEADER + "\na, 8, 8, 3, 3, 1, 1,\n", "line 3 of .*: a convolution must have 7 sizes .* or a second stride, not 6"),
    (HEADER + "a, 8, 8, 3, three, 1, 1, 1,\n", "line 2 of .*: sizes must be integers, not 'three'"),
    (HEADER + "a, 8, 8, 3, , 1, 1, 1,\n", "line 2 of .*: sizes must be integers, not ''"),
    (HEADER + "a, 8, 8, 0, 3, 1, 1, 1,\n", "line 2 of .*: filter height must be at least 1, not 0"),
    (HEADER + "a, 8, 2, 3, 3, 1, 1, 1,\n", "line 2 of .*: filter width must be at most that of the image, 2, not 3"),
    (HEADER + ", 8, 8, 3, 3, 1, 1, 1,\n", "line 2 of .*: a layer must have a name"),
    (HEADER + "a, 99999, 99999, 1, 1, 1, 1, 1,\n", "line 2 of .*: input must have at most"),
    (HEADER + "a, 1, 1, 1, 1, 32768, 32768, 1,\n" * 5, "must have at most 4,294,967,296 weights together"),
    ("Layer, M, N, K,\na, 1, 2,\n", r"line 2 of .*: a matrix product must have 3 sizes \(M, N, K\), not 2"),
    (f"Layer, M, N, K,\na, {10**30}, 1, 1,\n", "line 2 of .*: input must have at most"),
    ("Layer, M, N, K,\na, -4, 1, 1,\n", "line 2 of .*: image width must be at least 1, not -4"),
])
def test_a_malformed_topology_is_one_line_with_its_number(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        read_model(file(tmp_path / "t.csv", content))


def test_what_is_no_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_bytes(b"Layer,\xff\xfe")
    assert "must be a SCALE-Sim topology in UTF-8" in refusal(capsys, "run", tmp_path / "t.csv", "--perf")
    assert "No such file" in refusal(capsys, "run", tmp_path / "none.csv", "--perf")


# Configurations.


def test_a_configuration_becomes_settings(tmp_path: Path) -> None:
    found = read_scalesim_config(file(tmp_path / "s.cfg", CONFIG))
    assert found.settings == ("rows=8", "act_kib=64", "wgt_kib=32", "dram_bandwidth=4")
    assert [note.partition(f"{tmp_path / 's.cfg'}: ")[2] for note in found.notes] == [
        "IfmapSramSzkB 40: with OfmapSramSzkB 40 one activation buffer of 64 KiB",
        "Bandwidth 4: 4 bytes per cycle, which all operands share; the port moves 8"]
    config = AcceleratorConfig.preset("edge", found.settings)
    assert (config.rows, config.act_kib, config.wgt_kib, config.dram_bandwidth) == (8, 64, 32, 4)


@pytest.mark.parametrize("old,new,note", [
    ("Dataflow : ws", "Dataflow : OS", "line 11 of .*: Dataflow OS: modelled as ws"),
    ("FilterSramSzkB: 32", "FilterSramSzkB: 33000", "FilterSramSzkB 33000: the weight buffer has 4096 KiB"),
    ("USER", "CALC", "InterfaceBandwidth CALC: DRAM keeps up with the port, 8 bytes per cycle"),
    ("Bandwidth : 4", "Bandwidth : 4, 2, 2", "Bandwidth 4, 2, 2: 8 bytes per cycle"),
    ("Bandwidth : 4", "Bandwidth : 4\nReadRequestBuffer: 64", "ReadRequestBuffer 64: not modelled"),
    ("USER", "USER\nUseRamulatorTrace: True", "UseRamulatorTrace True: DRAM latencies of Ramulator are not modelled"),
    ("USER", "USER\n[sparsity]\nSparsitySupport = true", "SparsitySupport true: sparse weights are not modelled"),
])
def test_what_is_not_modelled_is_said(old: str, new: str, note: str, tmp_path: Path) -> None:
    assert old in CONFIG
    found = read_scalesim_config(file(tmp_path / "s.cfg", CONFIG.replace(old, new)))
    matching = [each for each in found.notes if re.search(note, each)]
    assert len(matching) == 1


def test_what_is_off_is_not_said(tmp_path: Path) -> None:
    off = CONFIG + "UseRamulatorTrace: False\n; more\n[layout]\nIfmapCustomLayout = False\nIfmapSRAMBankNum = 4\n"
    assert read_scalesim_config(file(tmp_path / "s.cfg", off)) == read_scalesim_config(file(tmp_path / "s.cfg", CONFIG))


@pytest.mark.parametrize("old,new,message", [
    ("ArrayWidth:     8", "ArrayWidth: 16", "line 6 of .*: ArrayWidth must be ArrayHeight, 8, because"),
    ("ArrayHeight:    8", "ArrayHeight: 12", "line 5 of .*: ArrayHeight must be a power of two .* not 12"),
    ("ArrayHeight:    8", "", "must have the key ArrayHeight"),
    ("SzkB:  40", "SzkB: much", "line 7 of .*: IfmapSramSzkB must be a positive integer, not 'much'"),
    ("SzkB:  40", "SzkB: 1, 2", "line 7 of .*: IfmapSramSzkB must be one integer, not '1, 2'"),
    ("ws", "rs", "line 11 of .*: Dataflow must be one of os, ws, is, not 'rs'"),
    ("USER", "MINE", "line 15 of .*: InterfaceBandwidth must be one of user, calc, not 'MINE'"),
    ("Bandwidth : 4", "Bandwidth : 0", "line 12 of .*: Bandwidth must be a positive integer, not '0'"),
    ("Bandwidth : 4", "Bandwidth : 5000", "line 12 of .*: Bandwidth must be an integer between 1 and 4096, not 5000"),
    ("[general]", "general", r"line 1 of .* must be 'KEY = VALUE' or '\[SECTION\]', not 'general'"),
])
def test_what_cannot_be_is_one_line_with_its_number(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in CONFIG
    with pytest.raises(ConfigError, match=message):
        read_scalesim_config(file(tmp_path / "s.cfg", CONFIG.replace(old, new, 1)))


def test_settings_of_the_command_line_come_last(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, path = file(tmp_path / "s.cfg", CONFIG), file(tmp_path / "t.csv", LAYERS)
    run = ("run", path, "--perf", "--scalesim-config")
    assert status(*run, config, "--set", "rows=4", "--report", tmp_path / "r") == 0
    assert "one activation buffer of 64 KiB" in capsys.readouterr().out
    settings = ["rows=4", "act_kib=64", "wgt_kib=32", "dram_bandwidth=4"]
    assert f'"cycles": {performance(path, settings=settings).cycles},' in (tmp_path / "r").read_text()
    assert status("explore", path, "-o", tmp_path / "s.csv", "--scalesim-config", config, "--jobs", 1) == 0
    assert ",8,64,4,32," in (tmp_path / "s.csv").read_text()
    capsys.readouterr()
    assert "cannot read" in refusal(capsys, *run, tmp_path / "none.cfg")
