"""The digits network: its file, its held-out samples and its accuracy on the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import tflite

from systolith.models.zoo import digits

pytest.importorskip("sklearn", reason="the digits data come from scikit-learn; install the test extra")

REQUIRED_ACCURACY = 0.97


@pytest.fixture(scope="module")
def graph() -> tflite.SubGraph:
    return tflite.Model.GetRootAs(digits.model_path().read_bytes()).Subgraphs(0)


def test_file_is_small() -> None:
    assert digits.model_path().stat().st_size < 60_000


def test_int8_accuracy_on_tflite_micro() -> None:
    runtime = pytest.importorskip("tflite_micro", reason="tflite-micro is the oracle; install the test extra").runtime
    interpreter = runtime.Interpreter.from_file(str(digits.model_path()))
    images, labels = digits.held_out()
    predicted = []
    for image in images:
        interpreter.set_input(image[None], 0)
        interpreter.invoke()
        predicted.append(int(interpreter.get_output(0).argmax()))
    accuracy = float(np.mean(np.array(predicted) == labels))
    assert accuracy >= REQUIRED_ACCURACY


def test_input_parameters_are_those_of_held_out(graph: tflite.SubGraph) -> None:
    image = graph.Tensors(graph.Inputs(0))
    assert image.Type() == tflite.TensorType.INT8
    assert image.ShapeAsNumpy().tolist() == [1, 8, 8, 1]
    assert image.Quantization().ScaleAsNumpy().tolist() == [digits.INPUT_SCALE]
    assert image.Quantization().ZeroPointAsNumpy().tolist() == [digits.INPUT_ZERO_POINT]


def test_output_is_int8_probabilities(graph: tflite.SubGraph) -> None:
    output = graph.Tensors(graph.Outputs(0))
    assert (output.Type(), output.ShapeAsNumpy().tolist()) == (tflite.TensorType.INT8, [1, 10])
    assert output.Quantization().ScaleAsNumpy().tolist() == [1 / 256]


def test_convolutions_are_quantised_per_channel(graph: tflite.SubGraph) -> None:
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        if tensor.Name().startswith(b"conv") and tensor.Name().endswith(b"/weights"):
            assert tensor.Quantization().ScaleLength() == tensor.Shape(0)


def test_held_out_dequantises_to_the_images() -> None:
    images, labels = digits.held_out()
    _, _, reals, real_labels = digits.split()
    assert images.dtype == np.int8 and images.shape == (540, 8, 8, 1)
    assert images.min() == -128 and images.max() == 127
    error = (images.astype(np.float32) - digits.INPUT_ZERO_POINT) * digits.INPUT_SCALE - reals
    assert np.abs(error).max() <= 0.501 * digits.INPUT_SCALE
    np.testing.assert_array_equal(labels, real_labels)


def test_held_out_is_disjoint_stratified_and_repeatable() -> None:
    train_x, _, test_x, test_y = digits.split()
    assert not {x.tobytes() for x in train_x} & {x.tobytes() for x in test_x}
    assert np.bincount(test_y).min() >= 52
    images, labels = digits.held_out(7)
    np.testing.assert_array_equal(images, digits.held_out()[0][:7])
    assert labels.tolist() == test_y[:7].tolist()


def test_training_script_writes_a_model_that_runs(tmp_path, monkeypatch, capsys) -> None:
    pytest.importorskip("torch", reason="training needs PyTorch; install the train extra")
    from systolith.models.zoo.digits import train

    monkeypatch.setattr("sys.argv", ["train", "--epochs", "1", "--output", str(tmp_path / "model.tflite")])
    train.main()

    written = tflite.Model.GetRootAs((tmp_path / "model.tflite").read_bytes()).Subgraphs(0)
    assert written.OperatorsLength() == 10
    assert "int8 accuracy: 0." in capsys.readouterr().out
