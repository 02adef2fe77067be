"""The examples run and say what they promise."""

from __future__ import annotations

import runpy

import numpy as np
import pytest
from click.testing import CliRunner

from systolith.examples.digits import main, mismatches


@pytest.mark.rtl
def test_digits_on_the_rtl_are_those_of_the_golden_model_and_the_oracle() -> None:
    done = CliRunner().invoke(main, ["--device", "rtl", "--preset", "tiny", "--samples", "10"])

    assert done.exit_code == 0, done.output
    assert "100 output bytes equal those of the golden model and of TFLite Micro" in done.output
    assert "CONV_2D" in done.output and "array" in done.output


def test_a_wrong_byte_is_reported_with_its_sample() -> None:
    expected = np.zeros((3, 2), np.int8)
    found = expected.copy()
    found[1, 1] = 7

    lines = mismatches(found, expected, "the golden model")

    assert lines == ["sample 1 differs from the golden model: [0, 7], not [0, 0]"]


def test_ten_line_example_classifies(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_module("systolith.examples.classify")

    assert capsys.readouterr().out.count("classified as") == 10


def test_cluttered_digits_are_classified(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_module("systolith.examples.cluttered")

    out = capsys.readouterr().out
    assert out.count("classified as") == 20 and int(out.splitlines()[-1].split()[0]) >= 18
