"""Lowering of operators that move data: to copies of 1x1 windows, and to 1x1 convolutions that move channels.

An operator becomes one copy per set of pixels that are evenly spaced in the input and in the output. A copy leaves
channels at their places in the word; where an operator moves them, a convolution whose weights are 0 and 1 does it,
exactly, because its scale is 1. `placement.py` removes the copies that need not be made.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise, product

import numpy as np
import numpy.typing as npt

from ...hw.isa import PoolMode
from ...models.ops import nearest_indices
from ..graph import Graph, Op
from .layers import Clamp, Layer, MoveLayer, Operand, PoolLayer, PoolPiece, Storage, Unfit, Window
from .layout import Span
from .limits import check_size
from .lower_conv import flattened, own_blocks, parameter_words, tile_weights

# Copies that one operator may take: more are more instructions than the CPU would need.
MAX_COPIES = 64
# Largest factor by which a resize repeats pixels.
_MAX_PHASES = 8
# The requantisation that changes nothing: 2^30 / 2^31 * 2^1.
_UNIT_MULT, _UNIT_SHIFT = 1 << 30, 1

Indices = npt.NDArray[np.int64]


def lower_concatenation(op: Op, axis: int, inputs: Sequence[Operand], channels: Sequence[int], output: Operand,
                        word_bytes: int) -> tuple[tuple[Layer, ...], Storage | None]:
    """Lower CONCATENATION of `inputs` of so many `channels` along `axis`: 0 rows, 1 columns, 2 channels.

    Also return the storage of whole channel blocks in which channels are joined first, when they do not fill them.
    Raises `Unfit` when the hardware cannot run it.
    """
    whole, target = output.image, output
    filled = all(count % word_bytes == 0 for count in channels[:-1])
    if axis == 2 and not filled:
        whole = whole._replace(blocks=sum(x.image.blocks for x in inputs))
        target = Operand(f"{output.storage} in blocks", whole)
    step, starts = (whole.w, 1, whole.plane)[axis], accumulate((x.image[axis] for x in inputs), initial=0)
    layers: list[Layer] = [_copy(op, x, Operand(target.storage, x.image, target.view.moved(first * step)))
                           for x, first in zip(inputs, starts, strict=False)]
    if target is output:
        return tuple(layers), None
    firsts = accumulate((x.image.blocks * word_bytes for x in inputs), initial=0)
    moved = np.concatenate([first + np.arange(count) for first, count in zip(firsts, channels, strict=False)])
    layers.append(_move_channels(op, target, output, moved, word_bytes))
    return tuple(layers), Storage(target.storage, whole.h, whole.w, whole.blocks * word_bytes, whole.words)


def lower_selection(op: Op, rows: Indices, columns: Indices, channels: Indices, x: Operand, y: Operand,
                    word_bytes: int) -> tuple[Layer, ...]:
    """Lower an operator whose output has these rows, columns and channels of its input.

    Raises `Unfit` when the hardware cannot run it.
    """
    pieces = [*product(_runs(rows), _runs(columns))]
    if len(pieces) > MAX_COPIES:
        raise Unfit(f"it must be at most {MAX_COPIES} copies, not {len(pieces)}")
    first = int(channels[0])
    aligned = first % word_bytes == 0 and np.array_equal(channels, first + np.arange(len(channels)))
    layers: list[Layer] = []
    for (to_rows, from_rows), (to_columns, from_columns) in pieces:
        source, target = x.spaced(from_rows, from_columns), y.spaced(to_rows, to_columns)
        if aligned:
            view = source.view.moved(first // word_bytes * x.view.plane)
            layers.append(_copy(op, Operand(x.storage, target.image, view), target))
        else:
            layers.append(_move_channels(op, source, target, channels, word_bytes))
    return tuple(layers)


def selected(graph: Graph, op: Op) -> tuple[Indices, Indices, Indices]:
    """Return the rows, columns and channels that a SLICE, a GATHER or a nearest resize takes of its input.

    Leading dimensions count as rows.
    """
    shape = graph.operands(op)[0].shape
    taken: list[Indices] = [np.arange(size) for size in shape]
    if op.kind == "SLICE":
        taken = [begin + stride * np.arange(size) for begin, size, stride in
                 zip(op.attrs["begin"], op.attrs["size"], op.attrs["stride"], strict=True)]
    elif op.kind == "GATHER":
        taken[op.attrs["axis"]] = np.array(op.attrs["indices"])
    else:
        flags = {name: op.attrs[name] for name in ("align_corners", "half_pixel_centers")}
        for axis in (1, 2):
            taken[axis] = nearest_indices(shape[axis], graph.result(op).shape[axis], **flags)
    shape, taken = (1, 1, 1, *shape), [*[np.zeros(1, np.int64)] * 3, *taken]
    rows = np.arange(np.prod(shape[:-2])).reshape(shape[:-2])[np.ix_(*taken[:-2])].ravel()
    return rows, taken[-2], taken[-1]


def _runs(indices: Indices) -> list[tuple[Span, Span]]:
    """Deal positions, of which each takes one of the `indices`, into few sets that take evenly spaced ones."""
    for phases in range(1, min(_MAX_PHASES, len(indices)) + 1):
        parts = [(Span.of(first, phases, len(indices)), indices[first::phases]) for first in range(phases)]
        if all(_is_even(part) for _, part in parts):
            break
    else:
        breaks = [0]
        for end in range(2, len(indices) + 1):
            if not _is_even(indices[breaks[-1]:end]):
                breaks.append(end - 1)
        parts = [(Span(first, 1, end - first), indices[first:end])
                 for first, end in pairwise([*breaks, len(indices)])]
    return [(span, Span(int(part[0]), int(part[1] - part[0]) if len(part) > 1 else 1, len(part)))
            for span, part in parts]


def _is_even(indices: Indices) -> bool:
    steps = np.diff(indices)
    return not len(steps) or bool(steps[0] >= 0 and (steps == steps[0]).all())


def _copy(op: Op, source: Operand, target: Operand) -> PoolLayer:
    check_size(source.image)
    return PoolLayer(op.name, (source,), target, Window(), Clamp(0), (PoolPiece(target.image.rect, PoolMode.MAX),))


def _move_channels(op: Op, source: Operand, target: Operand, channels: Indices, word_bytes: int) -> MoveLayer:
    """Return the layer that gives each channel of `target` the one of `source` that `channels` says."""
    source, target = flattened(source, target)
    check_size(source.image)
    count = len(channels)
    dense = np.zeros((count, 1, 1, source.image.blocks * word_bytes), np.int8)
    dense[np.arange(count), 0, 0, channels] = 1
    sources, every, tiles = own_blocks(tile_weights(dense, word_bytes), source.image.blocks)
    bias, mult, shift = (np.full(count, value) for value in (0, _UNIT_MULT, _UNIT_SHIFT))
    params = parameter_words(bias, mult, shift, word_bytes)
    return MoveLayer(op.name, (source,), target, Window(), Clamp(0), tiles, params, 0, sources, every,
                     channels=channels)
