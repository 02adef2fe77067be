"""Sessions that run several samples at once: the bytes of golden, fewer loads, and reports per sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from systolith.host.backend.limits import MAX_COORDINATE
from systolith.host.compiler import compile_graph
from systolith.host.errors import UsageError
from systolith.host.frontends import read_model
from systolith.host.graph import Graph
from systolith.host.report import Report
from systolith.host.runtime import Session
from systolith.host.runtime.batches import Batches
from systolith.host.runtime.executor import Loader
from systolith.hw.config import AcceleratorConfig
from systolith.models.zoo import digits
from tests.shared_data import shared_file

from .graphs import CONV, act, const, graph, op

TINY = AcceleratorConfig.preset("tiny")
DEVICES = ["sim", pytest.param("rtl", marks=pytest.mark.rtl)]
FC = {"activation": "RELU", "keep_dims": False}


def dense(rows: int = 1) -> Graph:
    """x [rows, 64] -> 48 -> y [rows, 22], two dense layers with an addition between them."""
    return graph([act("x", rows, 64), const("w", 48, 64), const("b", 48, dtype="int32"), act("h", rows, 48),
                  act("s", rows, 48), const("v", 22, 48), act("y", rows, 22)],
                 [op("FULLY_CONNECTED", "x w b", "h", **FC), op("ADD", "h h", "s", activation="NONE"),
                  op("FULLY_CONNECTED", "s v", "y", **FC)])


def convolution_and_dense() -> Graph:
    """x [1, 4, 4, 6] -> CONV_2D -> a -> flattened to 80 -> y [1, 60]."""
    return graph([act("x", 1, 4, 4, 6), const("w", 20, 3, 3, 6), act("a", 1, 2, 2, 20), act("f", 1, 80),
                  const("v", 60, 80), act("y", 1, 60)],
                 [op("CONV_2D", "x w", "a", **CONV), op("RESHAPE", "a", "f"), op("FULLY_CONNECTED", "f v", "y", **FC)])


def flattening() -> Graph:
    """x [1, 4, 4, 6], of which a dense layer makes 96 features, -> y [1, 60]."""
    return graph([act("x", 1, 4, 4, 6), const("w", 60, 96), act("y", 1, 60)], [op("FULLY_CONNECTED", "x w", "y", **FC)])


def two_towers() -> Graph:
    """x [1, 64] -> 48, twice; joined to 96 -> 24, of which y takes 16."""
    return graph([act("x", 1, 64), const("w", 48, 64), const("ww", 48, 64), act("a", 1, 48), act("b", 1, 48),
                  act("c", 1, 96), const("v", 24, 96), act("d", 1, 24), act("y", 1, 16)],
                 [op("FULLY_CONNECTED", "x w", "a", **FC), op("FULLY_CONNECTED", "x ww", "b", **FC),
                  op("CONCATENATION", "a b", "c", axis=1), op("FULLY_CONNECTED", "c v", "d", **FC),
                  op("SLICE", "d", "y", begin=(0, 8), size=(1, 16), stride=(1, 1))])


def samples(network: Graph, count: int) -> np.ndarray:
    rows, *shape = network.tensors["x"].shape
    return np.random.default_rng(count).integers(-128, 128, (count * rows, *shape), np.int8)


def run(network: Graph, count: int, device: str, batch: int | None) -> tuple[np.ndarray, Report]:
    with Session(network, device, config=TINY, batch=batch) as session:
        found = session.run(samples(network, count))["y"]
        assert session.last_report is not None
        return found, session.last_report


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("network", [dense(), dense(2), two_towers(), flattening(), convolution_and_dense()],
                         ids=["dense", "rows", "towers", "flattening", "convolution"])
def test_a_batch_and_the_rest_of_the_samples_give_the_bytes_of_golden(network: Graph, device: str) -> None:
    expected, _ = run(network, 5, "golden", None)
    single, alone = run(network, 5, device, 1)
    found, report = run(network, 5, device, 4)

    np.testing.assert_array_equal(single, expected)
    np.testing.assert_array_equal(found, expected)
    assert (report.samples, report.batch, alone.batch, report.macs) == (5, 4, 1, alone.macs)
    assert [(layer.name, layer.macs) for layer in report.layers] == [(layer.name, layer.macs) for layer in alone.layers]
    assert report.dram_bytes_read is not None and alone.dram_bytes_read is not None
    assert report.dram_bytes_read < alone.dram_bytes_read
    if device == "rtl":
        assert report.cycles is not None and alone.cycles is not None and report.cycles < alone.cycles
        assert report.cycles == sum(layer.cycles or 0 for layer in report.layers)


def sizes(network: Graph, count: int, most: int | None) -> list[int]:
    program = compile_graph(network, TINY)
    return [executor.samples for executor in Batches(program, TINY, Loader(lambda _: None), most).executors(count)]


@pytest.mark.parametrize(("most", "count", "expected"), [
    (None, 21, [8, 8, 4, 1]), (6, 10, [6, 3, 1]), (4, 5, [4, 1]), (1, 3, [1, 1, 1]), (100, 14, [12, 1, 1])])
def test_batches_are_of_the_largest_size_that_fits_then_of_halves(most: int | None, count: int,
                                                                  expected: list[int]) -> None:
    assert sizes(dense(), count, most) == expected


def test_a_batch_that_gains_too_little_runs_one_by_one() -> None:
    assert sizes(read_model(digits.model_path()), 4, None) == [1] * 4


def test_a_batch_of_which_the_cpu_would_run_a_part_becomes_smaller() -> None:
    most = MAX_COORDINATE + 2
    assert sizes(dense(), most, most) == [most // 2] * 2 + [1] * (most % 2)


def test_a_program_file_runs_batches(tmp_path: Path) -> None:
    network = dense()
    compile_graph(network, TINY).save(tmp_path / "p.sysl")
    expected, _ = run(network, 9, "golden", None)
    with Session(tmp_path / "p.sysl") as session:
        np.testing.assert_array_equal(session.run(samples(network, 9))["y"], expected)
        assert session.last_report is not None and session.last_report.batch == 8
        np.testing.assert_array_equal(session.run(samples(network, 9)[:1])["y"], expected[:1])  # another program again
        assert session.last_report.batch == 1


def test_progress_counts_samples() -> None:
    done: list[tuple[int, int]] = []
    with Session(dense(), config=TINY, batch=4) as session:
        session.run(samples(dense(), 6), progress=lambda *counts: done.append(counts))
    assert done == [(4, 6), (6, 6)]


def test_a_batch_of_none_is_refused() -> None:
    with pytest.raises(UsageError, match="batch must be at least 1, not 0"):
        Session(dense(), config=TINY, batch=0)


def test_published_outputs_come_from_batches_too() -> None:
    model = read_model(shared_file("models/ad_autoencoder_int8.tflite"))
    with np.load(shared_file("samples/ad_autoencoder.npz")) as data, Session(model, preset="edge", batch=4) as session:
        (found,) = session.run(data["x"][:5]).values()
        np.testing.assert_array_equal(found, data["out"][:5])
        assert session.last_report is not None and session.last_report.batch == 4
