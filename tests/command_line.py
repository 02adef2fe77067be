"""The command line as tests call it."""

from __future__ import annotations

import pytest

from systolith.host.cli import main


def status(*args: object) -> int:
    """Run a command; return its exit status."""
    with pytest.raises(SystemExit) as stop:
        main([str(arg) for arg in args])
    return int(stop.value.code or 0)


def refusal(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """Run a command that must fail; return the one line that it says."""
    assert status(*args) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "Traceback" not in err
    return err
