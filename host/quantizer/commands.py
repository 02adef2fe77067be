"""The command `systolith quantize`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .. import arrays
from ..console import check_writable, show
from ..errors import UsageError
from ..graph import Graph
from .accuracy import measure
from .observers import OBSERVERS, observer_factory
from .ptq import quantise, read_real


@click.command("quantize")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, metavar="OUT.tflite", type=click.Path(path_type=Path),
              help="Model file to write.")
@click.option("--calibration", required=True, metavar="X.npy", type=click.Path(path_type=Path),
              help="Samples that show the range of every tensor: float32, along axis 0; .npz by input name.")
@click.option("--observer", default="minmax", metavar="NAME", help=f"{' or '.join(OBSERVERS)}; minmax unless told "
              "otherwise.")
@click.option("--percentile", default=99.99, metavar="P", type=float,
              help="Share of the values, on either side, that the percentile observer covers; 99.99.")
@click.option("--evaluate", metavar="X.npy", type=click.Path(path_type=Path),
              help="Samples for the accuracy report; those of the calibration unless told otherwise.")
@click.option("--labels", metavar="Y.npy", type=click.Path(path_type=Path),
              help="Right class of each sample of the report, integers.")
@click.option("--report", metavar="R.json", type=click.Path(path_type=Path), help="File for the accuracy report.")
def quantize_command(model: Path, output: Path, calibration: Path, observer: str, percentile: float,
                     evaluate: Path | None, labels: Path | None, report: Path | None) -> None:
    """Quantise MODEL, a float32 .onnx or .tflite network, to an int8 .tflite network.

    \b
    Examples:
      systolith quantize model.onnx -o model.tflite --calibration x.npy
      systolith quantize model.tflite -o int8.tflite --calibration x.npy --observer percentile --labels y.npy
    """
    observer_factory(observer, percentile)
    for path in filter(None, (output, report)):
        check_writable(path)
    graph = read_real(model)
    samples = split_samples(graph, arrays.load(calibration), calibration)
    tested = split_samples(graph, arrays.load(evaluate), evaluate) if evaluate else samples
    right = arrays.load(labels) if labels else None
    if isinstance(right, dict):
        raise UsageError(f"labels {labels} must be a .npy file with one array")
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("calibrating", total=len(samples))
        network = quantise(graph, samples, observer, percentile, lambda done, total: bar.update(task, completed=done))
        bar.update(task, description="comparing", completed=0, total=len(tested))
        accuracy = measure(network, tested, right, lambda done, total: bar.update(task, completed=done))
    output.write_bytes(network.model)
    if report:
        accuracy.save(report)
    show(accuracy.table())
    print(f"{output}: {len(network.model):,} bytes")


def split_samples(graph: Graph, given: np.ndarray | Mapping[str, np.ndarray],
                  source: Path) -> list[dict[str, np.ndarray]]:
    """Return the samples in `given` one by one, as float32 arrays of exactly the inputs' shapes.

    Raises:
        UsageError: names, shapes or dtypes do not fit the inputs of `graph`.
    """
    if not isinstance(given, Mapping):
        if len(graph.inputs) != 1:
            raise UsageError(f"{source} must be an .npz file by input name because the network has "
                             f"{len(graph.inputs)} inputs: {', '.join(graph.inputs)}")
        given = {graph.inputs[0]: given}
    if set(given) != set(graph.inputs):
        raise UsageError(f"{source} must hold the inputs {', '.join(graph.inputs)}, "
                         f"not {', '.join(given) or 'nothing'}")
    columns: dict[str, list[np.ndarray]] = {}
    for name in graph.inputs:
        shape, array = graph.tensors[name].shape, given[name]
        if array.dtype.kind != "f":
            raise UsageError(f"input '{name}' in {source} must be float32, scaled as the network was trained, not "
                             f"{array.dtype}")
        if array.shape == shape[1:]:
            array = array[None]
        if array.ndim != len(shape) or array.shape[1:] != shape[1:] or len(array) % shape[0] or not len(array):
            raise UsageError(f"input '{name}' in {source} must have shape ({', '.join(map(str, ('N', *shape[1:])))}), "
                             f"not {array.shape}")
        columns[name] = np.split(array.astype(np.float32), len(array) // shape[0])
    counts = {name: len(column) for name, column in columns.items()}
    if len(set(counts.values())) != 1:
        raise UsageError(f"{source} must hold equally many samples for each input, not {counts}")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
