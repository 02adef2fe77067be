"""NumPy files that people give and get."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from systolith.host import arrays
from systolith.host.errors import UsageError


@pytest.mark.parametrize("name", ["y.npy", "y.bin"])
def test_one_output_round_trips_under_exactly_the_name_given(tmp_path: Path, name: str) -> None:
    y = np.arange(6, dtype=np.int8).reshape(2, 3)

    arrays.save(tmp_path / name, {"y": y})
    found = arrays.load(tmp_path / name)

    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, y)


def test_several_outputs_round_trip_by_name(tmp_path: Path) -> None:
    outputs = {"file": np.zeros((1, 2), np.int8), "b:0": np.ones((1, 3), np.uint8)}

    arrays.save(tmp_path / "y.npz", outputs)
    found = arrays.load(tmp_path / "y.npz")

    assert isinstance(found, dict)
    assert {name: array.tolist() for name, array in found.items()} == {"file": [[0, 0]], "b:0": [[1, 1, 1]]}


def test_several_outputs_need_an_npz_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must end in .npz because the network has 2 outputs: a, b"):
        arrays.save(tmp_path / "y.npy", {"a": np.zeros(1), "b": np.zeros(1)})


def _npy(tmp_path: Path) -> bytes:
    np.save(tmp_path / "good.npy", np.zeros((4, 4), np.int8))
    return (tmp_path / "good.npy").read_bytes()


def _object_npy(tmp_path: Path) -> bytes:
    np.save(tmp_path / "good.npy", np.array([{}], object), allow_pickle=True)
    return (tmp_path / "good.npy").read_bytes()


def _npz(tmp_path: Path) -> bytes:
    np.savez(tmp_path / "good.npz", x=np.zeros((40, 40), np.int8))
    return (tmp_path / "good.npz").read_bytes()


@pytest.mark.parametrize("make", [
    lambda tmp: b"",
    lambda tmp: b"hello, world",
    lambda tmp: _npy(tmp)[:40],
    lambda tmp: _npy(tmp)[:-3],
    lambda tmp: _npy(tmp).replace(b"(4, 4)", b"(9**9)"),
    lambda tmp: _npy(tmp).replace(b"(4, 4), }          ", b"(4, 444444444444)} "),
    lambda tmp: _object_npy(tmp),
    lambda tmp: _npz(tmp)[:-30],
    lambda tmp: _npz(tmp)[:200] + b"\xff" + _npz(tmp)[201:],
], ids=["empty", "text", "cut header", "cut data", "odd header", "huge", "objects", "cut npz", "flipped npz"])
def test_file_that_is_not_an_array_is_refused_in_one_line(tmp_path: Path, make) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(make(tmp_path))

    with pytest.raises(UsageError, match="must be a NumPy .npy or .npz file") as caught:
        arrays.load(path)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing.npy", "."])
def test_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="must be a readable file"):
        arrays.load(tmp_path / name)
