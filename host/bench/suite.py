"""The networks that `bench networks` knows by name, where their models are, and what others need for them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...models import zoo
from ..errors import UsageError
from ..frontends.tflite import read_tflite
from ..graph import Graph

REFERENCE = "Gemmini 16x16"
REFERENCE_ROWS = 16
"""Rows of the array that the reference cycles were measured on; another size has no comparison."""


@dataclass(frozen=True)
class Benchmark:
    """One network of the suite.

    Attributes:
        network: name in the zoo, for the same architecture with seeded weights (or a trained network).
        options: options of it.
        file: published model, used in its place when it is in `data_dir()`.
        reference_cycles: cycles that `REFERENCE` takes, measured on its RTL in simulation, or None.
        long: runs only when it is asked for.
    """

    network: str
    options: Mapping[str, Any] = field(default_factory=dict)
    file: str | None = None
    reference_cycles: int | None = None
    long: bool = False


SUITE: dict[str, Benchmark] = {
    "digits": Benchmark("digits"),
    "cluttered": Benchmark("cluttered"),
    "ic_resnet8": Benchmark("resnet8", {}, "ic_resnet8_int8.tflite", 84_942),
    "kws_dscnn": Benchmark("ds_cnn", {}, "kws_dscnn_int8.tflite", 252_797),
    "vww": Benchmark("mobilenet_v1", {"size": 96, "width": 0.25, "classes": 2}, "vww_mobilenetv1_025_96_int8.tflite",
                     1_099_292),
    "ad_autoencoder": Benchmark("autoencoder", {}, "ad_autoencoder_int8.tflite", 33_873),
    "gemm_64": Benchmark("gemm", {"n": 64}, None, 2_340),
    "gemm_512": Benchmark("gemm", {"n": 512}, None, 539_016),
    "mobilenet_v1": Benchmark("mobilenet_v1", {}, None, 18_740_000, long=True),
    "mobilenet_v2": Benchmark("mobilenet_v2", {"classes": 1001}, "mobilenetv2_10_224_int8.tflite", long=True),
    "efficientnet_lite0": Benchmark("efficientnet_lite0", long=True),
    "unet": Benchmark("unet", long=True),
    "resnet50": Benchmark("resnet50", {}, None, 21_600_000, long=True),
    "vgg16": Benchmark("vgg16", long=True),
}


def data_dir() -> Path:
    """Return the folder of published models and samples: `$SYSTOLITH_DATA`, else `shared/data` beside the repository.

    It need not exist.
    """
    given = os.environ.get("SYSTOLITH_DATA")
    return Path(given) if given else Path(__file__).resolve().parents[3] / "shared" / "data"


def select(names: str | None = None, everything: bool = False) -> list[str]:
    """Return names of the suite: those of a comma-separated list, or all, or all that are not long.

    Raises:
        UsageError: a name is not in the suite.
    """
    if names is None:
        return [name for name, each in SUITE.items() if everything or not each.long]
    chosen = [name.strip() for name in names.split(",")]
    for name in chosen:
        if name not in SUITE:
            raise UsageError(f"network must be one of {', '.join(SUITE)}, not {name!r}; give a file as an argument")
    return chosen


def load(name: str) -> tuple[Graph, str]:
    """Return a network of the suite and where its weights are from: "published", "trained" or "seeded".

    Raises:
        SystolithError: the file is there but cannot be read.
    """
    benchmark = SUITE[name]
    path = data_dir() / "models" / benchmark.file if benchmark.file else None
    if path and path.is_file():
        graph, source = read_tflite(path), "published"
    else:
        graph = read_tflite(zoo.build(benchmark.network, **benchmark.options))
        source = "seeded" if zoo.find(benchmark.network).architecture else "trained"
    return replace(graph, name=name), source


def reference_cycles(name: str, rows: int) -> int | None:
    """Return the cycles of `REFERENCE` for a network of the suite, None unless the array has as many rows."""
    return SUITE[name].reference_cycles if rows == REFERENCE_ROWS else None
