"""Output shapes of the operators of the graph IR, and what their operands must fulfil for one to exist.

A rule returns the shape that operands and attributes imply, and raises ValueError when they imply none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..models.ops import out_size
from ..models.ops_unary import CODES
from .graph import Graph, Op, Tensor
from .quantparams import FIXED_OUTPUT, UNARY


def _want(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)


def _image(tensor: Tensor) -> tuple[int, int, int, int]:
    _want(len(tensor.shape) == 4, f"'{tensor.name}' must have 4 dimensions, not {len(tensor.shape)}")
    n, h, w, c = tensor.shape
    return n, h, w, c


def _windows(op: Op, size: tuple[int, int], kernel: tuple[int, int]) -> tuple[int, int]:
    attrs: Any = op.attrs
    dilation = attrs.get("dilation", (1, 1))
    h, w = (out_size(size[i], kernel[i], attrs["stride"][i], dilation[i], attrs["pads"][i]) for i in range(2))
    return h, w


def _check_weights(graph: Graph, op: Op, channel_axis: int) -> None:
    weights = graph.tensors[op.inputs[1]]
    quant = weights.quant
    if quant is None or quant.axis not in (None, channel_axis):
        raise ValueError(f"weights '{weights.name}' must be quantised per tensor or along axis {channel_axis}")
    symmetric = all(zero_point == 0 for zero_point in quant.zero_point)
    _want(symmetric or quant.axis is None,
          f"weights '{weights.name}' must be symmetric (zero point 0) to have a scale per channel")
    if len(op.inputs) == 3:
        bias, channels = graph.tensors[op.inputs[2]], weights.shape[channel_axis]
        _want(bias.shape == (channels,), f"bias '{bias.name}' must have shape ({channels},), not {bias.shape}")


def _conv(graph: Graph, op: Op) -> tuple[int, ...]:
    x, weights = graph.operands(op)[:2]
    n, h, w, channels = _image(x)
    out_channels, kh, kw, group_channels = _image(weights)
    _check_weights(graph, op, channel_axis=0)
    groups = op.attrs["groups"]
    _want(channels == group_channels * groups and out_channels % groups == 0,
          f"{channels} channels do not match weights {weights.shape} in {groups} groups")
    return (n, *_windows(op, (h, w), (kh, kw)), out_channels)


def _depthwise(graph: Graph, op: Op) -> tuple[int, ...]:
    x, weights = graph.operands(op)[:2]
    n, h, w, channels = _image(x)
    one, kh, kw, out_channels = _image(weights)
    _check_weights(graph, op, channel_axis=3)
    multiplier = op.attrs["multiplier"]
    _want(one == 1 and out_channels == channels * multiplier,
          f"weights {weights.shape} do not match {channels} channels with multiplier {multiplier}")
    return (n, *_windows(op, (h, w), (kh, kw)), out_channels)


def _fully_connected(graph: Graph, op: Op) -> tuple[int, ...]:
    x, weights = graph.operands(op)[:2]
    _want(len(weights.shape) == 2, f"weights '{weights.name}' must have 2 dimensions, not {len(weights.shape)}")
    _check_weights(graph, op, channel_axis=0)
    out_features, in_features = weights.shape
    if op.attrs["keep_dims"]:
        _want(x.shape[-1:] == (in_features,), f"input {x.shape} does not match weights {weights.shape}")
        return (*x.shape[:-1], out_features)
    _want(x.size % in_features == 0, f"input {x.shape} does not match weights {weights.shape}")
    return (x.size // in_features, out_features)


def _transpose_conv(graph: Graph, op: Op) -> tuple[int, ...]:
    x, weights = graph.operands(op)[:2]
    n, h, w, channels = _image(x)
    out_channels, kh, kw, in_channels = _image(weights)
    _check_weights(graph, op, channel_axis=0)
    _want(channels == in_channels, f"{channels} channels do not match weights {weights.shape}")
    (top, bottom), (left, right) = op.attrs["pads"]
    _want(min(top, left) >= 0, f"pads {op.attrs['pads']} must not be negative at top and left")
    (sy, sx) = op.attrs["stride"]
    _want(sy > 0 and sx > 0, f"stride {op.attrs['stride']} must be positive")
    return (n, (h - 1) * sy + kh - top - bottom, (w - 1) * sx + kw - left - right, out_channels)


def _batch_matmul(graph: Graph, op: Op) -> tuple[int, ...]:
    a, b = graph.operands(op)
    _want(min(len(a.shape), len(b.shape)) >= 2, f"operands must be matrices, not {a.shape} and {b.shape}")
    m, k = a.shape[-2:][::-1] if op.attrs["adj_x"] else a.shape[-2:]
    depth, n = b.shape[-2:][::-1] if op.attrs["adj_y"] else b.shape[-2:]
    _want(k == depth, f"{a.shape} and {b.shape} must have the same depth, not {k} and {depth}")
    return (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), m, n)


def _broadcast(graph: Graph, op: Op) -> tuple[int, ...]:
    a, b = graph.operands(op)
    return np.broadcast_shapes(a.shape, b.shape)


def _choice(graph: Graph, op: Op) -> tuple[int, ...]:
    _check_alike(graph, op)
    return _broadcast(graph, op)


def _check_alike(graph: Graph, op: Op) -> None:
    y = graph.result(op)
    for x in graph.operands(op):
        _want(x.dtype != "int8" or _close(x, y), f"'{x.name}' and '{y.name}' must have equal scales and zero points")


def _close(x: Tensor, y: Tensor) -> bool:
    return abs(x.scale - y.scale) <= 1e-6 * y.scale and x.zero_point == y.zero_point


def _prelu(graph: Graph, op: Op) -> tuple[int, ...]:
    x, alpha = graph.operands(op)
    _want(np.broadcast_shapes(x.shape, alpha.shape) == x.shape, f"alpha {alpha.shape} must broadcast to {x.shape}")
    return x.shape


def _pool(graph: Graph, op: Op) -> tuple[int, ...]:
    x, y = *graph.operands(op), graph.result(op)
    n, h, w, channels = _image(x)
    kernel, pads = op.attrs["kernel"], op.attrs["pads"]
    _want(all(max(pads[i]) < kernel[i] for i in range(2)), f"pads {pads} must be smaller than the kernel {kernel}")
    _want(abs(x.scale - y.scale) <= 1e-6 and x.zero_point == y.zero_point, "input and output must have equal scales")
    return (n, *_windows(op, (h, w), kernel), channels)


def _reduced(graph: Graph, op: Op) -> tuple[int, ...]:
    (x,), axes = graph.operands(op), op.attrs["axes"]
    _want(list(axes) == sorted(set(axes)) and all(0 <= axis < len(x.shape) for axis in axes),
          f"axes {axes} must be sorted, distinct and within {len(x.shape)} dimensions")
    kept = [(1 if axis in axes else size, axis) for axis, size in enumerate(x.shape)]
    return tuple(size for size, axis in kept if op.attrs["keepdims"] or axis not in axes)


def _extreme(graph: Graph, op: Op) -> tuple[int, ...]:
    _check_alike(graph, op)
    return _reduced(graph, op)


def _arg_max(graph: Graph, op: Op) -> tuple[int, ...]:
    (x,), axis = graph.operands(op), _axis(graph, op)
    return (*x.shape[:axis], *x.shape[axis + 1:])


def _axis(graph: Graph, op: Op) -> int:
    x, axis = graph.operands(op)[0], op.attrs["axis"]
    _want(0 <= axis < len(x.shape), f"axis {axis} must be one of the {len(x.shape)} axes of {x.shape}")
    return axis


def _pad(graph: Graph, op: Op) -> tuple[int, ...]:
    (x,), paddings = graph.operands(op), op.attrs["paddings"]
    _want(len(paddings) == len(x.shape), f"paddings {paddings} must have one pair per dimension of {x.shape}")
    _want(-128 <= op.attrs.get("value", 0) <= 127, f"value {op.attrs.get('value')} must be an int8")
    return tuple(size + before + after for size, (before, after) in zip(x.shape, paddings, strict=True))


def _concatenation(graph: Graph, op: Op) -> tuple[int, ...]:
    operands, axis = graph.operands(op), _axis(graph, op)
    _check_alike(graph, op)
    rests = {(*x.shape[:axis], *x.shape[axis + 1:]) for x in operands}
    _want(len(rests) == 1 and len({len(x.shape) for x in operands}) == 1,
          f"shapes {[x.shape for x in operands]} must agree but for axis {axis}")
    first = operands[0].shape
    return (*first[:axis], sum(x.shape[axis] for x in operands), *first[axis + 1:])


def _slice(graph: Graph, op: Op) -> tuple[int, ...]:
    (x,), attrs = graph.operands(op), op.attrs
    begin, size, stride = attrs["begin"], attrs["size"], attrs["stride"]
    _want(len(begin) == len(size) == len(stride) == len(x.shape), f"{dict(attrs)} must have one entry per axis of "
          f"{x.shape}")
    for first, count, step, extent in zip(begin, size, stride, x.shape, strict=True):
        _want(step != 0 and 0 <= first < extent and 0 <= first + (count - 1) * step < extent,
              f"{dict(attrs)} must lie within {x.shape}")
    return tuple(size)


def _transpose(graph: Graph, op: Op) -> tuple[int, ...]:
    (x,), perm = graph.operands(op), op.attrs["perm"]
    _want(sorted(perm) == list(range(len(x.shape))), f"perm {perm} must permute the axes of {x.shape}")
    return tuple(x.shape[axis] for axis in perm)


def _gather(graph: Graph, op: Op) -> tuple[int, ...]:
    (x,), axis, indices = graph.operands(op), _axis(graph, op), op.attrs["indices"]
    _want(all(0 <= index < x.shape[axis] for index in indices), f"indices {indices} must be below {x.shape[axis]}")
    return (*x.shape[:axis], len(indices), *x.shape[axis + 1:])


def _resize(graph: Graph, op: Op) -> tuple[int, ...]:
    n, _, _, channels = _image(graph.operands(op)[0])
    _want(not (op.attrs["align_corners"] and op.attrs["half_pixel_centers"]) or op.kind != "RESIZE_BILINEAR",
          "align_corners and half_pixel_centers must not both be set")
    _, h, w, _ = _image(graph.result(op))
    return (n, h, w, channels)


def _space_to_batch(graph: Graph, op: Op) -> tuple[int, ...]:
    n, *image, channels = _image(graph.operands(op)[0])
    block, paddings = op.attrs["block"], op.attrs["paddings"]
    _want(len(block) == len(paddings) == 2, f"block {block} and paddings {paddings} must be of height and width")
    h, w = (image[i] + sum(paddings[i]) for i in range(2))
    _want(h % block[0] == w % block[1] == 0, f"padded image {h} x {w} must be a multiple of block {block}")
    return (n * math.prod(block), h // block[0], w // block[1], channels)


def _batch_to_space(graph: Graph, op: Op) -> tuple[int, ...]:
    n, *image, channels = _image(graph.operands(op)[0])
    block, crops = op.attrs["block"], op.attrs["crops"]
    _want(len(block) == len(crops) == 2 and n % math.prod(block) == 0, f"block {block} must divide a batch of {n}")
    return (n // math.prod(block), *(image[i] * block[i] - sum(crops[i]) for i in range(2)), channels)


def _reshape(graph: Graph, op: Op) -> tuple[int, ...]:
    (x,), y = graph.operands(op), graph.result(op)
    _want(x.dtype == y.dtype, f"it must not change {x.dtype} to {y.dtype}")
    _want(x.size == y.size, f"{x.shape} and {y.shape} must have the same number of elements")
    return y.shape


def _fixed(graph: Graph, op: Op) -> tuple[int, ...]:
    y, fixed = graph.result(op), FIXED_OUTPUT[op.kind]
    (scale,), (zero_point,) = fixed.scale, fixed.zero_point
    _want(y.dtype != "int8" or (abs(y.scale / scale - 1) < 1e-3 and y.zero_point == zero_point),
          f"its output must have scale 1/{round(1 / scale)}, zero point {zero_point}")
    return _same(graph, op)


def _same(graph: Graph, op: Op) -> tuple[int, ...]:
    return graph.operands(op)[0].shape


def _table(graph: Graph, op: Op) -> tuple[int, ...]:
    x, table = graph.operands(op)
    _want(table.shape == CODES.shape, f"table '{table.name}' must have shape {CODES.shape}, not {table.shape}")
    return x.shape


SHAPE_RULES: dict[str, Callable[[Graph, Op], tuple[int, ...]]] = {
    **dict.fromkeys(UNARY, _same),
    **dict.fromkeys(FIXED_OUTPUT, _fixed),
    "ADD": _broadcast,
    "ARG_MAX": _arg_max,
    "AVERAGE_POOL_2D": _pool,
    "BATCH_MATMUL": _batch_matmul,
    "BATCH_TO_SPACE_ND": _batch_to_space,
    "CONCATENATION": _concatenation,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": _same,
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": _gather,
    "MAXIMUM": _choice,
    "MAX_POOL_2D": _pool,
    "MEAN": _reduced,
    "MINIMUM": _choice,
    "MUL": _broadcast,
    "NEG": _same,
    "PAD": _pad,
    "PADV2": _pad,
    "PRELU": _prelu,
    "QUANTIZE": _same,
    "REDUCE_MAX": _extreme,
    "REDUCE_MIN": _extreme,
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "SLICE": _slice,
    "SPACE_TO_BATCH_ND": _space_to_batch,
    "SUB": _broadcast,
    "SUM": _reduced,
    "TABLE": _table,
    "TRANSPOSE": _transpose,
    "TRANSPOSE_CONV": _transpose_conv,
}
