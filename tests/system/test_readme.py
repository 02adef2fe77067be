"""The README's commands and its Python example work, on the network that comes with Systolith."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Setting up is what the test run itself has done.
SETUP = re.compile(r"^(git clone|cd|make|source)\b")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that looks like a clone to the README's relative paths."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    return tmp_path


def run(command: list[str], folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_shell_commands(clone: Path) -> None:
    pytest.importorskip("sklearn", reason="the digits come from scikit-learn; install the test extra")
    commands = [line for block in blocks("sh") for line in block.splitlines() if not SETUP.match(line)]
    assert sum(line.startswith("systolith") for line in commands) >= 4, "the README shows the command line"
    run(["bash", "-euo", "pipefail", "-c", "\n".join(commands)], clone)
    assert np.load(clone / "build/y.npy").shape == (8, 10)


def test_python_example(clone: Path) -> None:
    pytest.importorskip("sklearn", reason="the digits come from scikit-learn; install the test extra")
    (example,) = blocks("python")
    printed = run([sys.executable, "-c", example], clone)
    assert len(re.findall(r"^a \d, classified as \d$", printed, re.MULTILINE)) == 10
