"""SCALE-Sim frontend: read the layers of a topology into the graph IR."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..graph import Graph, Op, QuantParams, Tensor
from ..verify import verify
from .scalesim_topology import DEPTHWISE, Layer, read_topology

_SEED = 0
_SCALE = 1 / 128
# Standard deviation of values from -127 to 127, all equally likely, and what the outputs of such layers shall have.
_SPREAD, _WANTED = 73.3, 32


def read_scalesim(path: str | Path) -> Graph:
    """Return the verified graph of a topology file of SCALE-Sim; see `graph_of`.

    Raises:
        ModelError: the file cannot be read, or is not a topology; the message has the line.
    """
    return graph_of(Path(path).stem, read_topology(Path(path)))


def graph_of(name: str, layers: Iterable[Layer]) -> Graph:
    """Return layers as one graph in which none reads another's output, as SCALE-Sim treats them.

    Layer NAME has the input NAME.input, the output NAME, and weights that are random but always the same; where layers
    have equal names, later ones get a number. Sums of random inputs fill the range of int8.
    """
    tensors, ops = dict[str, Tensor](), dict[str, Op]()
    for index, layer in enumerate(layers):
        op, found = _convolution(_unused(layer.name, tensors), layer, np.random.default_rng([_SEED, index]))
        ops[op.name] = op
        tensors |= {tensor.name: tensor for tensor in found}
    graph = Graph(name, tensors, tuple(ops.values()), tuple(op.inputs[0] for op in ops.values()), tuple(ops))
    verify(graph)
    return graph


def layers_of(graph: Graph) -> list[Layer]:
    """Return the convolutions and dense layers of a graph as SCALE-Sim describes them.

    Each image is as large as the windows need, padding included, with the stride in y also in x: outputs and MACs are
    those of the graph. What SCALE-Sim does not know is left out: grouped and transposed convolutions, products of two
    activations, and all that has no weights.
    """
    return [layer for op in graph.ops if (layer := _layer(graph, op)) is not None]


def _layer(graph: Graph, op: Op) -> Layer | None:
    # What a file separates, and what the name says there, must not be in it by chance.
    name = re.sub(r"[\s,\"]+", "_", op.name).replace(DEPTHWISE, DEPTHWISE.lower())
    if op.kind == "FULLY_CONNECTED":
        outputs, inputs = graph.tensors[op.inputs[1]].shape
        return Layer.product(name, graph.result(op).size // outputs, outputs, inputs)
    if op.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D") or op.attrs.get("groups", 1) > 1:
        return None
    _, height, width, outputs = graph.result(op).shape
    channels = graph.operands(op)[0].shape[3]
    kernel_height, kernel_width = graph.tensors[op.inputs[1]].shape[1:3]
    stride = op.attrs["stride"][0]
    image = ((height - 1) * stride + kernel_height, (width - 1) * stride + kernel_width)
    kernel = (kernel_height, kernel_width)
    if op.kind == "DEPTHWISE_CONV_2D":
        return Layer(f"{DEPTHWISE}_{name}", image, kernel, channels, outputs // channels, (stride, stride))
    return Layer(name, image, kernel, channels, outputs, (stride, stride))


def _unused(name: str, taken: dict[str, Tensor]) -> str:
    found, count = name, 1
    while found in taken or f"{found}.input" in taken or f"{found}.weights" in taken:
        count += 1
        found = f"{name}#{count}"
    return found


def _convolution(name: str, layer: Layer, random: np.random.Generator) -> tuple[Op, tuple[Tensor, ...]]:
    shape = (1, *layer.kernel, layer.outputs) if layer.depthwise else (layer.filters, *layer.kernel, layer.channels)
    weights = random.integers(-127, 128, shape, np.int8)
    taps = math.prod(layer.kernel) * (1 if layer.depthwise else layer.channels)
    spread = _SCALE * _SCALE * _SPREAD * _SPREAD * math.sqrt(taps)
    pads = tuple((0, max(0, (count - 1) * stride + kernel - size)) for count, stride, kernel, size in
                 zip(layer.output, layer.stride, layer.kernel, layer.image, strict=True))
    attrs = {"stride": layer.stride, "dilation": (1, 1), "pads": pads, "activation": "NONE",
             **({"multiplier": layer.filters} if layer.depthwise else {"groups": 1})}
    op = Op("DEPTHWISE_CONV_2D" if layer.depthwise else "CONV_2D", name, (f"{name}.input", f"{name}.weights"), (name,),
            attrs)
    scale = float(np.float32(spread / _WANTED))
    return op, (Tensor(op.inputs[0], (1, *layer.image, layer.channels), "int8", QuantParams((_SCALE,), (0,))),
                Tensor(op.inputs[1], shape, "int8", QuantParams((_SCALE,), (0,)), weights),
                Tensor(name, (1, *layer.output, layer.outputs), "int8", QuantParams((scale,), (0,))))
