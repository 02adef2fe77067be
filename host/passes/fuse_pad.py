"""Fuse a PAD into the padding of the convolutions that read it."""

from __future__ import annotations

from dataclasses import replace

from ..graph import Graph, Op

MAX_PAD = 15
"""Most pixels of padding per side that a convolution may end up with; a larger PAD stays an operator of its own."""


def fuse_pad(graph: Graph) -> Graph:
    """Return `graph` with every convolution that reads a spatial PAD padding by itself.

    Padding with the zero point is what a convolution does anyway, provided PAD's input and output are quantised
    alike. The PAD goes when nothing else reads its result.
    """
    ops = [_fused(graph, op) if op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D") else op for op in graph.ops]
    read = {name for op in ops for name in op.inputs} | set(graph.outputs)
    return graph.with_ops(op for op in ops if op.kind != "PAD" or op.outputs[0] in read)


def _fused(graph: Graph, op: Op) -> Op:
    pad = graph.producer(op.inputs[0])
    if pad is None or pad.kind != "PAD":
        return op
    batch, *spatial, channels = pad.attrs["paddings"]
    before, after = graph.tensors[pad.inputs[0]], graph.tensors[pad.outputs[0]]
    own = op.attrs["pads"]
    pads = tuple((own[i][0] + spatial[i][0], own[i][1] + spatial[i][1]) for i in range(2))
    if (batch, channels) != ((0, 0), (0, 0)) or before.quant != after.quant or max(map(max, pads)) > MAX_PAD:
        return op
    return replace(op, inputs=(pad.inputs[0], *op.inputs[1:]), attrs={**op.attrs, "pads": pads})
