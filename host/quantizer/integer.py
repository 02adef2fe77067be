"""Turn a graph on float32 tensors, with QUANTIZE and DEQUANTIZE around its operators, into an integer graph.

    QUANTIZE -> DEQUANTIZE -> CONV_2D -> QUANTIZE    becomes    QUANTIZE -> CONV_2D

This is where both a quantised ONNX model and a calibrated float model become integer operators. An operator whose
output is not quantised stays on float32 values, unless it only selects or moves elements; `verify` decides whether
the graph may hold it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ...models.zoo.ptq import activation_params, quantize_bias, quantize_weights
from ..errors import UnsupportedOperatorError
from ..graph import Graph, Op, QuantParams, Tensor
from ..quantparams import FIXED_OUTPUT
from ..verify import signature_problem
from .real import real_value

#: Operators whose result has the quantisation of their input.
SAME_SCALE = frozenset({
    "AVERAGE_POOL_2D", "BATCH_TO_SPACE_ND", "CONCATENATION", "DEPTH_TO_SPACE", "GATHER", "MAXIMUM", "MAX_POOL_2D",
    "MINIMUM", "PAD", "REDUCE_MAX", "REDUCE_MIN", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SLICE",
    "SPACE_TO_DEPTH", "TRANSPOSE",
})

#: Operators that select elements, so that it does not matter whether quantisation comes before or after.
SELECTING = frozenset({"GATHER", "MAX_POOL_2D", "REDUCE_MAX", "REDUCE_MIN", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR",
                       "SLICE", "TRANSPOSE"})

#: Operators with weights as second and a bias as third operand, and the output channel's axis of the weights.
CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}

#: Operators without an int8 form.
FLOAT_ONLY = frozenset({"NEG"})


def to_integer(graph: Graph) -> Graph:
    """Return the integer graph that `graph` describes; inputs and outputs keep name, shape and dtype.

    Raises:
        UnsupportedOperatorError: an operator is neither quantised nor one that runs on float32.
    """
    return _Converter(graph).convert()


class _Converter:
    def __init__(self, graph: Graph) -> None:
        self.source = graph
        self.tensors = dict(graph.tensors)
        self.ops: list[Op] = []
        self.coded: dict[str, str] = {}  # float tensor -> int8 tensor that holds it
        self.same: dict[str, str] = {}  # tensor -> the tensor to read in its place
        self.written: set[str] = set(graph.inputs)

    def convert(self) -> Graph:
        for op in self.source.ops:
            if op.kind == "QUANTIZE":
                self._quantize(op)
            elif op.kind == "DEQUANTIZE":
                self._dequantize(op)
            elif self.tensors[op.inputs[0]].dtype != "float32":
                self._emit(op.kind, [self.same.get(name, name) for name in op.inputs], op.outputs[0], op.attrs)
            elif not self._integer(op):
                self._float(op)
        for name in self.source.outputs:
            if name not in self.written:
                self._real(name)
        return replace(self.source, tensors=self.tensors).with_ops(self.ops)

    def _quantize(self, op: Op) -> None:
        (x,), (y,) = op.inputs, op.outputs
        if y in self.written:  # the operator before wrote it
            return
        held = self.coded.get(x, self.same.get(x, x))
        if self.tensors[held].dtype == "int8" and self.tensors[held].quant == self.tensors[y].quant \
                and y not in self.source.outputs:
            self.same[y] = held
            return
        self._emit("QUANTIZE", [held if x in self.coded or self.tensors[held].dtype != "float32" else x], y)

    def _dequantize(self, op: Op) -> None:
        (x,), (y,) = op.inputs, op.outputs
        self.coded[y] = self.same.get(x, x)
        if y in self.source.outputs:
            self._real(y)

    def _float(self, op: Op) -> None:
        """Keep `op` on float32 values."""
        inputs = [self._real(name) for name in op.inputs]
        (y,) = op.outputs
        self._emit(op.kind, inputs, y, op.attrs)
        problem = signature_problem(replace(self.source, tensors=self.tensors), self.ops[-1])
        if problem:
            raise UnsupportedOperatorError(
                f"{self.source.name}: {op.kind} at tensor '{y}' is not quantised ({problem}); quantise its inputs and "
                "its output, or quantise the float model: systolith quantize")

    def _integer(self, op: Op) -> bool:
        """Append `op` on int8 tensors if its operands and its result are quantised; return whether they are."""
        data = op.inputs[:1] if op.kind in CHANNEL_AXIS else op.inputs
        variable = [name for name in data if self.tensors[name].data is None]
        if not variable or any(name not in self.coded for name in variable):
            return False
        if op.kind in SAME_SCALE:
            self._same_scale(op)
            return True
        if op.kind == "ARG_MAX":  # of the codes, which is that of the reals
            self._emit(op.kind, [self.coded[name] for name in data], op.outputs[0], op.attrs)
            return True
        target = self._target(op.outputs[0])
        if target is None or op.kind in FLOAT_ONLY:
            return False
        inputs = [self._operand(name) for name in data]
        if op.kind in FIXED_OUTPUT and self._fixed_otherwise(op, target):
            return self._rescaled_function(op, inputs, target)
        if op.kind in CHANNEL_AXIS:
            inputs += self._parameters(op, self.tensors[inputs[0]].scale)
        self._emit(op.kind, inputs, target, op.attrs)
        self.coded[op.outputs[0]] = target
        return True

    def _fixed_otherwise(self, op: Op, target: str) -> bool:
        """Say whether the reference fixes another output quantisation than the graph has."""
        fixed, held = FIXED_OUTPUT[op.kind], self.tensors[target]
        return abs(held.scale / fixed.scale[0] - 1) > 1e-6 or held.zero_point != fixed.zero_point[0]

    def _rescaled_function(self, op: Op, inputs: list[str], target: str) -> bool:
        """Append the function with the reference's output scale and bring the result to the graph's.

        Where that is finer, or for a softmax, which sums errors, the function stays on reals; then return False.
        """
        fixed = FIXED_OUTPUT[op.kind]
        if op.kind == "SOFTMAX" or self.tensors[target].scale < fixed.scale[0]:
            return False
        (y,) = op.outputs
        held = self._add(f"{y}/fixed", self.tensors[y].shape, fixed)
        self._emit(op.kind, inputs, held, op.attrs)
        self._emit("QUANTIZE", [held], target)
        self.coded[y] = target
        return True

    def _target(self, y: str) -> str | None:
        """Return the int8 tensor that is to hold the float tensor `y`, None where it is needed as it is."""
        end, behind = y, False
        while True:
            consumers = self.source.consumers(end)
            if end in self.source.outputs or len(consumers) != 1:
                return None
            (consumer,) = consumers
            (result,) = consumer.outputs
            if consumer.kind == "QUANTIZE":
                break
            if consumer.kind not in SELECTING:
                return None
            end, behind = result, True
        quant = self.tensors[result].quant
        assert quant is not None, "QUANTIZE has a quantised result"
        return self._add(f"{y}/int8", self.tensors[y].shape, quant) if behind else result

    def _same_scale(self, op: Op) -> None:
        (y,) = op.outputs
        target = self._target(y)
        operands = [name for name in op.inputs if name in self.coded]
        quants = [self.tensors[self.coded[name]].quant for name in operands]
        wanted = self.tensors[target].quant if target is not None else None
        # Several operands need one quantisation: the result's, if known, else the coarsest. One operand keeps its own.
        common = quants[0]
        if len(op.inputs) > 1:
            common = wanted or max(filter(None, quants), key=lambda quant: quant.scale[0])
        assert common is not None, "a coded tensor is quantised"
        inputs = [self._requantised(name, common) for name in op.inputs]
        if op.kind == "AVERAGE_POOL_2D" and target is not None and wanted != common and not np.any(op.attrs["pads"]):
            self._weighted_average(op, inputs[0], target)
            return
        if target is not None and wanted == common:
            self._emit(op.kind, inputs, target, op.attrs)
            self.coded[y] = target
            return
        held = self._add(f"{y}/int8", self.tensors[y].shape, common)
        self._emit(op.kind, inputs, held, op.attrs)
        self.coded[y] = held

    def _weighted_average(self, op: Op, x: str, target: str) -> None:
        """Average as a depthwise convolution, which rounds once although the scale changes."""
        kh, kw = op.attrs["kernel"]
        channels = self.tensors[x].shape[3]
        weights = self._add(f"{op.outputs[0]}/weights", (1, kh, kw, channels),
                            QuantParams((float(np.float32(1 / (kh * kw))),), (0,)),
                            np.ones((1, kh, kw, channels), np.int8))
        attrs = {key: op.attrs[key] for key in ("stride", "pads", "activation")}
        self._emit("DEPTHWISE_CONV_2D", [x, weights], target, {**attrs, "dilation": (1, 1), "multiplier": 1})
        self.coded[op.outputs[0]] = target

    def _operand(self, name: str) -> str:
        """Return the int8 tensor of float tensor or constant `name`."""
        if name in self.coded or self.tensors[name].dtype == "int8":
            return self.coded.get(name, name)
        values = real_value(self.tensors[name])
        low, high = float(values.min()), float(values.max())
        scale, zero_point = activation_params(low, high if high > low or low < 0 else low + 1.0)
        return self._constant(name, QuantParams((float(scale),), (zero_point,)))

    def _requantised(self, name: str, quant: QuantParams) -> str:
        """Return float tensor or constant `name` as an int8 tensor of this quantisation."""
        if self.tensors[name].data is not None:
            return self._constant(name, quant)
        held = self.coded[name]
        if self.tensors[held].quant == quant:
            return held
        moved = self._add(f"{held}/rescaled", self.tensors[held].shape, quant)
        self._emit("QUANTIZE", [held], moved)
        return moved

    def _constant(self, name: str, quant: QuantParams) -> str:
        tensor = self.tensors[name]
        if tensor.quant == quant:
            return name
        codes = np.rint(real_value(tensor) / np.float64(quant.scale[0])) + quant.zero_point[0]
        return self._add(f"{name}/int8", tensor.shape, quant, codes.clip(-128, 127).astype(np.int8))

    def _parameters(self, op: Op, x_scale: float) -> list[str]:
        """Return the integer weights and bias of `op`."""
        weights = self.tensors[op.inputs[1]]
        if weights.data is None:
            raise UnsupportedOperatorError(f"{self.source.name}: weights '{weights.name}' must be constant")
        if weights.dtype != "int8":
            axis = CHANNEL_AXIS[op.kind]
            values, scales = quantize_weights(real_value(weights), axis)
            quant = QuantParams(tuple(scales.tolist()), (0,) * scales.size, axis if scales.size > 1 else None)
            weights = self.tensors[self._add(f"{weights.name}/int8", weights.shape, quant, values)]
        assert weights.quant is not None, "int8 weights are quantised"
        if len(op.inputs) < 3:
            return [weights.name]
        bias = self.tensors[op.inputs[2]]
        scales = np.array(weights.quant.scale, np.float32)
        expected = np.float64(x_scale) * scales.astype(np.float64)
        held = np.array(bias.quant.scale) if bias.quant else np.zeros(1)
        if bias.dtype == "int32" and np.allclose(held, expected, rtol=1e-5, atol=0):
            return [weights.name, bias.name]
        codes, bias_scales = quantize_bias(real_value(bias), np.float32(x_scale), scales)
        quant = QuantParams(tuple(bias_scales.tolist()), (0,) * scales.size, 0 if scales.size > 1 else None)
        return [weights.name, self._add(f"{bias.name}/int32", bias.shape, quant, codes)]

    def _real(self, name: str) -> str:
        """Return float tensor `name`, dequantised where only its int8 form is there."""
        tensor = self.tensors[name]
        if tensor.data is not None and tensor.quant is not None:
            real = f"{name}/float32"
            self.tensors[real] = Tensor(real, tensor.shape, "float32", None, real_value(tensor))
            return real
        if name in self.coded and name not in self.written:
            self._emit("DEQUANTIZE", [self.coded[name]], name)
        return name

    def _add(self, name: str, shape: Iterable[int], quant: QuantParams, data: np.ndarray | None = None) -> str:
        unique, count = name, 1
        while unique in self.tensors:
            unique, count = f"{name}#{count}", count + 1
        dtype = "int8" if data is None else data.dtype.name
        self.tensors[unique] = Tensor(unique, tuple(shape), dtype, quant, data)
        return unique

    def _emit(self, kind: str, inputs: Iterable[str], output: str, attrs: object = None) -> None:
        self.ops.append(Op(kind, f"{kind.lower()}_{len(self.ops)}", tuple(inputs), (output,),
                           dict(attrs) if isinstance(attrs, dict) else {}))
        self.written.add(output)
