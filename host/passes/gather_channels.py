"""Turn a RESHAPE, TRANSPOSE and RESHAPE that only shuffle channels into one GATHER of channels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..graph import Graph, Op
from .remove_unused import remove_unused


def gather_channels(graph: Graph) -> Graph:
    """Return `graph` with every chain of RESHAPEs and TRANSPOSEs that treats all pixels alike as one GATHER.

    Such a chain ends in the shape that it began with; every pixel keeps its place and its channels change theirs.
    """
    return remove_unused(graph.with_ops(_gathered(graph, op) for op in graph.ops))


def _gathered(graph: Graph, op: Op) -> Op:
    shape, chain = graph.result(op).shape, list[Op]()
    for step in _back(graph, op):
        chain.insert(0, step)
        (source,) = step.inputs
        if graph.tensors[source].shape == shape and any(each.kind == "TRANSPOSE" for each in chain):
            channels = _channels(graph, chain, shape)
            if channels is not None:
                return Op("GATHER", op.name, (source,), op.outputs, {"axis": len(shape) - 1, "indices": channels})
    return op


def _back(graph: Graph, op: Op | None) -> Iterator[Op]:
    while op is not None and op.kind in ("RESHAPE", "TRANSPOSE"):
        yield op
        op = graph.producer(op.inputs[0])


def _channels(graph: Graph, chain: list[Op], shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the channel that each channel of every pixel comes from, or None when pixels differ in that."""
    places = np.arange(np.prod(shape)).reshape(shape)
    for op in chain:
        shape_after = graph.result(op).shape
        places = places.transpose(op.attrs["perm"]) if op.kind == "TRANSPOSE" else places.reshape(shape_after)
    pixels = places.reshape(-1, shape[-1])
    channels = pixels - np.arange(len(pixels))[:, None] * shape[-1]
    alike = (channels == channels[0]).all() and 0 <= channels.min() and channels.max() < shape[-1]
    return tuple(channels[0].tolist()) if alike else None
