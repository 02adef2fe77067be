"""Fusion of additions behind the convolutions that produce an operand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from .layers import AddLayer, ConvLayer, Layer, Operand, Sum


def fuse_sums(layers: Sequence[Layer], leaving: set[str]) -> list[Layer]:
    """Return `layers`, in topological order, with additions done tile by tile behind a convolution.

    The convolution is the later one of the two producers, and nothing but the addition may read its result; tensors
    that are `leaving` for DRAM are read there.
    """
    readers = Counter(operand.storage for layer in layers for operand in layer.inputs)
    fused: list[Layer] = []
    place: dict[str, int] = {}
    for layer in layers:
        if isinstance(layer, AddLayer) and layer.inputs[0].storage != layer.inputs[1].storage:
            latest = max(range(2), key=lambda k: place.get(layer.inputs[k].storage, -1))
            name, other = layer.inputs[latest].storage, layer.inputs[1 - latest].storage
            producer = fused[place[name]] if name in place else None
            if (isinstance(producer, ConvLayer) and not producer.sum and readers[name] == 1 and name not in leaving
                    and producer.output.image.words == layer.output.image.words):
                image = producer.output.image
                fused[place[name]] = replace(
                    producer, inputs=(*producer.inputs, Operand(other, image)),
                    output=Operand(layer.output.storage, image),
                    sum=Sum(layer.op, layer.params, latest == 0, layer.clamp))
                place[layer.output.storage] = place[name]
                continue
        place[layer.output.storage] = len(fused)
        fused.append(layer)
    return fused
