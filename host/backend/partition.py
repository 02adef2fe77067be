"""Partition: groups operators into steps of the accelerator and steps of the CPU."""

from __future__ import annotations

from ..graph import Graph, Op
from .lower import Lowered


def partition(graph: Graph, lowered: Lowered) -> list[list[Op]]:
    """Return groups of operators in execution order; each is one CPU operator, or operators of the hardware.

    Operators whose inputs are there join the current hardware group even past operators of the CPU, so that there are
    few groups.
    """
    available = {name for name, tensor in graph.tensors.items() if tensor.data is not None} | set(graph.inputs)
    pending, groups = list(graph.ops), list[list[Op]]()
    while pending:
        group = []
        for op in list(pending):
            if op.name not in lowered.reasons and available.issuperset(op.inputs):
                group.append(op)
                pending.remove(op)
                available.update(op.outputs)
        if group:
            groups.append(group)
        for op in list(pending):
            if op.name in lowered.reasons and available.issuperset(op.inputs):
                groups.append([op])
                pending.remove(op)
                available.update(op.outputs)
    return groups
