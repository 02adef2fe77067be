"""Golden operators say in one line what is wrong with their operands, and accumulators wrap at 32 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from systolith.models import ops
from tests.unit.models.reference import OneOperator, assert_equal

UNIT: dict[str, Any] = {"x_zp": 0, "y_zp": 0, "mult": 2**30, "shift": 1}


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.int8)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: ops.conv2d(zeros(1, 4, 4, 3), zeros(2, 3, 3, 4), None, **UNIT), "weights must be"),
        (lambda: ops.conv2d(zeros(1, 4, 4, 4), zeros(3, 1, 1, 2), None, groups=2, **UNIT), "multiple of groups"),
        (lambda: ops.conv2d(zeros(4, 4, 4), zeros(3, 1, 1, 4), None, **UNIT), "input must have four axes"),
        (lambda: ops.conv2d(zeros(1, 4, 4, 4), zeros(3, 1, 1, 4), [1], **UNIT), "bias must have one value"),
        (lambda: ops.conv2d(zeros(1, 4, 4, 4), zeros(3, 1, 1, 4), None, **UNIT | {"mult": [1, 2]}), "mult must have"),
        (lambda: ops.conv2d(zeros(1, 2, 2, 4), zeros(3, 3, 3, 4), None, **UNIT), "padded input must be at least 3"),
        (lambda: ops.depthwise_conv2d(zeros(1, 4, 4, 3), zeros(1, 3, 3, 4), None, **UNIT), "weights must be"),
        (lambda: ops.fully_connected(zeros(1, 3), zeros(2, 4), None, **UNIT), "input and weights must be"),
        (lambda: ops.max_pool2d(zeros(1, 4, 4, 1), kernel=(0, 1)), "kernel, stride and dilation must be positive"),
        (lambda: ops.max_pool2d(zeros(1, 4, 4, 1), kernel=(1, 1), pads=((-1, 0), (0, 0))), "pads must be non-negative"),
        (lambda: ops.average_pool2d(zeros(1, 4, 4, 1), kernel=(1, 1), pads=((1, 0), (0, 0))), "must meet the image"),
        (lambda: ops.mean(zeros(1, 0, 2), [1], True, **UNIT), "at least one element"),
    ],
)
def test_operators_refuse(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("operator", ["CONV_2D", "FULLY_CONNECTED"])
def test_accumulators_wrap_like_the_reference(operator: str) -> None:
    kernel = (1, 1) if operator == "CONV_2D" else ()
    x, w = np.full((1, *kernel, 64), 127, np.int8), np.full((2, *kernel, 64), 127, np.int8)
    w[1] = -127
    bias = np.array([2**31 - 1, -(2**31)], np.int32)
    model = OneOperator()
    model.feed(x, 1.0)
    model.constant(w, 1.0)
    model.constant(bias, 1.0)
    want = model.invoke(operator, (1, *kernel, 2), 2.0**25)
    layer = ops.conv2d if operator == "CONV_2D" else ops.fully_connected
    got = layer(x, w, bias, x_zp=0, y_zp=0, mult=2**30, shift=-24)
    assert want.ravel().tolist() == [-64, 64]
    assert_equal(got, want)
