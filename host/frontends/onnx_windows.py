"""Converters of ONNX's operators on images: convolution, pooling, transposed convolution, resizing.

One-dimensional ones are images of height 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .onnx_layout import GraphBuilder
from .onnx_model import Node

Converter = Callable[[GraphBuilder, Node], None]
Pair = tuple[int, int]
Pads = tuple[Pair, Pair]


def _pair(values: Sequence[int] | None, default: int = 1) -> Pair:
    """Return the (y, x) of an attribute with one or two values."""
    found = [default] * 2 if values is None else [int(value) for value in values]
    return (default, found[0]) if len(found) == 1 else (found[0], found[1])


def _image(builder: GraphBuilder, node: Node) -> tuple[str, tuple[int, int, int, int]]:
    """Return the first input as NHWC, and its shape; a tensor of rank 3 gets the height 1."""
    rank = len(builder.shape(node.inputs[0]))
    if rank not in (3, 4):
        raise builder.fail(node, f"the input must have 1 or 2 spatial axes, not {rank - 2}")
    x = builder.get(node.inputs[0], last=True)
    n, *middle, c = builder.tensors[x].shape
    h, w = (1, *middle) if rank == 3 else middle
    return builder.reshape(x, (n, h, w, c), f"{node.name}/image"), (n, h, w, c)


def _store(builder: GraphBuilder, node: Node, y: str) -> None:
    """Make the NHWC graph tensor `y` the output of `node`."""
    shape = builder.shape(node.outputs[0])
    if len(shape) == 3:
        n, _, w, c = builder.tensors[y].shape
        y = builder.reshape(y, (n, w, c), f"{node.outputs[0]}/nwc")
    builder.set(node.outputs[0], y, last=True)


def _output_name(node: Node) -> str:
    return f"{node.outputs[0]}/nhwc"


def _pads(builder: GraphBuilder, node: Node, size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Pads:
    """Return ((top, bottom), (left, right)) from `pads` or `auto_pad`."""
    auto, given = node.attrs.get("auto_pad", "NOTSET"), list(node.attrs.get("pads", []))
    if auto == "VALID" or (auto == "NOTSET" and not given):
        return ((0, 0), (0, 0))
    if auto == "NOTSET":
        count = len(given) // 2
        before, after = _pair(given[:count], 0), _pair(given[count:], 0)
        if min(given) < 0:
            raise builder.fail(node, f"pads must not be negative, not {given}")
        return ((before[0], after[0]), (before[1], after[1]))
    pads = []
    for i in range(2):
        out = -(-size[i] // stride[i])
        total = max((out - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 - size[i], 0)
        small, large = total // 2, total - total // 2
        pads.append((large, small) if auto == "SAME_LOWER" else (small, large))
    return (pads[0], pads[1])


def _weights(builder: GraphBuilder, node: Node) -> str:
    """Return the weights of a convolution in the model's order, as [o, i, kh, kw]."""
    if not builder.is_constant(node.inputs[1]):
        raise builder.fail(node, f"weights '{node.inputs[1]}' must be constant; freeze the model's parameters")
    weights = builder.get(node.inputs[1])
    tensor = builder.tensors[weights]
    if len(tensor.shape) == 3:
        o, i, k = tensor.shape
        assert tensor.data is not None
        return builder.constant(f"{weights}/2d", tensor.data.reshape(o, i, 1, k), tensor.quant)
    return weights


def _bias(builder: GraphBuilder, node: Node) -> list[str]:
    if len(node.inputs) < 3 or not node.inputs[2]:
        return []
    if not builder.is_constant(node.inputs[2]):
        raise builder.fail(node, f"bias '{node.inputs[2]}' must be constant; freeze the model's parameters")
    return [builder.get(node.inputs[2])]


def convolution(builder: GraphBuilder, node: Node) -> None:
    """Convert Conv to CONV_2D, or to DEPTHWISE_CONV_2D where each group has one input channel."""
    x, (n, h, w, channels) = _image(builder, node)
    weights = _weights(builder, node)
    outputs, depth, *size = builder.tensors[weights].shape
    kernel = (size[0], size[1])
    groups = int(node.attrs.get("group", 1))
    stride, dilation = _pair(node.attrs.get("strides")), _pair(node.attrs.get("dilations"))
    pads = _pads(builder, node, (h, w), kernel, stride, dilation)
    attrs: dict[str, Any] = {"stride": stride, "dilation": dilation, "pads": pads, "activation": "NONE"}
    depthwise = groups == channels and depth == 1 and groups > 1
    if depthwise:
        kind, perm = "DEPTHWISE_CONV_2D", (1, 2, 3, 0)
        attrs["multiplier"] = outputs // channels
    else:
        kind, perm = "CONV_2D", (0, 2, 3, 1)
        attrs["groups"] = groups
    arranged = builder.transpose(weights, perm, f"{weights}/{'hwc' if depthwise else 'ohwi'}")
    shape = builder.shape(node.outputs[0])
    out = (1, shape[2]) if len(shape) == 3 else shape[2:]
    _store(builder, node, builder.emit(kind, [x, arranged, *_bias(builder, node)], _output_name(node),
                                       (n, *out, outputs), attrs))


def transposed_convolution(builder: GraphBuilder, node: Node) -> None:
    """Convert ConvTranspose to TRANSPOSE_CONV, one per group."""
    x, (n, h, w, channels) = _image(builder, node)
    weights = _weights(builder, node)  # [channels, outputs / groups, kh, kw]
    _, per_group, kh, kw = builder.tensors[weights].shape
    groups = int(node.attrs.get("group", 1))
    stride, dilation = _pair(node.attrs.get("strides")), _pair(node.attrs.get("dilations"))
    if dilation != (1, 1) or groups != 1:
        raise builder.fail(node, f"dilation {dilation} and group {groups} must be 1; export it otherwise")
    shape = builder.shape(node.outputs[0])
    out: Pair = (1, shape[2]) if len(shape) == 3 else (shape[2], shape[3])
    full = ((h - 1) * stride[0] + kh, (w - 1) * stride[1] + kw)
    auto, given = node.attrs.get("auto_pad", "NOTSET"), list(node.attrs.get("pads", []))
    if given and auto == "NOTSET" and "output_shape" not in node.attrs:
        before = _pair(given[:len(given) // 2], 0)
    else:
        total = [max(full[i] - out[i], 0) for i in range(2)]
        halves = [t - t // 2 if auto == "SAME_LOWER" else t // 2 for t in total]
        before = (halves[0], halves[1])
    crops = tuple((before[i], full[i] - before[i] - out[i]) for i in range(2))
    if min(min(crop) for crop in crops) < 0:
        raise builder.fail(node, f"output padding beyond the last kernel is not supported (crop {crops})")
    arranged = builder.transpose(weights, (1, 2, 3, 0), f"{weights}/ohwi")
    attrs = {"stride": stride, "pads": crops, "activation": "NONE"}
    _store(builder, node, builder.emit("TRANSPOSE_CONV", [x, arranged, *_bias(builder, node)], _output_name(node),
                                       (n, *out, per_group), attrs))


def pooling(builder: GraphBuilder, node: Node) -> None:
    """Convert MaxPool and AveragePool."""
    if len(node.outputs) > 1 and node.outputs[1]:
        raise builder.fail(node, "the indices of the maxima are not supported")
    x, (n, h, w, channels) = _image(builder, node)
    kernel, stride = _pair(node.attrs["kernel_shape"]), _pair(node.attrs.get("strides"))
    if _pair(node.attrs.get("dilations")) != (1, 1):
        raise builder.fail(node, "dilation must be 1")
    shape = builder.shape(node.outputs[0])
    out = (1, shape[2]) if len(shape) == 3 else shape[2:]
    pads = _pads(builder, node, (h, w), kernel, stride, (1, 1))
    average = node.kind == "AveragePool"
    if average and node.attrs.get("count_include_pad", 0) and pads != ((0, 0), (0, 0)):
        # The padding counts as zeros of the image.
        h, w = h + sum(pads[0]), w + sum(pads[1])
        x = builder.emit("PAD", [x], f"{node.name}/padded", (n, h, w, channels),
                         {"paddings": ((0, 0), *pads, (0, 0))})
        pads = ((0, 0), (0, 0))
    # Rounding the size up adds a last window that reaches over the edge.
    needed = [max((out[i] - 1) * stride[i] + kernel[i] - (h, w)[i] - pads[i][0], pads[i][1]) for i in range(2)]
    pads = ((pads[0][0], needed[0]), (pads[1][0], needed[1]))
    attrs = {"kernel": kernel, "stride": stride, "pads": pads, "activation": "NONE"}
    kind = "AVERAGE_POOL_2D" if average else "MAX_POOL_2D"
    _store(builder, node, builder.emit(kind, [x], _output_name(node), (n, *out, channels), attrs))


def global_pooling(builder: GraphBuilder, node: Node) -> None:
    """Convert GlobalAveragePool to MEAN and GlobalMaxPool to REDUCE_MAX."""
    x = builder.get(node.inputs[0], last=True)
    n, *middle, channels = builder.tensors[x].shape
    kind = "MEAN" if node.kind == "GlobalAveragePool" else "REDUCE_MAX"
    shape = (n, *[1] * len(middle), channels)
    attrs = {"axes": tuple(range(1, 1 + len(middle))), "keepdims": True}
    builder.set(node.outputs[0], builder.emit(kind, [x], _output_name(node), shape, attrs), last=True)


def resizing(builder: GraphBuilder, node: Node) -> None:
    """Convert Resize and Upsample of images, nearest and bilinear."""
    x, (n, h, w, channels) = _image(builder, node)
    shape = builder.shape(node.outputs[0])
    out = (1, shape[2]) if len(shape) == 3 else shape[2:]
    if shape[:2] != builder.shape(node.inputs[0])[:2]:
        raise builder.fail(node, "only the spatial axes can be resized")
    mode = node.attrs.get("mode", "nearest")
    default = "asymmetric" if node.kind == "Upsample" else "half_pixel"
    position = node.attrs.get("coordinate_transformation_mode", default)
    if position == "pytorch_half_pixel" and min(out) > 1:
        position = "half_pixel"
    if position not in ("asymmetric", "half_pixel", "align_corners") or mode not in ("nearest", "linear", "bilinear"):
        raise builder.fail(node, f"mode {mode} with {position} is not supported; use nearest or linear with "
                                 "asymmetric, half_pixel or align_corners")
    attrs = {"align_corners": position == "align_corners", "half_pixel_centers": position == "half_pixel"}
    name, result = _output_name(node), (n, *out, channels)
    if mode != "nearest":
        _store(builder, node, builder.emit("RESIZE_BILINEAR", [x], name, result, attrs))
        return
    whole = out[0] % h == 0 and out[1] % w == 0
    rounding = node.attrs.get("nearest_mode", "floor" if node.kind == "Upsample" else "round_prefer_floor")
    # The graph's operator rounds down, or to nearest with aligned corners. Where pixels are repeated a whole number of
    # times, all combinations that fall into the pixel itself mean the same repetition.
    same = (whole and ((position == "asymmetric" and rounding == "floor") or
                       (position == "half_pixel" and rounding.startswith("round"))))
    exact = (position == "asymmetric" and rounding == "floor") or (
        position == "align_corners" and rounding == "round_prefer_ceil")
    if not (same or exact):
        raise builder.fail(node, f"nearest_mode {rounding} with {position} from {(h, w)} to {tuple(out)} is not "
                                 "supported; resize by whole factors or use asymmetric with floor")
    if same:
        attrs = {"align_corners": False, "half_pixel_centers": False}
    _store(builder, node, builder.emit("RESIZE_NEAREST_NEIGHBOR", [x], name, result, attrs))


def batch_normalisation(builder: GraphBuilder, node: Node) -> None:
    """Convert BatchNormalization to a multiplication and an addition per channel, which fold into a convolution."""
    scale, offset, mean, variance = (builder.real(builder.get(name)).astype(np.float64) for name in node.inputs[1:5])
    factor = scale / np.sqrt(variance + node.attrs.get("epsilon", 1e-5))
    constants = [builder.constant(f"{node.name}/{what}", value.astype(np.float32))
                 for what, value in (("factor", factor), ("term", offset - mean * factor))]
    x = builder.get(node.inputs[0], last=True)
    shape = builder.tensors[x].shape
    y = builder.emit("MUL", [x, constants[0]], f"{node.name}/scaled", shape, {"activation": "NONE"})
    y = builder.emit("ADD", [y, constants[1]], _output_name(node), shape, {"activation": "NONE"})
    builder.set(node.outputs[0], y, last=True)


def depth_and_space(builder: GraphBuilder, node: Node) -> None:
    """Convert DepthToSpace and SpaceToDepth to RESHAPE, TRANSPOSE, RESHAPE."""
    x, (n, h, w, c) = _image(builder, node)
    b = int(node.attrs["blocksize"])
    if node.kind == "SpaceToDepth":
        split, perm = (n * h // b, b, w // b, b, c), (0, 2, 1, 3, 4)
    elif node.attrs.get("mode", "DCR") == "DCR":
        split, perm = (n * h, w, b, b, c // (b * b)), (0, 2, 1, 3, 4)
    else:
        split, perm = (n * h, w, c // (b * b), b, b), (0, 3, 1, 4, 2)
    y = builder.transpose(builder.reshape(x, split, f"{node.name}/split"), perm, f"{node.name}/dealt")
    _, channels, *out = builder.shape(node.outputs[0])
    _store(builder, node, builder.reshape(y, (n, *out, channels), _output_name(node)))


CONVERTERS: dict[str, Converter] = {
    "AveragePool": pooling,
    "BatchNormalization": batch_normalisation,
    "Conv": convolution,
    "ConvTranspose": transposed_convolution,
    "DepthToSpace": depth_and_space,
    "GlobalAveragePool": global_pooling,
    "GlobalMaxPool": global_pooling,
    "MaxPool": pooling,
    "Resize": resizing,
    "SpaceToDepth": depth_and_space,
    "Upsample": resizing,
}
"""Converter of each supported operator."""
