"""Where the tests find networks and vectors made by others, which are not part of this repository.

The folder is `$SYSTOLITH_DATA`, or else `shared/data` beside the repository. Tests skip when a file is absent, and
fail instead where `CI=true` and `SYSTOLITH_REQUIRE_DATA=1`, so that continuous integration cannot pass by skipping.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def data_dir() -> Path:
    """Return the data folder, which need not exist."""
    given = os.environ.get("SYSTOLITH_DATA")
    return Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"


def shared_file(relative: str) -> Path:
    """Return the path of a file in the data folder; skip or fail the calling test when it is absent."""
    path = data_dir() / relative
    if not path.is_file():
        reason = f"test data {relative} is not in {data_dir()}; set SYSTOLITH_DATA to the folder that holds it"
        if os.environ.get("CI") == "true" and os.environ.get("SYSTOLITH_REQUIRE_DATA") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return path


def shared_names(pattern: str) -> list[str]:
    """Return the files that match a glob in the data folder, relative to it, for `pytest.mark.parametrize`.

    Without the data the pattern itself is returned: the one test it makes goes through `shared_file` and skips or
    fails there, rather than vanish.
    """
    found = sorted(str(path.relative_to(data_dir())) for path in data_dir().glob(pattern))
    return found or [pattern]
