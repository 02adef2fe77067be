"""The zoo's architectures: published sizes, repeatable bytes, and outputs that say something."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tflite

from systolith.models import zoo
from systolith.models.zoo.layers import add, conv, execution_order, image, macs, max_pool, parameters
from systolith.models.zoo.seeded import fit
from tests.small_zoo import SMALL


@pytest.mark.parametrize(("name", "options", "expected"), [
    ("resnet50", {}, 4_089_184_256),
    ("mobilenet_v1", {}, 568_740_352),
    ("mobilenet_v2", {}, 300_774_272),
    ("mobilenet_v2", {"classes": 1001}, 300_775_552),  # the published file that docs/benchmarks.md measures
    ("efficientnet_lite0", {}, 385_187_552),
    ("vgg16", {}, 15_470_264_320),
    ("resnet8", {}, 12_501_632),
    ("ds_cnn", {}, 2_656_768),
    ("mobilenet_v1", {"size": 96, "width": 0.25, "classes": 2}, 7_489_664),
    ("autoencoder", {}, 264_192),
    ("gemm", {"n": 512}, 512**3),
])
def test_macs_are_the_published_ones(name: str, options: dict[str, Any], expected: int) -> None:
    assert macs(zoo.describe(name, **options)) == expected


@pytest.mark.parametrize(("name", "expected"), [
    ("vgg16", 138_357_544),  # has no batch normalisation, so the published number is exact
    ("resnet50", 25_557_032 - 26_560),  # published, less one of two parameters per normalised channel: the bias stays
    ("mobilenet_v2", 3_504_872 - 17_056),
])
def test_parameters_are_the_published_ones(name: str, expected: int) -> None:
    assert parameters(zoo.describe(name)) == expected


def test_unet_counts_its_transposed_convolutions_by_their_input() -> None:
    up = next(layer for layer in execution_order(zoo.describe("unet")) if layer.kind == "TRANSPOSE_CONV")

    assert up.shape == (1, 32, 32, 64) and up.weights == (64, 2, 2, 128)
    assert up.macs == 16 * 16 * 128 * 64 * 4


def test_layers_come_after_their_inputs() -> None:
    for name in SMALL:
        order = execution_order(zoo.describe(name))
        assert all(order.index(each) < order.index(layer) for layer in order for each in layer.inputs), name


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, again, other = (zoo.build("resnet8", seed=seed) for seed in (0, 0, 1))

    assert first == again != other


def test_weights_do_not_depend_on_the_computer() -> None:
    weights, params = fit(zoo.describe("mobilenet_v2", **SMALL["mobilenet_v2"]))

    digest = hashlib.sha256()
    for each in weights.values():
        digest.update(each.values.tobytes() + each.scales.tobytes() + each.bias.tobytes())
    for scale, zero_point in params.values():
        digest.update(scale.tobytes() + bytes([zero_point + 128]))
    assert digest.hexdigest()[:16] == "bd7110f7afbcccb1"


@pytest.mark.parametrize("name", SMALL)
def test_outputs_depend_on_the_input_and_are_not_saturated(name: str) -> None:
    runtime = pytest.importorskip("tflite_micro", reason="tflite-micro is the oracle; install the test extra").runtime
    interpreter = runtime.Interpreter.from_bytes(zoo.build(name, **SMALL[name]), arena_size=8_000_000)
    shape = interpreter.get_input_details(0)["shape"]
    rng = np.random.default_rng(1)
    outputs = []
    for _ in range(2):
        interpreter.set_input(rng.integers(-128, 128, shape, np.int8), 0)
        interpreter.invoke()
        outputs.append(np.array(interpreter.get_output(0)).astype(int).ravel())

    first, second = outputs
    assert np.isin(first, (-128, 127)).mean() <= 0.2
    assert len(np.unique(first)) >= min(first.size, 40) * 0.75
    assert np.abs(first - second).mean() >= 3


def test_no_layer_of_a_deep_network_dies() -> None:
    weights, params = fit(zoo.describe("resnet50", **SMALL["resnet50"]))

    scales = [float(scale) for scale, _ in params.values()]
    assert 0.005 < min(scales) and max(scales) < 0.5
    assert all(np.abs(each.values).max() == 127 for each in weights.values())


def test_concatenated_layers_share_their_quantisation() -> None:
    output = zoo.describe("unet", **SMALL["unet"])
    _, params = fit(output)

    joins = [layer for layer in execution_order(output) if layer.kind == "CONCATENATION"]
    assert len(joins) == 2
    assert all(params[join] == params[part] for join in joins for part in join.inputs)


def test_padding_never_wins_a_maximum() -> None:
    x = image(3, 3, 2)
    pooled = max_pool(add(x, x), 3, 2)
    _, params = fit(pooled)

    assert params[pooled] == params[pooled.inputs[0]]


def test_trained_network_is_its_file() -> None:
    assert zoo.build("digits") == zoo.digits.model_path().read_bytes()


def test_description_of_the_file_names_the_options() -> None:
    model = tflite.Model.GetRootAs(zoo.build("gemm", n=8, seed=3))

    assert model.Description() == b"Systolith zoo: gemm, seeded weights, n 8, seed 3"


@pytest.mark.parametrize(("name", "options", "message"), [
    ("alexnet", {}, "network must be one of digits, cluttered, resnet50, .*, not 'alexnet'"),
    ("gemm", {"size": 3}, "option of gemm must be one of n, seed, not 'size'"),
    ("gemm", {"n": 0}, "n of gemm must be a positive integer, not 0"),
    ("gemm", {"n": 2.5}, "n of gemm must be a positive integer, not 2.5"),
    ("gemm", {"seed": -1}, "seed of gemm must be a positive integer, not -1"),
    ("resnet50", {"width": float("inf")}, "width of resnet50 must be a positive number, not inf"),
    ("unet", {"size": 12}, "size of a U-Net of depth 3 must be a multiple of 8, not 12"),
    ("digits", {"size": 12}, r"option of digits must be one of \(it has none\), not 'size'"),
])
def test_impossible_networks_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        zoo.build(name, **options)


def test_trained_network_has_no_layers_here() -> None:
    with pytest.raises(ValueError, match="must be a seeded one"):
        zoo.describe("digits")


def test_unknown_layers_are_not_propagated() -> None:
    with pytest.raises(ValueError, match="not ABS"):
        fit(replace(max_pool(conv(image(4, 4, 1), 2)), kind="ABS"))
