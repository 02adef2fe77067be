"""Write an integer graph as a .tflite file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...models.ops import same_padding
from ...models.tflite_writer import OPERATORS, TFLiteBuilder
from ..errors import UnsupportedOperatorError
from ..graph import Graph, Op, Tensor

_DESCRIPTION = "quantised by systolith"


def to_tflite(graph: Graph) -> bytes:
    """Return a verified graph as the bytes of a .tflite file; tensors keep their names.

    Raises:
        UnsupportedOperatorError: TFLite has no operator for one of the graph's.
    """
    return _Exporter(graph).export()


class _Exporter:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.builder = TFLiteBuilder(_DESCRIPTION)
        self.indices: dict[str, int] = {}

    def export(self) -> bytes:
        graph = self.graph
        inputs = [self.tensor(name) for name in graph.inputs]
        for op in graph.ops:
            _WRITERS.get(op.kind, _plain)(self, op)
        return self.builder.build(inputs, [self.tensor(name) for name in graph.outputs])

    def tensor(self, name: str) -> int:
        """Return the index of a tensor of the graph."""
        if name not in self.indices:
            self.indices[name] = self.add(self.graph.tensors[name], name)
        return self.indices[name]

    def add(self, tensor: Tensor, name: str, shape: Sequence[int] | None = None) -> int:
        """Add a tensor like `tensor`, its constant included unless it gets another shape."""
        quant = tensor.quant
        scale, zero_point = (list(quant.scale), list(quant.zero_point)) if quant else (None, 0)
        return self.builder.tensor(name, tensor.shape if shape is None else shape, tensor.dtype, scale, zero_point,
                                   tensor.data if shape is None else None, quant.axis or 0 if quant else 0)

    def integers(self, op: Op, what: str, values: Any) -> int:
        """Add a constant operand of 32-bit integers."""
        data = np.array(values, np.int32)
        return self.builder.tensor(f"{op.outputs[0]}/{what}", data.shape, "int32", data=data)

    def write(self, kind: str, inputs: Sequence[int], op: Op, **options: Any) -> None:
        """Append an operator whose result is that of `op`."""
        self.builder.op(kind, inputs, [self.tensor(op.outputs[0])], options)

    def operands(self, op: Op) -> list[int]:
        """Return the indices of the inputs of `op`."""
        return [self.tensor(name) for name in op.inputs]

    def padded(self, op: Op, kernel: Sequence[int]) -> tuple[int, dict[str, Any]]:
        """Return the first operand and the options of a window.

        Padding that is neither SAME nor VALID becomes an operator in front.
        """
        x, attrs = self.graph.operands(op)[0], op.attrs
        stride, dilation, pads = attrs["stride"], attrs.get("dilation", (1, 1)), tuple(attrs["pads"])
        options = {"stride_h": stride[0], "stride_w": stride[1], "activation": attrs["activation"]}
        if pads == ((0, 0), (0, 0)):
            return self.tensor(x.name), {**options, "padding": "VALID"}
        if all(tuple(pads[i]) == same_padding(x.shape[1 + i], kernel[i], stride[i], dilation[i]) for i in range(2)):
            return self.tensor(x.name), {**options, "padding": "SAME"}
        if op.kind == "AVERAGE_POOL_2D":
            raise UnsupportedOperatorError(f"{self.graph.name}: {op.kind} at tensor '{op.outputs[0]}' has padding "
                                           f"{pads} that TFLite cannot express; pool without padding or with SAME")
        n, h, w, c = x.shape
        shape = (n, h + sum(pads[0]), w + sum(pads[1]), c)
        result = self.add(x, f"{op.outputs[0]}/padded", shape)
        operands = [self.tensor(x.name), self.integers(op, "paddings", ((0, 0), *pads, (0, 0)))]
        if op.kind == "MAX_POOL_2D" and x.zero_point != -128:  # no element of the padding may be the maximum
            fill = np.full((1,), -128, np.int8)
            operands.append(self.builder.tensor(f"{op.outputs[0]}/fill", (1,), "int8", x.scale, x.zero_point, fill))
        self.builder.op("PADV2" if len(operands) > 2 else "PAD", operands, [result])
        return result, {**options, "padding": "VALID"}


def _plain(e: _Exporter, op: Op) -> None:
    """Write an operator whose attributes are the options of TFLite."""
    if op.kind not in OPERATORS:
        raise UnsupportedOperatorError(f"{e.graph.name}: {op.kind} at tensor '{op.outputs[0]}' cannot be written; "
                                       "replace it in the model")
    e.write(op.kind, e.operands(op), op, **op.attrs)


def _conv(e: _Exporter, op: Op) -> None:
    weights = e.graph.tensors[op.inputs[1]]
    x, options = e.padded(op, weights.shape[1:3])
    dilation = op.attrs["dilation"]
    options |= {"dilation_h": dilation[0], "dilation_w": dilation[1]}
    if op.kind == "DEPTHWISE_CONV_2D":
        options["depth_multiplier"] = op.attrs["multiplier"]
    e.write(op.kind, [x, *e.operands(op)[1:]], op, **options)


def _pool(e: _Exporter, op: Op) -> None:
    kernel = op.attrs["kernel"]
    x, options = e.padded(op, kernel)
    e.write(op.kind, [x], op, **options, filter_height=kernel[0], filter_width=kernel[1])


def _relu6(e: _Exporter, op: Op) -> None:
    """Write RELU6; a QUANTIZE changes the scale before, because the RELU6 of TFLite Micro keeps the codes."""
    (x,), y = e.operands(op), e.graph.result(op)
    if e.graph.tensors[op.inputs[0]].quant != y.quant:
        rescaled = e.add(y, f"{y.name}/rescaled")
        e.builder.op("QUANTIZE", [x], [rescaled])
        x = rescaled
    e.write(op.kind, [x], op)


def _transpose_conv(e: _Exporter, op: Op) -> None:
    x, weights, *bias = e.operands(op)
    y, stride = e.graph.result(op), op.attrs["stride"]
    kernel = e.graph.tensors[op.inputs[1]].shape[1:3]
    options = {"stride_h": stride[0], "stride_w": stride[1], "activation": op.attrs["activation"]}
    before = [pair[0] for pair in op.attrs["pads"]]
    same = [same_padding(y.shape[1 + i], kernel[i], stride[i])[0] for i in range(2)]
    if before in ([0, 0], same):
        options["padding"] = "VALID" if before == [0, 0] else "SAME"
        e.write(op.kind, [e.integers(op, "shape", y.shape), weights, x, *bias], op, **options)
        return
    # Neither: all that is to be kept, with what comes before it, and then a slice.
    shape = (y.shape[0], y.shape[1] + before[0], y.shape[2] + before[1], y.shape[3])
    whole = e.add(y, f"{y.name}/whole", shape)
    e.builder.op(op.kind, [e.integers(op, "shape", shape), weights, x, *bias], [whole], {**options, "padding": "VALID"})
    bounds = [e.integers(op, what, values) for what, values in
              (("begin", (0, *before, 0)), ("end", shape), ("strides", (1, 1, 1, 1)))]
    e.write("STRIDED_SLICE", [whole, *bounds], op)


def _slice(e: _Exporter, op: Op) -> None:
    begin, size, stride = (op.attrs[key] for key in ("begin", "size", "stride"))
    ends = [b + n * s for b, n, s in zip(begin, size, stride, strict=True)]
    # An end before element 0 would be counted from the other end.
    mask = sum(1 << axis for axis, end in enumerate(ends) if end < 0)
    bounds = [e.integers(op, what, values) for what, values in
              (("begin", begin), ("end", [max(end, 0) for end in ends]), ("strides", stride))]
    e.write("STRIDED_SLICE", [*e.operands(op), *bounds], op, end_mask=mask)


def _constants(what: str, values: Callable[[_Exporter, Op], Any], *options: str) -> Callable[[_Exporter, Op], None]:
    """Return a writer of an operator that takes integers as second operand; `options` are attributes."""
    def write(e: _Exporter, op: Op) -> None:
        operands = [*e.operands(op), e.integers(op, what, values(e, op))]
        e.write(op.kind, operands, op, **{_OPTION_NAMES.get(key, key): op.attrs[key] for key in options})
    return write


_OPTION_NAMES = {"keepdims": "keep_dims"}
_REDUCTION = _constants("axes", lambda e, op: op.attrs["axes"], "keepdims")
_RESIZE = _constants("size", lambda e, op: e.graph.result(op).shape[1:3], "align_corners", "half_pixel_centers")

_WRITERS: dict[str, Callable[[_Exporter, Op], None]] = {
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), _pool),
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), _conv),
    **dict.fromkeys(("MEAN", "REDUCE_MAX", "REDUCE_MIN", "SUM"), _REDUCTION),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _RESIZE),
    "ARG_MAX": lambda e, op: e.write(op.kind, [*e.operands(op), e.integers(op, "axis", op.attrs["axis"])], op,
                                     output_type=e.graph.result(op).dtype.upper()),
    "FULLY_CONNECTED": lambda e, op: e.write(op.kind, e.operands(op), op, activation=op.attrs["activation"],
                                             keep_num_dims=op.attrs["keep_dims"]),
    "GATHER": _constants("indices", lambda e, op: op.attrs["indices"], "axis"),
    "PAD": _constants("paddings", lambda e, op: op.attrs["paddings"]),
    "RELU6": _relu6,
    "RESHAPE": _constants("shape", lambda e, op: e.graph.result(op).shape),
    "SLICE": _slice,
    "TRANSPOSE": _constants("perm", lambda e, op: op.attrs["perm"]),
    "TRANSPOSE_CONV": _transpose_conv,
}
