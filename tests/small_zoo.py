"""Options that make the zoo's seeded networks small, for tests."""

from __future__ import annotations

from typing import Any

# Small enough for seconds in all, with every kind of layer of the full size.
SMALL: dict[str, dict[str, Any]] = {
    "resnet50": {"size": 64, "width": 0.25, "classes": 50},
    "mobilenet_v1": {"size": 48, "width": 0.25, "classes": 50},
    "mobilenet_v2": {"size": 48, "width": 0.25, "classes": 50},
    "efficientnet_lite0": {"size": 48, "width": 0.25, "classes": 50},
    "vgg16": {"size": 32, "width": 0.125, "classes": 50},
    "unet": {"size": 32, "channels": 8, "depth": 2},
    "resnet8": {},
    "ds_cnn": {},
    "autoencoder": {},
    "gemm": {"n": 40},
}
