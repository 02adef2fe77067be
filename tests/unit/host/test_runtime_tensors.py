"""Inputs of a session: what is accepted, and how it becomes the samples that the network takes."""

from __future__ import annotations

import numpy as np
import pytest

from systolith.host.errors import ShapeError
from systolith.host.graph import QuantParams
from systolith.host.runtime.tensors import TensorInfo, batch_inputs

IMAGE = TensorInfo("image", (1, 4, 4, 3), "int8", 0.5, -3)
STATE = TensorInfo("state", (1, 8), "uint8", 0.25, 128)
LOGITS = TensorInfo("logits", (1, 2), "float32", None, None)


@pytest.mark.parametrize(("shape", "samples"), [((4, 4, 3), 1), ((1, 4, 4, 3), 1), ((7, 4, 4, 3), 7)])
def test_sample_and_batch_become_samples_along_axis_0(shape: tuple[int, ...], samples: int) -> None:
    array = np.arange(np.prod(shape)).astype(np.int8).reshape(shape)

    (batch,) = batch_inputs(array, [IMAGE]).values()

    assert batch.dtype == np.int8
    np.testing.assert_array_equal(batch, array.reshape(samples, 4, 4, 3))


def test_float32_is_quantised_with_the_inputs_parameters_and_saturates() -> None:
    real = np.full((1, 4, 4, 3), 1.25, np.float32)
    real[0, 0, 0] = 1e6, -np.inf, 0

    (batch,) = batch_inputs(real, [IMAGE]).values()

    assert batch.dtype == np.int8
    assert batch[0, 0, 0].tolist() == [127, -128, -3]
    assert batch[0, 1, 1].tolist() == [0, 0, 0]  # 1.25 / 0.5 = 2.5, away from zero to 3


def test_inputs_by_name_may_come_in_any_order() -> None:
    arrays = {"state": np.zeros((2, 8), np.uint8), "image": np.zeros((2, 4, 4, 3), np.int8)}

    assert list(batch_inputs(arrays, [IMAGE, STATE])) == ["image", "state"]


@pytest.mark.parametrize(("array", "message"), [
    (np.zeros((4, 4), np.int8), r"must have shape \(1, 4, 4, 3\), or \(N, 4, 4, 3\) for N samples, not \(4, 4\)"),
    (np.zeros((1, 4, 3, 4), np.int8), "must have shape"),
    (np.zeros((), np.int8), "must have shape"),
    (np.zeros((0, 4, 4, 3), np.int8), "at least one sample"),
    (np.zeros((1, 4, 4, 3), np.uint8), "must be int8, or float32 to be quantised, not uint8"),
    (np.zeros((1, 4, 4, 3), np.float64), "not float64"),
    (np.zeros((1, 4, 4, 3), np.int64), "not int64"),
    (np.zeros((1, 4, 4, 3), bool), "not bool"),
    (np.full((1, 4, 4, 3), np.nan, np.float32), "NaN"),
    ({"picture": np.zeros((4, 4, 3), np.int8)}, "inputs must be named image, not picture"),
    ({}, "not nothing"),
])
def test_what_does_not_fit_is_refused_in_one_line(array: np.ndarray, message: str) -> None:
    with pytest.raises(ShapeError, match=message) as caught:
        batch_inputs(array, [IMAGE])

    assert "\n" not in str(caught.value)


def test_inputs_with_different_numbers_of_samples_are_refused() -> None:
    arrays = {"image": np.zeros((2, 4, 4, 3), np.int8), "state": np.zeros((3, 8), np.uint8)}

    with pytest.raises(ShapeError, match="2 for 'image', 3 for 'state'"):
        batch_inputs(arrays, [IMAGE, STATE])


def test_one_array_is_refused_for_two_inputs() -> None:
    with pytest.raises(ShapeError, match="by name because the network has 2: image, state"):
        batch_inputs(np.zeros((1, 8), np.uint8), [IMAGE, STATE])


def test_float_input_without_quantisation_takes_float32_only() -> None:
    with pytest.raises(ShapeError, match="must be float32, not int8"):
        batch_inputs(np.zeros((1, 2), np.int8), [LOGITS])


def test_tensor_info_comes_from_the_graphs_parameters_and_returns_reals() -> None:
    info = TensorInfo.of("x", [1, 2], "int8", QuantParams((0.5,), (4,)))

    assert info == TensorInfo("x", (1, 2), "int8", 0.5, 4)
    assert info.to_real(np.array([[4, 6]], np.int8)).tolist() == [[0.0, 1.0]]
    assert TensorInfo.of("y", (1, 2), "float32", None) == TensorInfo("y", (1, 2), "float32", None, None)
