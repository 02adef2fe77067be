"""Golden operators against operator vectors published with CMSIS-NN, byte for byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from systolith.models import ops
from tests.kernel_vectors import Vector
from tests.shared_data import shared_names


def assert_equal(got: np.ndarray, want: np.ndarray) -> None:
    wrong = np.flatnonzero(got.ravel() != want.ravel())
    first = [(int(i), int(want.ravel()[i]), int(got.ravel()[i])) for i in wrong[:5]]
    assert got.dtype == np.int8 and got.size == want.size and not wrong.size, f"(index, expected, got): {first}"


def conv_arguments(v: Vector) -> dict[str, Any]:
    dilation = (v["DILATION_Y"], v["DILATION_X"])
    return {
        "x_zp": -v["INPUT_OFFSET"],
        "y_zp": v["OUTPUT_OFFSET"],
        "mult": v["output_mult"],
        "shift": v["output_shift"],
        "stride": (v["STRIDE_Y"], v["STRIDE_X"]),
        "dilation": dilation,
        "pads": (v.pads("H", "FILTER_Y", "PAD_Y", dilation[0]), v.pads("W", "FILTER_X", "PAD_X", dilation[1])),
        "act_min": v["OUT_ACTIVATION_MIN"],
        "act_max": v["OUT_ACTIVATION_MAX"],
    }


@pytest.mark.parametrize("name", shared_names("kernels/convolve__*.npz"))
def test_conv2d(name: str) -> None:
    v = Vector(name)
    depth = v.get("FILTER_CH", v["IN_CH"])
    weights = v["weights"].reshape(v["OUT_CH"], v["FILTER_Y"], v["FILTER_X"], depth)
    y = ops.conv2d(v.image("input"), weights, v.get("biases"), groups=v["IN_CH"] // depth, **conv_arguments(v))
    assert_equal(y, v["output_ref"])


@pytest.mark.parametrize("name", shared_names("kernels/depthwise__*.npz"))
def test_depthwise_conv2d(name: str) -> None:
    v = Vector(name)
    weights = v["weights"].reshape(1, v["FILTER_Y"], v["FILTER_X"], v["OUT_CH"])
    multiplier = v["OUT_CH"] // v["IN_CH"]
    y = ops.depthwise_conv2d(v.image("input"), weights, v.get("biases"), multiplier=multiplier, **conv_arguments(v))
    assert_equal(y, v["output_ref"])


@pytest.mark.parametrize("name", shared_names("kernels/fully_connected__*.npz"))
def test_fully_connected(name: str) -> None:
    v = Vector(name)
    depth = v["ACCUMULATION_DEPTH"]
    y = ops.fully_connected(
        v["input"].reshape(-1, depth),
        v["weights"].reshape(v["OUT_CH"], depth),
        v.get("biases"),
        x_zp=-v["INPUT_OFFSET"],
        w_zp=-v.get("FILTER_OFFSET", 0),
        y_zp=v["OUTPUT_OFFSET"],
        mult=v.get("output_mult", v.get("OUTPUT_MULTIPLIER")),
        shift=v.get("output_shift", v.get("OUTPUT_SHIFT")),
        act_min=v["OUT_ACTIVATION_MIN"],
        act_max=v["OUT_ACTIVATION_MAX"],
    )
    assert_equal(y, v["output_ref"])


@pytest.mark.parametrize("name", shared_names("kernels/add__*.npz"))
def test_add(name: str) -> None:
    v = Vector(name)
    params = ops.AddParams(
        *(-v["INPUT1_OFFSET"], v["INPUT1_MULT"], v["INPUT1_SHIFT"]),
        *(-v["INPUT2_OFFSET"], v["INPUT2_MULT"], v["INPUT2_SHIFT"]),
        *(v["OUTPUT_OFFSET"], v["OUTPUT_MULT"], v["OUTPUT_SHIFT"]),
        *(v["OUT_ACTIVATION_MIN"], v["OUT_ACTIVATION_MAX"]),
    )
    assert_equal(ops.add(v["input1"], v["input2"], params=params), v["output_ref"])


@pytest.mark.parametrize("name", shared_names("kernels/avgpool__*.npz") + shared_names("kernels/maxpool__*.npz"))
def test_pooling(name: str) -> None:
    v = Vector(name)
    pool = ops.average_pool2d if "avgpool" in name else ops.max_pool2d
    y = pool(
        v.image("input_tensor", "INPUT_C"),
        kernel=(v["FILTER_H"], v["FILTER_W"]),
        stride=(v["STRIDE_H"], v["STRIDE_W"]),
        pads=(v.pads("H", "FILTER_H", "PADDING_H"), v.pads("W", "FILTER_W", "PADDING_W")),
        act_min=v["ACTIVATION_MIN"],
        act_max=v["ACTIVATION_MAX"],
    )
    assert_equal(y, v["output"])


@pytest.mark.parametrize("name", shared_names("kernels/softmax__*.npz"))
def test_softmax(name: str) -> None:
    v = Vector(name)
    scale = v["INPUT_MULT"] * 2.0 ** (v["INPUT_LEFT_SHIFT"] - 31 - 26)
    assert_equal(ops.softmax(v["input"].reshape(v["NUM_ROWS"], -1), input_scale=scale), v["output_ref"])


@pytest.mark.parametrize("name", shared_names("kernels/pad__*.npz"))
def test_pad(name: str) -> None:
    v = Vector(name)
    x = v["input_tensor"].reshape(v["INPUT_N"], v["INPUT_H"], v["INPUT_W"], v["INPUT_C"])
    paddings = [(v[f"PRE_PAD_{axis}"], v[f"POST_PAD_{axis}"]) for axis in "NHWC"]
    assert_equal(ops.pad(x, paddings, v["PAD_VALUE"]), v["output"])


@pytest.mark.parametrize("name", shared_names("kernels/mul__*.npz"))
def test_mul(name: str) -> None:
    v = Vector(name)
    y = ops.mul(
        v["input1"],
        v["input2"],
        a_zp=-v["INPUT1_OFFSET"],
        b_zp=-v["INPUT2_OFFSET"],
        y_zp=v["OUTPUT_OFFSET"],
        mult=v["OUTPUT_MULT"],
        shift=v["OUTPUT_SHIFT"],
        act_min=v["OUT_ACTIVATION_MIN"],
        act_max=v["OUT_ACTIVATION_MAX"],
    )
    assert_equal(y, v["output_ref"])


@pytest.mark.parametrize("name", shared_names("kernels/batch_matmul__*_s8.npz"))
def test_batch_matmul(name: str) -> None:
    v = Vector(name)
    left, right = (
        v[f"{side.lower()}_input_tensor"].reshape([v[f"{side}_{axis}"] for axis in ("BATCH", "HEIGHT", "ROWS", "COLS")])
        for side in ("LHS", "RHS")
    )
    y = ops.batch_matmul(
        left,
        right,
        a_zp=-v["LHS_OFFSET"],
        b_zp=-v["RHS_OFFSET"],
        y_zp=v["OUTPUT_OFFSET"],
        mult=v["OUTPUT_MULTIPLIER"],
        shift=v["OUTPUT_SHIFT"],
        adj_x=bool(v["ADJ_X"]),
        adj_y=bool(v["ADJ_Y"]),
    )
    assert_equal(y, v["output_ref"])


@pytest.mark.parametrize("name", shared_names("kernels/transpose_conv__*.npz"))
def test_transpose_conv2d(name: str) -> None:
    v = Vector(name)
    pads = tuple(
        (v[f"PAD_{k}"], (v[f"INPUT_{axis}"] - 1) * v[f"STRIDE_{k}"] + v[f"FILTER_{k}"] - v[f"PAD_{k}"]
         - v[f"OUTPUT_{axis}"])
        for axis, k in (("H", "Y"), ("W", "X"))
    )
    y = ops.transpose_conv2d(
        v.image("input"),
        v["weights"].reshape(v["OUT_CH"], v["FILTER_Y"], v["FILTER_X"], v["IN_CH"]),
        v.get("biases"),
        x_zp=-v["INPUT_OFFSET"],
        y_zp=v["OUTPUT_OFFSET"],
        mult=v["output_mult"],
        shift=v["output_shift"],
        stride=(v["STRIDE_Y"], v["STRIDE_X"]),
        pads=pads,
        act_min=v["OUT_ACTIVATION_MIN"],
        act_max=v["OUT_ACTIVATION_MAX"],
    )
    assert_equal(y, v["output_ref"])
