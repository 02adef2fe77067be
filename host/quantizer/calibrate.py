"""Choose the quantisation of every tensor of a float graph from calibration samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from ...models.zoo.ptq import activation_params
from ..errors import UsageError
from ..graph import Graph, Op, QuantParams, Tensor
from ..quantparams import FIXED_OUTPUT
from .execute import constants, execute
from .integer import SAME_SCALE
from .observers import Observer

Arrays = Mapping[str, np.ndarray]


def activations(graph: Graph) -> list[str]:
    """Return the float32 tensors of `graph` that are not constants, inputs first, then in execution order."""
    names = [*graph.inputs, *(op.outputs[0] for op in graph.ops)]
    return [name for name in names if graph.tensors[name].dtype == "float32" and graph.tensors[name].data is None]


def observe(graph: Graph, samples: Iterable[Arrays],
            observer: Callable[[], Observer]) -> dict[str, tuple[float, float]]:
    """Return the range of each activation over `samples`.

    Raises:
        UsageError: a value is not finite.
    """
    fixed, seen = constants(graph), {name: observer() for name in activations(graph)}
    for sample in samples:
        values = execute(graph, sample, fixed)
        for name, each in seen.items():
            if not np.isfinite(values[name]).all():
                raise UsageError(f"tensor '{name}' must be finite on the calibration samples; remove samples with NaN "
                                 "or infinity")
            each.see(values[name])
    return {name: each.range() for name, each in seen.items()}


def assign(graph: Graph, ranges: Mapping[str, tuple[float, float]]) -> dict[str, QuantParams]:
    """Return the int8 quantisation of each activation; tensors that must agree share the union of their ranges."""
    groups = _groups(graph)
    chosen: dict[str, QuantParams] = {}
    for group in groups:
        kinds = [producer.kind for name in group
                 if (producer := graph.producer(name)) and producer.kind in FIXED_OUTPUT]
        # What is clipped next need not be covered: saturation clips it.
        kept = [name for name in group if not _clipped(graph, name)] or group
        quant = FIXED_OUTPUT[kinds[0]] if kinds else _covering([ranges[name] for name in kept])
        chosen |= dict.fromkeys(group, quant)
    return chosen


def _clipped(graph: Graph, name: str) -> bool:
    """Say whether all that reads a tensor is a MAXIMUM or MINIMUM with a constant."""
    consumers = graph.consumers(name)
    return bool(consumers) and name not in graph.outputs and all(
        op.kind in ("MAXIMUM", "MINIMUM") and any(graph.tensors[other].data is not None for other in op.inputs)
        for op in consumers)


def _covering(ranges: list[tuple[float, float]]) -> QuantParams:
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    if low == high == 0:
        high = 1.0  # nothing but zeros; any scale holds them
    scale, zero_point = activation_params(low, high)
    return QuantParams((float(scale),), (zero_point,))


def _groups(graph: Graph) -> list[list[str]]:
    """Return the activations in groups of equal quantisation.

    An operator that selects or moves elements joins its operands and its result. A tensor whose quantisation the
    reference fixes does not join others at an operator of several operands: it is requantised there instead.
    """
    leader = {name: name for name in activations(graph)}

    def find(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    fixed = {op.outputs[0] for op in graph.ops if op.kind in FIXED_OUTPUT}
    for op in graph.ops:
        if op.kind not in SAME_SCALE:
            continue
        operands = [name for name in op.inputs if name in leader]
        for name in operands:
            if len(operands) == 1 or find(name) not in {find(each) for each in fixed}:
                a, b = find(name), find(op.outputs[0])
                leader[b] = a
    found: dict[str, list[str]] = {}
    for name in leader:
        found.setdefault(find(name), []).append(name)
    return list(found.values())


def annotate(graph: Graph, quants: Mapping[str, QuantParams]) -> Graph:
    """Return `graph` with QUANTIZE and DEQUANTIZE at each tensor of `quants`.

    The int8 tensor takes over the name, so that inputs and outputs of the graph become int8.
    """
    tensors, ops = dict(graph.tensors), []

    def end(kind: str, source: str, target: str) -> Op:
        return Op(kind, f"{kind.lower()}:{target}", (source,), (target,))

    def coded(name: str) -> list[Op]:
        """Make `name` int8, with a float tensor before and one after it."""
        tensor = tensors[name]
        tensors[name] = replace(tensor, dtype="int8", quant=quants[name])
        for suffix in (_BEFORE, _AFTER):
            tensors[name + suffix] = Tensor(name + suffix, tensor.shape, "float32")
        return [end("QUANTIZE", name + _BEFORE, name), end("DEQUANTIZE", name, name + _AFTER)]

    for name in graph.inputs:
        if name in quants:
            ops.append(coded(name)[1])
    for op in graph.ops:
        inputs = tuple(name + _AFTER if name in quants else name for name in op.inputs)
        (y,) = op.outputs
        if y in quants:
            after = coded(y)
            ops += [replace(op, inputs=inputs, outputs=(y + _BEFORE,)), *after]
        else:
            ops.append(replace(op, inputs=inputs))
    return replace(graph, tensors=tensors).with_ops(ops)


_BEFORE, _AFTER = "/computed", "/held"
