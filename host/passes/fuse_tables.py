"""Fuse element-wise operators that together are a function of one int8 into one TABLE."""

from __future__ import annotations

from ..functions import Function, function_of
from ..graph import Graph, Op, Tensor
from .remove_unused import remove_unused


def fuse_tables(graph: Graph) -> Graph:
    """Return `graph` with chains such as x * LOGISTIC(x) as one TABLE of x, also where they are float32 in between.

    The table is made by the golden operators, so its results are those of the chain. Results that other operators
    read, too, stay where chains begin and end.
    """
    functions: dict[str, Function] = {}
    for op in graph.ops:
        function = function_of(graph, op, functions)
        if function is not None:
            functions[op.outputs[0]] = function
    inner = {name for name in functions if name not in graph.outputs
             and all(reader.outputs[0] in functions for reader in graph.consumers(name))}

    known: dict[str, Function] = {}
    tables: dict[str, Tensor] = {}
    ops = []
    for op in graph.ops:
        (name,) = op.outputs
        function = function_of(graph, op, known) or functions.get(name)
        if function is not None:
            read = {tensor.name for tensor in graph.operands(op) if tensor.data is None}
            if graph.result(op).dtype == "int8" and read != {function.source}:
                table = Tensor(f"{name} of {function.source}", function.table.shape, "int8", data=function.table)
                tables[table.name] = table
                op = Op("TABLE", op.name, (function.source, table.name), op.outputs)
            if name in inner:
                known[name] = function
        ops.append(op)
    return remove_unused(Graph(graph.name, {**graph.tensors, **tables}, tuple(ops), graph.inputs, graph.outputs))
