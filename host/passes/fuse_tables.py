"""Fuse element-wise operators that together are a function of one int8 into one TABLE."""

from __future__ import annotations

from ..functions import Function, function_of
from ..graph import Graph, Op, Tensor
from .remove_unused import remove_unused


def fuse_tables(graph: Graph) -> Graph:
    """Return `graph` with chains such as x * LOGISTIC(x) as one TABLE of x; only inner results that are read once go.

    The table is made by the golden operators, so its results are those of the chain.
    """
    inner: dict[str, Function] = {}
    tables: dict[str, Tensor] = {}
    ops = []
    for op in graph.ops:
        function = function_of(graph, op, inner)
        if function is not None:
            (name,) = op.outputs
            if inner.keys() & set(op.inputs):
                table = Tensor(f"{name} of {function.source}", function.table.shape, "int8", data=function.table)
                tables[table.name] = table
                op = Op("TABLE", op.name, (function.source, table.name), op.outputs)
            if len(graph.consumers(name)) == 1 and name not in graph.outputs:
                inner[name] = function
        ops.append(op)
    return remove_unused(Graph(graph.name, {**graph.tensors, **tables}, tuple(ops), graph.inputs, graph.outputs))
