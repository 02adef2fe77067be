"""Rewrite ONNX's operators on integers (QLinearConv, ...) as float operators between DequantizeLinear and
QuantizeLinear, so that the frontend reads one form of quantised model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from ..errors import UnsupportedOperatorError

# Operators of one input: X, X scale, X zero point, Y scale, Y zero point.
_UNARY = {"QLinearAveragePool": "AveragePool", "QLinearGlobalAveragePool": "GlobalAveragePool",
          "QLinearLeakyRelu": "LeakyRelu", "QLinearReduceMean": "ReduceMean", "QLinearSigmoid": "Sigmoid",
          "QLinearSoftmax": "Softmax"}
# Of two: A, A scale, A zero point, B, B scale, B zero point, Y scale, Y zero point.
_BINARY = {"QLinearAdd": "Add", "QLinearMul": "Mul", "QLinearMatMul": "MatMul"}
_DYNAMIC = ("ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat")
# Attributes that only the integer operators have.
_OWN_ATTRIBUTES = ("channels_last", "opset")


def expand(proto: Any) -> Any:
    """Return the model with every integer operator expanded.

    Raises:
        UnsupportedOperatorError: the model is quantised dynamically, or a scale is not a constant.
    """
    expander = _Expander(proto)
    nodes = [made for node in proto.graph.node for made in expander.node(node)]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return proto


class _Expander:
    def __init__(self, proto: Any) -> None:
        self.proto = proto
        self.constants = {t.name: t for t in proto.graph.initializer}
        self.count = 0

    def node(self, node: Any) -> list[Any]:
        """Return what stands for `node`."""
        kind = node.op_type
        if kind in _DYNAMIC:
            raise UnsupportedOperatorError(f"{kind} at tensor '{node.output[0]}' quantises at run time; quantise the "
                                           "float model with calibration samples: systolith quantize")
        if kind in _UNARY:
            return self._build(node, _UNARY[kind], [node.input[:3]], node.input[3:5])
        if kind in _BINARY:
            return self._build(node, _BINARY[kind], [node.input[:3], node.input[3:6]], node.input[6:8])
        if kind == "QLinearConcat":
            operands = [node.input[i:i + 3] for i in range(2, len(node.input), 3)]
            return self._build(node, "Concat", operands, node.input[:2])
        if kind == "QLinearConv":
            return self._build(node, "Conv", [node.input[:3], node.input[3:6]], node.input[6:8], node.input[8:9], 0)
        if kind == "QGemm":
            channels = 0 if _attribute(node, "transB") else 1
            return self._build(node, "Gemm", [node.input[:3], node.input[3:6]], node.input[7:9], node.input[6:7],
                               channels)
        if kind in ("QuantizeLinear", "DequantizeLinear"):
            node.domain = ""  # the vendor's variants mean the same
        return [node]

    def _build(self, node: Any, kind: str, operands: Sequence[Sequence[str]], result: Sequence[str],
               bias: Sequence[str] = (), channels: int = 1) -> list[Any]:
        """Return DequantizeLinear of `operands` (and `bias`), the float operator, QuantizeLinear to `result`."""
        if _attribute(node, "channels_last"):
            raise UnsupportedOperatorError(f"{node.op_type} at tensor '{node.output[0]}' is NHWC; export it as NCHW")
        made: list[Any] = []
        reals = [self._real(made, operand, channels) for operand in operands]
        if bias and bias[0]:
            scale = self._array(operands[0][1]) * self._array(operands[1][1])
            name = self._name("bias_scale")
            self.proto.graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), name))
            reals.append(self._real(made, (bias[0], name), 0))
        value = self._name(kind.lower())
        made.append(helper.make_node(kind, reals, [value], name=node.name))
        made[-1].attribute.extend(attr for attr in node.attribute if attr.name not in _OWN_ATTRIBUTES)
        if not result or not result[0]:  # QGemm without an output scale returns reals
            made[-1].output[0] = node.output[0]
            return made
        made.append(helper.make_node("QuantizeLinear", [value, *filter(None, result)], [node.output[0]]))
        return made

    def _real(self, made: list[Any], operand: Sequence[str], axis: int) -> str:
        value = self._name("real")
        made.append(helper.make_node("DequantizeLinear", list(filter(None, operand)), [value], axis=axis))
        return value

    def _array(self, name: str) -> np.ndarray:
        if name not in self.constants:
            raise UnsupportedOperatorError(f"scale '{name}' must be a constant; quantise the model statically")
        return numpy_helper.to_array(self.constants[name])

    def _name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}:{self.count}"


def _attribute(node: Any, name: str) -> int:
    return next((int(attr.i) for attr in node.attribute if attr.name == name), 0)
