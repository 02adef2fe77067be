"""Absorption of moves of channels into the convolutions that read their results.

A convolution can read the channels of a pixel in any order, if the rows of its weights are in that order. Where
convolutions alone read what a move makes, they can read what the move reads, and the move goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .layers import ConvLayer, Layer, MoveLayer
from .lower_conv import own_blocks


def absorb_moves(layers: Sequence[Layer], leaving: set[str]) -> list[Layer]:
    """Return `layers`, in topological order and not fused, without the moves that their readers do not need.

    A move stays where it saves its readers more cycles than it takes. Tensors that are `leaving` for DRAM are read
    there.
    """
    kept, at = list(layers), 0
    while at < len(kept):
        move = kept[at]
        rest = _without(kept, move) if isinstance(move, MoveLayer) and move.output.storage not in leaving else None
        if rest is None:
            at += 1
        else:
            kept = rest
    return kept


def _without(layers: Sequence[Layer], move: MoveLayer) -> list[Layer] | None:
    """Return the other layers, of which those that read the result of `move` read its input; None if they cannot."""
    name = move.output.storage
    if move.output.part or sum(layer.output.storage == name for layer in layers) > 1:
        return None
    before, after = _cycles(move), 0
    kept: list[Layer] = []
    for layer in layers:
        if all(operand.storage != name for operand in layer.inputs):
            kept += [layer] if layer is not move else []
            continue
        absorbed = _absorbed(layer, move) if isinstance(layer, ConvLayer) else None
        if not isinstance(layer, ConvLayer) or absorbed is None:
            return None
        before, after = before + _cycles(layer), after + _cycles(absorbed)
        kept.append(absorbed)
    return kept if after <= before else None


def _absorbed(layer: ConvLayer, move: MoveLayer) -> ConvLayer | None:
    """Return `layer` with the input of `move` as its first input, or None when it cannot read that."""
    (source,), result = move.inputs, layer.inputs[0]
    if layer.filter or layer.gather or result.part or result.image.plane != source.image.plane:
        return None
    if result.image[:2] != source.image[:2]:  # one of them is one long row
        if source.part:
            return None
        source = source._replace(image=result.image._replace(blocks=source.image.blocks))
    weights = _moved_weights(layer, move, source.image.blocks)
    if weights.min() < -128 or weights.max() > 127:  # a channel that is read twice
        return None
    used = np.flatnonzero(np.any(weights != 0, axis=(0, 1, 2, 4, 5)))
    first, end = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
    sources, every, tiles = (first,) * len(weights), 1, weights[:, :, :, first:end].astype(np.int8)
    if isinstance(layer, MoveLayer) or any(layer.sources):
        sources, every, tiles = own_blocks(weights.astype(np.int8), source.image.blocks)
    layer = replace(layer, inputs=(source, *layer.inputs[1:]), weights=tiles, sources=sources, every=every)
    return replace(layer, channels=move.channels[layer.channels]) if isinstance(layer, MoveLayer) else layer


def _moved_weights(layer: ConvLayer, move: MoveLayer, blocks: int) -> np.ndarray:
    """Return the weights of `layer` for the input of `move`, as those of a layer but for int16 and all `blocks`."""
    outputs, kh, kw, count, rows, columns = layer.weights.shape
    moved = np.zeros((outputs, kh, kw, blocks * rows, columns), np.int16)
    for block, first in enumerate(layer.sources):
        for number, row in np.ndindex(count, rows):
            place = (first + number * layer.every) * rows + row
            if place < len(move.channels):
                moved[block, :, :, move.channels[place]] += layer.weights[block, :, :, number, row]
    return moved.reshape(outputs, kh, kw, blocks, rows, columns)


def _cycles(layer: ConvLayer) -> int:
    """Return about how many cycles the array takes."""
    rows = layer.weights.shape[-1]
    return layer.weights[..., 0, 0].size * max(layer.output.image.plane, rows)
