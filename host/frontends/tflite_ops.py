"""Converters of TFLite operators that compute: windows, products, element-wise functions, reductions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tflite

from ...models.ops import same_padding
from ..graph import QuantParams, Tensor
from ..quantparams import UNARY
from . import tflite_move
from .tflite_context import Context

Converter = Callable[[Context], Any]


def _same(axis: tuple[int, int, int, int], mode: int) -> tuple[int, int]:
    """Return (before, after), the padding of an axis of (size, kernel, stride, dilation)."""
    if mode not in (tflite.Padding.VALID, tflite.Padding.SAME):
        raise ValueError(f"padding mode {mode}")
    return same_padding(*axis) if mode == tflite.Padding.SAME else (0, 0)


def _window(c: Context, options: Any, kernel: Sequence[int], dilation: tuple[int, int] = (1, 1)) -> dict[str, Any]:
    stride = (options.StrideH(), options.StrideW())
    if min(*stride, *dilation) < 1:
        raise ValueError(f"stride {stride} and dilation {dilation} must be positive")
    _, *image, _ = c.x.shape
    pads = tuple(_same((image[i], kernel[i], stride[i], dilation[i]), options.Padding()) for i in range(2))
    return {"stride": stride, "pads": pads, "activation": c.activation(options)}


def _conv(c: Context) -> None:
    options = c.options(tflite.Conv2DOptions)
    x, weights = c.operands[:2]
    dilation = (options.DilationHFactor(), options.DilationWFactor())
    c.emit(c.kind, c.operands[:3], **_window(c, options, weights.shape[1:3], dilation), dilation=dilation,
           groups=x.shape[3] // weights.shape[3])


def _depthwise(c: Context) -> None:
    options = c.options(tflite.DepthwiseConv2DOptions)
    x, weights = c.operands[:2]
    dilation = (options.DilationHFactor(), options.DilationWFactor())
    # The multiplier follows from the shapes; the field in the options is redundant and sometimes 0.
    c.emit(c.kind, c.operands[:3], **_window(c, options, weights.shape[1:3], dilation), dilation=dilation,
           multiplier=weights.shape[3] // x.shape[3])


def _transpose_conv(c: Context) -> None:
    options = c.options(tflite.TransposeConvOptions)
    _, weights, x, *bias = c.operands  # the first says the output's shape, which the output has itself
    stride = (options.StrideH(), options.StrideW())
    if min(stride) < 1:
        raise ValueError(f"stride {stride} must be positive")
    pads = []
    for i in range(2):
        kernel, size = weights.shape[1 + i], c.y.shape[1 + i]
        before, _ = _same((size, kernel, stride[i], 1), options.Padding())
        pads.append((before, (x.shape[1 + i] - 1) * stride[i] + kernel - before - size))
    c.emit(c.kind, [x, weights, *bias], stride=stride, pads=tuple(pads), activation=c.activation(options))


def _fully_connected(c: Context) -> None:
    options = c.options(tflite.FullyConnectedOptions)
    if options.WeightsFormat() != 0:
        raise c.unsupported("shuffled weights are not supported; export default weights")
    c.emit(c.kind, c.operands[:3], activation=c.activation(options), keep_dims=bool(options.KeepNumDims()))


def _batch_matmul(c: Context) -> None:
    options = c.options(tflite.BatchMatMulOptions)
    c.emit(c.kind, c.operands[:2], adj_x=bool(options.AdjX()), adj_y=bool(options.AdjY()))


def _pool(c: Context) -> None:
    options = c.options(tflite.Pool2DOptions)
    kernel = (options.FilterHeight(), options.FilterWidth())
    c.emit(c.kind, [c.x], kernel=kernel, **_window(c, options, kernel))


def _with_activation(schema: Any) -> Converter:
    return lambda c: c.emit(c.kind, c.operands[:2], activation=c.activation(c.options(schema)))


def _reduction(c: Context) -> None:
    axes = {c.axis(axis) for axis in c.parameter(1, "axes").ravel().tolist()}
    c.emit(c.kind, [c.x], axes=tuple(sorted(axes)), keepdims=bool(c.options(tflite.ReducerOptions).KeepDims()))


def _arg_max(c: Context) -> None:
    c.emit(c.kind, [c.x], axis=c.axis(int(c.parameter(1, "the axis").item())))


def _resize(schema: Any) -> Converter:
    def convert(c: Context) -> None:
        options = c.options(schema)
        c.emit(c.kind, [c.x], align_corners=bool(options.AlignCorners()),
               half_pixel_centers=bool(options.HalfPixelCenters()))
    return convert


def _leaky_relu(c: Context) -> None:
    c.emit(c.kind, [c.x], alpha=_finite(c.options(tflite.LeakyReluOptions).Alpha()))


def _softmax(c: Context) -> None:
    beta = c.options(tflite.SoftmaxOptions).Beta()
    if not 0 < beta < float("inf"):
        raise ValueError(f"beta {beta}")
    c.emit(c.kind, [c.x], beta=beta)


def _finite(value: float) -> float:
    if not -float("inf") < value < float("inf"):
        raise ValueError(f"{value} must be finite")
    return value


def _first(c: Context) -> None:
    c.emit(c.kind, [c.x])


def _both(c: Context) -> None:
    c.emit(c.kind, c.operands[:2])


def _concatenation(c: Context) -> None:
    options = c.options(tflite.ConcatenationOptions)
    if c.activation(options) != "NONE":
        raise c.unsupported("a fused activation is not supported here; export the activation as an operator")
    parts = [_rescaled(c, x, c.y.quant) for x in c.operands]
    c.emit(c.kind, parts, axis=c.axis(options.Axis(), len(c.y.shape)))


def _rescaled(c: Context, x: Tensor, quant: QuantParams | None) -> Tensor:
    """Return x, requantised to `quant` when it is int8 and quantised otherwise."""
    if x.dtype != "int8" or x.quant == quant:
        return x
    return c.emit("QUANTIZE", [x], c.temporary(x.shape, x, quant))


CONVERTERS: dict[str, Converter] = {
    **dict.fromkeys((*UNARY, "DEQUANTIZE", "NEG", "QUANTIZE"), _first),
    **tflite_move.CONVERTERS,
    "ADD": _with_activation(tflite.AddOptions),
    "ARG_MAX": _arg_max,
    "AVERAGE_POOL_2D": _pool,
    "BATCH_MATMUL": _batch_matmul,
    "CONCATENATION": _concatenation,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "LEAKY_RELU": _leaky_relu,
    "MAXIMUM": _both,
    "MAX_POOL_2D": _pool,
    "MEAN": _reduction,
    "MINIMUM": _both,
    "MUL": _with_activation(tflite.MulOptions),
    "PRELU": _both,
    "REDUCE_MAX": _reduction,
    "REDUCE_MIN": _reduction,
    "RESIZE_BILINEAR": _resize(tflite.ResizeBilinearOptions),
    "RESIZE_NEAREST_NEIGHBOR": _resize(tflite.ResizeNearestNeighborOptions),
    "SOFTMAX": _softmax,
    "SUB": _with_activation(tflite.SubOptions),
    "SUM": _reduction,
    "TRANSPOSE_CONV": _transpose_conv,
}
"""Converter of each supported operator."""
