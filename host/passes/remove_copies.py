"""Remove QUANTIZEs between equal quantisations."""

from __future__ import annotations

from dataclasses import replace

from ..graph import Graph, Op


def remove_copies(graph: Graph) -> Graph:
    """Return `graph` without QUANTIZEs whose result is their input; one that writes a graph output stays."""
    source: dict[str, str] = {}  # tensor -> the tensor to read in its place
    ops: list[Op] = []
    for op in graph.ops:
        op = replace(op, inputs=tuple(source.get(name, name) for name in op.inputs))
        if op.kind == "QUANTIZE" and op.outputs[0] not in graph.outputs:
            before, after = graph.tensors[op.inputs[0]], graph.result(op)
            if (before.dtype, before.quant) == (after.dtype, after.quant):
                source[op.outputs[0]] = op.inputs[0]
                continue
        ops.append(op)
    return graph.with_ops(ops)
