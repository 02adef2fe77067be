"""Networks that others trained, on their samples: the bytes of the reference kernels on simulator and RTL."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from systolith.host.runtime import Session
from tests.shared_data import shared_file


class Published(NamedTuple):
    """A network, how many of its samples a quick test takes, and how many the RTL."""

    name: str
    quick: int
    rtl: int


NETWORKS = (Published("ic_resnet8", 10, 5), Published("kws_dscnn", 20, 5), Published("ad_autoencoder", 50, 5),
            Published("vww_mobilenetv1_025_96", 4, 5), Published("mobilenetv2_10_224", 1, 1))
EACH = pytest.mark.parametrize("network", NETWORKS, ids=[network.name for network in NETWORKS])


def check(network: Published, device: str, preset: str, samples: int | None) -> None:
    with np.load(shared_file(f"samples/{network.name}.npz")) as data:
        x, expected = data["x"][:samples], data["out"][:samples]
    with Session(shared_file(f"models/{network.name}_int8.tflite"), device, preset=preset) as session:
        (found,) = session.run(x).values()
    wrong = np.argwhere(found.reshape(expected.shape) != expected)
    assert not len(wrong), f"{len(wrong)} of {expected.size} differ; (sample, ...) {wrong[0]}: expected " \
                           f"{expected[tuple(wrong[0])]}, got {found.reshape(expected.shape)[tuple(wrong[0])]}"


@EACH
def test_sim(network: Published) -> None:
    check(network, "sim", "edge", network.quick)


@pytest.mark.rtl
@pytest.mark.parametrize("network", [each for each in NETWORKS if each.name in ("kws_dscnn", "ad_autoencoder")],
                         ids=lambda network: network.name)
def test_rtl(network: Published) -> None:
    check(network, "rtl", "tiny", 1)


@pytest.mark.slow
@EACH
@pytest.mark.parametrize("preset", ["tiny", "edge"])
def test_every_sample_on_sim(network: Published, preset: str) -> None:
    check(network, "sim", preset, None)


@pytest.mark.rtl
@pytest.mark.slow
@EACH
@pytest.mark.parametrize("preset", ["ulx3s", "edge"])
def test_samples_on_rtl(network: Published, preset: str) -> None:
    check(network, "rtl", preset, network.rtl)
