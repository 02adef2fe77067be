"""Architectures as layers: each function takes layers and returns the next one, with its shapes and counts.

Layers are TFLite operators with TFLite's SAME padding, NHWC, batch 1; the last layer of a network stands for all of
it. Weights and quantisation come later: from `seeded`, or from training, and `export` writes both into a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..ops_geometry import Pair

INPUT = "INPUT"
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


@dataclass(frozen=True, eq=False)
class Layer:
    """One operator and its output.

    Attributes:
        kind: TFLite operator, or `INPUT`.
        shape: output shape.
        inputs: layers whose outputs it reads.
        weights: shape of its weights in TFLite's order, or None; it then also has a bias per output channel.
        options: options of the operator as `TFLiteBuilder.op` takes them.
        like: layer whose scale and zero point the output has, or None for those that fit the output.
    """

    kind: str
    shape: tuple[int, ...]
    inputs: tuple[Layer, ...] = ()
    weights: tuple[int, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    like: Layer | None = None

    @property
    def channel_axis(self) -> int:
        """Axis of the output channels in the weights."""
        return 3 if self.kind == "DEPTHWISE_CONV_2D" else 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates, padding taps included."""
        if self.weights is None:
            return 0
        if self.kind == "DEPTHWISE_CONV_2D":
            return math.prod(self.shape) * math.prod(self.weights[:3])
        pixels = self.inputs[0].shape if self.kind == "TRANSPOSE_CONV" else self.shape
        return math.prod(pixels[:-1]) * math.prod(self.weights)

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return 0 if self.weights is None else math.prod(self.weights) + self.shape[-1]


def execution_order(output: Layer) -> list[Layer]:
    """Return the layers of a network, each after its inputs."""
    found: dict[Layer, None] = {}
    stack = [output]
    while stack:
        waiting = [layer for layer in stack[-1].inputs if layer not in found]
        if waiting:
            stack.append(waiting[0])
        else:
            found[stack.pop()] = None
    return list(found)


def macs(output: Layer) -> int:
    """Return the multiply-accumulates of a network for one sample, padding taps included."""
    return sum(layer.macs for layer in execution_order(output))


def parameters(output: Layer) -> int:
    """Return the weights and biases of a network."""
    return sum(layer.parameters for layer in execution_order(output))


def image(height: int, width: int, channels: int) -> Layer:
    """Return an input of shape [1, height, width, channels]."""
    return Layer(INPUT, (1, height, width, channels))


def vector(features: int) -> Layer:
    """Return an input of shape [1, features]."""
    return Layer(INPUT, (1, features))


def conv(x: Layer, channels: int, kernel: int | Pair = 1, stride: int = 1, activation: str = "NONE") -> Layer:
    """Convolve with SAME padding."""
    ky, kx = _pair(kernel)
    return Layer("CONV_2D", (1, *_strided(x, stride), channels), (x,), (channels, ky, kx, x.shape[3]),
                 _strides(stride, activation=activation))


def depthwise(x: Layer, kernel: int | Pair = 3, stride: int = 1, activation: str = "NONE") -> Layer:
    """Convolve each channel by itself, with SAME padding."""
    channels = x.shape[3]
    return Layer("DEPTHWISE_CONV_2D", (1, *_strided(x, stride), channels), (x,), (1, *_pair(kernel), channels),
                 _strides(stride, activation=activation))


def upsample(x: Layer, channels: int, factor: int = 2, like: Layer | None = None) -> Layer:
    """Convolve transposed, with a kernel of factor x factor and the same stride: no two windows overlap."""
    shape = (1, x.shape[1] * factor, x.shape[2] * factor, channels)
    return Layer("TRANSPOSE_CONV", shape, (x,), (channels, factor, factor, x.shape[3]), _strides(factor), like)


def dense(x: Layer, features: int, activation: str = "NONE") -> Layer:
    """Multiply [1, n] by a weight matrix."""
    return Layer("FULLY_CONNECTED", (1, features), (x,), (features, x.shape[1]), {"activation": activation})


def add(a: Layer, b: Layer, activation: str = "NONE") -> Layer:
    """Add two layers of one shape."""
    return Layer("ADD", a.shape, (a, b), options={"activation": activation})


def concat(layers: Iterable[Layer]) -> Layer:
    """Join the channels of layers, which must share one scale and zero point (see `Layer.like`)."""
    parts = tuple(layers)
    shape = (*parts[0].shape[:-1], sum(part.shape[-1] for part in parts))
    return Layer("CONCATENATION", shape, parts, options={"axis": len(shape) - 1}, like=parts[0])


def max_pool(x: Layer, kernel: int = 2, stride: int = 2) -> Layer:
    """Take the maximum of windows, with SAME padding."""
    return Layer("MAX_POOL_2D", (1, *_strided(x, stride), x.shape[3]), (x,),
                 options=_strides(stride, filter_height=kernel, filter_width=kernel), like=x)


def global_average(x: Layer) -> Layer:
    """Average over all pixels, into [1, channels]."""
    return Layer("MEAN", (1, x.shape[3]), (x,), options={"keep_dims": False})


def flatten(x: Layer) -> Layer:
    """Reshape to [1, n]."""
    shape = (1, math.prod(x.shape))
    return Layer("RESHAPE", shape, (x,), options={"new_shape": list(shape)}, like=x)


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


def _strided(x: Layer, stride: int) -> Pair:
    return -(-x.shape[1] // stride), -(-x.shape[2] // stride)


def _strides(stride: int, **others: Any) -> dict[str, Any]:
    return {"stride_h": stride, "stride_w": stride, "padding": "SAME", **others}
