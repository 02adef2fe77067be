"""From a trained float network to an int8 model on a device: accuracy is kept, and all devices give the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnxruntime.quantization import QuantFormat, QuantType
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from systolith.host.runtime import Session
from tests import onnx_models
from tests.onnx_models import Step

COMMAND = [sys.executable, "-c", "import sys; from systolith.host.cli import main; main(sys.argv[1:])"]
TRAINED = 1200


def _run(*args: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    found = subprocess.run([*COMMAND, *map(str, args)], capture_output=True, text=True, check=False)
    assert found.returncode == code, found.stderr
    return found


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [n, 1, 8, 8] and labels of scikit-learn's handwritten digits."""
    found = load_digits()
    return (found.images[:, None] / 16).astype(np.float32), found.target


@pytest.fixture(scope="module")
def perceptron(digits: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained network of two dense layers."""
    x, y = digits
    net = MLPClassifier((40,), max_iter=60, random_state=1).fit(x[:TRAINED].reshape(TRAINED, -1), y[:TRAINED])
    constants = {f"{kind}{i}": values.astype(np.float32) for kind, arrays in
                 (("w", net.coefs_), ("b", net.intercepts_)) for i, values in enumerate(arrays)}
    steps: list[Step] = [("Flatten", ["x"], "f", {}), ("Gemm", ["f", "w0", "b0"], "h", {}), ("Relu", ["h"], "r", {}),
                         ("Gemm", ["r", "w1", "b1"], "l", {}), ("Softmax", ["l"], "y", {})]
    return onnx_models.write(tmp_path_factory.mktemp("perceptron") / "mlp.onnx", {"x": ["n", 1, 8, 8]}, steps,
                             constants, {"y": ["n", 10]})


@pytest.fixture(scope="module")
def convolutional(digits: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random convolutions with batch normalisation, and a trained dense layer behind them."""
    x, y = digits
    rng = np.random.default_rng(3)
    constants = {"w": rng.normal(size=(24, 1, 3, 3)), "s": rng.uniform(0.5, 2, 24), "o": rng.normal(size=24) * 0.3,
                 "m": rng.normal(size=24) * 0.2, "v": rng.uniform(0.5, 2, 24), "d": rng.normal(size=(24, 1, 3, 3)) / 2}
    steps: list[Step] = [
        ("Conv", ["x", "w"], "c", {"pads": [1, 1, 1, 1]}), ("BatchNormalization", ["c", "s", "o", "m", "v"], "n", {}),
        ("Relu", ["n"], "r", {}), ("Conv", ["r", "d"], "e", {"group": 24, "pads": [1, 1, 1, 1]}),
        ("Add", ["e", "r"], "a", {}), ("MaxPool", ["a"], "p", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Flatten", ["p"], "f", {})]
    folder = tmp_path_factory.mktemp("convolutional")
    held = {name: values.astype(np.float32) for name, values in constants.items()}
    features = onnx_models.write(folder / "features.onnx", {"x": ["n", 1, 8, 8]}, steps, held, {"f": ["n", 384]})
    (found,) = onnx_models.run(features, {"x": x[:TRAINED]})
    head = LogisticRegression(max_iter=300).fit(found, y[:TRAINED])
    held |= {"wf": head.coef_.astype(np.float32), "bf": head.intercept_.astype(np.float32)}
    return onnx_models.write(folder / "conv.onnx", {"x": ["n", 1, 8, 8]},
                             [*steps, ("Gemm", ["f", "wf", "bf"], "y", {"transB": 1})], held, {"y": ["n", 10]})


@pytest.mark.parametrize("observer", ["minmax", "percentile"])
@pytest.mark.parametrize("name", ["perceptron", "convolutional"])
def test_trained_network_keeps_its_accuracy(name: str, observer: str, digits: tuple[np.ndarray, np.ndarray],
                                            tmp_path: Path, request: pytest.FixtureRequest) -> None:
    model: Path = request.getfixturevalue(name)
    x, y = digits
    for file, values in (("x", x[:150]), ("test", x[TRAINED:]), ("labels", y[TRAINED:])):
        np.save(tmp_path / f"{file}.npy", values)
    output, report = tmp_path / "int8.tflite", tmp_path / "report.json"
    printed = _run("quantize", model, "-o", output, "--calibration", tmp_path / "x.npy", "--observer", observer,
                   "--evaluate", tmp_path / "test.npy", "--labels", tmp_path / "labels.npy", "--report", report).stdout
    found = json.loads(report.read_text())
    assert found["float_accuracy"] > 0.88
    assert found["int8_accuracy"] > found["float_accuracy"] - 0.01
    assert found["top1_agreement"] > 0.98
    assert f"same class as float32: {found['top1_agreement']:.2%} of {len(y) - TRAINED} samples" in printed
    with Session(output, "golden") as golden, Session(output, "sim", preset="tiny") as sim:
        expected, outputs = golden.run(x[TRAINED:TRAINED + 40]), sim.run(x[TRAINED:TRAINED + 40])
    np.testing.assert_array_equal(outputs["y"], expected["y"])
    assert (expected["y"].argmax(axis=1) == y[TRAINED:TRAINED + 40]).mean() > 0.85


@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator])
def test_quantised_onnx_model_runs_like_onnxruntime(form: QuantFormat, convolutional: Path,
                                                    digits: tuple[np.ndarray, np.ndarray]) -> None:
    x, _ = digits
    path = onnx_models.quantise(convolutional, [{"x": x[i:i + 1]} for i in range(100)], form, QuantType.QUInt8)
    with Session(path, "sim", preset="tiny") as session:
        outputs = session.run(x[TRAINED:TRAINED + 50])["y"]
    with Session(path, "golden") as session:
        np.testing.assert_array_equal(session.run(x[TRAINED:TRAINED + 50])["y"], outputs)
    expected = np.concatenate([onnx_models.run(path, {"x": x[i:i + 1]})[0] for i in range(TRAINED, TRAINED + 50)])
    assert outputs.dtype == np.float32
    assert (outputs.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.98
    assert np.abs(outputs - expected).max() < 0.05 * np.abs(expected).max()


def test_exported_pytorch_network_is_quantised(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript", reason="PyTorch's exporter needs onnxscript")
    nn = torch.nn
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6(), nn.MaxPool2d(2),
                        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.Hardswish(), nn.AdaptiveAvgPool2d(1),
                        nn.Flatten(), nn.Linear(16, 5)).eval()
    torch.onnx.export(net, (torch.zeros(1, 3, 16, 16),), tmp_path / "net.onnx", input_names=["x"], output_names=["y"])
    samples = np.random.default_rng(0).normal(size=(20, 3, 16, 16)).astype(np.float32)
    np.save(tmp_path / "x.npy", samples)
    output = tmp_path / "net.tflite"
    _run("quantize", tmp_path / "net.onnx", "-o", output, "--calibration", tmp_path / "x.npy")
    with Session(output, "golden") as session:
        found = session.run(samples, dequantize=True)["y"]
    expected = net(torch.from_numpy(samples)).detach().numpy()
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize(("args", "problem"), [
    (("--calibration", "missing.npy"), "missing.npy must be a readable file"),
    (("--calibration", "flat.npy"), "must have shape (N, 1, 8, 8), not (4, 64)"),
    (("--calibration", "bytes.npy"), "must be float32, scaled as the network was trained, not uint8"),
    (("--calibration", "x.npy", "--observer", "mean"), "observer must be minmax or percentile, not mean"),
    (("--calibration", "x.npy", "--labels", "x.npy"), "labels must be integers of shape (4,)"),
])
def test_mistakes_are_one_line(args: tuple[str, ...], problem: str, perceptron: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((4, 1, 8, 8), np.float32))
    np.save(tmp_path / "flat.npy", np.ones((4, 64), np.float32))
    np.save(tmp_path / "bytes.npy", np.ones((4, 1, 8, 8), np.uint8))
    files = [tmp_path / arg if arg.endswith(".npy") else arg for arg in args]
    error = _run("quantize", perceptron, "-o", tmp_path / "out.tflite", *files, code=2).stderr
    assert error.startswith("systolith: error: ") and error.count("\n") == 1
    assert problem in error
    assert not (tmp_path / "out.tflite").exists()
