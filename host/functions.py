"""Operators that are a function of one int8, element by element, and their tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..models.ops_unary import CODES
from .devices.golden import execute_op
from .graph import Graph, Op
from .quantparams import UNARY

_ELEMENTWISE = (*UNARY, "ADD", "DEQUANTIZE", "MAXIMUM", "MINIMUM", "MUL", "NEG", "PRELU", "QUANTIZE", "SUB", "TABLE")
_DTYPES = ("int8", "float32")


class Function(NamedTuple):
    """A tensor as a function of the int8 tensor `source`, which has its shape; `table[x + 128]` is that of x.

    The table has the type of the tensor, int8 or float32.
    """

    source: str
    table: npt.NDArray[Any]


def function_of(graph: Graph, op: Op, known: Mapping[str, Function] | None = None) -> Function | None:
    """Return the result of `op` as a function of the one int8 activation that it reads, or None if it is not one.

    Other operands may be scalar constants. Operands in `known` count as what they are functions of.
    """
    result, known = graph.result(op), known or {}
    if op.kind not in _ELEMENTWISE or result.dtype not in _DTYPES:
        return None
    values: dict[str, npt.NDArray[Any]] = {}
    sources = set()
    for tensor in graph.operands(op):
        if tensor.data is not None and (tensor.size == 1 or op.kind == "TABLE"):
            values[tensor.name] = tensor.data.reshape(-1)
        elif tensor.name in known:
            source, values[tensor.name] = known[tensor.name]
            sources.add(source)
        elif tensor.data is None and tensor.dtype == "int8":
            values[tensor.name] = CODES.astype(np.int8)
            sources.add(tensor.name)
        else:
            return None
    if len(sources) != 1 or graph.tensors[min(sources)].shape != result.shape:
        return None
    (table,) = execute_op(graph, op, values)
    return Function(sources.pop(), table)
