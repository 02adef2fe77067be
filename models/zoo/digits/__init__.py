"""Handwritten digits, 8x8 grey: a residual CNN in int8 and its held-out samples.

The model file maps int8 [1, 8, 8, 1] to int8 [1, 10], the softmax over the ten digits. It was written by
`python -m systolith.models.zoo.digits.train`. The samples are scikit-learn's `load_digits`, 1,797 images from the
UCI "Optical Recognition of Handwritten Digits" set; 30 % of them, chosen per class by a fixed seed, are held out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...quantise import quantize_float

MAX_PIXEL = 16  # grey levels of the data set are 0 (paper) to 16 (ink)
INPUT_SCALE = np.float32(1 / 255)  # the model sees pixel / MAX_PIXEL, 0.0 to 1.0
INPUT_ZERO_POINT = -128
HELD_OUT_FRACTION = 0.3
SPLIT_SEED = 0


def model_path() -> Path:
    """Return the path of the quantised model, `digits_int8.tflite`."""
    return Path(__file__).with_name("digits_int8.tflite")


def split() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return (train images, train labels, held-out images, held-out labels).

    Images are float32 [n, 8, 8, 1] from 0 to 1, labels int64 [n].

    Raises:
        ImportError: scikit-learn, which carries the data, is not installed.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError("the digits data must come from scikit-learn, which is missing; "
                          "do `pip install scikit-learn`") from error
    digits = load_digits()
    images = (digits.images / MAX_PIXEL).astype(np.float32)[..., None]
    train_x, test_x, train_y, test_y = train_test_split(
        images, digits.target, test_size=HELD_OUT_FRACTION, random_state=SPLIT_SEED, stratify=digits.target)
    return train_x, train_y.astype(np.int64), test_x, test_y.astype(np.int64)


def held_out(n: int | None = None) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int64]]:
    """Return the first `n` held-out samples (all 540 by default) as the model's input and their labels.

    Returns:
        int8 images [n, 8, 8, 1], quantised with `INPUT_SCALE` and `INPUT_ZERO_POINT`, and int64 labels [n].

    Raises:
        ImportError: scikit-learn is not installed.
    """
    _, _, images, labels = split()
    return quantize_float(images[:n], INPUT_SCALE, INPUT_ZERO_POINT).astype(np.int8), labels[:n]
