"""What the commands share: options of the configuration, a check of output files, and how tables are shown."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ..hw.config import PRESETS
from .errors import UsageError
from .frontends.scalesim_config import read_scalesim_config

PIPE_WIDTH = 140  # columns of a table that does not go to a terminal


def config_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options --preset and --set, and --scalesim-config as more settings before those of --set."""
    command = scalesim_option(command)
    command = click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
                           help="Change one option of the preset; may be repeated. See docs/configuration.md.")(command)
    return click.option("--preset", metavar="NAME", help=f"{', '.join(PRESETS)}; edge unless told otherwise.")(command)


def scalesim_option(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command with the parameter `settings` an option for a file with more of them."""
    @click.option("--scalesim-config", metavar="FILE.cfg", type=click.Path(path_type=Path),
                  help="Take array, memories and bandwidth from a configuration of SCALE-Sim; --set changes more.")
    @functools.wraps(command)
    def with_file(*args: Any, scalesim_config: Path | None, settings: tuple[str, ...] = (), **others: Any) -> None:
        if scalesim_config is not None:
            found = read_scalesim_config(scalesim_config)
            for note in found.notes:
                print(note)
            settings = (*found.settings, *settings)
        command(*args, settings=settings, **others)

    return with_file


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
