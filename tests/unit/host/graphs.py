"""Small graphs for the tests of the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from systolith.host.graph import Graph, Op, QuantParams, Tensor

QUANT = QuantParams((0.5,), (3,))
CONV = {"stride": (1, 1), "dilation": (1, 1), "pads": ((0, 0), (0, 0)), "activation": "NONE", "groups": 1}


def act(name: str, *shape: int, quant: QuantParams | None = QUANT, dtype: str = "int8") -> Tensor:
    """An activation."""
    return Tensor(name, shape, dtype, quant)


def const(name: str, *shape: int, dtype: str = "int8", quant: QuantParams | None = None) -> Tensor:
    """A constant of seeded random values; int8 weights are symmetric with scale 0.25."""
    data = np.random.default_rng(len(name)).integers(-100, 100, shape).astype(dtype)
    if quant is None and dtype == "int8":
        quant = QuantParams((0.25,), (0,))
    return Tensor(name, shape, dtype, quant, data)


def op(kind: str, inputs: str, output: str, **attrs: Any) -> Op:
    """An operator with space-separated input names, named after its output."""
    return Op(kind, f"op_{output}", tuple(inputs.split()), (output,), attrs)


def graph(tensors: list[Tensor], ops: list[Op], inputs: str = "x", outputs: str = "y") -> Graph:
    """A graph with space-separated names of inputs and outputs."""
    return Graph("test", {t.name: t for t in tensors}, tuple(ops), tuple(inputs.split()), tuple(outputs.split()))


def conv_graph(**changes: Any) -> Graph:
    """x [1, 6, 6, 2] -> CONV_2D 3x3 -> y [1, 4, 4, 5]."""
    tensors = [act("x", 1, 6, 6, 2), const("w", 5, 3, 3, 2), const("b", 5, dtype="int32"), act("y", 1, 4, 4, 5)]
    return graph(tensors, [op("CONV_2D", "x w b", "y", **{**CONV, **changes})])
