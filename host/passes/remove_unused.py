"""Remove operators whose results nothing needs."""

from __future__ import annotations

from ..graph import Graph, Op


def remove_unused(graph: Graph) -> Graph:
    """Return `graph` without operators that no output depends on, such as unused parts of a SPLIT."""
    needed, ops = set(graph.outputs), list[Op]()
    for op in reversed(graph.ops):
        if needed.intersection(op.outputs):
            needed.update(op.inputs)
            ops.append(op)
    return graph.with_ops(reversed(ops))
