"""Split PRELU into operators that the vector unit has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Graph, Op, Tensor


def split_prelu(graph: Graph) -> Graph:
    """Return `graph` with a PRELU of several constant slopes as RELU(x) + slope * MINIMUM(x, 0).

    Both summands and the sum have the quantisation of the result, and one summand is always 0: the sum is exact.
    """
    ops: list[Op] = []
    tensors = dict(graph.tensors)
    for op in graph.ops:
        slope, y = graph.tensors[op.inputs[-1]], graph.result(op)
        if op.kind != "PRELU" or y.dtype != "int8" or slope.data is None or slope.size == 1:
            ops.append(op)
            continue
        x = graph.tensors[op.inputs[0]]
        zero = Tensor(f"{y.name} zero", (1,), "int8", x.quant, np.array([x.zero_point], np.int8))
        below, negative, positive = (Tensor(f"{y.name} {part}", y.shape, "int8", like.quant) for like, part in (
            (x, "below"), (y, "negative"), (y, "positive")))
        for tensor in (zero, below, negative, positive):
            tensors[tensor.name] = tensor
        ops += [Op("RELU", f"{op.name}_positive", (x.name,), (positive.name,)),
                Op("MINIMUM", f"{op.name}_below", (x.name, zero.name), (below.name,)),
                Op("MUL", f"{op.name}_negative", (below.name, slope.name), (negative.name,), {"activation": "NONE"}),
                Op("ADD", op.name, (positive.name, negative.name), op.outputs, {"activation": "NONE"})]
    return replace(graph, tensors=tensors, ops=tuple(ops))
