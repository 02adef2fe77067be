"""Fuse a PAD into the padding of the convolutions and maximum poolings that read it."""

from __future__ import annotations

from dataclasses import replace

from ..graph import Graph, Op

MAX_PAD = 15
"""Most pixels of padding per side that a convolution may end up with; a larger PAD stays an operator of its own."""

_PADS = ("PAD", "PADV2")
_LOWEST = -128


def fuse_pad(graph: Graph) -> Graph:
    """Return `graph` with every convolution or maximum pooling that reads a spatial PAD padding by itself.

    Padding with the zero point is what a convolution does anyway, padding with the lowest code what a maximum does,
    provided PAD's input and output are quantised alike. The PAD goes when nothing else reads its result.
    """
    ops = [_fused(graph, op) for op in graph.ops]
    read = {name for op in ops for name in op.inputs} | set(graph.outputs)
    return graph.with_ops(op for op in ops if op.kind not in _PADS or op.outputs[0] in read)


def _fused(graph: Graph, op: Op) -> Op:
    if op.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D"):
        return op
    pad = graph.producer(op.inputs[0])
    if pad is None or pad.kind not in _PADS:
        return op
    batch, *spatial, channels = pad.attrs["paddings"]
    before, after = graph.tensors[pad.inputs[0]], graph.tensors[pad.outputs[0]]
    own = op.attrs["pads"]
    pads = tuple((own[i][0] + spatial[i][0], own[i][1] + spatial[i][1]) for i in range(2))
    value = pad.attrs.get("value", after.zero_point)
    if op.kind == "MAX_POOL_2D":
        fits = value == _LOWEST and all(max(pads[i]) < op.attrs["kernel"][i] for i in range(2))
    else:
        fits = value == after.zero_point and max(map(max, pads)) <= MAX_PAD
    if not fits or (batch, channels) != ((0, 0), (0, 0)) or before.quant != after.quant:
        return op
    return replace(op, inputs=(pad.inputs[0], *op.inputs[1:]), attrs={**op.attrs, "pads": pads})
