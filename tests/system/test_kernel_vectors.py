"""Operator vectors published with CMSIS-NN through the whole compiler, byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from systolith.host import quantparams
from systolith.host.backend import lower_conv
from systolith.host.compiler import compile_graph
from systolith.host.frontends.tflite import read_tflite
from systolith.host.runtime import Session
from systolith.hw.config import PRESETS
from tests.kernel_vectors import vector_model
from tests.shared_data import shared_names

VECTORS = shared_names("kernels/*.npz")
ONE_EACH = list({Path(name).name.partition("__")[0]: name for name in reversed(VECTORS)}.values())
ACCELERATED = ("ADD", "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D")
WIDE_KERNELS = ("conv_1_x_n_3", "conv_1_x_n_7")  # 48 and 32 pixels: more than a walk takes


def check(name: str, batch: int, device: str, preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = vector_model(name, batch)
    if case.requant is not None:
        for module in (quantparams, lower_conv):
            monkeypatch.setattr(module, "conv_requant", lambda graph, op: case.requant)
    program = compile_graph(read_tflite(case.model), PRESETS[preset])
    if batch == 1 and case.kind in ACCELERATED and not name.endswith(tuple(f"{wide}.npz" for wide in WIDE_KERNELS)):
        assert next(layer for layer in program.layers if layer.kind == case.kind).unit != "cpu"

    with Session(program, device) as session:
        (found,) = session.run(case.inputs).values()

    wrong = np.argwhere(found != case.output)
    assert (found.shape, found.dtype) == (case.output.shape, case.output.dtype)
    assert not len(wrong), f"{case.kind}: (index, expected, got): " + str(
        [(tuple(i.tolist()), int(case.output[tuple(i)]), int(found[tuple(i)])) for i in wrong[:5]])


@pytest.mark.parametrize("preset", ["tiny", "edge"])
@pytest.mark.parametrize("name", VECTORS)
def test_sample_by_sample(name: str, preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(name, 1, "sim", preset, monkeypatch)


@pytest.mark.parametrize("name", VECTORS)
def test_the_batch_of_the_vector_as_the_models(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(name, 0, "sim", "tiny", monkeypatch)


@pytest.mark.rtl
@pytest.mark.parametrize("name", ONE_EACH)
def test_one_of_each_operator_on_rtl(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(name, 1, "rtl", "tiny", monkeypatch)
