"""Cluttered digits, 32x32 grey: a network of depthwise-separable blocks in int8 and its held-out samples.

The model file maps int8 [1, 32, 32, 1] to int8 [1, 10], the logits of the ten digits. It was written by
`python -m systolith.models.zoo.cluttered.train`. An image shows one handwritten digit of `zoo.digits`, scaled, turned
and moved at random, among fragments of others and noise. The digits of held-out images are the held-out digits there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...quantise import quantize_float
from .. import digits
from ..layers import Layer, add, conv, dense, depthwise, global_average, image

SIZE = 32
CLASSES = 10
INPUT_SCALE = np.float32(1 / 255)  # the model sees 0.0 (paper) to 1.0 (ink)
INPUT_ZERO_POINT = -128
HELD_OUT_SEED = 1
VIEWS = 2  # images of each held-out digit

_DIGIT_SIDE = (14.0, 24.0)  # pixels
_TURN = np.deg2rad(25)
_FRAGMENTS = 4
_FRAGMENT_SIDE = 6
_NOISE = 0.08

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def model_path() -> Path:
    """Return the path of the quantised model, `cluttered_int8.tflite`."""
    return Path(__file__).with_name("cluttered_int8.tflite")


def architecture() -> Layer:
    """Return the last layer of the network, of which `train` finds the weights."""
    x = conv(image(SIZE, SIZE, 1), 16, 3, 2, "RELU6")
    for channels, stride in ((32, 1), (32, 1), (64, 2), (64, 1), (96, 2)):
        y = conv(depthwise(x, 3, stride, "RELU6"), channels, activation="NONE" if x.shape[3] == channels else "RELU6")
        x = add(x, y, "RELU6") if x.shape == y.shape else y
    return dense(global_average(x), CLASSES)


def scenes(images: Images, labels: Labels, seed: int, n: int) -> tuple[Images, Labels]:
    """Return `n` cluttered images that show the digits in turn, the same for the same seed.

    Args:
        images: digits, float32 [k, 8, 8, 1] from 0 to 1, which are also what the fragments are cut from.
        labels: int64 [k].
        seed: another one gives other images.
        n: images to make; where it is more than k, digits appear again, drawn anew.

    Returns:
        float32 [n, 32, 32, 1] from 0 to 1 and int64 [n].
    """
    rng = np.random.default_rng(seed)
    shown = np.arange(n) % len(images)
    drawn = np.stack([_scene(images[index, ..., 0], images, rng) for index in shown])
    return drawn[..., None].astype(np.float32), labels[shown]


def held_out(n: int | None = None) -> tuple[npt.NDArray[np.int8], Labels]:
    """Return the first `n` held-out samples (all 1,080 by default) as the model's input and their labels.

    Returns:
        int8 images [n, 32, 32, 1], quantised with `INPUT_SCALE` and `INPUT_ZERO_POINT`, and int64 labels [n].

    Raises:
        ImportError: scikit-learn, which carries the digits, is not installed.
    """
    _, _, images, labels = digits.split()
    everything = VIEWS * len(images)
    reals, shown = scenes(images, labels, HELD_OUT_SEED, everything if n is None else min(n, everything))
    return quantize_float(reals, INPUT_SCALE, INPUT_ZERO_POINT).astype(np.int8), shown


def _scene(digit: npt.NDArray[np.float32], others: Images, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    canvas = np.zeros((SIZE, SIZE))
    for other in rng.integers(0, len(others), _FRAGMENTS):
        top, left = rng.integers(0, SIZE - _FRAGMENT_SIDE + 1, 2)
        whole = _placed(others[other, ..., 0], *_pose(rng))
        y, x = rng.integers(SIZE // 4, SIZE // 2, 2)  # near the middle, where there is some of the digit
        patch = canvas[top:top + _FRAGMENT_SIDE, left:left + _FRAGMENT_SIDE]
        np.maximum(patch, whole[y:y + _FRAGMENT_SIDE, x:x + _FRAGMENT_SIDE], out=patch)
    side, angle, *_ = _pose(rng)
    reach = (SIZE - side) / 2
    y, x = SIZE / 2 + rng.uniform(-reach, reach, 2)
    np.maximum(canvas, _placed(digit, side, angle, y, x), out=canvas)
    return (canvas * rng.uniform(0.6, 1.0) + rng.normal(0, _NOISE, canvas.shape)).clip(0, 1)


def _pose(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Return side, angle and centre (y, x) of a digit in the middle of the canvas."""
    return rng.uniform(*_DIGIT_SIDE), rng.uniform(-_TURN, _TURN), SIZE / 2, SIZE / 2


def _placed(digit: npt.NDArray[np.float32], side: float, angle: float, y: float, x: float) -> npt.NDArray[np.float64]:
    """Return a canvas with the digit, bilinearly interpolated, `side` pixels wide, turned, its centre at (y, x)."""
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    step = len(digit) / side
    cos, sin = np.cos(angle) * step, np.sin(angle) * step
    v = (rows - y) * cos - (columns - x) * sin + len(digit) / 2 + 0.5  # in the padded digit, pixel centres at .0
    u = (rows - y) * sin + (columns - x) * cos + len(digit) / 2 + 0.5
    padded = np.pad(digit.astype(np.float64), 1)
    last = len(padded) - 1
    v, u = v.clip(0, last), u.clip(0, last)
    v0, u0 = np.minimum(v.astype(int), last - 1), np.minimum(u.astype(int), last - 1)
    fv, fu = v - v0, u - u0
    above = padded[v0, u0] * (1 - fu) + padded[v0, u0 + 1] * fu
    below = padded[v0 + 1, u0] * (1 - fu) + padded[v0 + 1, u0 + 1] * fu
    return above * (1 - fv) + below * fv
