"""Operators that are a function of one int8, element by element, and their tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..models.ops_unary import CODES
from .devices.golden import execute_op
from .graph import Graph, Op
from .quantparams import UNARY

_ELEMENTWISE = (*UNARY, "ADD", "MAXIMUM", "MINIMUM", "MUL", "PRELU", "QUANTIZE", "SUB", "TABLE")


class Function(NamedTuple):
    """An int8 tensor as a function of the tensor `source`, which has its shape; `table[x + 128]` is that of x."""

    source: str
    table: npt.NDArray[np.int8]


def function_of(graph: Graph, op: Op, known: Mapping[str, Function] | None = None) -> Function | None:
    """Return the result of `op` as a function of the one int8 activation that it reads, or None if it is not one.

    Other operands may be scalar constants. Operands in `known` count as what they are functions of.
    """
    result = graph.result(op)
    if op.kind not in _ELEMENTWISE or result.dtype != "int8":
        return None
    values: dict[str, npt.NDArray[np.int8]] = {}
    sources = set()
    for tensor in graph.operands(op):
        if tensor.dtype != "int8" or tensor.data is not None and tensor.size > 1 and op.kind != "TABLE":
            return None
        if tensor.data is not None:
            values[tensor.name] = tensor.data.reshape(-1)
        else:
            source, values[tensor.name] = (known or {}).get(tensor.name, Function(tensor.name, CODES.astype(np.int8)))
            sources.add(source)
    if len(sources) != 1 or graph.tensors[min(sources)].shape != result.shape:
        return None
    (table,) = execute_op(graph, op, values)
    return Function(sources.pop(), table)
