"""Fusion of element-wise operators behind the convolutions that produce an operand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ...hw.isa import Opcode
from .layers import ConvLayer, ElementLayer, Layer, Operand, Step


def fuse_elements(layers: Sequence[Layer], leaving: set[str]) -> list[Layer]:
    """Return `layers`, in topological order, with element-wise operators done tile by tile behind a convolution.

    The convolution is the latest producer of an operand, and nothing but the operator may read its result; tensors
    that are `leaving` for DRAM are read there.
    """
    readers = Counter(operand.storage for layer in layers for operand in layer.inputs)
    writers = Counter(layer.output.storage for layer in layers)
    fused: list[Layer] = []
    place: dict[str, int] = {}
    for layer in layers:
        at = len(fused)
        if isinstance(layer, ElementLayer):
            latest = max(range(len(layer.inputs)), key=lambda k: place.get(layer.inputs[k].storage, -1))
            name = layer.inputs[latest].storage
            producer = fused[place[name]] if name in place else None
            if (isinstance(producer, ConvLayer) and readers[name] == writers[name] == 1 and name not in leaving
                    and _can_follow(layer, latest, producer)):
                at = place[name]
                fused[at] = _followed(producer, layer, latest)
        place[layer.output.storage] = at
        if at == len(fused):
            fused.append(layer)
    return fused


def _can_follow(layer: ElementLayer, position: int, conv: ConvLayer) -> bool:
    """Return whether `layer` can work on the tiles of a convolution that makes its operand `position`."""
    image = layer.output.image
    others = [operand.image for k, operand in enumerate(layer.inputs) if k != position]
    # Two tables in turns would be read again for every tile.
    tables = {element.table for element in (layer.element, *(step.element for step in conv.steps))
              if element.opcode == Opcode.TABLE}
    return (layer.inputs[position].image == image and conv.output.image.words == image.words
            and all(other == image or other.plane == 1 for other in others) and len(tables) <= 1)


def _followed(conv: ConvLayer, layer: ElementLayer, position: int) -> ConvLayer:
    """Return `conv` with `layer` behind it, whose operand `position` it makes."""
    inputs, operands = [*conv.inputs], []
    for k, operand in enumerate(layer.inputs):
        operands.append(-1 if k == position else len(inputs))
        if k != position:
            alike = operand.image == layer.output.image
            inputs.append(operand._replace(image=conv.output.image) if alike else operand)
    return replace(conv, inputs=tuple(inputs), output=Operand(layer.output.storage, conv.output.image),
                   steps=(*conv.steps, Step(layer.op, layer.element, tuple(operands))))
