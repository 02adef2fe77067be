"""Command line of the model zoo: `systolith zoo` lists the networks, `systolith zoo NAME -o FILE` writes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich.box import SIMPLE
from rich.table import Table

from ..models import zoo
from ..models.zoo.layers import execution_order, macs, parameters
from .console import check_writable, show
from .errors import UsageError
from .frontends.tflite import read_tflite


@click.command("zoo")
@click.argument("name", required=False)
@click.option("-o", "--output", metavar="FILE.tflite", type=click.Path(path_type=Path), help="Model file to write.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
              help="Change one option of the network; may be repeated.")
def zoo_command(name: str | None, output: Path | None, settings: tuple[str, ...]) -> None:
    """List the networks of the zoo, or write the network NAME as a model.

    \b
    Examples:
      systolith zoo
      systolith zoo resnet50 -o resnet50.tflite
      systolith zoo mobilenet_v1 --set width=0.25 --set size=96 -o small.tflite
    """
    if name is None:
        if output is not None or settings:
            raise UsageError("the zoo must be given the name of a network to write; `systolith zoo` lists them")
        show(table())
        return
    if output is None:
        raise UsageError(f"{name} must have a file to be written to; add -o {name}.tflite")
    check_writable(output)
    model = build(name, settings)
    output.write_bytes(model)
    print(f"{output}: {name}, {len(model):,} bytes")


def build(name: str, settings: Sequence[str] = ()) -> bytes:
    """Return a network of the zoo as a .tflite file, with `KEY=VALUE` settings of its options.

    Raises:
        UsageError: there is no such network or option, or the value is not possible.
    """
    try:
        known = zoo.find(name).options
        return zoo.build(name, **dict(_option(name, setting, known) for setting in settings))
    except ValueError as error:
        raise UsageError(str(error)) from error


def table() -> Table:
    """Return the networks of the zoo as a table for `rich`; seeded ones also have the option `seed`."""
    made = Table(box=SIMPLE, pad_edge=False)
    for column in ("network", "input", "MACs", "parameters", "options", "description"):
        made.add_column(column, justify="right" if column in ("MACs", "parameters") else "left")
    for name, entry in zoo.NETWORKS.items():
        shape, work, size = _counts(name)
        made.add_row(name, "x".join(map(str, shape)), f"{work:,}", f"{size:,}",
                     ", ".join(f"{key}={value}" for key, value in entry.options.items() if key != "seed"),
                     entry.description)
    return made


def _counts(name: str) -> tuple[tuple[int, ...], int, int]:
    """Return the input shape, MACs and parameters of a network; a seeded one need not be built for that."""
    if zoo.NETWORKS[name].architecture is not None:
        output = zoo.describe(name)
        return execution_order(output)[0].shape, macs(output), parameters(output)
    graph = read_tflite(zoo.build(name))
    constants = (tensor.size for tensor in graph.tensors.values() if tensor.data is not None)
    return graph.tensors[graph.inputs[0]].shape, graph.macs(), sum(constants)


def _option(name: str, setting: str, known: Mapping[str, int | float]) -> tuple[str, int | float | str]:
    key, equals, text = setting.partition("=")
    if not equals:
        raise UsageError(f"setting must be KEY=VALUE, not {setting!r}")
    try:
        return key, type(known.get(key, 0))(text)
    except ValueError:
        return key, text  # refused with the network's own message
