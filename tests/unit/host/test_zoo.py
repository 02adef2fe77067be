"""The zoo through frontend and golden device, and its command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from systolith.host.cli import main
from systolith.host.devices.golden import execute
from systolith.host.frontends.tflite import read_tflite
from systolith.models import zoo
from systolith.models.zoo.layers import execution_order, macs
from tests.small_zoo import SMALL


def status(*args: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(arg) for arg in args])
    return int(stop.value.code or 0)


@pytest.mark.parametrize("name", SMALL)
def test_golden_equals_tflite_micro(name: str) -> None:
    runtime = pytest.importorskip("tflite_micro", reason="tflite-micro is the oracle; install the test extra").runtime
    model = zoo.build(name, **SMALL[name])
    graph = read_tflite(model)
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=8_000_000)
    rng = np.random.default_rng(2)
    for _ in range(3):
        x = rng.integers(-128, 128, graph.tensors[graph.inputs[0]].shape, np.int8)
        interpreter.set_input(x, 0)
        interpreter.invoke()

        (found,) = execute(graph, {graph.inputs[0]: x}).values()

        np.testing.assert_array_equal(found, interpreter.get_output(0))


@pytest.mark.parametrize("name", SMALL)
def test_layers_count_what_the_graph_counts(name: str) -> None:
    output = zoo.describe(name, **SMALL[name])
    graph = read_tflite(zoo.build(name, **SMALL[name]))

    assert graph.macs() == macs(output)
    assert [op.kind for op in graph.ops] == [layer.kind for layer in execution_order(output)[1:]]


def test_zoo_lists_its_networks(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("zoo") == 0

    out = capsys.readouterr().out
    for word in (*zoo.NETWORKS, "1x224x224x3", "4,089,184,256", "25,530,472", "322,880", "width=1.0"):
        assert word in out


def test_zoo_writes_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "g.tflite"
    assert status("zoo", "gemm", "--set", "n=16", "--set", "seed=4", "-o", path) == 0

    assert path.read_bytes() == zoo.build("gemm", n=16, seed=4)
    assert capsys.readouterr().out == f"{path}: gemm, {path.stat().st_size:,} bytes\n"
    assert status("info", path) == 0


@pytest.mark.parametrize(("args", "message"), [
    (("gemm",), "gemm must have a file to be written to; add -o gemm.tflite"),
    (("-o", "{tmp}/x.tflite"), "must be given the name of a network"),
    (("alexnet", "-o", "{tmp}/x.tflite"), "network must be one of digits, cluttered, resnet50"),
    (("gemm", "-o", "{tmp}/none/x.tflite"), "create it"),
    (("gemm", "-o", "{tmp}"), "must be a file, not a folder"),
    (("gemm", "-o", "{tmp}/x.tflite", "--set", "n"), "setting must be KEY=VALUE, not 'n'"),
    (("gemm", "-o", "{tmp}/x.tflite", "--set", "n=many"), "n of gemm must be a positive integer, not 'many'"),
    (("gemm", "-o", "{tmp}/x.tflite", "--set", "m=3"), "option of gemm must be one of n, seed, not 'm'"),
])
def test_wrong_usage_is_refused_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                            args: tuple[str, ...], message: str) -> None:
    assert status("zoo", *(arg.format(tmp=tmp_path) for arg in args)) == 2

    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and message in err
    assert not (tmp_path / "x.tflite").exists()
