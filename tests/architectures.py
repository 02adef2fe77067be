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

    def __init__(self, seed: int, batch: int) -> None:
        super().__init__(seed)
        self.rng, self.b, self.batch = np.random.default_rng(seed), TFLiteBuilder(), batch
        self.ports: list[Act] = []
        self.dtypes: list[str] = []

    def input(self, *shape: int, dtype: str = "int8") -> Act:
        """Add an input of `batch` samples of this shape; one that is not int8 goes through a QUANTIZE."""
        x = self.act((self.batch, *shape))
        self.dtypes.append(dtype)
        self.ports.append(x if dtype == "int8" else self.port(x, dtype))
        return x if dtype == "int8" else self.done("QUANTIZE", [self.ports[-1].index], x, None, self.ports[-1])

    def port(self, x: Act, dtype: str) -> Act:
        """Return a tensor of another dtype that stands for the same values."""
        quant = (x.scale, x.zero_point + 128) if dtype == "uint8" else ()
        return Act(self.b.tensor(f"t{self.count()}", x.shape, dtype, *quant), x.shape, x.scale, x.zero_point)

    def output(self, x: Act, dtype: str) -> Act:
        """Append what turns `x` into reals or uint8."""
        return self.done("QUANTIZE" if dtype == "uint8" else "DEQUANTIZE", [x.index], self.port(x, dtype), None, x)

    def convolution(self, x: Act, outputs: int, kernel: int | tuple[int, int] = 3, stride: int | tuple[int, int] = 1,
                    padding: str = "SAME", depthwise: bool = False, dilation: int = 1) -> Act:
        kernels, strides = (pair if isinstance(pair, tuple) else (pair, pair) for pair in (kernel, stride))
        axes = [(x.shape[1 + i], kernels[i], strides[i], dilation) for i in range(2)]
        out = [out_size(*axis, same_padding(*axis) if padding == "SAME" else (0, 0)) for axis in axes]
        options: dict[str, Any] = {"padding": padding, "stride_h": strides[0], "stride_w": strides[1],
                                   "dilation_h": dilation, "dilation_w": dilation}
        depth, y = kernels[0] * kernels[1] * (1 if depthwise else x.shape[3]), (x.shape[0], *out, outputs)
        if depthwise:
            options["depth_multiplier"] = outputs // x.shape[3]
            return self.weighted("DEPTHWISE_CONV_2D", x, (1, *kernels, outputs), 3, depth, y, options)
        return self.weighted("CONV_2D", x, (outputs, *kernels, x.shape[3]), 0, depth, y, options)

    def dense(self, x: Act, outputs: int) -> Act:
        features = x.size // x.shape[0]
        return self.weighted("FULLY_CONNECTED", x, (outputs, features), 0, features, (x.shape[0], outputs), {})

    def per_row(self, x: Act, outputs: int) -> Act:
        """Append a FULLY_CONNECTED along the last axis."""
        shape = (*x.shape[:-1], outputs)
        return self.weighted("FULLY_CONNECTED", x, (outputs, x.shape[-1]), 0, x.shape[-1], shape,
                             {"keep_num_dims": True})

    def pooled(self, x: Act, kernel: int | tuple[int, int], stride: int, kind: str = "MAX_POOL_2D",
               padding: str = "VALID") -> Act:
        kernels = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        axes = [(x.shape[1 + i], kernels[i], stride) for i in range(2)]
        out = [out_size(*axis, pads=same_padding(*axis) if padding == "SAME" else (0, 0)) for axis in axes]
        y = self.act((x.shape[0], *out, x.shape[3]), x.scale, x.zero_point)
        options = {"padding": padding, "stride_h": stride, "stride_w": stride, "filter_height": kernels[0],
                   "filter_width": kernels[1]}
        return self.done(kind, [x.index], y, options, x)

    def averaged(self, x: Act, keep: bool, *axes: int) -> Act:
        """Append a MEAN over `axes`, or height and width."""
        axes = axes or (1, 2)
        shape = [1 if axis in axes else size for axis, size in enumerate(x.shape) if keep or axis not in axes]
        y = self.act(shape, x.scale * 0.5)
        return self.done("MEAN", [x.index, self.constant(np.array(axes, np.int32))], y, {"keep_dims": keep}, x)

    def product(self, a: Act, b: Act, transposed: bool) -> Act:
        """Append a BATCH_MATMUL, of `b` transposed or not."""
        y = self.act((*a.shape[:-1], b.shape[-2 if transposed else -1]), a.scale * b.scale * 90 * a.shape[-1]**0.5)
        return self.done("BATCH_MATMUL", [a.index, b.index], y, {"adj_x": False, "adj_y": transposed}, a)

    def padded(self, x: Act, before: int, after: int) -> Act:
        amounts = np.array([[0, 0], [before, after], [before, after], [0, 0]], np.int32)
        shape = [size + int(pair.sum()) for size, pair in zip(x.shape, amounts, strict=True)]
        y = self.act(shape, x.scale, x.zero_point)
        return self.done("PAD", [x.index, self.constant(amounts)], y, None, x)

    def reshaped(self, x: Act, *sample: int) -> Act:
        shape = (x.shape[0], *sample)
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
        shape, depth = (x.shape[0], 2 * x.shape[1], 2 * x.shape[2], outputs), x.shape[3]
        weights = self.rng.integers(-127, 128, (outputs, 2, 2, depth)).astype(np.int8)
        y = self.act(shape)
        scales = np.float32(y.scale * 50 / (4400 * depth**0.5) / x.scale * np.exp(self.rng.uniform(-1, 1, outputs)))
        return self.done("TRANSPOSE_CONV", [self.constant(np.array(shape, np.int32)), self.constant(weights, scales),
                                            x.index], y, {"stride_h": 2, "stride_w": 2}, x)

    def soft(self, x: Act) -> Act:
        return self.done("SOFTMAX", [x.index], self.act(x.shape, 1 / 256, -128), {}, x)


def detector(net: Net) -> list[Act]:
    """Heads at two scales, whose boxes and scores are joined; scores through LOGISTIC."""
    x = net.convolution(net.input(24, 24, 3), 12, stride=2)
    x = net.convolution(net.convolution(x, 12, depthwise=True), 20, 1)
    coarse = net.convolution(x, 24, stride=2)
    boxes, scores = [], []
    for level in (x, coarse):
        anchors = level.shape[1] * level.shape[2] * 3
        boxes.append(net.reshaped(net.convolution(level, 12, 1), anchors, 4))
        scores.append(net.reshaped(net.convolution(level, 15, 3), anchors, 5))
    return [net.concatenation(*boxes, axis=1), net.unary(net.concatenation(*scores, axis=1), "LOGISTIC")]


def squeeze_and_excite(net: Net) -> list[Act]:
    """Inverted residual blocks whose channels are weighted by a gate."""
    x = net.unary(net.convolution(net.input(20, 20, 3), 16, stride=2), "HARD_SWISH")
    for gate in ("LOGISTIC", "HARD_SWISH"):
        y = net.unary(net.convolution(x, 33, 1), "HARD_SWISH")
        y = net.convolution(y, 33, 5, depthwise=True)
        weights = net.convolution(net.convolution(net.averaged(y, keep=True), 9, 1), 33, 1)
        y = net.binary("MUL", y, net.unary(weights, gate))
        x = net.binary("ADD", x, net.convolution(y, 16, 1))
    return [net.soft(net.dense(net.averaged(x, keep=False), 10))]


def activations(net: Net) -> list[Act]:
    """Activations as other frameworks write them: SiLU and hard swish in parts, normalisation behind a convolution."""
    x = net.silu(net.convolution(net.input(18, 18, 3), 16, stride=2))
    y = net.shifted(net.shifted(net.convolution(x, 16), "MUL", [16]), "ADD", [16])
    x = net.prelu(net.binary("SUB", x, net.unary(y, "LEAKY_RELU")))
    y = net.shifted(net.convolution(x, 20, 1), "ADD", [1])
    gate = net.done("RELU6", [y.index], net.act(y.shape, y.scale, y.zero_point), None, y)
    x = net.shifted(net.binary("MUL", y, gate), "MUL", [1])
    return [net.dense(net.averaged(net.shifted(x, "MAXIMUM", [1]), keep=False), 10)]


def fire(net: Net) -> list[Act]:
    """Fire modules: a 1x1 convolution, then 1x1 and 3x3 side by side, concatenated."""
    x = net.pooled(net.convolution(net.input(32, 32, 3), 24, stride=2, padding="VALID"), 3, 2)
    for squeezed, expanded in ((6, 12), (8, 20)):
        y = net.convolution(x, squeezed, 1)
        x = net.concatenation(net.convolution(y, expanded, 1), net.convolution(y, expanded, 3))
    return [net.soft(net.averaged(net.convolution(x, 10, 1), keep=False))]


def inception(net: Net) -> list[Act]:
    """Branches of odd numbers of channels side by side, one of them a pooling, concatenated."""
    x = net.convolution(net.input(14, 14, 3), 13, stride=2)
    for outputs in ((5, 9, 3), (8, 16, 7)):
        branches = [net.convolution(x, outputs[0], 1), net.convolution(net.convolution(x, 6, 1), outputs[1], 3),
                    net.convolution(net.convolution(net.convolution(x, 4, 1), 6, (1, 3)), outputs[2], (3, 1)),
                    net.convolution(net.pooled(x, 3, 1, "AVERAGE_POOL_2D", "SAME"), 5, 1)]
        x = net.concatenation(*branches)
    return [net.dense(net.averaged(x, keep=False), 10)]


def shuffle(net: Net) -> list[Act]:
    """Half of the channels go through, half through a branch; then the halves are joined and shuffled."""
    x = net.convolution(net.input(16, 16, 3), 32, stride=2)
    for _ in range(2):
        kept, y = net.halves(x)
        y = net.convolution(net.convolution(net.convolution(y, 16, 1), 16, 3, depthwise=True), 16, 1)
        x = net.concatenation(kept, y)
        height, width, channels = x.shape[1:]
        x = net.reshaped(x, height, width, 2, channels // 2)
        x = net.reshaped(net.permuted(x, 0, 1, 2, 4, 3), height, width, channels)
    return [net.dense(net.averaged(x, keep=False), 10)]


def residual(net: Net) -> list[Act]:
    """Residual blocks whose strided convolutions read a PAD, as exporters from PyTorch write them."""
    x = net.convolution(net.padded(net.input(30, 30, 3), 3, 3), 16, 7, 2, "VALID")
    x = net.pooled(net.padded(x, 1, 1), 3, 2)
    for channels, stride in ((16, 1), (32, 2)):
        y = net.convolution(net.padded(x, 1, 1), channels, 3, stride, "VALID")
        y = net.convolution(net.padded(y, 1, 1), channels, 3, 1, "VALID")
        short = x if stride == 1 else net.convolution(x, channels, 1, stride, "VALID")
        x = net.unary(net.binary("ADD", y, short), "RELU")
    return [net.dense(net.averaged(x, keep=False), 10)]


def audio_columns(net: Net) -> list[Act]:
    """One-dimensional convolutions over time as the height of an image one pixel wide."""
    x = net.convolution(net.input(98, 1, 40), 24, (9, 1), (2, 1))
    x = net.convolution(x, 24, (9, 1), depthwise=True)
    x = net.convolution(net.convolution(x, 32, 1), 32, (5, 1), (2, 1), "VALID")
    return [net.soft(net.dense(net.averaged(x, keep=False), 12))]


def audio_rows(net: Net) -> list[Act]:
    """One-dimensional convolutions over time as the width of an image one pixel high, with residual and dilation."""
    x = net.convolution(net.input(1, 98, 40), 16, (1, 3))
    for dilation in (1, 2, 4):
        x = net.binary("ADD", x, net.unary(net.convolution(x, 16, (1, 3), dilation=dilation), "TANH"))
    return [net.convolution(x, 12, 1)]


def raw_audio(net: Net) -> list[Act]:
    """Samples of sound, more than coordinates hold, through kernels longer than an instruction holds."""
    x = net.pooled(net.convolution(net.input(1, 9000, 1), 8, (1, 80), (1, 4)), (1, 4), 4)
    x = net.pooled(net.convolution(x, 12, (1, 40), (1, 8)), (1, 4), 4)
    return [net.soft(net.dense(net.averaged(net.convolution(x, 16, (1, 3)), keep=False), 10))]


def large_grey(net: Net) -> list[Act]:
    """A grey image much larger than the activation buffer."""
    x = net.convolution(net.input(180, 180, 1), 8, 3, 2)
    x = net.pooled(net.convolution(x, 8, 3, 2, depthwise=True), 2, 2, "AVERAGE_POOL_2D")
    return [net.soft(net.dense(net.convolution(x, 16, 3, 2), 4))]


def unet(net: Net) -> list[Act]:
    """Down and up again, by transposed convolution and by resizing, with skip connections."""
    top = net.convolution(net.input(12, 16, 3), 8)
    middle = net.convolution(net.pooled(top, 2, 2), 16)
    bottom = net.convolution(net.pooled(middle, 2, 2), 24)
    x = net.convolution(net.concatenation(middle, net.upconvolved(bottom, 16)), 16)
    x = net.convolution(net.concatenation(top, net.upsampled(x, 2)), 8)
    return [net.unary(net.convolution(x, 2, 1), "LOGISTIC")]


def pyramid(net: Net) -> list[Act]:
    """Depthwise convolutions of several dilations side by side, as in a pyramid of atrous convolutions."""
    x = net.convolution(net.convolution(net.input(34, 34, 3), 16, 3, 2), 16, depthwise=True)
    branches = [net.convolution(x, 16, 1)]
    for dilation in (2, 3, 6):
        branches.append(net.convolution(net.convolution(x, 16, depthwise=True, dilation=dilation), 16, 1))
    return [net.convolution(net.concatenation(*branches), 5, 1)]


def dense_blocks(net: Net) -> list[Act]:
    """Every convolution reads all that came before it in its block, joined; transitions halve the image."""
    x = net.convolution(net.input(20, 20, 1), 10, 3, 2)
    for growth in (5, 8):
        for _ in range(3):
            x = net.concatenation(x, net.convolution(net.convolution(x, 2 * growth, 1), growth))
        x = net.pooled(net.convolution(x, 17, 1), 2, 2, "AVERAGE_POOL_2D")
    return [net.soft(net.dense(net.averaged(x, keep=False), 10))]


def yolo(net: Net) -> list[Act]:
    """Raw maps of two scales as outputs, the finer one after an upsampling; what is joined is an output too."""
    x = net.unary(net.convolution(net.input(32, 24, 3, dtype="uint8"), 8, 3, 2), "LEAKY_RELU")
    fine = net.unary(net.convolution(net.pooled(x, 2, 2), 16), "LEAKY_RELU")
    coarse = net.unary(net.convolution(net.pooled(fine, 2, 2), 24), "LEAKY_RELU")
    joined = net.concatenation(net.upsampled(net.convolution(coarse, 8, 1), 2), fine)
    return [net.convolution(coarse, 21, 1), net.output(net.convolution(joined, 21, 1), "float32"), joined]


def large_kernels(net: Net) -> list[Act]:
    """Large, even and flat kernels, long and unequal strides, dilation, few and odd numbers of channels."""
    x = net.convolution(net.input(67, 63, 3), 5, 11, 4, "VALID")
    x = net.convolution(net.pooled(x, 3, 2, padding="SAME"), 17, (4, 2), (1, 3))
    x = net.convolution(net.convolution(x, 1, 2), 3, (7, 1), dilation=2)
    return [net.convolution(net.convolution(x, 9, (2, 3), depthwise=True), 4, (1, 2), (3, 1), "VALID")]


def poolings(net: Net) -> list[Act]:
    """Averages over odd sizes, with padding, and over single axes, each of them an output."""
    x = net.convolution(net.input(13, 11, 3), 17, 3, 2)
    padded = net.pooled(x, 3, 2, "AVERAGE_POOL_2D", "SAME")
    everywhere = net.pooled(x, (7, 6), 1, "AVERAGE_POOL_2D")
    averages = [net.averaged(x, True, 1), net.averaged(x, False, 2), net.averaged(x, True, 3)]
    return [net.pooled(padded, (3, 2), 1), *averages, net.dense(everywhere, 1), net.binary("MUL", x, everywhere)]


def two_inputs(net: Net) -> list[Act]:
    """Inputs that are read several times, constants as operands, and a branch that is an output as well."""
    image, other = net.input(9, 10, 3, dtype="float32"), net.input(9, 10, 5)
    x = net.shifted(net.convolution(net.concatenation(image, other, image), 8), "MUL")
    branch = net.shifted(net.convolution(x, 8, depthwise=True), "ADD")
    y = net.binary("ADD", net.binary("SUB", x, branch), net.convolution(other, 8, 1))
    return [branch, net.output(net.dense(net.binary("MUL", y, y), 3), "uint8"), net.dense(branch, 5)]


def mixer(net: Net) -> list[Act]:
    """Dense layers along the channels of each patch, and along the patches of each channel."""
    x = net.convolution(net.input(24, 24, 3), 20, 6, 6, "VALID")
    x = net.reshaped(x, 16, 20)
    for _ in range(2):
        y = net.per_row(net.unary(net.per_row(net.permuted(x, 0, 2, 1), 12), "HARD_SWISH"), 16)
        x = net.binary("ADD", x, net.permuted(y, 0, 2, 1))
        x = net.binary("ADD", x, net.per_row(net.unary(net.per_row(x, 33), "TANH"), 20))
    return [net.dense(net.averaged(x, False, 1), 10)]


def attention(net: Net) -> list[Act]:
    """Two heads of attention over the columns of an image, and a gated dense layer."""
    x = net.per_row(net.reshaped(net.convolution(net.input(1, 26, 3), 12, (1, 3)), 26, 12), 16)
    q, k, v = (net.permuted(net.reshaped(net.per_row(x, 16), 26, 2, 8), 0, 2, 1, 3) for _ in range(3))
    y = net.product(net.soft(net.product(q, k, transposed=True)), v, transposed=False)
    x = net.binary("ADD", x, net.per_row(net.reshaped(net.permuted(y, 0, 2, 1, 3), 26, 16), 16))
    return [net.binary("MUL", net.per_row(x, 16), net.unary(net.per_row(x, 16), "LOGISTIC"))]


def classifier(net: Net) -> list[Act]:
    """A photograph, much larger than small buffers, and wide dense layers."""
    x = net.pooled(net.convolution(net.input(224, 224, 3), 8, 7, 4), 3, 2)
    x = net.pooled(net.convolution(x, 16, 3, 2), 2, 2)
    return [net.dense(net.dense(net.dense(x, 1001), 64), 1001)]


ARCHITECTURES: tuple[Architecture, ...] = (
    detector, squeeze_and_excite, activations, fire, inception, shuffle, residual, audio_columns, audio_rows, raw_audio,
    large_grey, unet, pyramid, dense_blocks, yolo, large_kernels, poolings, two_inputs, mixer, attention, classifier)


def network(architecture: Architecture, seed: int = 0, batch: int = 1) -> RandomNetwork:
    """Return the network with the weights, scales and activations of a seed, for samples in batches of `batch`."""
    net = Net(seed, batch)
    ends = architecture(net)
    model = net.b.build([a.index for a in net.ports], [a.index for a in ends])
    return RandomNetwork(seed, model, tuple(a.shape for a in net.ports), len(ends),
                         (architecture.__name__, *net.layers), tuple(net.dtypes))
