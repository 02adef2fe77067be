"""Train the cluttered digits network, quantise it and write `cluttered_int8.tflite`.

    python -m systolith.models.zoo.cluttered.train [--output FILE] [--epochs N]

Needs PyTorch and scikit-learn; takes some minutes on one core. Everything is seeded, so that a rerun with the same
PyTorch version on the same kind of computer gives the same file. With tflite-micro installed the accuracy of the
written file is printed as well.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from ...ops_geometry import same_padding
from .. import digits
from ..export import Params, Weights, export
from ..layers import INPUT, Layer, execution_order
from ..ptq import activation_params, quantize_bias, quantize_weights
from . import INPUT_SCALE, INPUT_ZERO_POINT, Images, Labels, architecture, held_out, model_path, scenes

SEED = 1
CALIBRATION_SEED = 1
FIRST_EPOCH_SEED = 1000
EPOCHS = 24
VIEWS = 8  # new images of each digit in every epoch
BATCH = 64
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 1e-3


class Network(nn.Module):
    """The float network of `layers`, with batch normalisation behind each convolution until `fold`.

    Args:
        output: last layer; its kinds must be CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, ADD and MEAN.
    """

    def __init__(self, output: Layer) -> None:
        super().__init__()
        self.layers = execution_order(output)
        self.weighted = nn.ModuleDict({str(i): _module(layer) for i, layer in enumerate(self.layers) if layer.weights})

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map images [n, channels, height, width] to the output of every layer."""
        found: dict[Layer, torch.Tensor] = {}
        for i, layer in enumerate(self.layers):
            inputs = [found[each] for each in layer.inputs]
            if layer.kind == INPUT:
                y = x
            elif layer.kind == "ADD":
                y = inputs[0] + inputs[1]
            elif layer.kind == "MEAN":
                y = inputs[0].mean((2, 3))
            else:
                y = self.weighted[str(i)](_padded(inputs[0], layer) if "padding" in layer.options else inputs[0])
            found[layer] = functional.relu6(y) if layer.options.get("activation") == "RELU6" else y
        return list(found.values())

    def fold(self, layer: Layer) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return weights, in TFLite's order, and bias of a layer with the normalisation behind it folded in."""
        module = self.weighted[str(self.layers.index(layer))]
        with torch.no_grad():
            if isinstance(module, nn.Linear):
                return module.weight.numpy(), module.bias.numpy()
            convolution, norm = module.get_submodule("convolution"), module.get_submodule("norm")
            assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None and norm.running_var is not None, "training has statistics"
            factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            values = (convolution.weight * factor[:, None, None, None]).numpy()
            bias = (norm.bias - norm.running_mean * factor).numpy()
        # OIHW -> OHWI, or for depthwise O1HW -> 1HWO
        order = (1, 2, 3, 0) if layer.kind == "DEPTHWISE_CONV_2D" else (0, 2, 3, 1)
        return np.ascontiguousarray(values.transpose(order)), bias


def _module(layer: Layer) -> nn.Module:
    assert layer.weights is not None, "a layer without weights has no module"
    inputs, outputs = layer.inputs[0].shape[-1], layer.shape[-1]
    if layer.kind == "FULLY_CONNECTED":
        return nn.Linear(inputs, outputs)
    groups = inputs if layer.kind == "DEPTHWISE_CONV_2D" else 1
    _, ky, kx, _ = layer.weights
    convolution = nn.Conv2d(inputs, outputs, (ky, kx), layer.options["stride_h"], groups=groups, bias=False)
    return nn.Sequential(OrderedDict(convolution=convolution, norm=nn.BatchNorm2d(outputs)))


def _padded(x: torch.Tensor, layer: Layer) -> torch.Tensor:
    """Pad as TFLite's SAME does, which is not symmetric for a stride of 2."""
    assert layer.weights is not None, "a layer without weights has no window"
    top, bottom = same_padding(x.shape[2], layer.weights[1], layer.options["stride_h"])
    left, right = same_padding(x.shape[3], layer.weights[2], layer.options["stride_w"])
    return functional.pad(x, (left, right, top, bottom))


def _nchw(images: Images) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def train(images: Images, labels: Labels, epochs: int = EPOCHS, views: int = VIEWS) -> Network:
    """Train from scratch on new scenes with digits float32 [n, 8, 8, 1] and labels int64 [n] in every epoch."""
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # the order of summation, hence the result, depends on the number of threads
    generator = torch.Generator().manual_seed(SEED)
    net = Network(architecture())
    batches = epochs * -(-len(images) * views // BATCH)
    optimiser = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=batches)
    for epoch in range(epochs):
        drawn, drawn_labels = scenes(images, labels, FIRST_EPOCH_SEED + epoch, views * len(images))
        x, y = _nchw(drawn), torch.from_numpy(drawn_labels)
        for batch in torch.randperm(len(x), generator=generator).split(BATCH):
            optimiser.zero_grad()
            loss = functional.cross_entropy(net(x[batch])[-1], y[batch], label_smoothing=0.05)
            loss.backward()
            optimiser.step()
            schedule.step()
        print(f"epoch {epoch + 1} of {epochs}: last loss {loss.item():.3f}", flush=True)
    return net.eval()


def quantise(net: Network, images: Images) -> bytes:
    """Return the network in int8 as a .tflite file, with the ranges that activations have over `images`."""
    with torch.no_grad():
        activations = net(_nchw(images))
    params: dict[Layer, Params] = {}
    weights: dict[Layer, Weights] = {}
    for layer, values in zip(net.layers, activations, strict=True):
        params[layer] = activation_params(values.min().item(), values.max().item())
        if layer.kind == INPUT:
            params[layer] = INPUT_SCALE, INPUT_ZERO_POINT
        elif layer.weights is not None:
            reals, bias = net.fold(layer)
            # a single scale for FULLY_CONNECTED: per-channel scales came to that operator late
            axis = None if layer.kind == "FULLY_CONNECTED" else layer.channel_axis
            quantised, scales = quantize_weights(reals, axis)
            weights[layer] = Weights(quantised, scales, quantize_bias(bias, params[layer.inputs[0]][0], scales)[0])
    return export(net.layers[-1], weights, params, "Systolith cluttered digits: 32x32, depthwise-separable, int8",
                  {net.layers[0]: "image", net.layers[-1]: "logits"})


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
    parser = argparse.ArgumentParser(description="Train the cluttered digits network and write it as a .tflite file.")
    parser.add_argument("--output", type=Path, default=model_path(), help="file to write (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="passes over the digits (default: %(default)s)")
    parser.add_argument("--views", type=int, default=VIEWS, help="images of each per pass (default: %(default)s)")
    args = parser.parse_args()

    train_x, train_y, _, _ = digits.split()
    net = train(train_x, train_y, args.epochs, args.views)
    test_x, test_y = held_out()
    with torch.no_grad():
        reals = (test_x.astype(np.float32) - INPUT_ZERO_POINT) * INPUT_SCALE
        predicted = net(_nchw(reals))[-1].argmax(1).numpy()
    print(f"float32 accuracy on {len(test_y)} held-out samples: {(predicted == test_y).mean():.4f}")
    model = quantise(net, scenes(train_x, train_y, CALIBRATION_SEED, len(train_x))[0])
    accuracy = int8_accuracy(model)
    measured = "not measured, tflite-micro is not installed" if accuracy is None else f"{accuracy:.4f}"
    print(f"int8 accuracy: {measured}")
    args.output.write_bytes(model)
    print(f"wrote {args.output}, {len(model):,} bytes")


if __name__ == "__main__":
    main()
