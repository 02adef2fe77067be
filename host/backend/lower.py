"""Lowering: decides for every operator whether the array, the vector unit, nobody or the CPU runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ...hw.config import AcceleratorConfig
from ..functions import function_of
from ..graph import Graph, Op, Tensor
from .layers import ConvLayer, Layer, Operand, Storage, Unfit
from .layout import Image, View, blocks_of, pack, split_shape
from .lower_conv import flattened_view, lower_conv, lower_depthwise, lower_fully_connected, lower_transpose_conv
from .lower_elements import PAIRS, lower_table
from .lower_move import MAX_COPIES, lower_concatenation, lower_selection, selected
from .lower_vector import lower_average_pool, lower_max_pool, lower_pad, lower_quantize, lower_reduction
from .placement import moved

_MOVES = ("CONCATENATION", "GATHER", "RESIZE_NEAREST_NEIGHBOR", "SLICE")


@dataclass
class Lowered:
    """A lowered graph; operators are named.

    Attributes:
        layers: what the hardware does for each operator that it runs, in order; nothing for a RESHAPE whose output
            is its input's storage.
        reasons: operators that the CPU runs, and why.
        storages: storages by name.
        storage_of: name of the storage of each int8 activation.
    """

    layers: dict[str, tuple[Layer, ...]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    storages: dict[str, Storage] = field(default_factory=dict)
    storage_of: dict[str, str] = field(default_factory=dict)

    def storage(self, tensor: str) -> Storage:
        """Return the storage of a tensor. Raises `Unfit` for a constant."""
        if tensor not in self.storage_of:
            raise Unfit(f"operand '{tensor}' is a constant")
        return self.storages[self.storage_of[tensor]]

    def unit(self, op: Op) -> str:
        """Return "array", "vector" or "cpu"."""
        if op.name in self.reasons:
            return "cpu"
        return "array" if any(isinstance(layer, ConvLayer) for layer in self.layers[op.name]) else "vector"


def lower(graph: Graph, config: AcceleratorConfig, forced: Mapping[str, str]) -> Lowered:
    """Lower a verified graph; `forced` names operators that must run on the CPU, with the reasons."""
    lowered = Lowered()
    for name in graph.inputs:
        _store(graph, lowered, name, config)
    for op in graph.ops:
        try:
            if op.name in forced:
                raise Unfit(forced[op.name])
            if op.kind == "RESHAPE":
                _check_alias(graph, op, lowered, config)
                lowered.storage_of[op.outputs[0]] = lowered.storage(op.inputs[0]).name
                lowered.layers[op.name] = ()
                continue
            _store(graph, lowered, op.outputs[0], config)
            found = _lower_op(graph, op, lowered, config)
            lowered.layers[op.name] = found if isinstance(found, tuple) else (found,)
        except Unfit as problem:
            lowered.reasons[op.name] = str(problem)
            _store(graph, lowered, op.outputs[0], config)
    return lowered


def _store(graph: Graph, lowered: Lowered, name: str, config: AcceleratorConfig) -> None:
    tensor = graph.tensors[name]
    if tensor.dtype == "int8":
        lowered.storages[name] = Storage.of(name, split_shape(tensor.shape), config.word_bytes)
        lowered.storage_of[name] = name


def _lower_move(graph: Graph, op: Op, lowered: Lowered, word_bytes: int) -> tuple[Layer, ...]:
    operands, result = graph.operands(op), graph.result(op)
    producers = [graph.producer(name) for name in op.inputs]
    if all(producer and producer.name in lowered.reasons for producer in producers):
        raise Unfit("its input is on the host, where copying costs nothing")
    *inputs, output = (Operand(lowered.storage(t.name).name, _image(graph, lowered, t.name, word_bytes))
                       for t in (*operands, result))
    if op.kind != "CONCATENATION":
        return lower_selection(op, *selected(graph, op), inputs[0], output, word_bytes)
    axis = op.attrs["axis"]
    if any(size > 1 for size in result.shape[:axis]) and axis < len(result.shape) - 2:
        raise Unfit(f"tensors must be joined along their outermost axis, columns or channels, not axis {axis}")
    layers, joined = lower_concatenation(op, max(0, axis + 3 - len(result.shape)), inputs,
                                         [x.shape[-1] for x in operands], output, word_bytes)
    if joined:
        lowered.storages[joined.name] = joined
    return layers


def _lower_op(graph: Graph, op: Op, lowered: Lowered, config: AcceleratorConfig) -> Layer | tuple[Layer, ...]:
    word_bytes = config.word_bytes
    if op.kind in ("SOFTMAX", "DEQUANTIZE"):
        raise Unfit("the hardware has no such operator")
    dtypes = graph.tensors[op.inputs[0]].dtype, graph.result(op).dtype
    if dtypes != ("int8", "int8"):
        raise Unfit(f"the hardware takes and gives int8, not {dtypes[0]} and {dtypes[1]}")
    if op.kind in _MOVES:
        return _lower_move(graph, op, lowered, word_bytes)
    if (layer := _lower_element(graph, op, lowered, word_bytes)) is not None:
        return layer
    x, y = lowered.storage(op.inputs[0]), lowered.storage(op.outputs[0])
    if op.kind == "FULLY_CONNECTED":
        return lower_fully_connected(graph, op, x, y, word_bytes)
    if op.kind == "QUANTIZE":
        return lower_quantize(graph, op, x, y)
    return _lower_samples(graph, op, lowered, config)


def _lower_samples(graph: Graph, op: Op, lowered: Lowered, config: AcceleratorConfig) -> tuple[Layer, ...]:
    """Lower an operator on images, once for each sample of the batch that the model declares."""
    names, shape = (op.inputs[0], op.outputs[0]), graph.tensors[op.inputs[0]].shape
    samples = shape[0] if len(shape) == 4 else 1
    if samples > MAX_COPIES:
        raise Unfit(f"a batch must be of at most {MAX_COPIES} images, not {samples}")
    for name in names:
        _image(graph, lowered, name, config.word_bytes)  # raises where the storage groups the channels in another way
    shapes = [graph.tensors[name].shape[int(samples > 1):] for name in names]
    x, y = (Storage.of(lowered.storage(name).name, split_shape(size), config.word_bytes)
            for name, size in zip(names, shapes, strict=True))
    layers = _lower_sample(graph, op, lowered, x, y, config)
    if samples == 1:
        return layers
    placed = []
    for number in range(samples):
        for layer in layers:
            for part in (x, y):
                image = part.image
                whole = View(number * image.plane, image.w, samples * image.plane)
                found = moved(layer, part.name, image, Operand(part.name, image, whole))
                assert found, "a sample consists of whole rows"
                layer = found
            placed.append(layer)
    return tuple(placed)


def _lower_sample(graph: Graph, op: Op, lowered: Lowered, x: Storage, y: Storage,
                  config: AcceleratorConfig) -> tuple[Layer, ...]:
    x_image, y_image, word_bytes = x.image, y.image, config.word_bytes
    if op.kind in ("MEAN", "REDUCE_MAX", "SUM"):
        return (lower_reduction(graph, op, x, x_image, y),)
    if op.kind == "CONV_2D":
        producer = graph.producer(op.inputs[0])
        hosted = (producer is None or producer.name in lowered.reasons) and graph.result(op).shape[0] == 1
        layer, form = lower_conv(graph, op, x, x_image, y, y_image, word_bytes, hosted)
        if form is not None:
            lowered.storages[form.name] = form
        return (layer,)
    if op.kind == "DEPTHWISE_CONV_2D":
        return lower_depthwise(graph, op, Operand(x.name, x_image), Operand(y.name, y_image), config)
    if op.kind == "TRANSPOSE_CONV":
        return lower_transpose_conv(graph, op, Operand(x.name, x_image), Operand(y.name, y_image), word_bytes)
    if op.kind == "MAX_POOL_2D":
        return (lower_max_pool(graph, op, x, x_image, y, y_image),)
    if op.kind == "AVERAGE_POOL_2D":
        return (lower_average_pool(graph, op, x, x_image, y, y_image),)
    if op.kind in ("PAD", "PADV2"):
        return (lower_pad(graph, op, x, x_image, y, y_image),)
    raise Unfit("the hardware has no such operator")


def _lower_element(graph: Graph, op: Op, lowered: Lowered, word_bytes: int) -> Layer | None:
    """Lower an element-wise operator, or return None when `op` is something else."""
    function = function_of(graph, op) if op.kind != "QUANTIZE" else None  # POOL does that without a table
    if function is None and op.kind in ("MAXIMUM", "MINIMUM", "PRELU"):
        raise Unfit("the hardware has it with a scalar constant only")
    names = [function.source] if function else op.inputs if op.kind in PAIRS else ()
    if not names:
        return None
    operands = [_operand(graph, op, lowered, name, word_bytes) for name in names]
    y = Operand(op.outputs[0], _image(graph, lowered, op.outputs[0], word_bytes))
    return lower_table(op, operands[0], y, function.table) if function else PAIRS[op.kind](graph, op, operands, y)


def _operand(graph: Graph, op: Op, lowered: Lowered, name: str, word_bytes: int) -> Operand:
    """Return an operand of an element-wise operator, as large as the result or to be repeated; constants get a storage.

    Raises `Unfit` when it has to be repeated in a way that the hardware does not know.
    """
    tensor, (h, w, channels) = graph.tensors[name], split_shape(graph.result(op).shape)
    if tensor.data is not None:
        name = _store_constant(lowered, tensor, channels, word_bytes)
        stored = lowered.storages[name]
        operand = Operand(name, Image(stored.h, stored.w, blocks_of(channels, word_bytes)))
    elif split_shape(tensor.shape)[2] != channels:
        raise Unfit(f"operand '{name}' must have {channels} channels like the result, not {tensor.shape[-1]}")
    else:
        operand = Operand(lowered.storage(name).name, _image(graph, lowered, name, word_bytes))
    if operand.image.h not in (1, h) or operand.image.w not in (1, w):
        raise Unfit(f"operand '{name}' {tensor.shape} is repeated along some of the rows of {graph.result(op).shape}")
    return operand


def _store_constant(lowered: Lowered, tensor: Tensor, channels: int, word_bytes: int) -> str:
    """Return the name of the storage of a constant with its last dimension repeated to `channels`."""
    assert tensor.data is not None, "a constant has data"
    data, name = tensor.data, tensor.name
    if data.shape[-1:] != (channels,):
        data, name = np.broadcast_to(data, (*data.shape[:-1], channels)), f"{name} of {channels} channels"
    storage = Storage.of(name, split_shape(data.shape), word_bytes)
    lowered.storages[name] = replace(storage, data=pack(data, channels, word_bytes))
    return name


def _image(graph: Graph, lowered: Lowered, name: str, word_bytes: int) -> Image:
    """Return a tensor as an image. Raises `Unfit` when its storage groups the channels in another way."""
    h, w, channels = split_shape(graph.tensors[name].shape)
    stored = lowered.storage(name).channels
    if stored != channels:
        raise Unfit(f"operand '{name}' is stored in pixels of {stored} channels, not {channels}")
    return Image(h, w, blocks_of(channels, word_bytes))


def _check_alias(graph: Graph, op: Op, lowered: Lowered, config: AcceleratorConfig) -> None:
    """Raise `Unfit` unless the output of a RESHAPE can be its input's storage."""
    source = op.inputs[0]
    producer = graph.producer(source)
    if producer is None or producer.name in lowered.reasons:
        raise Unfit("its input is on the host, where reshaping costs nothing")
    storage = lowered.storage(source)
    channels = split_shape(graph.tensors[op.outputs[0]].shape)[2]
    alike = storage.channels == channels
    for reader in graph.consumers(op.outputs[0]):
        if reader.kind == "FULLY_CONNECTED":
            features = graph.tensors[reader.inputs[1]].shape[1]
            if flattened_view(storage, features, config.word_bytes) is None:
                raise Unfit("its bytes must move to flatten the image")
        elif not alike and reader.kind not in ("SOFTMAX", "DEQUANTIZE", "RESHAPE"):
            raise Unfit(f"its bytes must move for {reader.kind}")
