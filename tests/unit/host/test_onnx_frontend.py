"""ONNX frontend: each operator, quantised, is within one step of onnxruntime; models that cannot be read say why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantFormat, QuantType

from systolith.host.compiler import compile_graph
from systolith.host.devices.golden import execute
from systolith.host.errors import ModelError, SystolithError, UnsupportedOperatorError, UsageError
from systolith.host.frontends import read_model
from systolith.host.frontends.onnx import read_onnx
from systolith.host.graph import Graph
from systolith.hw.config import PRESETS
from tests import onnx_models
from tests.onnx_models import Step

SAMPLES = 12


def _values(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _qdq(path: Path, step: Step, shapes: list[tuple[int, ...]], out: tuple[int, ...], *, scales: list[float],
         out_scale: float, constants: Mapping[str, np.ndarray], dtype: str = "int8", zero_point: int = 3,
         out_zero_point: int | None = None, opset: int = 17) -> Path:
    """Write one operator between DequantizeLinear and QuantizeLinear, on quantised inputs x0, x1, ..., output y."""
    kind, inputs, _, attrs = step
    offset = 128 if dtype == "uint8" else 0
    codes = np.dtype(dtype).type
    held: dict[str, np.ndarray] = dict(constants)
    steps: list[Step] = []
    for i, scale in enumerate(scales):
        held |= {f"s{i}": np.float32(scale), f"z{i}": codes(zero_point + offset + i)}
        steps.append(("DequantizeLinear", [f"x{i}", f"s{i}", f"z{i}"], f"r{i}", {}))
    y_zero = zero_point if out_zero_point is None else out_zero_point
    held |= {"ys": np.float32(out_scale), "yz": codes(y_zero + offset)}
    steps.append((kind, [f"r{name[1:]}" if name[:1] == "x" else name for name in inputs], "v", attrs))
    steps.append(("QuantizeLinear", ["v", "ys", "yz"], "y", {}))
    return onnx_models.write(path, {f"x{i}": shape for i, shape in enumerate(shapes)}, steps, held, {"y": out},
                             opset=opset, dtype=dtype)


IMAGE = (1, 6, 7, 8)
WEIGHTS = {"w": _values(1, 8, 6, 3, 3, scale=0.2)}

# name: (step, input shapes, output shape, input scales, output scale, constants[, output zero point])
OPERATORS: dict[str, tuple[Any, ...]] = {
    "add": (("Add", ["x0", "x1"], "", {}), [IMAGE, IMAGE], IMAGE, [0.02, 0.031], 0.04, {}),
    "add_broadcast": (("Add", ["x0", "x1"], "", {}), [IMAGE, (6, 1, 1)], IMAGE, [0.02, 0.031], 0.04, {}),
    "mul": (("Mul", ["x0", "x1"], "", {}), [IMAGE, IMAGE], IMAGE, [0.02, 0.031], 0.05, {}),
    "mul_squeeze_excite": (("Mul", ["x0", "x1"], "", {}), [IMAGE, (1, 6, 1, 1)], IMAGE, [0.02, 0.031], 0.05, {}),
    "sub": (("Sub", ["x0", "x1"], "", {}), [IMAGE, IMAGE], IMAGE, [0.02, 0.031], 0.04, {}),
    "relu": (("Relu", ["x0"], "", {}), [IMAGE], IMAGE, [0.02], 0.011, {}, -128),
    "leaky_relu": (("LeakyRelu", ["x0"], "", {"alpha": 0.2}), [IMAGE], IMAGE, [0.02], 0.02, {}),
    "hard_swish": (("HardSwish", ["x0"], "", {}), [IMAGE], IMAGE, [0.06], 0.05, {}),
    "sigmoid_fixed": (("Sigmoid", ["x0"], "", {}), [IMAGE], IMAGE, [0.05], 1 / 256, {}, -128),
    "sigmoid": (("Sigmoid", ["x0"], "", {}), [IMAGE], IMAGE, [0.05], 0.0038, {}, -127),
    "tanh": (("Tanh", ["x0"], "", {}), [IMAGE], IMAGE, [0.03], 1 / 128, {}, 0),
    "softmax": (("Softmax", ["x0"], "", {"axis": -1}), [(1, 10)], (1, 10), [0.05], 0.0035, {}, -128),
    "softmax_fixed": (("Softmax", ["x0"], "", {"axis": -1}), [(1, 10)], (1, 10), [0.05], 1 / 256, {}, -128),
    "max_pool": (("MaxPool", ["x0"], "", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}), [IMAGE],
                 (1, 6, 4, 4), [0.02], 0.02, {}),
    "max_pool_ceil": (("MaxPool", ["x0"], "", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}), [IMAGE],
                      (1, 6, 4, 4), [0.02], 0.02, {}),
    "average_pool": (("AveragePool", ["x0"], "", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}), [IMAGE], IMAGE,
                     [0.02], 0.02, {}),
    "average_pool_pad": (("AveragePool", ["x0"], "", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1],
                                                      "count_include_pad": 1}), [IMAGE], IMAGE, [0.02], 0.02, {}),
    "average_pool_ceil": (("AveragePool", ["x0"], "", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1,
                                                       "pads": [0, 0, 1, 1]}), [IMAGE], (1, 6, 4, 4), [0.02], 0.02,
                          {}),
    "average_pool_rescaled": (("AveragePool", ["x0"], "", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1],
                                                           "count_include_pad": 1}), [IMAGE], IMAGE, [0.02], 0.005, {}),
    "global_average_pool": (("GlobalAveragePool", ["x0"], "", {}), [IMAGE], (1, 6, 1, 1), [0.02], 0.005, {}),
    "reduce_mean": (("ReduceMean", ["x0"], "", {"axes": [2, 3], "keepdims": 0}), [IMAGE], (1, 6), [0.02], 0.005, {}),
    "concat": (("Concat", ["x0", "x1"], "", {"axis": 1}), [IMAGE, (1, 2, 7, 8)], (1, 8, 7, 8), [0.02, 0.03], 0.03, {}),
    "transpose": (("Transpose", ["x0"], "", {"perm": [0, 2, 1, 3]}), [IMAGE], (1, 7, 6, 8), [0.02], 0.02, {}),
    "slice": (("Slice", ["x0", "b", "e", "a", "st"], "", {}), [IMAGE], (1, 6, 3, 8), [0.02], 0.02,
              {"b": _ints(-1), "e": _ints(0), "a": _ints(2), "st": _ints(-2)}),
    "pad": (("Pad", ["x0", "p"], "", {}), [IMAGE], (1, 6, 10, 8), [0.02], 0.02, {"p": _ints(0, 0, 1, 0, 0, 0, 2, 0)}),
    "resize_nearest": (("Resize", ["x0", "", "k"], "", {"mode": "nearest", "nearest_mode": "floor",
                                                        "coordinate_transformation_mode": "asymmetric"}), [IMAGE],
                       (1, 6, 14, 24), [0.02], 0.02, {"k": np.array([1, 1, 2, 3], np.float32)}),
    "resize_linear": (("Resize", ["x0", "", "k"], "", {"mode": "linear"}), [IMAGE], (1, 6, 14, 16), [0.02], 0.02,
                      {"k": np.array([1, 1, 2, 2], np.float32)}),
    "matmul": (("MatMul", ["x0", "x1"], "", {}), [(1, 2, 5, 7), (1, 2, 7, 4)], (1, 2, 5, 4), [0.02, 0.03], 0.05, {}),
    "clip": (("Clip", ["x0", "lo", "hi"], "", {}), [IMAGE], IMAGE, [0.02], 0.02,
             {"lo": np.float32(-0.5), "hi": np.float32(0.7)}),
}


OPSETS = {"average_pool_ceil": 19, "hard_swish": 19}
# They round to the scale of their input, and once more where the output has another: more than one step if that is
# finer. onnxruntime's quantiser gives them equal scales.
TWO_ROUNDINGS = {"average_pool", "average_pool_ceil", "resize_linear"}


def _steps_from(graph: Graph, path: Path, seed: int = 0) -> float:
    """Return the largest difference to onnxruntime in steps of the outputs, on random samples."""
    rng, worst = np.random.default_rng(seed), 0.0
    for _ in range(SAMPLES):
        inputs = {}
        for name in graph.inputs:
            tensor = graph.tensors[name]
            if tensor.dtype == "float32":
                inputs[name] = rng.normal(size=tensor.shape).astype(np.float32)
            else:
                info = np.iinfo(tensor.dtype)
                inputs[name] = rng.integers(info.min, info.max + 1, tensor.shape).astype(tensor.dtype)
        found = execute(graph, inputs)
        for name, expected in zip(graph.outputs, onnx_models.run(path, inputs), strict=True):
            assert (found[name].shape, found[name].dtype) == (expected.shape, expected.dtype)
            step = 1.0
            if found[name].dtype == np.float32:
                producer = graph.producer(name)
                assert producer is not None
                while producer.kind != "DEQUANTIZE":
                    producer = graph.producer(producer.inputs[0])
                    assert producer is not None
                step = graph.tensors[producer.inputs[0]].scale
            worst = max(worst, float(np.abs(found[name].astype(np.float64) - expected).max()) / step)
    return worst


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("name", OPERATORS)
def test_operator_is_within_one_step_of_onnxruntime(name: str, dtype: str, tmp_path: Path) -> None:
    step, shapes, out, scales, out_scale, constants, *y_zero = OPERATORS[name]
    path = _qdq(tmp_path / "m.onnx", step, shapes, out, scales=scales, out_scale=out_scale, constants=constants,
                dtype=dtype, out_zero_point=y_zero[0] if y_zero else None, opset=OPSETS.get(name, 17))
    graph = read_onnx(path)
    assert _steps_from(graph, path) <= 1.0001
    assert [graph.tensors[end].shape for end in graph.inputs] == shapes


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], dict[str, Any], tuple[int, ...], tuple[int, ...]]] = {
    "plain": ((8, 6, 3, 3), {}, IMAGE, (1, 8, 5, 6)),
    "same_upper": ((8, 6, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, IMAGE, (1, 8, 4, 4)),
    "same_lower": ((8, 6, 2, 2), {"auto_pad": "SAME_LOWER"}, IMAGE, (1, 8, 7, 8)),
    "dilated": ((8, 6, 3, 3), {"dilations": [2, 2], "pads": [2, 2, 2, 2]}, IMAGE, (1, 8, 7, 8)),
    "grouped": ((8, 3, 3, 3), {"group": 2, "pads": [1, 0, 1, 2]}, IMAGE, (1, 8, 7, 8)),
    "depthwise": ((6, 1, 3, 3), {"group": 6, "pads": [1, 1, 1, 1]}, IMAGE, (1, 6, 7, 8)),
    "depthwise_multiplier": ((12, 1, 3, 3), {"group": 6, "pads": [1, 1, 1, 1]}, IMAGE, (1, 12, 7, 8)),
    "one_dimension": ((8, 6, 3), {"pads": [1, 1], "strides": [2]}, (1, 6, 9), (1, 8, 5)),
}


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_is_within_one_step_of_onnxruntime(name: str, form: QuantFormat, tmp_path: Path) -> None:
    weights, attrs, shape, out = CONVOLUTIONS[name]
    constants = {"w": _values(1, *weights, scale=0.2), "b": _values(2, weights[0], scale=0.1)}
    path = onnx_models.write(tmp_path / "m.onnx", {"x": shape}, [("Conv", ["x", "w", "b"], "y", attrs)], constants,
                             {"y": out})
    path = onnx_models.quantise(path, [{"x": _values(i, *shape)} for i in range(4)], form)
    assert _steps_from(read_onnx(path), path) <= 1.0001


@pytest.mark.parametrize("attrs", [{"strides": [2, 2]}, {"strides": [2, 2], "pads": [1, 1, 1, 1]},
                                   {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}])
def test_transposed_convolution_is_within_one_step(attrs: dict[str, Any], tmp_path: Path) -> None:
    size = [(n - 1) * 2 + 3 - 2 * ("pads" in attrs) + ("output_padding" in attrs) for n in IMAGE[2:]]
    constants = {"w": _values(1, 6, 5, 3, 3, scale=0.2), "b": _values(2, 5, scale=0.1)}
    path = onnx_models.write(tmp_path / "m.onnx", {"x": IMAGE}, [("ConvTranspose", ["x", "w", "b"], "y", attrs)],
                             constants, {"y": (1, 5, *size)})
    path = onnx_models.quantise(path, [{"x": _values(i, *IMAGE)} for i in range(4)], per_channel=False)
    assert _steps_from(read_onnx(path), path) <= 1.0001


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
def test_gemm_is_within_one_step(form: QuantFormat, transposed: int, tmp_path: Path) -> None:
    shape = (9, 24) if transposed else (24, 9)
    path = onnx_models.write(tmp_path / "m.onnx", {"x": (1, 24)}, [("Gemm", ["x", "w", "b"], "y",
                                                                   {"transB": transposed})],
                             {"w": _values(1, *shape), "b": _values(2, 9)}, {"y": (1, 9)})
    path = onnx_models.quantise(path, [{"x": _values(i, 1, 24)} for i in range(4)], form)
    assert _steps_from(read_onnx(path), path) <= 1.0001


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", sorted(set(OPERATORS) - TWO_ROUNDINGS))
def test_operator_is_within_one_step_at_any_scale(name: str, seed: int, tmp_path: Path) -> None:
    step, shapes, out, scales, out_scale, constants, *_ = OPERATORS[name]
    rng = np.random.default_rng(seed)
    y_zero, factor = int(rng.integers(-128, 128)), float(rng.uniform(0.3, 3))
    if name.endswith("_fixed"):  # the reference's own output scale
        y_zero, factor = OPERATORS[name][6], 1.0
    path = _qdq(tmp_path / "m.onnx", step, shapes, out, scales=[float(s * rng.uniform(0.2, 5)) for s in scales],
                out_scale=out_scale * factor, constants=constants, dtype=str(rng.choice(["int8", "uint8"])),
                zero_point=int(rng.integers(-128, 126)), out_zero_point=y_zero, opset=OPSETS.get(name, 17))
    assert _steps_from(read_onnx(path), path, seed) <= 1.0001


def _network(path: Path) -> Path:
    """Write a small residual network with a flattened head."""
    constants = {"w1": _values(1, 8, 3, 3, 3, scale=0.2), "b1": _values(2, 8, scale=0.1),
                 "w2": _values(3, 8, 8, 3, 3, scale=0.1), "wf": _values(4, 8 * 16, 10, scale=0.1),
                 "bf": _values(5, 10)}
    pads = {"pads": [1, 1, 1, 1]}
    steps: list[Step] = [("Conv", ["x", "w1", "b1"], "c1", pads), ("Relu", ["c1"], "r1", {}),
                         ("Conv", ["r1", "w2"], "c2", pads), ("Add", ["c2", "r1"], "a", {}), ("Relu", ["a"], "ra", {}),
                         ("MaxPool", ["ra"], "m", {"kernel_shape": [2, 2], "strides": [2, 2]}),
                         ("Flatten", ["m"], "f", {}), ("Gemm", ["f", "wf", "bf"], "y", {})]
    return onnx_models.write(path, {"x": ["batch", 3, 8, 8]}, steps, constants, {"y": ["batch", 10]})


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("weights", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize("activations", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
def test_network_in_every_form(form: QuantFormat, activations: QuantType, weights: QuantType, per_channel: bool,
                               tmp_path: Path) -> None:
    if activations is QuantType.QInt8 and weights is QuantType.QUInt8:
        pytest.skip("onnxruntime has no kernels for it")
    if weights is QuantType.QUInt8 and per_channel:
        pytest.skip("zero points per channel are not supported")
    path = onnx_models.quantise(_network(tmp_path / "m.onnx"), [{"x": _values(i, 1, 3, 8, 8)} for i in range(6)], form,
                                activations, weights, per_channel)
    graph = read_onnx(path)
    kinds = [op.kind for op in graph.ops]
    assert kinds.count("QUANTIZE") == 1 and kinds.count("DEQUANTIZE") == 1
    assert _steps_from(graph, path) <= 3.0001  # one step per operator, and rounding averages out


@pytest.mark.parametrize("activations", [QuantType.QInt8, QuantType.QUInt8])
def test_integer_operators_of_onnxruntime(activations: QuantType, tmp_path: Path) -> None:
    steps: list[Step] = [
        ("Conv", ["x", "u"], "i", {}), ("GlobalAveragePool", ["i"], "g", {}), ("Conv", ["g", "w"], "c", {}),
        ("Sigmoid", ["c"], "s", {}), ("Mul", ["i", "s"], "m", {}), ("LeakyRelu", ["m"], "l", {"alpha": 0.1}),
        ("Concat", ["l", "i"], "k", {"axis": 1}),
        ("AveragePool", ["k"], "a", {"kernel_shape": [2, 2], "strides": [2, 2]}), ("Flatten", ["a"], "f", {}),
        ("MatMul", ["f", "v"], "y", {})]
    constants = {"u": _values(3, 6, 6, 1, 1), "w": _values(1, 6, 6, 1, 1), "v": _values(2, 144, 10, scale=0.1)}
    path = onnx_models.write(tmp_path / "m.onnx", {"x": IMAGE}, steps, constants, {"y": (1, 10)})
    path = onnx_models.quantise(path, [{"x": _values(i, *IMAGE)} for i in range(6)], QuantFormat.QOperator, activations)
    found = {node.op_type for node in onnx.load(path).graph.node}
    assert {"QLinearGlobalAveragePool", "QLinearSigmoid", "QLinearMul", "QLinearConcat", "QLinearMatMul"} <= found
    graph = read_onnx(path)
    assert _steps_from(graph, path) <= 6.0001  # of nine operators


@pytest.mark.parametrize("activations", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize(("code", "kind"), [(None, "PAD"), (7, "PADV2")])
def test_codes_are_padded_with_a_code(code: int | None, kind: str, activations: QuantType, tmp_path: Path) -> None:
    steps: list[Step] = [("Conv", ["x", "u"], "c", {}), ("Pad", ["c", "p"], "q", {}), ("Conv", ["q", "w"], "y", {})]
    constants = {"u": _values(3, 6, 6, 1, 1), "w": _values(1, 4, 6, 2, 2), "p": _ints(0, 0, 1, 0, 0, 0, 2, 3)}
    path = onnx_models.write(tmp_path / "m.onnx", {"x": IMAGE}, steps, constants, {"y": (1, 4, 9, 10)})
    path = onnx_models.quantise(path, [{"x": _values(i, *IMAGE)} for i in range(6)], QuantFormat.QOperator, activations)
    if code is not None:
        proto = onnx.load(path)
        (node,) = (each for each in proto.graph.node if each.op_type == "Pad")
        node.input[2] = "code"
        dtype = np.int8 if activations == QuantType.QInt8 else np.uint8
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(code, dtype), "code"))
        onnx.save(proto, path)
    graph = read_onnx(path)
    assert [op.kind for op in graph.ops if op.kind.startswith("PAD")] == [kind]
    assert _steps_from(graph, path) <= 3.0001


def test_content_decides_that_a_file_is_onnx(tmp_path: Path) -> None:
    path = onnx_models.quantise(_network(tmp_path / "m.onnx"), [{"x": _values(0, 1, 3, 8, 8)}])
    other = path.rename(tmp_path / "model.bin")
    assert read_model(other).inputs == ("x",)


def test_float_model_is_refused_with_the_command_to_quantise_it(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperatorError, match="systolith quantize m.onnx -o m.tflite"):
        read_onnx(_network(tmp_path / "m.onnx"))


def test_partly_quantised_operator_is_refused(tmp_path: Path) -> None:
    path = onnx_models.quantise(_network(tmp_path / "m.onnx"), [{"x": _values(0, 1, 3, 8, 8)}],
                                op_types_to_quantize=["Gemm"])
    with pytest.raises(UnsupportedOperatorError, match="CONV_2D at tensor .* is not quantised"):
        read_onnx(path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [0, -0.1, np.inf, np.nan])
@pytest.mark.parametrize("form", list(QuantFormat))
def test_impossible_scale_is_refused(form: QuantFormat, scale: float, tmp_path: Path) -> None:
    path = onnx_models.quantise(_network(tmp_path / "m.onnx"), [{"x": _values(0, 1, 3, 8, 8)}], form)
    proto = onnx.load(path)
    weights = next(tensor for tensor in proto.graph.initializer if tensor.name.endswith("_scale") and tensor.dims)
    weights.CopyFrom(onnx.numpy_helper.from_array(np.full(weights.dims, scale, np.float32), weights.name))
    onnx.save(proto, path)
    with pytest.raises(UnsupportedOperatorError, match="scales must be positive and finite"):
        read_onnx(path)


def test_unknown_operator_is_named(tmp_path: Path) -> None:
    path = onnx_models.write(tmp_path / "m.onnx", {"x": (1, 4)}, [("Erf", ["x"], "y", {})], {}, {"y": (1, 4)})
    with pytest.raises(UnsupportedOperatorError, match=r"unsupported: Erf \(at tensor 'y'\)"):
        read_onnx(path)


def test_dynamic_shape_is_refused(tmp_path: Path) -> None:
    path = onnx_models.write(tmp_path / "m.onnx", {"x": (1, "n")}, [("Relu", ["x"], "y", {})], {}, {"y": (1, "n")})
    with pytest.raises(ModelError, match="input 'x' has the dynamic shape"):
        read_onnx(path)


@pytest.mark.parametrize("length", [0, 1, 30, 200])
def test_truncated_file_is_one_line(length: int, tmp_path: Path) -> None:
    path = _network(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises((ModelError, UnsupportedOperatorError)) as error:
        read_model(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("seed", range(40))
def test_contradictory_model_is_one_line(seed: int, tmp_path: Path) -> None:
    path = onnx_models.quantise(_network(tmp_path / "m.onnx"), [{"x": _values(0, 1, 3, 8, 8)}],
                                list(QuantFormat)[seed % 2])
    rng, proto = np.random.default_rng(seed), onnx.load(path)
    node = proto.graph.node[int(rng.integers(len(proto.graph.node)))]
    constant = proto.graph.initializer[int(rng.integers(len(proto.graph.initializer)))]
    damage = seed // 2 % 4
    if damage == 0:
        node.input[int(rng.integers(len(node.input)))] = constant.name
    elif damage == 1:
        del node.input[-1]
    elif damage == 2 and constant.dims:
        constant.dims[0] = int(rng.integers(0, 5))
    else:
        for attribute in node.attribute:
            attribute.i = int(rng.integers(-3, 9))
    onnx.save(proto, path)
    try:
        read_onnx(path)
    except SystolithError as error:
        assert "\n" not in str(error)


def test_absent_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _network(tmp_path / "m.onnx")
    monkeypatch.setattr("systolith.host.frontends.onnx_model.onnx", None)
    with pytest.raises(UsageError, match=r"needs the package onnx; install it with: pip install 'systolith\[onnx\]'"):
        read_model(path)


def test_dynamic_quantisation_is_refused(tmp_path: Path) -> None:
    path = onnx_models.write(tmp_path / "m.onnx", {"x": (1, 4)}, [("DynamicQuantizeLinear", ["x"], "q s z", {}),
                             ("DequantizeLinear", ["q", "s", "z"], "y", {})], {}, {"y": (1, 4)})
    with pytest.raises(UnsupportedOperatorError, match="DynamicQuantizeLinear at tensor 'q' quantises at run time"):
        read_onnx(path)


def test_gates_of_a_network_become_tables_behind_its_convolutions(tmp_path: Path) -> None:
    steps: list[Step] = [
        ("Conv", ["x", "w"], "a", {"pads": [1, 1, 1, 1]}), ("Sigmoid", ["a"], "s", {}), ("Mul", ["a", "s"], "b", {}),
        ("GlobalAveragePool", ["b"], "m", {}), ("Conv", ["m", "v"], "h", {}),
        ("HardSigmoid", ["h"], "g", {"alpha": 1 / 6, "beta": 0.5}), ("Mul", ["b", "g"], "y", {})]
    constants = {"w": _values(1, 8, 3, 3, 3, scale=0.3), "v": _values(2, 8, 8, 1, 1, scale=0.3)}
    path = onnx_models.write(tmp_path / "m.onnx", {"x": (1, 3, 8, 8)}, steps, constants, {"y": (1, 8, 8, 8)})
    quantised = onnx_models.quantise(path, [{"x": _values(3, 1, 3, 8, 8)}])
    program = compile_graph(read_onnx(quantised), PRESETS["tiny"])
    assert [layer.kind for layer in program.layers if layer.unit != "cpu"] == [
        "CONV_2D", "TABLE", "MEAN", "CONV_2D", "TABLE", "MUL"]
