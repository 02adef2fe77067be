"""Lowering of convolutions and fully connected operators to the array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...hw.config import AcceleratorConfig
from ...hw.isa import MAX_LEFT_SHIFT, PARAM_WORDS
from ..graph import Graph, Op, Tensor
from ..quantparams import act_range, conv_requant
from .filters import filter_of, filter_weights, walk
from .gather import gathered
from .layers import Clamp, ConvLayer, Filter, Operand, Storage, Unfit, Window
from .layout import Gather, Image, blocks_of
from .limits import check_size, check_window, without_idle_strides
from .phases import Phase, transposed, undilated

Int8s = npt.NDArray[np.int8]

# Cycles that a phase costs beyond its words, about: the array runs empty when the length of the lines changes.
_PHASE_CYCLES = 32


def lower_conv(graph: Graph, op: Op, x: Storage, x_image: Image, y: Storage, y_image: Image, word_bytes: int,
               hosted: bool) -> tuple[ConvLayer, Storage | None]:
    """Lower CONV_2D; also return a second form of its input, when it takes one that the host provides (`hosted`).

    Grouped convolutions get zero weights for the channels of other groups.

    Raises `Unfit` when the hardware cannot run it.
    """
    weights = _data(graph.tensors[op.inputs[1]])
    window, sums = _window(op, weights.shape[1:3], y_image), _sums(weights, (1, 2, 3))
    source, target = Operand(x.name, x_image), Operand(y.name, y_image)
    if hosted and op.attrs["groups"] == 1:
        fill = graph.operands(op)[0].zero_point
        form = gathered(op.name, x, window, y_image, weights, fill, word_bytes)
        if form is not None:
            tiles, (storage, image, window, _) = tile_weights(form.weights, word_bytes), form
            packed = _layer(graph, op, Operand(storage.name, image), target, window, tiles, sums, word_bytes,
                            (0,) * len(tiles), storage.gather)
            return packed, storage
    tiles = tile_weights(_ungroup(weights, op.attrs["groups"]), word_bytes)
    sources = (0,) * len(tiles)
    if op.attrs["groups"] > 1:
        sources, _, tiles = own_blocks(tiles)
    return _layer(graph, op, source, target, window, tiles, sums, word_bytes, sources), None


def own_blocks(tiles: Int8s, farthest: int = 1) -> tuple[tuple[int, ...], int, Int8s]:
    """Return (sources, every, tiles) without most input blocks that an output block has no weights for.

    Those that it keeps are `every` blocks apart, at most `farthest`.
    """
    total = tiles.shape[3]
    used = [found if len(found := np.flatnonzero(row)) else np.zeros(1, np.int64)
            for row in np.any(tiles != 0, axis=(1, 2, 4, 5))]
    choices = []
    for every in range(1, farthest + 1):
        count = max(int(blocks[-1] - blocks[0]) // every + 1 for blocks in used)
        # As many for all, so some begin earlier than they need to.
        beyond = [max(0, int(blocks[0]) + (count - 1) * every + 1 - total) for blocks in used]
        sources = tuple(int(blocks[0]) - -(-over // every) * every for blocks, over in zip(used, beyond, strict=True))
        if min(sources) >= 0 and not any(((blocks - blocks[0]) % every).any() for blocks in used):
            choices.append((count, every, sources))
    count, every, sources = min(choices)
    return sources, every, np.stack([tiles[b, :, :, first::every][:, :, :count] for b, first in enumerate(sources)])


def lower_depthwise(graph: Graph, op: Op, x: Operand, y: Operand,
                    config: AcceleratorConfig) -> tuple[ConvLayer, ...]:
    """Lower DEPTHWISE_CONV_2D to the array's filter mode, or else to one diagonal weight tile per tap and block.

    With dilation, the pixels are dealt to smaller images that are convolved without, where that takes fewer cycles.
    Raises `Unfit` when the hardware cannot run it.
    """
    word_bytes = config.word_bytes
    weights = _data(graph.tensors[op.inputs[1]])[0]
    if op.attrs["multiplier"] != 1:
        return (_multiplied(graph, op, weights, x, y, word_bytes),)
    window, sums = _window(op, weights.shape[:2], y.image), _sums(weights, (0, 1))
    kernel, phases = filter_of(window.kh, window.kw, config.fir_rows), undilated(window, x, y)
    dense = window.kh * window.kw * y.image.blocks * max(y.image.plane, word_bytes)
    if kernel and phases and (len(phases) == 1 or _filter_cycles(kernel, phases, word_bytes) < dense):
        tiles = filter_weights(kernel, weights, word_bytes)
    else:
        kernel, phases, tiles = None, [Phase(window, x, y)], _diagonal(weights, word_bytes)
    return tuple(replace(_layer(graph, op, part.x, part.y, part.window, tiles, sums, word_bytes,
                                tuple(range(len(tiles)))), filter=kernel) for part in phases)


def _multiplied(graph: Graph, op: Op, weights: Int8s, x: Operand, y: Operand, word_bytes: int) -> ConvLayer:
    """Lower a depthwise convolution with several filters per channel: one tile of the dense mode per tap and block."""
    kh, kw, outputs = weights.shape
    dense = np.zeros((outputs, kh, kw, outputs // op.attrs["multiplier"]), np.int8)
    channel = np.arange(outputs)
    dense[channel, :, :, channel // op.attrs["multiplier"]] = weights.transpose(2, 0, 1)
    sources, _, tiles = own_blocks(tile_weights(dense, word_bytes))
    return _layer(graph, op, x, y, _window(op, (kh, kw), y.image), tiles, _sums(weights, (0, 1)), word_bytes,
                      sources)


def _filter_cycles(kernel: Filter, phases: Sequence[Phase], word_bytes: int) -> int:
    """Return about how many cycles the filter mode takes."""
    words = [walk(kernel, part.window, part.y.image.rect, part.x.image).words for part in phases]
    blocks = phases[0].y.image.blocks
    return sum(blocks * max(kernel.passes * count, word_bytes) + _PHASE_CYCLES for count in words)


def lower_transpose_conv(graph: Graph, op: Op, x: Operand, y: Operand, word_bytes: int) -> tuple[ConvLayer, ...]:
    """Lower TRANSPOSE_CONV to convolutions of the output pixels that the same taps reach.

    Raises `Unfit` when the hardware cannot run it.
    """
    weights, ((top, _), (left, _)) = _data(graph.tensors[op.inputs[1]]), op.attrs["pads"]
    kh, kw = weights.shape[1:3]
    layers = []
    for part in transposed((kh, kw), op.attrs["stride"], (top, left), x, y):
        window, kernel = part.window, weights[:, part.taps[0]][:, :, part.taps[1]]
        if not kernel.size:  # the bias alone
            window, kernel = Window(), np.zeros((len(weights), 1, 1, weights.shape[3]), np.int8)
        tiles = tile_weights(kernel, word_bytes)
        layers.append(_layer(graph, op, part.x, part.y, window, tiles, _sums(kernel, (1, 2, 3)), word_bytes,
                             (0,) * len(tiles)))
    return tuple(layers)


def lower_fully_connected(graph: Graph, op: Op, x: Storage, y: Storage, word_bytes: int) -> ConvLayer:
    """Lower FULLY_CONNECTED to a convolution whose kernel covers what is flattened, so that no byte moves.

    Raises `Unfit` when the hardware cannot run it.
    """
    tensor = graph.tensors[op.inputs[1]]
    if tensor.quant is not None and any(tensor.quant.zero_point):
        raise Unfit("the weights have a zero point other than 0")
    weights = _data(tensor)
    view = flattened_view(x, weights.shape[1], word_bytes)
    if view is None:
        raise Unfit(f"its input of {x.h}x{x.w} pixels of {x.channels} channels has no flattened form on chip")
    ordered = weights
    if x.channels != weights.shape[1]:  # features in the order of the words: channel blocks outside, pixels inside
        pixels = weights.reshape(len(weights), x.h * x.w, x.channels)
        padded = np.pad(pixels, ((0, 0), (0, 0), (0, -x.channels % word_bytes)))
        ordered = padded.reshape(len(weights), x.h * x.w, -1, word_bytes).swapaxes(1, 2)
    tiles = tile_weights(ordered.reshape(len(weights), 1, 1, -1), word_bytes)
    target = Operand(y.name, Image(1, y.h * y.w, blocks_of(y.channels, word_bytes)))
    return _layer(graph, op, Operand(x.name, view), target, Window(), tiles, _sums(weights, (1,)), word_bytes,
                      (0,) * len(tiles))


def flattened_view(x: Storage, features: int, word_bytes: int) -> Image | None:
    """Return the image as which rows of `features` values can be read from `x`, or None.

    Either a pixel of `x` is a row, or all of `x` is one row.
    """
    if x.channels == features:
        return Image(1, x.h * x.w, blocks_of(features, word_bytes))
    return Image(1, 1, x.words) if x.h * x.w * x.channels == features else None


def tile_weights(weights: Int8s, word_bytes: int) -> Int8s:
    """Return int8 OHWI weights as tiles [output blocks, kh, kw, input blocks, R rows, R columns], zero padded."""
    outputs, kh, kw, inputs = weights.shape
    padding = ((0, -outputs % word_bytes), (0, 0), (0, 0), (0, -inputs % word_bytes))
    blocked = np.pad(weights, padding).reshape(-1, word_bytes, kh, kw, blocks_of(inputs, word_bytes), word_bytes)
    return np.ascontiguousarray(blocked.transpose(0, 2, 3, 4, 5, 1))


def _diagonal(weights: Int8s, word_bytes: int) -> Int8s:
    kh, kw, channels = weights.shape
    blocked = np.pad(weights, ((0, 0), (0, 0), (0, -channels % word_bytes))).reshape(kh, kw, -1, word_bytes)
    tiles = np.zeros((blocked.shape[2], kh, kw, 1, word_bytes, word_bytes), np.int8)
    lanes = np.arange(word_bytes)
    tiles[:, :, :, 0, lanes, lanes] = blocked.transpose(2, 0, 1, 3)
    return tiles


def _ungroup(weights: Int8s, groups: int) -> Int8s:
    if groups == 1:
        return weights
    outputs, kh, kw, depth = weights.shape
    dense = np.zeros((outputs, kh, kw, depth * groups), np.int8)
    for group, part in enumerate(np.split(weights, groups)):
        dense[group * len(part):(group + 1) * len(part), :, :, group * depth:(group + 1) * depth] = part
    return dense


def _data(tensor: Tensor) -> Int8s:
    assert tensor.data is not None, "the verifier requires constant weights"
    return tensor.data


def _sums(weights: Int8s, axes: tuple[int, ...]) -> npt.NDArray[np.int64]:
    return weights.sum(axis=axes, dtype=np.int64)


def _window(op: Op, kernel: tuple[int, ...], out: Image) -> Window:
    (kh, kw), (dy, dx) = kernel, op.attrs["dilation"]
    (sy, sx), ((top, _), (left, _)) = op.attrs["stride"], op.attrs["pads"]
    window = Window(kh, kw, sy, sx, dy if kh > 1 else 1, dx if kw > 1 else 1, top, left)
    return without_idle_strides(window, out)


def _layer(graph: Graph, op: Op, x: Operand, y: Operand, window: Window, weights: Int8s,
           sums: npt.NDArray[np.int64], word_bytes: int, sources: tuple[int, ...],
           gather: Gather | None = None) -> ConvLayer:
    """Return the layer of a convolution with `weights` in tiles, whose `sums` per output channel are these.

    Raises `Unfit` when the hardware cannot run it.
    """
    columns = gather is not None and gather.transposed
    if window.is_pointwise and gather is None:
        x, y = flattened(x, y)
    for operand in (x, y):
        check_size(operand.image)
    check_window(window, x.image, y.image.transposed if columns else y.image)
    (lo, hi), tensor = act_range(graph, op), graph.operands(op)[0]
    return ConvLayer(op.name, (x,), y, window, Clamp(graph.result(op).zero_point, lo, hi), weights,
                     _params(graph, op, tensor.zero_point, sums, word_bytes), tensor.zero_point, sources,
                     gather=gather)


def flattened(x: Operand, y: Operand) -> tuple[Operand, Operand]:
    """Return the operands of a 1x1 convolution as long rows, if possible: tiles then hold any number of pixels."""
    width = x.image.plane
    if width != y.image.plane or width > MAX_FLAT or any(each.view.row != each.image.w * each.view.step
                                                        for each in (x, y)):
        return x, y
    return _long_row(x), _long_row(y)


def _long_row(operand: Operand) -> Operand:
    image, part = operand.image, operand.part
    return operand._replace(image=Image(1, image.plane, image.blocks),
                            part=part and part._replace(row=part.step * image.plane))


# Longest row into which pixels are flattened; well inside the coordinate fields.
MAX_FLAT = 4096


def _params(graph: Graph, op: Op, x_zp: int, sums: npt.NDArray[np.int64],
            word_bytes: int) -> npt.NDArray[np.uint8]:
    """Return the parameter words: bias with the input zero point folded in, multipliers and shifts."""
    mult, shift = conv_requant(graph, op)
    if shift.max() > MAX_LEFT_SHIFT:
        raise Unfit(f"an output scale must not need a left shift above {MAX_LEFT_SHIFT}, not {shift.max()}")
    bias = -x_zp * sums
    if len(op.inputs) == 3:
        data = graph.tensors[op.inputs[2]].data
        assert data is not None, "the verifier requires constant biases"
        bias = bias + data
    return parameter_words(bias, mult, shift, word_bytes)


def parameter_words(bias: npt.NDArray[Any], mult: npt.NDArray[Any], shift: npt.NDArray[Any],
                    word_bytes: int) -> npt.NDArray[np.uint8]:
    """Return values per output channel as uint8 [output blocks, PARAM_WORDS, R], as REQUANT reads them."""
    padding = (0, -len(bias) % word_bytes)
    columns = [np.pad(values, padding).astype(dtype) for values, dtype in
               ((bias, "<i4"), (mult, "<i4"), (shift, "i1"))]
    planes = np.concatenate([column.reshape(-1, 1).view(np.uint8) for column in columns], axis=1)
    return np.ascontiguousarray(planes.reshape(-1, word_bytes, PARAM_WORDS).transpose(0, 2, 1))
