"""Batches: networks, or their last part, that work on several samples at once.

The samples of a batch lie one after the other along axis 0 of every activation. That is what dense layers are made
for: the array streams as many pixels as it has rows in the time in which it loads a tile of weights, and every weight
comes from DRAM once per batch. Images are another matter: two of them in one tensor would need padding between them at
each layer, and a convolution over an image of more pixels than the array has rows hides its loads anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from .graph import Graph, Op, Tensor
from .quantparams import UNARY


class Parts(NamedTuple):
    """A network in two parts.

    Attributes:
        head: what runs sample by sample; None when there is nothing of the kind.
        tail: what can run for several samples at once, see `batched`; its inputs are outputs of the head or of the
            whole network.
    """

    head: Graph | None
    tail: Graph


def batched(graph: Graph, samples: int) -> Graph:
    """Return `graph` for `samples` samples at once, along axis 0 of every input, activation and output.

    Raises:
        ValueError: it has an operator that is not for several samples; `split` leaves those to the head.
    """
    for op in graph.ops:
        if why := refusal(graph, op):
            raise ValueError(f"{op.kind} {op.name} must run sample by sample: {why}")
    tensors = {name: tensor if tensor.data is not None
               else replace(tensor, shape=(tensor.shape[0] * samples, *tensor.shape[1:]))
               for name, tensor in graph.tensors.items()}
    ops = [each for op in graph.ops for each in _for_samples(op, tensors, samples)]
    return replace(graph, tensors=tensors).with_ops(ops)


def _for_samples(op: Op, tensors: dict[str, Tensor], samples: int) -> Iterator[Op]:
    """Yield `op` for several samples, and what it needs before; adds to `tensors`, whose shapes are those of all."""
    if op.kind == "CONV_2D":
        weights = tensors[op.inputs[1]]
        assert weights.data is not None, "the verifier requires constant weights"
        shape = weights.shape[0], weights.shape[3]
        matrix = replace(weights, name=f"{weights.name} as a matrix", shape=shape, data=weights.data.reshape(shape))
        tensors[matrix.name] = matrix
        yield Op("FULLY_CONNECTED", op.name, (op.inputs[0], matrix.name, *op.inputs[2:]), op.outputs,
                 {"activation": op.attrs["activation"], "keep_dims": True})
    elif op.kind == "FULLY_CONNECTED" and not op.attrs["keep_dims"]:
        x, rows = tensors[op.inputs[0]], tensors[op.outputs[0]].shape[0]
        flat = replace(x, name=f"{x.name} in rows for {op.name}", shape=(rows, x.size // rows))
        if x.shape != flat.shape:  # the host does it for inputs; on chip bytes would move
            tensors[flat.name] = flat
            yield Op("RESHAPE", flat.name, (x.name,), (flat.name,))
            op = replace(op, inputs=(flat.name, *op.inputs[1:]))
        yield op
    elif op.kind == "SLICE":
        rows, *size = op.attrs["size"]
        yield replace(op, attrs={**op.attrs, "size": (rows * samples, *size)})
    else:
        yield op


def split(graph: Graph) -> Parts | None:
    """Return the parts of `graph`, or None when a batch would share no weights.

    The tail is as long as can be, but begins with operators that have weights unless it is all of the network.
    """
    fits: set[str] = set()
    for op in reversed(graph.ops):
        if not refusal(graph, op) and all(reader.name in fits for reader in graph.consumers(op.outputs[0])):
            fits.add(op.name)
    shared: set[str] = set()  # operators with weights, and what follows from them
    produced: set[str] = set()
    for op in graph.ops:
        if op.name in fits and (op.kind in _WEIGHTED or not produced.isdisjoint(op.inputs)):
            shared.add(op.name)
            produced.update(op.outputs)
    if not shared:
        return None
    if len(fits) == len(graph.ops):
        return Parts(None, graph)
    tail = [op for op in graph.ops if op.name in shared]
    cut = {name for op in tail for name in op.inputs if graph.tensors[name].data is None} - produced
    head = [op for op in graph.ops if op.name not in shared]
    made = {name for op in head for name in op.outputs}
    leaving = (*(name for name in graph.outputs if name in made), *sorted((cut & made) - set(graph.outputs)))
    return Parts(replace(graph, outputs=leaving).with_ops(head),
                 replace(graph, inputs=tuple(sorted(cut)),
                         outputs=tuple(name for name in graph.outputs if name in produced)).with_ops(tail))


def refusal(graph: Graph, op: Op) -> str | None:
    """Return why `op` cannot treat the entries of axis 0 alike and apart on the hardware, or None when it can."""
    operands = [tensor for tensor in graph.operands(op) if tensor.data is None]
    if not operands or not all(tensor.shape for tensor in (*operands, graph.result(op))):
        return "it has no axis for the samples"
    rule = _RULES.get(op.kind)
    return "it does not treat samples as rows" if rule is None else rule(graph, op)


_Rule = Callable[[Graph, Op], str | None]


def _always(graph: Graph, op: Op) -> None:
    return None


def _single_pixel(graph: Graph, op: Op) -> str | None:
    sizes = *graph.operands(op)[0].shape[1:3], *graph.result(op).shape[1:3], *graph.tensors[op.inputs[1]].shape[1:3]
    plain = op.attrs["groups"] == 1 and op.attrs["pads"] == ((0, 0), (0, 0))
    return None if plain and set(sizes) == {1} else "its windows are those of an image"


def _elementwise(graph: Graph, op: Op) -> str | None:
    shape = graph.result(op).shape
    for tensor in graph.operands(op):
        aligned = len(tensor.shape) == len(shape)
        constant = tensor.data is not None
        if (aligned and tensor.shape[0] != (1 if constant else shape[0])) or not (aligned or constant):
            return f"operand '{tensor.name}' is not broadcast within a sample"
    return None


def _dense(graph: Graph, op: Op) -> str | None:
    rows = not op.attrs["keep_dims"] or len(graph.operands(op)[0].shape) > 1
    return None if rows else "its input has no axis for the samples"


def _concatenation(graph: Graph, op: Op) -> str | None:
    if any(tensor.data is not None for tensor in graph.operands(op)):
        return "it joins a constant to every sample"
    return None if op.attrs["axis"] > 0 else "it works across axis 0"


def _slice(graph: Graph, op: Op) -> str | None:
    whole = 0, graph.operands(op)[0].shape[0], 1
    taken = tuple(op.attrs[name][0] for name in ("begin", "size", "stride"))
    return None if taken == whole else "it works across axis 0"


def _softmax(graph: Graph, op: Op) -> str | None:
    return None if len(graph.result(op).shape) > 1 else "it works across axis 0"


_WEIGHTED = ("FULLY_CONNECTED", "CONV_2D")

_RULES: dict[str, _Rule] = {
    **dict.fromkeys((*UNARY, "NEG", "QUANTIZE", "DEQUANTIZE", "RESHAPE", "TABLE"), _always),
    **dict.fromkeys(("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "PRELU"), _elementwise),
    "FULLY_CONNECTED": _dense,
    "CONV_2D": _single_pixel,
    "CONCATENATION": _concatenation,
    "SLICE": _slice,
    "SOFTMAX": _softmax,
}
