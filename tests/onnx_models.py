"""Small ONNX models for tests, and what onnxruntime makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

OPSET = 17
_TYPES = {"float32": TensorProto.FLOAT, "int8": TensorProto.INT8, "int64": TensorProto.INT64,
          "uint8": TensorProto.UINT8}

Step = tuple[str, Sequence[str], str, Mapping[str, Any]]
"""Operator, inputs, output, attributes."""


def write(path: Path, inputs: Mapping[str, Sequence[int]], steps: Sequence[Step], constants: Mapping[str, np.ndarray],
          outputs: Mapping[str, Sequence[int]], opset: int = OPSET, dtype: str = "float32",
          out_dtype: str | None = None) -> Path:
    """Write a model whose inputs and outputs have these shapes and, unless told otherwise, the same dtype."""
    def values(shapes: Mapping[str, Sequence[int]], dtype: str) -> list[Any]:
        return [helper.make_tensor_value_info(name, _TYPES[dtype], shape) for name, shape in shapes.items()]

    nodes = [helper.make_node(kind, list(names), output.split(), **attrs) for kind, names, output, attrs in steps]
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "test", values(inputs, dtype), values(outputs, out_dtype or dtype), weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), path)
    return path


def quantise(path: Path, samples: Sequence[Mapping[str, np.ndarray]], form: QuantFormat = QuantFormat.QDQ,
             activations: QuantType = QuantType.QInt8, weights: QuantType = QuantType.QInt8,
             per_channel: bool = True, **options: Any) -> Path:
    """Quantise a float model with onnxruntime's tool; return the path of the result."""
    result = path.with_name(f"{path.stem}_{form.name}_{activations.name}_{weights.name}.onnx")
    quantize_static(path, result, _Reader(samples), quant_format=form, activation_type=activations,
                    weight_type=weights, per_channel=per_channel, **options)
    return result


def run(path: Path, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return the outputs of onnxruntime without its graph optimisations: each operator by its definition."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, dict(inputs))


class _Reader(CalibrationDataReader):
    def __init__(self, samples: Sequence[Mapping[str, np.ndarray]]) -> None:
        self._samples = iter(samples)

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        return next(self._samples, None)
