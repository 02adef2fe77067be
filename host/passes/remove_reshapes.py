"""Remove RESHAPEs that change nothing, and read through chains of them."""

from __future__ import annotations

from dataclasses import replace

from ..graph import Graph, Op


def remove_reshapes(graph: Graph) -> Graph:
    """Return `graph` without RESHAPEs whose effect another tensor already has.

    A RESHAPE of a RESHAPE reads the first one's input; a RESHAPE to the shape and quantisation that its input has is
    bypassed; one that nothing reads any more is dropped. A RESHAPE that writes a graph output stays.
    """
    source: dict[str, str] = {}  # tensor -> the tensor to read in its place
    origin: dict[str, str] = {}  # result of a RESHAPE -> what it is a reshape of
    ops: list[Op] = []
    for op in graph.ops:
        op = replace(op, inputs=tuple(source.get(name, name) for name in op.inputs))
        if op.kind == "RESHAPE":
            (output,), root = op.outputs, origin.get(op.inputs[0], op.inputs[0])
            op = replace(op, inputs=(root,))
            origin[output] = root
            before, after = graph.tensors[root], graph.tensors[output]
            if (before.shape, before.quant) == (after.shape, after.quant):
                source[output] = root
        ops.append(op)
    read = {name for op in ops for name in op.inputs} | set(graph.outputs)
    return graph.with_ops(op for op in ops if op.kind != "RESHAPE" or op.outputs[0] in read)
