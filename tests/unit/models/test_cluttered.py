"""The cluttered digits network: its images, its file and its accuracy on the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tflite

from systolith.models.zoo import cluttered, digits
from systolith.models.zoo.layers import execution_order, macs, parameters

pytest.importorskip("sklearn", reason="the digits data come from scikit-learn; install the test extra")

REQUIRED_ACCURACY = 0.93


def test_file_is_small_and_has_the_architecture() -> None:
    raw = cluttered.model_path().read_bytes()
    graph = tflite.Model.GetRootAs(raw).Subgraphs(0)
    order = execution_order(cluttered.architecture())

    assert len(raw) < 100_000
    assert graph.OperatorsLength() == len(order) - 1
    assert sum(layer.kind == "DEPTHWISE_CONV_2D" for layer in order) == 5
    assert (macs(order[-1]), parameters(order[-1])) == (1_097_664, 17_322)


def test_int8_accuracy_on_tflite_micro() -> None:
    runtime = pytest.importorskip("tflite_micro", reason="tflite-micro is the oracle; install the test extra").runtime
    interpreter = runtime.Interpreter.from_file(str(cluttered.model_path()))
    images, labels = cluttered.held_out()
    predicted = []
    for image in images:
        interpreter.set_input(image[None], 0)
        interpreter.invoke()
        predicted.append(int(interpreter.get_output(0).argmax()))

    assert float(np.mean(np.array(predicted) == labels)) >= REQUIRED_ACCURACY


def test_input_parameters_are_those_of_held_out() -> None:
    graph = tflite.Model.GetRootAs(cluttered.model_path().read_bytes()).Subgraphs(0)
    image = graph.Tensors(graph.Inputs(0))

    assert image.ShapeAsNumpy().tolist() == [1, 32, 32, 1]
    assert image.Quantization().ScaleAsNumpy().tolist() == [cluttered.INPUT_SCALE]
    assert image.Quantization().ZeroPointAsNumpy().tolist() == [cluttered.INPUT_ZERO_POINT]


def test_scenes_are_repeatable_and_each_is_new() -> None:
    images, labels, _, _ = digits.split()
    first, first_labels = cluttered.scenes(images[:5], labels[:5], seed=3, n=10)
    again, _ = cluttered.scenes(images[:5], labels[:5], seed=3, n=10)

    np.testing.assert_array_equal(first, again)
    assert first.shape == (10, 32, 32, 1) and first.dtype == np.float32 and 0 <= first.min() <= first.max() <= 1
    assert len({scene.tobytes() for scene in first}) == 10
    assert first_labels.tolist() == [*labels[:5], *labels[:5]]


def test_held_out_scenes_show_held_out_digits() -> None:
    _, _, _, labels = digits.split()
    images, repeated = cluttered.held_out(700)

    assert images.dtype == np.int8 and images.shape == (700, 32, 32, 1)
    np.testing.assert_array_equal(repeated, np.tile(labels, 2)[:700])


def test_a_placed_digit_keeps_its_ink_and_its_centre() -> None:
    digit = np.ones((8, 8), np.float32)
    canvas = cluttered._placed(digit, 16.0, 0.3, 12.0, 20.0)

    rows, columns = np.mgrid[:32, :32] + 0.5
    assert canvas.sum() == pytest.approx(16 * 16, rel=0.02)
    assert (canvas * rows).sum() / canvas.sum() == pytest.approx(12, abs=0.05)
    assert (canvas * columns).sum() / canvas.sum() == pytest.approx(20, abs=0.05)


def test_training_script_writes_a_model_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="training needs PyTorch; install the train extra")
    from systolith.models.zoo.cluttered import train

    monkeypatch.setattr(train, "held_out", lambda: cluttered.held_out(20))
    monkeypatch.setattr(digits, "split", lambda split=digits.split: tuple(each[:64] for each in split()))
    monkeypatch.setattr("sys.argv", ["train", "--epochs", "1", "--views", "1", "--output", str(tmp_path / "m.tflite")])
    train.main()

    written = tflite.Model.GetRootAs((tmp_path / "m.tflite").read_bytes()).Subgraphs(0)
    assert written.OperatorsLength() == 15
    assert "int8 accuracy: 0." in capsys.readouterr().out


def test_folding_keeps_the_output() -> None:
    torch = pytest.importorskip("torch", reason="training needs PyTorch; install the train extra")
    from systolith.models.zoo.cluttered.train import Network

    net = Network(cluttered.architecture()).eval()
    layer = net.layers[2]
    module = net.weighted["2"]
    for buffer in module.buffers():
        if buffer.ndim:
            torch.nn.init.uniform_(buffer, 0.5, 2.0)
    x = torch.rand(1, layer.inputs[0].shape[3], 6, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = module(x).numpy()
    values, bias = net.fold(layer)

    found = [(x[0, c, ky:ky + 4, kx:kx + 4].numpy() * values[0, ky, kx, c])
             for c in range(16) for ky in range(3) for kx in range(3)]
    sums = np.reshape(found, (16, 9, 4, 4)).sum(axis=1)
    np.testing.assert_allclose(sums + bias[:, None, None], expected[0], atol=1e-5)
