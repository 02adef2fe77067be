"""Weights from a seed for any architecture: networks for measurements and for exactness, which predict nothing.

One random input goes through the network, and every layer is fitted to it as it passes: the bias centres each
channel and the weights' scale makes its mean deviation 1, which is what batch normalisation does; the output's scale
covers the range that occurs and some more. So no layer saturates or dies, however deep the network is.

All sums are of integers in float64, below 2**53 and therefore exact, and everything else is elementwise IEEE
arithmetic: a seed gives the same bytes on every computer.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..ops_geometry import same_padding, windows
from ..quantise import ACTIVATIONS, INT32_MAX
from .export import Params, Weights, export
from .layers import INPUT, Layer, execution_order
from .ptq import activation_params

INPUT_RANGE = (-1.0, 1.0)
HEADROOM = 1.25  # another input reaches further than the one that was seen
# With fewer pixels than this, statistics of a channel are none: then one scale and no centring for the whole layer.
MIN_PIXELS = 16

Reals = npt.NDArray[np.float64]
Values = npt.NDArray[np.int8]


def build_seeded(output: Layer, seed: int = 0, description: str = "") -> bytes:
    """Return the network whose last layer is `output`, with weights from `seed`, as a .tflite file."""
    return export(output, *fit(output, seed), description)


def fit(output: Layer, seed: int = 0) -> tuple[dict[Layer, Weights], dict[Layer, Params]]:
    """Return weights from `seed`, and the scale and zero point of every layer, fitted to one random input."""
    rng = np.random.default_rng(seed)
    weights: dict[Layer, Weights] = {}
    params: dict[Layer, Params] = {}
    values: dict[Layer, Values] = {}
    for layer in execution_order(output):
        if layer.kind == INPUT:
            params[layer] = activation_params(*INPUT_RANGE)
            values[layer] = rng.integers(-128, 128, layer.shape, np.int8)
            continue
        inputs = [(values[each].astype(np.float64) - params[each][1], float(params[each][0])) for each in layer.inputs]
        if layer.weights is None:
            reals = _combine(layer, inputs)
        else:
            ((x, scale),) = inputs
            weights[layer], reals = _weigh(layer, x, scale, rng)
        low, high = ACTIVATIONS[layer.options.get("activation", "NONE")]
        reached = np.array([reals.min(), reals.max()]) * HEADROOM
        params[layer] = params[layer.like] if layer.like else activation_params(*np.clip(reached, low, high))
        values[layer] = _quantised(np.clip(reals, low, high), params[layer])
    return weights, params


def _weigh(layer: Layer, x: Reals, input_scale: float, rng: np.random.Generator) -> tuple[Weights, Reals]:
    """Return the weights of a layer, and its output before the activation as reals; `x` is integers."""
    assert layer.weights is not None, "a layer without weights has nothing to draw"
    values = rng.integers(-127, 128, layer.weights, np.int8)
    sums = _SUMS[layer.kind](layer, x, values).reshape(-1, layer.shape[-1])
    jitter = rng.uniform(-0.5, 0.5, layer.shape[-1])
    if len(sums) >= MIN_PIXELS and layer.kind != "FULLY_CONNECTED":
        centre = np.rint(sums.sum(axis=0) / len(sums))
        deviation = np.abs(sums - centre).sum(axis=0) / len(sums)
    else:
        centre, deviation = np.zeros(layer.shape[-1]), np.atleast_1d(np.abs(sums).sum() / sums.size)
    deviation = np.maximum(deviation, 1.0)
    bias = np.rint(jitter * deviation - centre).clip(-INT32_MAX, INT32_MAX)
    scales = (1 / (input_scale * deviation)).astype(np.float32)
    reals = (sums + bias) * (input_scale * scales.astype(np.float64))
    return Weights(values, scales, bias.astype(np.int32)), reals.reshape(layer.shape)


def _conv(layer: Layer, x: Reals, weights: Values) -> Reals:
    taps = _taps(layer, x, weights.shape[1:3])
    return sum((taps[:, :, :, ky, kx] @ weights[:, ky, kx].T.astype(np.float64)
                for ky, kx in np.ndindex(weights.shape[1:3])), np.zeros(layer.shape))


def _depthwise(layer: Layer, x: Reals, weights: Values) -> Reals:
    taps = _taps(layer, x, weights.shape[1:3])
    return sum((taps[:, :, :, ky, kx] * weights[0, ky, kx] for ky, kx in np.ndindex(weights.shape[1:3])),
               np.zeros(layer.shape))


def _transposed(layer: Layer, x: Reals, weights: Values) -> Reals:
    stride = layer.options["stride_h"]
    sums = np.empty(layer.shape)
    for ky, kx in np.ndindex(weights.shape[1:3]):
        sums[:, ky::stride, kx::stride] = x @ weights[:, ky, kx].T.astype(np.float64)
    return sums


def _dense(layer: Layer, x: Reals, weights: Values) -> Reals:
    parts = np.array_split(weights, -(-weights.size // (1 << 24)))  # not all of VGG's weights in float64 at once
    return np.concatenate([x @ part.T.astype(np.float64) for part in parts], axis=1)


_SUMS = {"CONV_2D": _conv, "DEPTHWISE_CONV_2D": _depthwise, "TRANSPOSE_CONV": _transposed, "FULLY_CONNECTED": _dense}


def _combine(layer: Layer, inputs: list[tuple[Reals, float]]) -> Reals:
    """Return the output of a layer without weights, before its activation, as reals."""
    if layer.kind == "ADD":
        (a, a_scale), (b, b_scale) = inputs
        return a * a_scale + b * b_scale
    if layer.kind == "CONCATENATION":
        return np.concatenate([x * scale for x, scale in inputs], axis=-1)
    ((x, scale),) = inputs
    if layer.kind == "MAX_POOL_2D":
        kernel = layer.options["filter_height"], layer.options["filter_width"]
        return _taps(layer, x, kernel, fill=-np.inf).max(axis=(3, 4)) * scale
    if layer.kind == "MEAN":
        return x.sum(axis=(1, 2)) / (x.shape[1] * x.shape[2]) * scale
    if layer.kind == "RESHAPE":
        return x.reshape(layer.shape) * scale
    raise ValueError(f"layer must be one that can be propagated, not {layer.kind}; add it here")


def _taps(layer: Layer, x: Reals, kernel: tuple[int, ...], fill: float = 0.0) -> Reals:
    ky, kx = kernel
    stride = layer.options["stride_h"], layer.options["stride_w"]
    pads = same_padding(x.shape[1], ky, stride[0]), same_padding(x.shape[2], kx, stride[1])
    return windows(x, (ky, kx), stride, pads, fill=fill)


def _quantised(reals: Reals, params: Params) -> Values:
    scale, zero_point = params
    return (np.rint(reals / float(scale)) + zero_point).clip(-128, 127).astype(np.int8)
