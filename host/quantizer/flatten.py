"""Take the change of layout in front of a flattened dense layer into its weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Graph, Op, Tensor
from ..passes.remove_unused import remove_unused


def absorb_transposes(graph: Graph) -> Graph:
    """Return `graph` with TRANSPOSE, RESHAPE, FULLY_CONNECTED as RESHAPE, FULLY_CONNECTED with permuted weights.

    That is what becomes of a Flatten in NCHW order. The sums are the same ones in another order.
    """
    tensors, made = dict(graph.tensors), dict[str, Op]()
    for op in graph.ops:
        found = _absorbed(graph, tensors, op) if op.kind == "FULLY_CONNECTED" else None
        if found is not None:
            reshape, op = found
            made[reshape.outputs[0]] = reshape
        made[op.outputs[0]] = op
    return remove_unused(replace(graph, tensors=tensors, ops=tuple(made.values())))


def _absorbed(graph: Graph, tensors: dict[str, Tensor], dense: Op) -> tuple[Op, Op] | None:
    """Return the RESHAPE and the dense layer that do without the TRANSPOSE, None where there is none to take away."""
    reshape = graph.producer(dense.inputs[0])
    if reshape is None or reshape.kind != "RESHAPE":
        return None
    transpose = graph.producer(reshape.inputs[0])
    if transpose is None or transpose.kind != "TRANSPOSE" or transpose.attrs["perm"][0] != 0:
        return None
    source, moved, flat = (tensors[name] for name in (*transpose.inputs, *transpose.outputs, *reshape.outputs))
    weights, perm = tensors[dense.inputs[1]], transpose.attrs["perm"]
    if weights.data is None or flat.shape != (moved.shape[0], moved.size // moved.shape[0]):
        return None
    outputs = weights.shape[0]
    columns = weights.data.reshape(outputs, *moved.shape[1:]).transpose(0, *np.argsort(perm)[1:])
    data = np.ascontiguousarray(columns).reshape(weights.shape)
    for tensor in (replace(weights, name=f"{dense.outputs[0]}/weights", data=data),
                   replace(flat, name=f"{dense.outputs[0]}/flat")):
        tensors[tensor.name] = tensor
    name = f"{dense.outputs[0]}/flat"
    return (replace(reshape, name=f"{dense.name}/flat", inputs=(source.name,), outputs=(name,)),
            replace(dense, inputs=(name, f"{dense.outputs[0]}/weights", *dense.inputs[2:])))
