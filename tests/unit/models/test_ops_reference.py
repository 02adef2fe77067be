"""Golden operators against TFLite Micro's reference kernels, on random one-operator models, byte for byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from systolith.models import ops
from systolith.models.quantise import activation_range, conv_scale, quantize_multipliers
from tests.unit.models.reference import OneOperator, assert_equal

seeds = pytest.mark.parametrize("seed", range(30))


def pick(rng: np.random.Generator, low: int, high: int) -> int:
    """A random integer in low..high."""
    return int(rng.integers(low, high + 1))


def log_uniform(rng: np.random.Generator, low: float, high: float, size: int | None = None) -> Any:
    """Random float32 scales."""
    return np.float32(np.exp(rng.uniform(np.log(low), np.log(high), size)))


def int8s(rng: np.random.Generator, shape: tuple[int, ...], low: int = -128, high: int = 127) -> np.ndarray:
    return rng.integers(low, high + 1, shape).astype(np.int8)


def random_activation(rng: np.random.Generator) -> str:
    """None as often as any: a clamp hides the rounding behind it."""
    return str(rng.choice(["NONE", "NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1"]))


def requantisation(x_scale: float, y_scale: float) -> tuple[int, int]:
    """(M, s) of x_scale / y_scale."""
    mult, shift = quantize_multipliers(float(x_scale) / float(y_scale))
    return int(mult[0]), int(shift[0])


class Layer:
    """Random weights, biases and scales of a multiply-accumulate layer whose outputs use much of their range.

    Every fourth seed has scale ratios above one (left shifts), every fourth biases of +-2**30, and every fourth
    dead channels (multiplier 0).
    """

    def __init__(self, rng: np.random.Generator, seed: int, depth: int, outputs: int, per_channel: bool = True) -> None:
        left, huge, dead = seed % 4 == 1, seed % 4 == 2, seed % 4 == 3
        self.range = 1 if left else 127
        self.x_zp, self.y_zp = pick(rng, -128, 127), pick(rng, -128, 127)
        if left:
            self.x_zp = pick(rng, -126, 125)
        self.x_scale = log_uniform(rng, 1e-3, 1.0)
        self.w_scale = log_uniform(rng, 1e-3, 1e-1, outputs if per_channel else 1)
        spread = 2.0**28 if huge else 0.5 if left else 60.0**2 * depth**0.5
        self.y_scale = np.float32(self.x_scale * self.w_scale.max() * spread / 60 * rng.uniform(0.5, 2))
        if dead and self.w_scale.size > 1:
            self.w_scale[pick(rng, 0, outputs - 1)] = 1e-13
        limit = 2**30 if huge else 2 if left else 1 + int(60**2 * depth**0.5)
        self.bias = None if seed % 5 == 4 else rng.integers(-limit, limit + 1, outputs).astype(np.int32)
        self.activation = random_activation(rng)
        self.act_min, self.act_max = activation_range(self.activation, float(self.y_scale), self.y_zp)

    def input(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        if self.range == 1:
            return int8s(rng, shape, self.x_zp - 2, self.x_zp + 2)
        return int8s(rng, shape)

    def weights(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return int8s(rng, shape, -self.range, self.range)

    def arguments(self, scale: np.ndarray) -> dict[str, Any]:
        mult, shift = quantize_multipliers(scale)
        clamp = {"act_min": self.act_min, "act_max": self.act_max}
        return {"x_zp": self.x_zp, "y_zp": self.y_zp, "mult": mult, "shift": shift, **clamp}

    def reference(
        self, operator: str, x: np.ndarray, w: np.ndarray, axis: int, shape: tuple[int, ...], options: dict[str, Any]
    ) -> np.ndarray:
        model = OneOperator()
        model.feed(x, self.x_scale, self.x_zp)
        model.constant(w, self.w_scale, axis)
        if self.bias is not None or operator != "DEPTHWISE_CONV_2D":  # there the reference wants two inputs, not a -1
            model.constant(self.bias, self.x_scale * self.w_scale)
        options = options | {"activation": self.activation}
        return model.invoke(operator, shape, self.y_scale, self.y_zp, options=options)


class Window:
    """Random window geometry of convolution or pooling, and the input size that it fits."""

    def __init__(self, rng: np.random.Generator, dilate: bool = False) -> None:
        self.kernel = (pick(rng, 1, 4), pick(rng, 1, 4))
        self.stride = (pick(rng, 1, 3), pick(rng, 1, 3))
        self.dilation = (pick(rng, 1, 2), pick(rng, 1, 2)) if dilate else (1, 1)
        self.padding = ("SAME", "VALID")[pick(rng, 0, 1)]
        extents = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        smallest = [1, 1] if self.padding == "SAME" else extents
        self.size = tuple(pick(rng, low, low + 12) for low in smallest)
        axes = list(zip(self.size, self.kernel, self.stride, self.dilation, strict=True))
        same = self.padding == "SAME"
        self.pads = tuple(ops.same_padding(*axis) if same else (0, 0) for axis in axes)
        self.out = tuple(ops.out_size(*axis, pads) for axis, pads in zip(axes, self.pads, strict=True))

    @property
    def options(self) -> dict[str, Any]:
        return {"padding": self.padding, "stride_h": self.stride[0], "stride_w": self.stride[1]}

    @property
    def dilations(self) -> dict[str, int]:
        return {"dilation_h": self.dilation[0], "dilation_w": self.dilation[1]}


@seeds
def test_conv2d(seed: int) -> None:
    rng = np.random.default_rng(seed)
    win, groups = Window(rng, dilate=True), (1, 1, 2)[seed % 3]
    n, depth, outputs = pick(rng, 1, 2), pick(rng, 1, 9), groups * pick(rng, 1, 30)
    layer = Layer(rng, seed, depth * win.kernel[0] * win.kernel[1], outputs, per_channel=seed % 7 != 6)
    x = layer.input(rng, (n, *win.size, depth * groups))
    w = layer.weights(rng, (outputs, *win.kernel, depth))
    want = layer.reference("CONV_2D", x, w, 0, (n, *win.out, outputs), win.options | win.dilations)
    got = ops.conv2d(
        x,
        w,
        layer.bias,
        stride=win.stride,
        pads=win.pads,
        dilation=win.dilation,
        groups=groups,
        **layer.arguments(conv_scale(layer.x_scale, layer.w_scale, layer.y_scale)),
    )
    assert_equal(got, want)


@seeds
def test_depthwise_conv2d(seed: int) -> None:
    rng = np.random.default_rng(seed)
    win, multiplier = Window(rng, dilate=True), pick(rng, 1, 3)
    n, depth = pick(rng, 1, 2), pick(rng, 1, 30)
    outputs = depth * multiplier
    layer = Layer(rng, seed, win.kernel[0] * win.kernel[1], outputs)
    x = layer.input(rng, (n, *win.size, depth))
    w = layer.weights(rng, (1, *win.kernel, outputs))
    options = win.options | win.dilations | {"depth_multiplier": multiplier}
    want = layer.reference("DEPTHWISE_CONV_2D", x, w, 3, (n, *win.out, outputs), options)
    got = ops.depthwise_conv2d(
        x,
        w,
        layer.bias,
        multiplier=multiplier,
        stride=win.stride,
        pads=win.pads,
        dilation=win.dilation,
        **layer.arguments(conv_scale(layer.x_scale, layer.w_scale, layer.y_scale)),
    )
    assert_equal(got, want)


@seeds
def test_fully_connected(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, depth, outputs = pick(rng, 1, 9), pick(rng, 1, 200), pick(rng, 2, 100)
    layer = Layer(rng, seed, depth, outputs, per_channel=bool(seed % 2))
    x, w = layer.input(rng, (n, depth)), layer.weights(rng, (outputs, depth))
    want = layer.reference("FULLY_CONNECTED", x, w, 0, (n, outputs), {})
    scale = conv_scale(layer.x_scale, layer.w_scale, layer.y_scale)
    assert_equal(ops.fully_connected(x, w, layer.bias, **layer.arguments(scale)), want)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("operator", ["CONV_2D", "FULLY_CONNECTED"])
@pytest.mark.parametrize("seed", range(5))
def test_multiplier_of_real_scales(operator: str, per_channel: bool, seed: int) -> None:
    """Biases around a rounding boundary: one unit of M moves it, so the product of scales needs the right precision."""
    rng = np.random.default_rng(seed)
    outputs = 400
    x_scale, w_scale = log_uniform(rng, 1e-3, 1e-1), log_uniform(rng, 1e-3, 1e-1)
    y_scale = np.float32(x_scale * w_scale * rng.uniform(1e6, 2e6))
    w_scales = np.full(outputs if per_channel else 1, w_scale)
    mult, shift = quantize_multipliers(conv_scale(x_scale, w_scales, y_scale))
    boundary = int(100.5 * float(y_scale) / (float(x_scale) * float(w_scale)))
    bias = (boundary + np.arange(outputs) - outputs // 2).astype(np.int32)
    kernel = (1, 1) if operator == "CONV_2D" else ()
    x, w = np.zeros((1, *kernel, 1), np.int8), np.zeros((outputs, *kernel, 1), np.int8)
    model = OneOperator()
    model.feed(x, x_scale)
    model.constant(w, w_scales)
    model.constant(bias, x_scale * w_scales)
    want = model.invoke(operator, (1, *kernel, outputs), y_scale)
    layer = ops.conv2d if operator == "CONV_2D" else ops.fully_connected
    got = layer(x, w, bias, x_zp=0, y_zp=0, mult=mult, shift=shift)
    assert set(want.ravel()) == {100, 101}
    assert_equal(got, want)


@seeds
def test_add(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (pick(rng, 1, 2), pick(rng, 1, 12), pick(rng, 1, 12), pick(rng, 1, 30))
    other = tuple(1 if seed % 3 == 2 and rng.random() < 0.5 else size for size in shape)
    sa, sb, sy = log_uniform(rng, 1e-3, 1e1, 3)
    za, zb, zy = (pick(rng, -128, 127) for _ in range(3))
    if seed % 2:
        sy = np.float32(max(sa, sb))  # else mostly saturated or mostly zero
    activation = random_activation(rng)
    a, b = int8s(rng, shape), int8s(rng, other)
    model = OneOperator()
    model.feed(a, sa, za)
    model.feed(b, sb, zb)
    want = model.invoke("ADD", shape, sy, zy, options={"activation": activation})
    params = ops.AddParams.from_scales(sa, za, sb, zb, sy, zy, *activation_range(activation, sy, zy))
    assert_equal(ops.add(a, b, params=params), want)


@pytest.mark.parametrize("operator", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@seeds
def test_pooling(operator: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    win, n, depth = Window(rng), pick(rng, 1, 2), pick(rng, 1, 9)
    scale, zero_point = log_uniform(rng, 1e-2, 1e-1), pick(rng, -128, 127)
    activation = random_activation(rng)
    act_min, act_max = activation_range(activation, scale, zero_point)
    x = int8s(rng, (n, *win.size, depth))
    model = OneOperator()
    model.feed(x, scale, zero_point)
    filters = {"filter_height": win.kernel[0], "filter_width": win.kernel[1], "activation": activation}
    want = model.invoke(operator, (n, *win.out, depth), scale, zero_point, options=win.options | filters)
    pool = ops.average_pool2d if operator == "AVERAGE_POOL_2D" else ops.max_pool2d
    got = pool(x, kernel=win.kernel, stride=win.stride, pads=win.pads, act_min=act_min, act_max=act_max)
    assert_equal(got, want)


@pytest.mark.parametrize("axes", [(1, 2), (2, 1), (1,), (-1,), (2, 3), (1, -2)])
@pytest.mark.parametrize("keepdims", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_mean(axes: tuple[int, ...], keepdims: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = int8s(rng, (1, pick(rng, 1, 9), pick(rng, 1, 9), pick(rng, 1, 16)))
    # Equal quantisation on both sides, then an amplifying ratio, then any.
    x_scale, x_zp = log_uniform(rng, 1e-3, 1.0), pick(rng, -128, 127)
    y_scale = np.float32(x_scale * (1.0, 0.2, log_uniform(rng, 1e-2, 1e2))[seed])
    y_zp = x_zp if seed == 0 else pick(rng, -128, 127)
    mult, shift = requantisation(x_scale, y_scale)
    got = ops.mean(x, axes, keepdims, x_zp=x_zp, y_zp=y_zp, mult=mult, shift=shift)
    model = OneOperator()
    model.feed(x, x_scale, x_zp)
    model.constant(np.array(axes, np.int32))
    assert_equal(got, model.invoke("MEAN", got.shape, y_scale, y_zp, options={"keep_dims": keepdims}))


@seeds
def test_softmax(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # The reference itself aborts when the exponentials add up to 512 or more.
    x = int8s(rng, (pick(rng, 1, 4), pick(rng, 1, 511)), low=(-128, 100, 127)[seed % 3])
    scale, beta = log_uniform(rng, 1e-4, 2.0), (1.0, 1.0, 0.37)[pick(rng, 0, 2)]
    model = OneOperator()
    model.feed(x, scale, pick(rng, -128, 127))
    want = model.invoke("SOFTMAX", x.shape, 1 / 256, -128, options={"beta": beta})
    assert_equal(ops.softmax(x, input_scale=scale, beta=beta), want)


@pytest.mark.parametrize("x_type, y_type", [("int8", "int8"), ("int8", "uint8"), ("uint8", "int8")])
@pytest.mark.parametrize("ratio", [1e-12, 1e-9, 1e-3, 0.3, 0.5, 1.0, 1.7, 300.0, 1e7, 2e8, 1.9e9])
def test_requantize_tensor(x_type: str, y_type: str, ratio: float) -> None:
    # Ratios above 2**24 drive the left shift out of 32 bits: the golden operator must wrap as the reference does.
    x = np.arange(256).astype(x_type).reshape(1, 256)
    x_zp, y_zp = (np.iinfo(t).min + offset for t, offset in ((x_type, 131), (y_type, 99)))
    model = OneOperator()
    model.feed(x, ratio, x_zp)
    want = model.invoke("QUANTIZE", x.shape, 1.0, y_zp, y_type)
    mult, shift = requantisation(np.float32(ratio), 1.0)
    assert_equal(ops.requantize_tensor(x, x_zp=x_zp, y_zp=y_zp, mult=mult, shift=shift, dtype=y_type), want)


@seeds
def test_quantize(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale, zero_point = log_uniform(rng, 1e-4, 10.0), pick(rng, -128, 127)
    halves = np.arange(-300, 300) / 2 * scale  # ties, and their neighbours
    x = np.concatenate([halves, rng.normal(0, 100, 200) * scale]).astype(np.float32)[None]
    x = np.concatenate([x, np.nextafter(x, np.float32(0)), np.nextafter(x, np.float32(np.inf))], axis=1)
    model = OneOperator()
    model.feed(x)
    assert_equal(ops.quantize(x, scale=scale, zp=zero_point), model.invoke("QUANTIZE", x.shape, scale, zero_point))


@seeds
def test_dequantize(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale, zero_point = log_uniform(rng, 1e-4, 10.0), pick(rng, -128, 127)
    x = np.arange(-128, 128).astype(np.int8)[None]
    model = OneOperator()
    model.feed(x, scale, zero_point)
    assert_equal(ops.dequantize(x, scale, zero_point), model.invoke("DEQUANTIZE", x.shape, dtype=np.float32))


@pytest.mark.parametrize("seed", range(5))
def test_pad(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, zero_point = int8s(rng, (1, 3, 4, 5)), pick(rng, -128, 127)
    paddings = rng.integers(0, 4, (4, 2)).astype(np.int32)
    got = ops.pad(x, paddings, zero_point)
    model = OneOperator()
    model.feed(x, 0.5, zero_point)
    model.constant(paddings)
    assert_equal(got, model.invoke("PAD", got.shape, 0.5, zero_point))


def test_reshape() -> None:
    x = int8s(np.random.default_rng(0), (1, 2, 3, 4))
    model = OneOperator()
    model.feed(x, 0.5, 3)
    model.constant(np.array([6, 4], np.int32))
    assert_equal(ops.reshape(x, (6, -1)), model.invoke("RESHAPE", (6, 4), 0.5, 3))
