"""Post-training quantiser: observers, fusions, shared scales, and every operator against the float network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_micro import runtime

from systolith.host.devices.golden import execute
from systolith.host.errors import ModelError, UsageError
from systolith.host.graph import Graph, Op, QuantParams, Tensor
from systolith.host.quantizer import execute as float_execution
from systolith.host.quantizer.accuracy import measure
from systolith.host.quantizer.calibrate import assign
from systolith.host.quantizer.fuse import fuse
from systolith.host.quantizer.observers import MinMax, Percentile, observer_factory
from systolith.host.quantizer.ptq import Quantised, quantise, read_real
from systolith.host.quantparams import FIXED_OUTPUT
from systolith.models.quantise import quantize_float
from systolith.models.tflite_writer import TFLiteBuilder
from tests import onnx_models
from tests.onnx_models import Step

IMAGE = (1, 6, 8, 8)


def _values(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def test_minmax_is_the_extremes_of_all_samples() -> None:
    observer = MinMax()
    for values in ([0.5, 2.0], [-3.0, 1.0]):
        observer.see(np.array(values, np.float32))
    assert observer.range() == (-3.0, 2.0)


def test_percentile_leaves_out_outliers_but_not_the_rest() -> None:
    observer = Percentile(99.9)
    observer.see(np.zeros(10, np.float32))
    for seed in range(20):
        observer.see(_values(seed, 1000))
    observer.see(np.array([5000.0], np.float32))  # makes the histogram wider ten times over
    low, high = observer.range()
    assert -5.0 < low < -2.0 and 2.0 < high < 10.0


def test_percentile_100_is_minmax() -> None:
    exact, observer = MinMax(), Percentile(100)
    for seed in range(5):
        for each in (exact, observer):
            each.see(_values(seed, 300, scale=1 + seed))
    assert observer.range() == pytest.approx(exact.range(), rel=1e-6)


@pytest.mark.parametrize(("name", "percentile"), [("mean", 99.0), ("percentile", 40.0), ("percentile", 101.0)])
def test_unknown_observer_is_refused(name: str, percentile: float) -> None:
    with pytest.raises(UsageError, match="must be"):
        observer_factory(name, percentile)


def _graph(*ops: tuple[str, tuple[str, ...], str, dict[str, Any]], **shapes: tuple[int, ...]) -> Graph:
    tensors = {name: Tensor(name, shape, "float32") for name, shape in shapes.items()}
    made = tuple(Op(kind, f"op{i}", inputs, (output,), attrs) for i, (kind, inputs, output, attrs) in enumerate(ops))
    return Graph("test", tensors, made, ("x",), (ops[-1][2],))


def test_operators_that_move_elements_keep_the_scale_of_their_input() -> None:
    graph = _graph(("RESHAPE", ("x",), "a", {}), ("TANH", ("a",), "b", {}), ("SOFTMAX", ("b",), "c", {"beta": 1.0}),
                   ("RESHAPE", ("c",), "y", {}), x=(1, 4), a=(4, 1), b=(4, 1), c=(4, 1), y=(1, 4))
    found = assign(graph, {"x": (-1.0, 1.0), "a": (-1.0, 1.0), "b": (-0.5, 0.5), "c": (0, 1), "y": (0, 1)})
    assert found["a"] == found["x"]
    tanh, softmax = FIXED_OUTPUT["TANH"], FIXED_OUTPUT["SOFTMAX"]
    assert (found["b"], found["c"], found["y"]) == (tanh, softmax, softmax)


def test_operands_of_a_concatenation_share_the_union_of_their_ranges() -> None:
    graph = _graph(("ABS", ("x",), "a", {}), ("NEG", ("x",), "b", {}), ("CONCATENATION", ("a", "b"), "y", {"axis": 1}),
                   x=(1, 4), a=(1, 4), b=(1, 4), y=(1, 8))
    found = assign(graph, {"x": (-9.0, 9.0), "a": (0.0, 1.0), "b": (-2.0, 0.0), "y": (-2.0, 1.0)})
    assert found["a"] == found["b"] == found["y"] == QuantParams((float(np.float32(3 / 255)),), (42,))
    assert found["x"] != found["a"]


def test_range_ends_where_it_is_clipped() -> None:
    limit = Tensor("limit", (1,), "float32", None, np.array([0.5], np.float32))
    graph = _graph(("NEG", ("x",), "a", {}), ("MINIMUM", ("a", "limit"), "y", {}), x=(1, 4), a=(1, 4), y=(1, 4))
    graph = Graph("test", {**graph.tensors, "limit": limit}, graph.ops, graph.inputs, graph.outputs)
    found = assign(graph, {"x": (-9.0, 9.0), "a": (-9.0, 9.0), "y": (-9.0, 0.5)})
    assert found["a"] == found["y"] == QuantParams((float(np.float32(9.5 / 255)),), (114,))


def test_tensor_of_zeros_gets_a_usable_scale() -> None:
    graph = _graph(("ABS", ("x",), "y", {}), x=(1, 4), y=(1, 4))
    assert assign(graph, {"x": (0.0, 0.0), "y": (0.0, 0.0)})["x"].scale[0] > 0


def _quantised(path: Path, seed: int = 0, count: int = 8) -> tuple[Quantised, list[dict[str, np.ndarray]]]:
    graph = read_real(path)
    rng = np.random.default_rng(seed)
    samples = [{name: rng.normal(size=graph.tensors[name].shape).astype(np.float32) for name in graph.inputs}
               for _ in range(count)]
    return quantise(graph, samples), samples


def _check(path: Path, sqnr_db: float, micro: bool = True) -> Quantised:
    """Quantise the model and compare: float execution with onnxruntime, int8 with float and with TFLite Micro."""
    network, samples = _quantised(path)
    for sample in samples[:3]:
        reals = float_execution.execute(network.real, sample, float_execution.constants(network.real))
        for name, expected in zip(network.real.outputs, onnx_models.run(path, sample), strict=True):
            np.testing.assert_allclose(reals[name], expected, rtol=1e-4, atol=1e-4)
        if micro:
            _compare_with_micro(network, sample)
    report = measure(network, samples)
    outputs = {layer.name: layer for layer in report.layers if layer.name in report.outputs}
    for layer in outputs.values():
        assert layer.sqnr_db is None or layer.sqnr_db > sqnr_db, layer
    return network


def _compare_with_micro(network: Quantised, sample: dict[str, np.ndarray]) -> None:
    graph, interpreter = network.graph, runtime.Interpreter.from_bytes(network.model, arena_size=4_000_000)
    codes = {name: quantize_float(sample[name], graph.tensors[name].scale, graph.tensors[name].zero_point)
             for name in graph.inputs}
    for i, name in enumerate(graph.inputs):
        interpreter.set_input(codes[name], i)
    interpreter.invoke()
    found = execute(graph, codes)
    for i, name in enumerate(graph.outputs):
        np.testing.assert_array_equal(found[name], interpreter.get_output(i))


HALF = (1, 6, 4, 4)
FACTOR = {"k": np.array([1, 1, 2, 2], np.float32)}
SLOPE = np.abs(_values(2, 6, 1, 1))

OPERATORS: dict[str, tuple[list[Step], dict[str, np.ndarray], tuple[int, ...]]] = {
    "conv": ([("Conv", ["x", "w", "b"], "y", {"pads": [1, 1, 1, 1], "strides": [2, 2]})],
             {"w": _values(1, 6, 6, 3, 3), "b": _values(2, 6)}, HALF),
    "conv_same": ([("Conv", ["x", "w"], "y", {"auto_pad": "SAME_UPPER", "strides": [2, 2]})],
                  {"w": _values(1, 6, 6, 3, 3)}, HALF),
    "conv_grouped": ([("Conv", ["x", "w"], "y", {"group": 2, "pads": [1, 1, 1, 1]})], {"w": _values(1, 6, 3, 3, 3)},
                     IMAGE),
    "conv_dilated": ([("Conv", ["x", "w"], "y", {"dilations": [2, 2], "pads": [2, 2, 2, 2]})],
                     {"w": _values(1, 6, 6, 3, 3)}, IMAGE),
    "depthwise": ([("Conv", ["x", "w"], "y", {"group": 6, "pads": [1, 1, 1, 1]})], {"w": _values(1, 12, 1, 3, 3)},
                  (1, 12, 8, 8)),
    "batch_norm_relu6": ([("Conv", ["x", "w"], "c", {"pads": [1, 1, 1, 1]}),
                          ("BatchNormalization", ["c", "s", "o", "m", "v"], "n", {}),
                          ("Clip", ["n", "lo", "hi"], "y", {})],
                         {"w": _values(1, 6, 6, 3, 3, scale=0.3), "s": _values(2, 6), "o": _values(3, 6),
                          "m": _values(4, 6), "v": np.abs(_values(5, 6)) + 0.5, "lo": np.float32(0),
                          "hi": np.float32(6)}, IMAGE),
    "matmul_bias": ([("Flatten", ["x"], "f", {}), ("MatMul", ["f", "w"], "m", {}), ("Add", ["m", "b"], "y", {})],
                    {"w": _values(1, 384, 10), "b": _values(2, 10)}, (1, 10)),
    "transposed_conv": ([("ConvTranspose", ["x", "w", "b"], "y", {"strides": [2, 2], "pads": [1, 1, 1, 1],
                                                                  "output_padding": [1, 1]})],
                        {"w": _values(1, 6, 5, 3, 3), "b": _values(2, 5)}, (1, 5, 16, 16)),
    "transposed_conv_valid": ([("ConvTranspose", ["x", "w"], "y", {"strides": [2, 2]})], {"w": _values(1, 6, 5, 2, 2)},
                              (1, 5, 16, 16)),
    "max_pool_padded": ([("MaxPool", ["x"], "y", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]})],
                        {}, HALF),
    "max_pool_after_relu": ([("Relu", ["x"], "r", {}), ("MaxPool", ["r"], "y", {
        "kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]})], {}, HALF),
    "average_pool": ([("AveragePool", ["x"], "y", {"kernel_shape": [2, 2], "strides": [2, 2]})], {}, HALF),
    "average_pool_padded": ([("AveragePool", ["x"], "y", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1],
                                                          "count_include_pad": 1})], {}, IMAGE),
    "global_average_pool": ([("GlobalAveragePool", ["x"], "y", {})], {}, (1, 6, 1, 1)),
    "squeeze_excite": ([("GlobalAveragePool", ["x"], "g", {}), ("Conv", ["g", "w"], "c", {}),
                        ("Sigmoid", ["c"], "s", {}), ("Mul", ["x", "s"], "y", {})],
                       {"w": _values(1, 6, 6, 1, 1)}, IMAGE),
    "concat": ([("Relu", ["x"], "a", {}), ("Sigmoid", ["x"], "b", {}), ("Concat", ["a", "b"], "y", {"axis": 1})], {},
               (1, 12, 8, 8)),
    "sub": ([("Relu", ["x"], "a", {}), ("Sub", ["x", "a"], "y", {})], {}, IMAGE),
    "prelu": ([("PRelu", ["x", "a"], "y", {})], {"a": SLOPE}, IMAGE),
    "leaky_relu": ([("LeakyRelu", ["x"], "y", {"alpha": 0.1})], {}, IMAGE),
    "hard_sigmoid": ([("HardSigmoid", ["x"], "y", {})], {}, IMAGE),
    "tanh": ([("Tanh", ["x"], "y", {})], {}, IMAGE),
    "softmax": ([("Flatten", ["x"], "f", {}), ("MatMul", ["f", "w"], "m", {}), ("Softmax", ["m"], "y", {})],
                {"w": _values(1, 384, 10, scale=0.05)}, (1, 10)),
    "resize_nearest": ([("Resize", ["x", "", "k"], "y", {"mode": "nearest"})], FACTOR, (1, 6, 16, 16)),
    "resize_linear": ([("Resize", ["x", "", "k"], "y", {"mode": "linear"})], FACTOR, (1, 6, 16, 16)),
    "split": ([("Split", ["x"], "a b", {"axis": 1}), ("Mul", ["a", "b"], "y", {})], {}, (1, 3, 8, 8)),
    "shuffle": ([("Reshape", ["x", "s"], "a", {}), ("Transpose", ["a"], "b", {"perm": [0, 2, 1, 3, 4]}),
                 ("Reshape", ["b", "t"], "y", {})],
                {"s": np.array([1, 2, 3, 8, 8]), "t": np.array([1, 6, 8, 8])}, IMAGE),
    "reduce_max": ([("ReduceMax", ["x"], "y", {"axes": [2, 3], "keepdims": 0})], {}, (1, 6)),
    "reduce_sum": ([("ReduceSum", ["x", "a"], "y", {})], {"a": np.array([1])}, (1, 1, 8, 8)),
    "pad": ([("Pad", ["x", "p"], "y", {})], {"p": np.array([0, 0, 1, 2, 0, 1, 0, 3])}, (1, 7, 9, 13)),
    "gather": ([("Gather", ["x", "i"], "y", {"axis": 1})], {"i": np.array(4)}, (1, 8, 8)),
    "divide": ([("Div", ["x", "d"], "y", {})], {"d": np.array([4], np.float32)}, IMAGE),
    "hard_swish": ([("HardSigmoid", ["x"], "h", {"alpha": 1 / 6}), ("Mul", ["x", "h"], "y", {})], {}, IMAGE),
    "negative": ([("Neg", ["x"], "y", {})], {}, IMAGE),
    "depth_to_space": ([("Conv", ["x", "w"], "c", {}), ("DepthToSpace", ["c"], "y", {"blocksize": 2})],
                       {"w": _values(1, 8, 6, 1, 1)}, (1, 2, 16, 16)),
    "depth_to_space_crd": ([("Conv", ["x", "w"], "c", {}), ("DepthToSpace", ["c"], "y", {"blocksize": 2,
                                                                                       "mode": "CRD"})],
                           {"w": _values(1, 8, 6, 1, 1)}, (1, 2, 16, 16)),
    "space_to_depth": ([("SpaceToDepth", ["x"], "y", {"blocksize": 2})], {}, (1, 24, 4, 4)),
    "clip": ([("Clip", ["x", "lo", "hi"], "y", {})], {"lo": np.float32(-0.25), "hi": np.float32(0.5)}, IMAGE),
    "relu6_alone": ([("Concat", ["x", "x"], "c", {"axis": 1}), ("Mul", ["c", "k"], "m", {}),
                     ("Concat", ["m", "x"], "d", {"axis": 1}), ("Clip", ["d", "lo", "hi"], "y", {})],
                    {"k": np.array([5], np.float32), "lo": np.float32(0), "hi": np.float32(6)}, (1, 18, 8, 8)),
    "reversed": ([("Slice", ["x", "b", "e", "a", "st"], "y", {})],
                 {"b": np.array([-1]), "e": np.array([-100]), "a": np.array([3]), "st": np.array([-1])}, IMAGE),
    "attention": ([("Reshape", ["x", "s"], "a", {}), ("Transpose", ["a"], "t", {"perm": [0, 2, 1]}),
                   ("MatMul", ["a", "t"], "m", {}), ("Mul", ["m", "k"], "c", {}), ("Softmax", ["c"], "p", {}),
                   ("MatMul", ["p", "a"], "y", {})],
                  {"s": np.array([1, 6, 64]), "k": np.array([0.1], np.float32)}, (1, 6, 64)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_survives_quantisation(name: str, tmp_path: Path) -> None:
    steps, constants, out = OPERATORS[name]
    path = onnx_models.write(tmp_path / "m.onnx", {"x": IMAGE}, steps, constants, {"y": out})
    _check(path, sqnr_db=25.0)


def test_batch_normalisation_and_activation_vanish(tmp_path: Path) -> None:
    steps, constants, out = OPERATORS["batch_norm_relu6"]
    graph = read_real(onnx_models.write(tmp_path / "m.onnx", {"x": IMAGE}, steps, constants, {"y": out}))
    (conv,) = [op for op in fuse(graph).ops if op.kind != "TRANSPOSE"]
    assert (conv.kind, conv.attrs["activation"], len(conv.inputs)) == ("CONV_2D", "RELU6", 3)


def test_one_dimensional_convolutions_are_fused_as_well(tmp_path: Path) -> None:
    channels = {name: np.abs(_values(seed, 4)) + 0.5 for seed, name in enumerate(("scale", "bias", "mean", "var"))}
    steps: list[Step] = [("Conv", ["x", "w"], "c", {}), ("BatchNormalization", ["c", *channels], "n", {}),
                         ("Clip", ["n", "lo", "hi"], "r", {}), ("Add", ["r", "x"], "y", {})]
    constants = {"w": _values(7, 4, 4, 1), "lo": np.float32(0), "hi": np.float32(6), **channels}
    path = onnx_models.write(tmp_path / "m.onnx", {"x": (1, 4, 30)}, steps, constants, {"y": (1, 4, 30)})
    conv, total = [op for op in fuse(read_real(path)).ops if op.kind not in ("RESHAPE", "TRANSPOSE")]
    assert (conv.kind, conv.attrs["activation"], len(conv.inputs), total.kind) == ("CONV_2D", "RELU6", 3, "ADD")
    _check(path, sqnr_db=25.0)


def test_tensor_that_two_operators_read_is_not_fused_away(tmp_path: Path) -> None:
    steps: list[Step] = [("Conv", ["x", "w"], "c", {}), ("Relu", ["c"], "r", {}), ("Add", ["c", "r"], "y", {})]
    path = onnx_models.write(tmp_path / "m.onnx", {"x": IMAGE}, steps, {"w": _values(1, 6, 6, 1, 1)}, {"y": IMAGE})
    assert "RELU" in [op.kind for op in _check(path, 25.0).graph.ops]


def test_class_is_the_index_of_the_largest_output(tmp_path: Path) -> None:
    steps: list[Step] = [("Flatten", ["x"], "f", {}), ("Gemm", ["f", "w"], "g", {}),
                         ("ArgMax", ["g"], "y", {"axis": 1, "keepdims": 0})]
    path = onnx_models.write(tmp_path / "m.onnx", {"x": IMAGE}, steps, {"w": _values(1, 384, 10)}, {"y": (1,)},
                             out_dtype="int64")
    network, samples = _quantised(path)
    for sample in samples:
        tensor = network.graph.tensors["x"]
        codes = quantize_float(sample["x"], tensor.scale, tensor.zero_point)
        (expected,) = onnx_models.run(path, sample)
        assert execute(network.graph, {"x": codes})["y"] == expected


def test_flattening_moves_no_element(tmp_path: Path) -> None:
    steps: list[Step] = [("Conv", ["x", "c"], "v", {}), ("Flatten", ["v"], "f", {}), ("Gemm", ["f", "w", "b"], "y", {})]
    constants = {"c": _values(1, 6, 6, 3, 1), "w": _values(2, 288, 10), "b": _values(3, 10)}
    path = onnx_models.write(tmp_path / "m.onnx", {"x": IMAGE}, steps, constants, {"y": (1, 10)})
    kinds = [op.kind for op in _check(path, 30.0).graph.ops]
    assert kinds == ["TRANSPOSE", "CONV_2D", "RESHAPE", "FULLY_CONNECTED"]


def test_float_tflite_model_is_quantised(tmp_path: Path) -> None:
    b = TFLiteBuilder()
    x = b.tensor("x", (1, 8, 8, 3), "float32")
    w, c = _values(1, 4, 3, 3, 3), _values(2, 4)
    operands = [x, b.tensor("w", w.shape, "float32", data=w), b.tensor("c", c.shape, "float32", data=c)]
    y = b.tensor("y", (1, 4, 4, 4), "float32")
    b.op("CONV_2D", operands, [y], {"stride_h": 2, "stride_w": 2, "activation": "RELU"})
    path = tmp_path / "m.tflite"
    path.write_bytes(b.build([x], [y]))
    network, samples = _quantised(path)
    _compare_with_micro(network, samples[0])
    (layer,) = measure(network, samples).layers
    assert layer.sqnr_db is not None and layer.sqnr_db > 30


def test_quantised_model_is_refused(tmp_path: Path) -> None:
    path = onnx_models.write(tmp_path / "m.onnx", {"x": IMAGE}, *OPERATORS["conv"][:2], {"y": HALF})
    network, _ = _quantised(path)
    (tmp_path / "q.tflite").write_bytes(network.model)
    with pytest.raises(ModelError, match="must be float32, but it is quantised already"):
        read_real(tmp_path / "q.tflite")


def test_infinite_values_are_refused(tmp_path: Path) -> None:
    graph = read_real(onnx_models.write(tmp_path / "m.onnx", {"x": (1, 4)}, [("Relu", ["x"], "y", {})], {},
                                        {"y": (1, 4)}))
    with pytest.raises(UsageError, match="'x' must be finite"):
        quantise(graph, [{"x": np.full((1, 4), np.inf, np.float32)}])
    with pytest.raises(UsageError, match="at least one sample"):
        quantise(graph, [])
