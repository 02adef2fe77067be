"""Post-training quantisation: parameters and values."""

from __future__ import annotations

import numpy as np
import pytest

from systolith.models.zoo.ptq import activation_params, quantize_bias, quantize_weights


@pytest.mark.parametrize(("low", "high", "scale", "zero_point"), [
    (0.0, 255.0, 1.0, -128),
    (-128.0, 127.0, 1.0, 0),
    (-255.0, 0.0, 1.0, 127),
    (10.0, 510.0, 2.0, -128),  # widened to contain 0
    (-510.0, -10.0, 2.0, 127),
])
def test_activation_range_maps_to_int8(low: float, high: float, scale: float, zero_point: int) -> None:
    assert activation_params(low, high) == (scale, zero_point)


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (0.0, np.inf), (np.nan, 1.0), (1.0, np.nan)])
def test_unusable_range_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="must be finite and non-empty"):
        activation_params(low, high)


@pytest.mark.parametrize("axis", [None, 0, 3, -1])
def test_weights_are_within_half_a_step(axis: int | None) -> None:
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 5)).astype(np.float32)
    values, scales = quantize_weights(weights, axis)
    shape = [1, 1, 1, 1]
    if axis is not None:
        shape[axis] = weights.shape[axis]
    error = values * scales.reshape(shape).astype(np.float64) - weights
    assert values.dtype == np.int8 and values.min() >= -127
    assert scales.shape == (1 if axis is None else weights.shape[axis],)
    assert (np.abs(error) <= 0.5001 * scales.reshape(shape)).all()


def test_dead_channel_quantises_to_zeros_with_a_usable_scale() -> None:
    weights = np.array([[0.0, 0.0], [1.0, -2.0]], np.float32)
    values, scales = quantize_weights(weights, axis=0)
    assert values.tolist() == [[0, 0], [64, -127]]
    assert scales[0] > 0


def test_bias_has_the_scale_of_the_accumulator_and_saturates() -> None:
    values, scales = quantize_bias(np.array([1.0, -3.0, 1e12], np.float32), np.float32(0.5),
                                   np.array([0.5, 0.25, 0.25], np.float32))
    assert values.tolist() == [4, -24, 2**31 - 1]
    assert scales.tolist() == [0.25, 0.125, 0.125]
