"""Small networks of the shapes that people train, with random weights: nobody tuned the compiler for them.

Each builds on the operators of `random_networks`, with the structure fixed and everything else drawn from a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from systolith.models.ops import out_size, same_padding
from systolith.models.tflite_writer import TFLiteBuilder
from tests.random_networks import Act, Maker, RandomNetwork

Architecture = Callable[["Net"], list[Act]]


class Net(Maker):
    """A network under construction; methods append an operator with the given geometry and return its result."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.rng, self.b = np.random.default_rng(seed), TFLiteBuilder()
        self.ports: list[Act] = []

    def input(self, *shape: int) -> Act:
        self.ports.append(self.act(shape))
        return self.ports[-1]

    def convolution(self, x: Act, outputs: int, kernel: int | tuple[int, int] = 3, stride: int | tuple[int, int] = 1,
                    padding: str = "SAME", depthwise: bool = False, dilation: int = 1) -> Act:
        kernels, strides = (pair if isinstance(pair, tuple) else (pair, pair) for pair in (kernel, stride))
        axes = [(x.shape[1 + i], kernels[i], strides[i], dilation) for i in range(2)]
        out = [out_size(*axis, same_padding(*axis) if padding == "SAME" else (0, 0)) for axis in axes]
        options: dict[str, Any] = {"padding": padding, "stride_h": strides[0], "stride_w": strides[1],
                                   "dilation_h": dilation, "dilation_w": dilation}
        depth = kernels[0] * kernels[1] * (1 if depthwise else x.shape[3])
        if depthwise:
            options["depth_multiplier"] = outputs // x.shape[3]
            return self.weighted("DEPTHWISE_CONV_2D", x, (1, *kernels, outputs), 3, depth, (1, *out, outputs), options)
        return self.weighted("CONV_2D", x, (outputs, *kernels, x.shape[3]), 0, depth, (1, *out, outputs), options)

    def dense(self, x: Act, outputs: int) -> Act:
        return self.weighted("FULLY_CONNECTED", x, (outputs, x.size), 0, x.size, (1, outputs), {})

    def pooled(self, x: Act, kernel: int, stride: int, kind: str = "MAX_POOL_2D", padding: str = "VALID") -> Act:
        axes = [(size, kernel, stride) for size in x.shape[1:3]]
        out = [out_size(*axis, pads=same_padding(*axis) if padding == "SAME" else (0, 0)) for axis in axes]
        y = self.act((1, *out, x.shape[3]), x.scale, x.zero_point)
        options = {"padding": padding, "stride_h": stride, "stride_w": stride, "filter_height": kernel,
                   "filter_width": kernel}
        return self.done(kind, [x.index], y, options, x)

    def averaged(self, x: Act, keep: bool) -> Act:
        y = self.act((1, 1, 1, x.shape[3]) if keep else (1, x.shape[3]), x.scale * 0.5)
        return self.done("MEAN", [x.index, self.constant(np.array([1, 2], np.int32))], y, {"keep_dims": keep}, x)

    def padded(self, x: Act, before: int, after: int) -> Act:
        amounts = np.array([[0, 0], [before, after], [before, after], [0, 0]], np.int32)
        shape = [size + int(pair.sum()) for size, pair in zip(x.shape, amounts, strict=True)]
        y = self.act(shape, x.scale, x.zero_point)
        return self.done("PAD", [x.index, self.constant(amounts)], y, None, x)

    def reshaped(self, x: Act, *shape: int) -> Act:
        y = self.act(shape, x.scale, x.zero_point)
        return self.done("RESHAPE", [x.index, self.constant(np.array(shape, np.int32))], y, None, x)

    def halves(self, x: Act) -> tuple[Act, Act]:
        """Append a SPLIT of the channels."""
        parts = [self.act((*x.shape[:-1], x.shape[-1] // 2), x.scale, x.zero_point) for _ in range(2)]
        self.b.op("SPLIT", [self.constant(np.array(3, np.int32)), x.index], [part.index for part in parts],
                  {"num_splits": 2})
        self.layers.append(f"SPLIT {x.shape}")
        return parts[0], parts[1]

    def permuted(self, x: Act, *perm: int) -> Act:
        y = self.act([x.shape[axis] for axis in perm], x.scale, x.zero_point)
        return self.done("TRANSPOSE", [x.index, self.constant(np.array(perm, np.int32))], y, None, x)

    def upsampled(self, x: Act, factor: int) -> Act:
        found = self.resize(x, (x.shape[1] * factor, x.shape[2] * factor))
        assert found is not None, f"{x.shape} resized by {factor} must be within the limits of a random network"
        return found

    def upconvolved(self, x: Act, outputs: int) -> Act:
        shape, depth = (1, 2 * x.shape[1], 2 * x.shape[2], outputs), x.shape[3]
        weights = self.rng.integers(-127, 128, (outputs, 2, 2, depth)).astype(np.int8)
        y = self.act(shape)
        scales = np.float32(y.scale * 50 / (4400 * depth**0.5) / x.scale * np.exp(self.rng.uniform(-1, 1, outputs)))
        return self.done("TRANSPOSE_CONV", [self.constant(np.array(shape, np.int32)), self.constant(weights, scales),
                                            x.index], y, {"stride_h": 2, "stride_w": 2}, x)

    def soft(self, x: Act) -> Act:
        return self.done("SOFTMAX", [x.index], self.act(x.shape, 1 / 256, -128), {}, x)


def detector(net: Net) -> list[Act]:
    """Heads at two scales, whose boxes and scores are joined; scores through LOGISTIC."""
    x = net.convolution(net.input(1, 24, 24, 3), 12, stride=2)
    x = net.convolution(net.convolution(x, 12, depthwise=True), 20, 1)
    coarse = net.convolution(x, 24, stride=2)
    boxes, scores = [], []
    for level in (x, coarse):
        anchors = level.shape[1] * level.shape[2] * 3
        boxes.append(net.reshaped(net.convolution(level, 12, 1), 1, anchors, 4))
        scores.append(net.reshaped(net.convolution(level, 15, 3), 1, anchors, 5))
    return [net.concatenation(*boxes, axis=1), net.unary(net.concatenation(*scores, axis=1), "LOGISTIC")]


def squeeze_and_excite(net: Net) -> list[Act]:
    """Inverted residual blocks whose channels are weighted by a gate."""
    x = net.unary(net.convolution(net.input(1, 20, 20, 3), 16, stride=2), "HARD_SWISH")
    for gate in ("LOGISTIC", "HARD_SWISH"):
        y = net.unary(net.convolution(x, 33, 1), "HARD_SWISH")
        y = net.convolution(y, 33, 5, depthwise=True)
        weights = net.convolution(net.convolution(net.averaged(y, keep=True), 9, 1), 33, 1)
        y = net.binary("MUL", y, net.unary(weights, gate))
        x = net.binary("ADD", x, net.convolution(y, 16, 1))
    return [net.soft(net.dense(net.averaged(x, keep=False), 10))]


def fire(net: Net) -> list[Act]:
    """Fire modules: a 1x1 convolution, then 1x1 and 3x3 side by side, concatenated."""
    x = net.pooled(net.convolution(net.input(1, 32, 32, 3), 24, stride=2, padding="VALID"), 3, 2)
    for squeezed, expanded in ((6, 12), (8, 20)):
        y = net.convolution(x, squeezed, 1)
        x = net.concatenation(net.convolution(y, expanded, 1), net.convolution(y, expanded, 3))
    return [net.soft(net.averaged(net.convolution(x, 10, 1), keep=False))]


def inception(net: Net) -> list[Act]:
    """Branches of odd numbers of channels side by side, one of them a pooling, concatenated."""
    x = net.convolution(net.input(1, 14, 14, 3), 13, stride=2)
    for outputs in ((5, 9, 3), (8, 16, 7)):
        branches = [net.convolution(x, outputs[0], 1), net.convolution(net.convolution(x, 6, 1), outputs[1], 3),
                    net.convolution(net.convolution(net.convolution(x, 4, 1), 6, (1, 3)), outputs[2], (3, 1)),
                    net.convolution(net.pooled(x, 3, 1, "AVERAGE_POOL_2D", "SAME"), 5, 1)]
        x = net.concatenation(*branches)
    return [net.dense(net.averaged(x, keep=False), 10)]


def shuffle(net: Net) -> list[Act]:
    """Half of the channels go through, half through a branch; then the halves are joined and shuffled."""
    x = net.convolution(net.input(1, 16, 16, 3), 32, stride=2)
    for _ in range(2):
        kept, y = net.halves(x)
        y = net.convolution(net.convolution(net.convolution(y, 16, 1), 16, 3, depthwise=True), 16, 1)
        x = net.concatenation(kept, y)
        height, width, channels = x.shape[1:]
        x = net.reshaped(x, 1, height, width, 2, channels // 2)
        x = net.reshaped(net.permuted(x, 0, 1, 2, 4, 3), 1, height, width, channels)
    return [net.dense(net.averaged(x, keep=False), 10)]


def residual(net: Net) -> list[Act]:
    """Residual blocks whose strided convolutions read a PAD, as exporters from PyTorch write them."""
    x = net.convolution(net.padded(net.input(1, 30, 30, 3), 3, 3), 16, 7, 2, "VALID")
    x = net.pooled(net.padded(x, 1, 1), 3, 2)
    for channels, stride in ((16, 1), (32, 2)):
        y = net.convolution(net.padded(x, 1, 1), channels, 3, stride, "VALID")
        y = net.convolution(net.padded(y, 1, 1), channels, 3, 1, "VALID")
        short = x if stride == 1 else net.convolution(x, channels, 1, stride, "VALID")
        x = net.unary(net.binary("ADD", y, short), "RELU")
    return [net.dense(net.averaged(x, keep=False), 10)]


def audio_columns(net: Net) -> list[Act]:
    """One-dimensional convolutions over time as the height of an image one pixel wide."""
    x = net.convolution(net.input(1, 98, 1, 40), 24, (9, 1), (2, 1))
    x = net.convolution(x, 24, (9, 1), depthwise=True)
    x = net.convolution(net.convolution(x, 32, 1), 32, (5, 1), (2, 1), "VALID")
    return [net.soft(net.dense(net.averaged(x, keep=False), 12))]


def audio_rows(net: Net) -> list[Act]:
    """One-dimensional convolutions over time as the width of an image one pixel high, with residual and dilation."""
    x = net.convolution(net.input(1, 1, 98, 40), 16, (1, 3))
    for dilation in (1, 2, 4):
        x = net.binary("ADD", x, net.unary(net.convolution(x, 16, (1, 3), dilation=dilation), "TANH"))
    return [net.convolution(x, 12, 1)]


def large_grey(net: Net) -> list[Act]:
    """A grey image much larger than the activation buffer."""
    x = net.convolution(net.input(1, 180, 180, 1), 8, 3, 2)
    x = net.pooled(net.convolution(x, 8, 3, 2, depthwise=True), 2, 2, "AVERAGE_POOL_2D")
    return [net.soft(net.dense(net.convolution(x, 16, 3, 2), 4))]


def unet(net: Net) -> list[Act]:
    """Down and up again, by transposed convolution and by resizing, with skip connections."""
    top = net.convolution(net.input(1, 12, 16, 3), 8)
    middle = net.convolution(net.pooled(top, 2, 2), 16)
    bottom = net.convolution(net.pooled(middle, 2, 2), 24)
    x = net.convolution(net.concatenation(middle, net.upconvolved(bottom, 16)), 16)
    x = net.convolution(net.concatenation(top, net.upsampled(x, 2)), 8)
    return [net.unary(net.convolution(x, 2, 1), "LOGISTIC")]


def pyramid(net: Net) -> list[Act]:
    """Depthwise convolutions of several dilations side by side, as in a pyramid of atrous convolutions."""
    x = net.convolution(net.convolution(net.input(1, 34, 34, 3), 16, 3, 2), 16, depthwise=True)
    branches = [net.convolution(x, 16, 1)]
    for dilation in (2, 3, 6):
        branches.append(net.convolution(net.convolution(x, 16, depthwise=True, dilation=dilation), 16, 1))
    return [net.convolution(net.concatenation(*branches), 5, 1)]


ARCHITECTURES: tuple[Architecture, ...] = (
    detector, squeeze_and_excite, fire, inception, shuffle, residual, audio_columns, audio_rows, large_grey, unet,
    pyramid)


def network(architecture: Architecture, seed: int = 0) -> RandomNetwork:
    """Return the network with the weights, scales and activations of a seed."""
    net = Net(seed)
    ends = architecture(net)
    model = net.b.build([a.index for a in net.ports], [a.index for a in ends])
    return RandomNetwork(seed, model, tuple(a.shape for a in net.ports), len(ends),
                         (architecture.__name__, *net.layers))
