"""Fuse SPACE_TO_BATCH_ND, a convolution and BATCH_TO_SPACE_ND into one dilated convolution."""

from __future__ import annotations

from dataclasses import replace

from ..graph import Graph, Op

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_NO_PADS = ((0, 0), (0, 0))


def fuse_dilation(graph: Graph) -> Graph:
    """Return `graph` with the older form of dilated convolutions as convolutions with `dilation`.

    Dealing the pixels to block[0] * block[1] images, convolving each with neighbouring taps and putting the results
    back is a convolution whose taps are `block` pixels apart. The crop at the end makes its padding smaller.
    """
    ops = {op.name: op for op in graph.ops}
    for last in graph.ops:
        found = _chain(graph, last)
        if found is None:
            continue
        first, conv = found
        block, crops, paddings = last.attrs["block"], last.attrs["crops"], first.attrs["paddings"]
        pads = tuple((paddings[i][0] - crops[i][0], paddings[i][1] - crops[i][1]) for i in range(2))
        if min(map(min, pads)) < 0:
            continue
        ops[last.name] = replace(conv, inputs=(first.inputs[0], *conv.inputs[1:]), outputs=last.outputs,
                                 attrs={**conv.attrs, "dilation": block, "pads": pads})
        del ops[conv.name]
    read = {name for op in ops.values() for name in op.inputs} | set(graph.outputs)
    return graph.with_ops(op for op in ops.values() if op.kind != "SPACE_TO_BATCH_ND" or op.outputs[0] in read)


def _chain(graph: Graph, last: Op) -> tuple[Op, Op] | None:
    """Return the SPACE_TO_BATCH_ND and the convolution that belong to this BATCH_TO_SPACE_ND, if they do."""
    conv = graph.producer(last.inputs[0]) if last.kind == "BATCH_TO_SPACE_ND" else None
    if conv is None or conv.kind not in _CONVOLUTIONS:
        return None
    first = graph.producer(conv.inputs[0])
    if first is None or first.kind != "SPACE_TO_BATCH_ND" or first.attrs["block"] != last.attrs["block"]:
        return None
    plain = (conv.attrs["stride"], conv.attrs["dilation"], conv.attrs["pads"]) == ((1, 1), (1, 1), _NO_PADS)
    alone = graph.consumers(conv.outputs[0]) == (last,) and conv.outputs[0] not in graph.outputs
    alike = all(graph.tensors[op.inputs[0]].quant == graph.result(op).quant for op in (first, last))
    return (first, conv) if plain and alone and alike else None
