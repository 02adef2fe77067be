"""Train the digits network, quantise it and write `digits_int8.tflite`.

    python -m systolith.models.zoo.digits.train [--output FILE] [--epochs N]

Needs PyTorch and scikit-learn; takes about a minute on one core. Everything is seeded, so that a rerun with the same
PyTorch version gives the same file. With tflite-micro installed the accuracy of the written file is printed as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from ...tflite_writer import TFLiteBuilder
from ..ptq import activation_params, quantize_bias, quantize_weights
from . import INPUT_SCALE, INPUT_ZERO_POINT, held_out, model_path, split

SEED = 1
EPOCHS = 80
BATCH = 32
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-3
CLASSES = 10

Params = tuple[np.float32, int]  # scale and zero point of an activation


class DigitsNet(nn.Module):
    """The float network. `forward` returns every activation by name, as calibration needs them all."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1)
        self.conv3 = nn.Conv2d(16, 16, 3, padding=1)
        self.conv4 = nn.Conv2d(16, 32, 3, stride=2)
        self.fc = nn.Linear(32, CLASSES)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Map images [n, 1, 8, 8] to activations; "logits" is [n, 10]."""
        conv1 = functional.relu(self.conv1(x))
        conv2 = functional.relu(self.conv2(conv1))
        conv3 = self.conv3(conv2)
        add = functional.relu(conv1 + conv3)
        pool = functional.max_pool2d(add, 2)
        # TFLite's SAME for stride 2 on an even size pads after the image only
        conv4 = functional.relu(self.conv4(functional.pad(pool, (0, 1, 0, 1))))
        logits = self.fc(functional.avg_pool2d(conv4, 2).flatten(1))
        return {"conv1": conv1, "conv2": conv2, "conv3": conv3, "add": add, "conv4": conv4, "logits": logits}


def _nchw(images: npt.NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def _shifted(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Move the batch by up to one pixel in each direction."""
    dy, dx = (int(v) for v in torch.randint(0, 3, (2,), generator=generator))
    return functional.pad(images, (1, 1, 1, 1))[:, :, dy:dy + images.shape[2], dx:dx + images.shape[3]]


def train(images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], epochs: int = EPOCHS) -> DigitsNet:
    """Train from scratch on images float32 [n, 8, 8, 1] and labels int64 [n]."""
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # the order of summation, hence the result, depends on the number of threads
    generator = torch.Generator().manual_seed(SEED)
    x, y = _nchw(images), torch.from_numpy(labels)
    net = DigitsNet()
    optimiser = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(BATCH):
            optimiser.zero_grad()
            logits = net(_shifted(x[batch], generator))["logits"]
            functional.cross_entropy(logits, y[batch], label_smoothing=0.05).backward()
            optimiser.step()
        schedule.step()
    return net.eval()


def calibrate(net: DigitsNet, images: npt.NDArray[np.float32]) -> dict[str, Params]:
    """Return each activation's scale and zero point from its minimum and maximum over `images`."""
    with torch.no_grad():
        activations = net(_nchw(images))
    return {name: activation_params(value.min().item(), value.max().item()) for name, value in activations.items()}


def export(net: DigitsNet, params: dict[str, Params]) -> bytes:
    """Quantise the network with these activation parameters and return it as a .tflite file."""
    b = TFLiteBuilder("Systolith digits: 8x8 handwritten digits, residual CNN, int8")

    def activation(name: str, shape: Sequence[int], quantisation: Params) -> int:
        scale, zero_point = quantisation
        return b.tensor(name, (1, *shape), "int8", scale, zero_point)

    def weights_and_bias(name: str, layer: nn.Conv2d | nn.Linear, input_scale: np.float32) -> tuple[int, int]:
        parameters = {key: value.detach().numpy() for key, value in layer.named_parameters()}
        values = parameters["weight"]
        if isinstance(layer, nn.Conv2d):
            values = values.transpose(0, 2, 3, 1)  # OIHW -> OHWI
        # a single scale for FULLY_CONNECTED: per-channel scales came to that operator late, many readers refuse them
        weights, scales = quantize_weights(values, axis=0 if isinstance(layer, nn.Conv2d) else None)
        bias, bias_scales = quantize_bias(parameters["bias"], input_scale, scales)
        return (b.tensor(f"{name}/weights", weights.shape, "int8", scales, data=weights),
                b.tensor(f"{name}/bias", bias.shape, "int32", bias_scales, data=bias))

    def conv(name: str, layer: nn.Conv2d, x: int, input_scale: np.float32, shape: Sequence[int],
             act: str = "RELU") -> int:
        y = activation(name, shape, params[name])
        b.op("CONV_2D", [x, *weights_and_bias(name, layer, input_scale)], [y],
             {"stride_h": layer.stride[0], "stride_w": layer.stride[1], "activation": act})
        return y

    x = activation("image", (8, 8, 1), (INPUT_SCALE, INPUT_ZERO_POINT))
    conv1 = conv("conv1", net.conv1, x, INPUT_SCALE, (8, 8, 16))
    conv2 = conv("conv2", net.conv2, conv1, params["conv1"][0], (8, 8, 16))
    conv3 = conv("conv3", net.conv3, conv2, params["conv2"][0], (8, 8, 16), act="NONE")
    add = activation("add", (8, 8, 16), params["add"])
    b.op("ADD", [conv1, conv3], [add], {"activation": "RELU"})
    pool = activation("max_pool", (4, 4, 16), params["add"])  # pooling and reshaping keep the parameters
    b.op("MAX_POOL_2D", [add], [pool], {"stride_h": 2, "stride_w": 2, "padding": "VALID"})
    conv4 = conv("conv4", net.conv4, pool, params["add"][0], (2, 2, 32))
    mean = activation("average_pool", (1, 1, 32), params["conv4"])
    b.op("AVERAGE_POOL_2D", [conv4], [mean], {"stride_h": 2, "stride_w": 2, "padding": "VALID"})
    features = activation("features", (32,), params["conv4"])
    shape = b.tensor("features/shape", (2,), "int32", data=np.array([1, 32], np.int32))
    b.op("RESHAPE", [mean, shape], [features], {"new_shape": [1, 32]})
    logits = activation("logits", (CLASSES,), params["logits"])
    b.op("FULLY_CONNECTED", [features, *weights_and_bias("fc", net.fc, params["conv4"][0])], [logits])
    probabilities = activation("probabilities", (CLASSES,), (np.float32(1 / 256), -128))  # fixed by TFLite
    b.op("SOFTMAX", [logits], [probabilities])
    return b.build([x], [probabilities])


def int8_accuracy(model: bytes) -> float | None:
    """Return the share of held-out samples that TFLite Micro classifies rightly, None where it is not installed."""
    try:
        from tflite_micro import runtime
    except ImportError:
        return None
    interpreter = runtime.Interpreter.from_bytes(model)
    images, labels = held_out()
    right = 0
    for image, label in zip(images, labels, strict=True):
        interpreter.set_input(image[None], 0)
        interpreter.invoke()
        right += int(interpreter.get_output(0).argmax() == label)
    return right / len(labels)


def main() -> None:
    """Train, quantise, report and write."""
    parser = argparse.ArgumentParser(description="Train the digits network and write it as an int8 .tflite file.")
    parser.add_argument("--output", type=Path, default=model_path(), help="file to write (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="passes over the data (default: %(default)s)")
    args = parser.parse_args()

    train_x, train_y, test_x, test_y = split()
    net = train(train_x, train_y, args.epochs)
    with torch.no_grad():
        predicted = net(_nchw(test_x))["logits"].argmax(1).numpy()
    print(f"float32 accuracy on {len(test_y)} held-out samples: {(predicted == test_y).mean():.4f}")
    model = export(net, calibrate(net, train_x))
    accuracy = int8_accuracy(model)
    measured = "not measured, tflite-micro is not installed" if accuracy is None else f"{accuracy:.4f}"
    print(f"int8 accuracy: {measured}")
    args.output.write_bytes(model)
    print(f"wrote {args.output}, {len(model):,} bytes")


if __name__ == "__main__":
    main()
