"""The public face of the package."""

import importlib

import pytest

import systolith


@pytest.mark.parametrize("name", systolith.__all__)
def test_public_names_are_there(name: str) -> None:
    assert getattr(systolith, name).__name__ == name


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'session'"):
        _ = importlib.import_module("systolith").session
