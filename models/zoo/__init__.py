"""Networks by name: well-known architectures with seeded weights, and trained networks that come with Systolith.

    model: bytes = build("resnet50", size=224)

Seeded networks measure performance and exactness and predict nothing. Trained ones are packages of their own with
the script that trained them; each offers `model_path() -> Path` and `held_out(n=None) -> (inputs, labels)`, samples
that neither training nor calibration has seen.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import architectures, cluttered, digits
from .layers import Layer
from .seeded import build_seeded


@dataclass(frozen=True)
class Entry:
    """One network of the zoo.

    Attributes:
        description: one line.
        architecture: returns its last layer, None when trained; its keyword arguments are the network's options.
        model: file of a trained network, None when seeded.
    """

    description: str
    architecture: Callable[..., Layer] | None = None
    model: Path | None = None

    @property
    def options(self) -> Mapping[str, int | float]:
        """Options and their defaults; a value has the type of its default."""
        if self.architecture is None:
            return {}
        defaults = {name: each.default for name, each in inspect.signature(self.architecture).parameters.items()}
        return {**defaults, "seed": 0}


def _seeded(architecture: Callable[..., Layer]) -> Entry:
    assert architecture.__doc__ is not None, "an architecture is described by its docstring"
    return Entry(architecture.__doc__.splitlines()[0].rstrip("."), architecture)


NETWORKS: dict[str, Entry] = {
    "digits": Entry("trained: handwritten digits, residual CNN", model=digits.model_path()),
    "cluttered": Entry("trained: digits among clutter, depthwise-separable blocks", model=cluttered.model_path()),
    "resnet50": _seeded(architectures.resnet50),
    "mobilenet_v1": _seeded(architectures.mobilenet_v1),
    "mobilenet_v2": _seeded(architectures.mobilenet_v2),
    "efficientnet_lite0": _seeded(architectures.efficientnet_lite0),
    "vgg16": _seeded(architectures.vgg16),
    "unet": _seeded(architectures.unet),
    "resnet8": _seeded(architectures.resnet8),
    "ds_cnn": _seeded(architectures.ds_cnn),
    "autoencoder": _seeded(architectures.autoencoder),
    "gemm": _seeded(architectures.gemm),
}


def build(name: str, **options: Any) -> bytes:
    """Return a network as an int8 .tflite file.

    Args:
        name: key of `NETWORKS`.
        options: options of that network (`Entry.options`), such as `size`, `width`, `classes` and `seed`.

    Raises:
        ValueError: there is no such network or option, or a value is not a positive number (a seed may be 0).
    """
    entry = find(name)
    check_options(name, options)
    if entry.model is not None:
        return entry.model.read_bytes()
    chosen = {**entry.options, **options}
    shown = ", ".join(f"{key} {value}" for key, value in chosen.items())
    return build_seeded(describe(name, **options), chosen["seed"], f"Systolith zoo: {name}, seeded weights, {shown}")


def describe(name: str, **options: Any) -> Layer:
    """Return the last layer of a seeded network; arguments and errors as for `build`."""
    entry = find(name)
    check_options(name, options)
    if entry.architecture is None:
        raise ValueError(f"network must be a seeded one to have layers here, not {name!r}; read its file instead")
    return entry.architecture(**{key: value for key, value in options.items() if key != "seed"})


def find(name: str) -> Entry:
    """Return a network of the zoo. Raises ValueError when there is none of this name."""
    if name not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(NETWORKS)}, not {name!r}")
    return NETWORKS[name]


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError unless the network has these options and their values are of the right kind."""
    known = find(name).options
    for key, value in options.items():
        if key not in known:
            raise ValueError(f"option of {name} must be one of {', '.join(known) or '(it has none)'}, not {key!r}")
        whole = isinstance(known[key], int)
        fits = isinstance(value, int if whole else int | float) and 0 <= value < math.inf
        if not fits or (value == 0 and key != "seed"):
            raise ValueError(f"{key} of {name} must be a positive {'integer' if whole else 'number'}, not {value!r}")
