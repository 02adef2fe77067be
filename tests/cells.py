"""Whether the tools of standard cells are there; where they must be, tests without them fail."""

import os
import shutil

import pytest

from systolith.hw.asic.liberty import LIBERTY

_MISSING = not LIBERTY.is_file() or shutil.which("sta") is None
_REQUIRED = bool(os.environ.get("SYSTOLITH_REQUIRE_CELLS"))

with_cells = pytest.mark.skipif(_MISSING and not _REQUIRED, reason="needs Debian's qflow-tech-osu018 and opensta")
