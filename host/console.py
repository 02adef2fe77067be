"""What the commands share: options of the configuration, a check of output files, and how tables are shown."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ..hw.config import PRESETS
from .errors import UsageError

PIPE_WIDTH = 140  # columns of a table that does not go to a terminal


def config_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options --preset and --set."""
    command = click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
                           help="Change one option of the preset; may be repeated. See docs/configuration.md.")(command)
    return click.option("--preset", metavar="NAME", help=f"{', '.join(PRESETS)}; edge unless told otherwise.")(command)


def check_writable(path: Path) -> None:
    """Raise `UsageError` unless a file can be written at `path`, before work is spent on its contents."""
    if path.is_dir():
        raise UsageError(f"output {path} must be a file, not a folder; add a file name")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"folder {path.parent} of output {path.name} must exist; create it")


def show(renderable: Any) -> None:
    """Print a renderable of `rich`, as wide as the terminal."""
    # Tensor names may look like markup or emoji codes.
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, markup=False, emoji=False, highlight=False).print(
        renderable)
