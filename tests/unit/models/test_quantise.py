"""Quantisation arithmetic: edges that whole operators rarely reach."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from systolith.models.ops import AddParams, fold_mean, out_size, same_padding, softmax
from systolith.models.quantise import (
    activation_range,
    dequantize,
    quantize_float,
    quantize_multiplier,
    quantize_multipliers,
    requantize,
)


@pytest.mark.parametrize(
    "real, expected",
    [
        (0.0, (0, 0)),
        (1.0, (2**30, 1)),
        (0.5, (2**30, 0)),
        (0.25, (2**30, -1)),
        (math.nextafter(1.0, 0.0), (2**30, 1)),  # the mantissa rounds up to 2**31
        (2.0**-32, (2**30, -31)),
        (math.nextafter(2.0**-32, 0.0), (2**30, -31)),  # ... and its exponent back into range
        (0.999 * 2.0**-32, (0, 0)),
        (5e-324, (0, 0)),
        (math.ldexp(1.0, 30), (2**30, 31)),
        (0.75, (3 * 2**29, 0)),
    ],
)
def test_quantize_multiplier(real: float, expected: tuple[int, int]) -> None:
    assert quantize_multiplier(real) == expected


@given(st.floats(2.0**-31, 2.0**30))
def test_multiplier_is_normalised_and_within_half_a_unit(real: float) -> None:
    mult, shift = quantize_multiplier(real)
    assert 2**30 <= mult < 2**31
    assert abs(math.ldexp(real, 31 - shift) - mult) <= 0.5


@pytest.mark.parametrize("real", [-1.0, math.nan, math.inf, 2.0**31])
def test_quantize_multiplier_refuses(real: float) -> None:
    with pytest.raises(ValueError, match="scale must be"):
        quantize_multiplier(real)


def test_quantize_multipliers_of_a_scalar_and_a_vector() -> None:
    assert [part.tolist() for part in quantize_multipliers(0.5)] == [[2**30], [0]]
    assert [part.tolist() for part in quantize_multipliers([0.5, 0.0, 2.0])] == [[2**30, 0, 2**30], [0, 0, 2]]


def requantize_by_definition(x: int, mult: int, shift: int) -> int:
    """gemmlowp's definition, with truncating division, in Python's integers."""
    word = (x << max(shift, 0)) + 2**31
    word = word % 2**32 - 2**31
    product = word * mult
    nudged = product + (2**30 if product >= 0 else 1 - 2**30)
    high = abs(nudged) // 2**31 * (1 if nudged >= 0 else -1)
    divisor = 1 << max(-shift, 0)
    return (2 * abs(high) + divisor) // (2 * divisor) * (1 if high >= 0 else -1)


@given(st.integers(-(2**31), 2**31 - 1), st.integers(2**30, 2**31 - 1) | st.just(0), st.integers(-31, 31))
def test_requantize_equals_its_definition(x: int, mult: int, shift: int) -> None:
    assert int(requantize(x, mult, shift)) == requantize_by_definition(x, mult, shift)


@pytest.mark.parametrize("x, expected", [(1, 1), (-1, -1), (3, 2), (-3, -2), (2, 1), (-2, -1), (0, 0)])
def test_requantize_rounds_ties_away_from_zero(x: int, expected: int) -> None:
    # x / 4 is exact after the multiplication by 2 * 1/2; the right shift of 1 then meets the ties.
    assert int(requantize(2 * x, 2**30, -1)) == expected


def test_requantize_broadcasts_along_the_last_axis() -> None:
    y = requantize(np.full((2, 3, 2), 8), [2**30, 2**30], [0, 1])
    assert y.dtype == np.int32
    assert (y == [4, 8]).all()


def test_requantize_wraps_words() -> None:
    assert int(requantize(2**31 - 1, 2**30, 1)) == -1
    assert int(requantize(2**32 + 10, 2**30, 0)) == 5


def test_requantize_refuses_a_shift_beyond_the_word() -> None:
    with pytest.raises(ValueError, match="shift must be between"):
        requantize(1, 2**30, [-32, 0])


@pytest.mark.parametrize(
    "activation, scale, zero_point, expected",
    [
        ("NONE", 0.1, 5, (-128, 127)),
        ("RELU", 0.1, 5, (5, 127)),
        ("RELU6", 0.1, 5, (5, 65)),
        ("RELU6", 0.01, -128, (-128, 127)),
        ("RELU_N1_TO_1", 0.1, 5, (-5, 15)),
        ("RELU_N1_TO_1", 2.0, 0, (-1, 1)),  # one half rounds away from zero
        ("RELU6", 1e-9, 0, (0, 127)),
    ],
)
def test_activation_range(activation: str, scale: float, zero_point: int, expected: tuple[int, int]) -> None:
    assert activation_range(activation, scale, zero_point) == expected


def test_activation_range_refuses_an_unknown_activation() -> None:
    with pytest.raises(ValueError, match="activation must be one of NONE, .*, not 'TANH'"):
        activation_range("TANH", 1.0, 0)


def test_quantize_float_rounds_ties_away_and_saturates() -> None:
    x = np.array([0.5, -0.5, 1.5, -2.5, 1e30, -1e30, np.inf, -np.inf], np.float32)
    assert quantize_float(x, 1.0, 0, np.int8).tolist() == [1, -1, 2, -3, 127, -128, 127, -128]
    assert quantize_float(x, 1.0, 3, np.uint8).tolist() == [4, 2, 5, 0, 255, 0, 255, 0]


def test_quantize_float_refuses_nan() -> None:
    with pytest.raises(ValueError, match="not NaN"):
        quantize_float(np.array([math.nan]), 1.0, 0, np.int8)


@given(st.integers(-128, 127), st.integers(-128, 127), st.floats(2.0**-20, 2.0**20, width=32))
def test_dequantize_then_quantize_is_the_identity(q: int, zero_point: int, scale: float) -> None:
    assert quantize_float(dequantize(q, scale, zero_point), scale, zero_point, np.int8) == q


@pytest.mark.filterwarnings("error")
def test_dequantized_reals_beyond_float32_are_infinite() -> None:
    assert dequantize([-128, 0, 127], 1e38, 0).tolist() == [-np.inf, 0, np.inf]


def test_fold_mean_divides_and_respects_the_largest_right_shift() -> None:
    assert fold_mean(2**30, 0, 4) == (2**30, -2)
    assert fold_mean(2**30, 1, 49) == ((2**30 << 5) // 49, -4)
    assert fold_mean(2**30, -30, 49) == ((2**30 << 1) // 49, -31)
    with pytest.raises(ValueError, match="at least one element"):
        fold_mean(2**30, 0, 0)


@given(st.integers(1, 50), st.integers(1, 7), st.integers(1, 4), st.integers(1, 3))
def test_same_padding_gives_one_output_per_stride(size: int, kernel: int, stride: int, dilation: int) -> None:
    before, after = same_padding(size, kernel, stride, dilation)
    assert after - before in (0, 1)
    assert out_size(size, kernel, stride, dilation, (before, after)) == -(-size // stride)


def test_out_size_refuses_a_kernel_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="padded input must be at least 5 pixels"):
        out_size(4, 3, dilation=2)


def test_add_params_bring_both_operands_to_twice_the_larger_scale() -> None:
    params = AddParams.from_scales(0.5, 1, 0.25, 2, 1.0, 3)
    assert (params.a_mult, params.a_shift) == (2**30, 0)
    assert (params.b_mult, params.b_shift) == (2**30, -1)
    assert (params.y_mult, params.y_shift) == (2**30, -19)
    assert (params.a_zp, params.b_zp, params.y_zp, params.act_min, params.act_max) == (1, 2, 3, -128, 127)


def test_softmax_refuses_what_its_fixed_point_cannot_hold() -> None:
    with pytest.raises(ValueError, match="softmax rows must have fewer than 4096 elements"):
        softmax(np.zeros((1, 4096), np.int8), input_scale=0.1)
    with pytest.raises(ValueError, match="softmax scale must exceed"):
        softmax(np.zeros((1, 4), np.int8), input_scale=1e-9)
