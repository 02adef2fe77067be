"""Command line of the exploration: `systolith explore`."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ...hw.area import PARTS
from ...hw.config import PRESETS, AcceleratorConfig
from ...sim.energy import OperatingPoint
from ..console import check_writable, scalesim_option, show
from ..errors import UsageError
from ..graph import Graph
from ..runtime.network import configuration
from . import show as shown
from .cluster import RayCluster
from .pareto import DEFAULT_OBJECTIVES, OBJECTIVES, compare, metrics_of
from .points import Network, Point, Recorder, read_network
from .processes import Processes
from .results import Results, save_parquet
from .space import combinations, sample
from .sweep import Evaluated, Executor, Status

PARQUET, CSV = ".parquet", ".csv"
PLOT_SUFFIXES = (".png", ".svg", ".pdf")


class _List(click.ParamType):
    """Values separated by commas: integers, or words."""

    name = "list"

    def __init__(self, of: Callable[[str], Any]) -> None:
        self._of = of

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return tuple(self._of(part.strip()) for part in value.split(","))
        except ValueError:
            self.fail(f"must be integers separated by commas, not {value!r}", param, ctx)


def _swept_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option with a list of values for every option of the configuration."""
    for option in reversed(fields(AcceleratorConfig)):
        command = click.option(f"--{option.name.replace('_', '-')}", option.name, metavar="N,...",
                               type=_List(partial(option.metadata["rule"].parse, option.name)),
                               help=f"{option.metadata['doc']}.")(command)
    return command


@click.command("explore")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, metavar="FILE", type=click.Path(path_type=Path),
              help="Results: a .csv file, or a .parquet file with a .csv file beside it.")
@click.option("--preset", metavar="NAME", help=f"What is not swept: {', '.join(PRESETS)}; edge unless told otherwise.")
@scalesim_option
@_swept_options
@click.option("--objective", "objectives", metavar="NAME,...", type=_List(str), default=",".join(DEFAULT_OBJECTIVES),
              help=f"{', '.join(OBJECTIVES)}; area is multipliers and sram. {','.join(DEFAULT_OBJECTIVES)} unless told "
              "otherwise.")
@click.option("--fpga", metavar="PART", type=click.Choice(list(PARTS)),
              help=f"{', '.join(PARTS)}: also tell what fits by multipliers and block RAMs, and compare only that.")
@click.option("--energy", metavar="NODE[,KEY=VALUE]", help="Also model the energy, as in `systolith run`.")
@click.option("--limit", metavar="N", type=click.IntRange(1),
              help="Run at most N of the valid configurations, chosen at random but always the same.")
@click.option("--plot", metavar="FILE", type=click.Path(path_type=Path), help="Also draw them: PNG, SVG or PDF.")
@click.option("-j", "--jobs", metavar="N", type=click.IntRange(1), help="Processes; one per processor unless told "
              "otherwise.")
@click.option("--ray", "address", metavar="ADDRESS", help="Run on a Ray cluster instead: HOST:PORT of its head, or "
              "auto for the one on this computer. Needs systolith on every node.")
def explore_command(models: tuple[Path, ...], output: Path, preset: str | None, settings: tuple[str, ...],
                    objectives: Sequence[str], fpga: str | None, energy: str | None,
                    limit: int | None, plot: Path | None, jobs: int | None,
                    address: str | None, **lists: Sequence[int | str] | None) -> None:
    """Count the cycles of every MODEL on all combinations of options, and show the Pareto front.

    Needs no data: the cycle model equals the RTL. Every finished point is in the results file at once; the same command
    after an interruption runs only what is missing, and wider lists add to the file. See docs/exploration.md.

    \b
    Examples:
      systolith explore model.tflite -o sweep.csv --rows 8,16,32 --act-kib 64,128,256
      systolith explore a.tflite b.tflite -o sweep.parquet --preset ulx3s --filter-rows 0,5,8 --fpga lfe5u-85f
      systolith explore model.tflite -o sweep.csv --rows 8,16 --dram-bandwidth 4,8,16 --clock-mhz 50 --plot pareto.svg
      systolith explore model.tflite -o sweep.csv --rows 8,16 --energy 16nm,dram=lpddr4 --objective latency,energy
      systolith explore model.tflite -o sweep.csv --rows 8,16,32 --ray 10.0.0.1:6379
    """
    _check_energy(energy)
    recorder = Recorder(fpga, energy)
    metrics = metrics_of(objectives, recorder.columns)
    table = output.with_suffix(CSV)
    _check_outputs(output, plot)
    executor = _executor(jobs, address)
    graphs = _read(models)
    swept = {name: values for name, values in lists.items() if values is not None}
    valid, refused = combinations(configuration(preset, settings), swept)
    configs = sample(valid, limit)
    points = [Point(network, config, energy) for network in graphs for config in configs]
    start = time.perf_counter()
    with Results(table, recorder.columns, recorder.key) as results:
        missing = [point for point in points if results.find(recorder.identity(point)) is None]
        _run(len(missing), len(points), results, recorder, lambda status: executor.evaluate(missing, graphs, status))
        rows = [row for point in points if (row := results.find(recorder.identity(point))) is not None]
    if output.suffix == PARQUET:
        save_parquet(output, recorder.columns, rows)
    found = compare(rows, metrics)
    if refused:
        show(shown.refused_table(refused))
    if problems := [row for row in rows if row["problem"] is not None]:
        show(shown.problems_table(problems, list(swept)))
    show(shown.front_table(found, list(swept)))
    print(shown.front_notes(found))
    if plot is not None and found.candidates:
        shown.plot(plot, found)
    elif plot is not None:
        print(f"{plot}: not drawn, because there is no configuration to compare")
    print(f"{output}: {len(points)} points, {len(missing)} of them run in {time.perf_counter() - start:.1f} s")


def _run(missing: int, total: int, results: Results, recorder: Recorder,
         evaluate: Callable[[Status], Evaluated]) -> None:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("exploring", total=total, completed=total - missing)
        with closing(evaluate(lambda line: bar.update(task, description=line))) as finished:
            for point, measured in finished:
                results.append(recorder.row(point, measured))
                bar.advance(task)


def _read(models: Sequence[Path]) -> dict[Network, Graph]:
    found = dict(read_network(path) for path in dict.fromkeys(models))
    named = dict[str, Path]()
    for network in found:
        other = named.setdefault(network.name, network.path)
        if other != network.path:
            raise UsageError(f"models must have different names, not {other} and {network.path}; rename one")
    return found


def _executor(jobs: int | None, address: str | None) -> Executor:
    if address is None:
        return Processes(jobs)
    if jobs is not None:
        raise UsageError("--ray must come without --jobs: the cluster says how many tasks run at once")
    _require("ray", "ray", "--ray")
    return RayCluster(address)


def _check_energy(energy: str | None) -> None:
    try:
        if energy is not None:
            OperatingPoint.parse(energy)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _check_outputs(output: Path, plot: Path | None) -> None:
    if output.suffix not in (CSV, PARQUET):
        raise UsageError(f"output {output} must end in {CSV} or {PARQUET}")
    if plot is not None and plot.suffix not in PLOT_SUFFIXES:
        raise UsageError(f"plot {plot} must end in {', '.join(PLOT_SUFFIXES)}")
    for path in filter(None, (output, output.with_suffix(CSV), plot)):
        check_writable(path)
    if output.suffix == PARQUET:
        _require("pyarrow", "parquet", output)
    if plot is not None:
        _require("matplotlib", "plot", plot)


def _require(package: str, extra: str, what: object) -> None:
    if importlib.util.find_spec(package) is None:
        raise UsageError(f"{what} needs {package}; do `pip install 'systolith[{extra}]'`")
