"""What a session is made from: files told apart by their content, and the configuration that they run on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from ...hw.config import AcceleratorConfig
from ..compiler import compile_graph
from ..errors import ConfigError, ModelError, ProgramError
from ..frontends import read_model
from ..graph import Graph
from ..program import MAGIC, Program
from ..report import config_hash

DEFAULT_PRESET = "edge"


def load_network(path: str | Path) -> Graph | Program:
    """Return the compiled program or the model in a file.

    Raises:
        ModelError: the file cannot be read, or is neither.
        UnsupportedOperatorError: the model uses what is not supported.
        ProgramError: it is a program, and corrupt.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(len(MAGIC))
    except OSError as error:
        raise ModelError(f"{path} must be a model or a compiled program: {error.strerror or error}") from error
    return Program.load(path) if head == MAGIC else read_model(path)


def load_program(path: str | Path, *, preset: str | None = None, settings: Sequence[str] = ()) -> Program:
    """Return the program in a file, compiled now when it holds a model; arguments as for `Session`."""
    return load_configured(path, preset=preset, settings=settings)[0]


def load_configured(network: str | Path | Graph | Program, *, preset: str | None = None,
                    settings: Sequence[str] = ()) -> tuple[Program, AcceleratorConfig]:
    """Return what `load_program` does, also for what is in memory, and the configuration that it is to run on."""
    if isinstance(network, str | Path):
        network = load_network(network)
    if isinstance(network, Program):
        return network, program_configuration(network, preset, settings)
    config = configuration(preset, settings)
    return compile_graph(network, config), config


def configuration(preset: str | None = None, settings: Sequence[str] = ()) -> AcceleratorConfig:
    """Return the preset (`edge` when None) with `KEY=VALUE` settings applied.

    Raises:
        ConfigError: there is no such preset or key, or the value is out of range.
    """
    try:
        return AcceleratorConfig.preset(preset or DEFAULT_PRESET, settings)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def program_configuration(program: Program, preset: str | None = None,
                          settings: Sequence[str] = ()) -> AcceleratorConfig:
    """Return the configuration that `program` runs on when these are asked for; without them its own.

    Settings that do not shape the gateware, such as `dram_latency`, may differ from those at compilation.

    Raises:
        ConfigError: as for `configuration`.
        ProgramError: the program was compiled for another core.
    """
    asked = configuration(preset, settings)
    if preset is None:  # then only the keys that were named are asked for
        named = {setting.partition("=")[0] for setting in settings}
        changes = {f.name: getattr(asked, f.name) for f in fields(asked) if f.name in named}
        try:
            asked = replace(program.config, **changes)
        except ValueError as error:
            raise ConfigError(str(error)) from error
    check_configuration(program, asked)
    return asked


def check_configuration(program: Program, config: AcceleratorConfig) -> None:
    """Raise `ProgramError` unless `program` was compiled for the core of `config`."""
    if program.config.hash() == config.hash():
        return
    ours, theirs = config.to_dict(), program.config.to_dict()
    shaping = [f.name for f in fields(config) if f.metadata["gateware"] and ours[f.name] != theirs[f.name]]
    differences = ", ".join(f"{name} {theirs[name]} instead of {ours[name]}" for name in shaping)
    raise ProgramError(f"program was compiled for configuration {config_hash(program.config)} ({differences}), not "
                       f"{config_hash(config)}; compile the model for this one")
