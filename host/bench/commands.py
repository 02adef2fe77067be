"""Command line of the benchmarks: `systolith bench networks | accuracy | speed | simulators | depthwise | area`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ...hw.config import PRESETS
from ..console import check_writable, config_options, show
from ..errors import UsageError
from ..frontends import read_model
from ..graph import Graph
from ..report import Report
from ..runtime.network import configuration
from . import accuracy, depthwise, networks, resources, simulators, speed, suite


@click.group("bench", no_args_is_help=False)
def bench() -> None:
    """Measure networks on the accelerator, and the speed of its simulators: the tables of docs/benchmarks.md.

    \b
    Examples:
      systolith bench networks
      systolith bench networks --networks ic_resnet8 --layers
      systolith bench accuracy --networks digits,kws_dscnn --presets tiny,edge
      systolith bench speed
      systolith bench simulators
      systolith bench depthwise --rows 8
      systolith bench area --preset ulx3s
    """


@bench.command("networks")
@click.argument("models", metavar="[MODEL ...]", nargs=-1, type=click.Path(path_type=Path))
@click.option("--networks", "names", metavar="NAME,...", help=f"Networks by name: {', '.join(suite.SUITE)}.")
@click.option("--all", "everything", is_flag=True, help="All of them, also those of many million cycles, which take "
              "minutes.")
@config_options
@click.option("--device", default=networks.DEVICES[0], metavar="DEVICE",
              help=f"{' or '.join(networks.DEVICES)}; both count the same cycles.")
@click.option("--batch", default=1, metavar="N", type=click.IntRange(1),
              help="Samples that run at once at most, where that saves cycles; 1 unless told otherwise.")
@click.option("--samples", type=click.IntRange(1), help="Samples of each network; one batch unless told otherwise.")
@click.option("--samples-from", "sources", multiple=True, metavar="X.npz", type=click.Path(path_type=Path),
              help="NumPy file with samples; once per MODEL, in the same order. Random samples without it.")
@click.option("--layers", is_flag=True, help="Also show the layers of each network.")
@click.option("--json", "json_path", metavar="FILE", type=click.Path(path_type=Path),
              help="Also write all measurements, layers included.")
@click.option("--csv", "csv_path", metavar="FILE", type=click.Path(path_type=Path), help="Also write the table.")
def networks_command(models: tuple[Path, ...], names: str | None, everything: bool, preset: str | None,
                     settings: tuple[str, ...], device: str, batch: int, samples: int | None,
                     sources: tuple[Path, ...], layers: bool, json_path: Path | None, csv_path: Path | None) -> None:
    """Measure networks and compare every output byte with golden.

    Runs each MODEL file, or the networks of --networks, or without either those of less than a million cycles. The
    published models are used where they are in the folder $SYSTOLITH_DATA/models (or shared/data/models beside the
    repository), else the same architectures with seeded weights. Ratio: the cycles of Gemmini (16x16, int8,
    measured on its RTL) by ours, for arrays of 16x16 and samples one by one.

    \b
    Examples:
      systolith bench networks
      systolith bench networks --networks resnet50 --layers
      systolith bench networks --networks ad_autoencoder --batch 16
      systolith bench networks --all --csv table.csv --json all.json
      systolith bench networks a.tflite b.tflite --samples 10 --samples-from a.npz --samples-from b.npz
    """
    if sources and len(sources) != len(models):
        raise UsageError(f"--samples-from must be given once per model, not {len(sources)} times for {len(models)}")
    for path in filter(None, (json_path, csv_path)):
        check_writable(path)
    chosen = suite.select(names, everything) if names or everything or not models else []
    config = configuration(preset, settings)
    results: list[networks.Result] = []
    with _status() as status:
        def measure(model: Path | Graph, source: Path | None = None) -> Report:
            done, total = len(results) + 1, len(models) + len(chosen)
            return networks.run_network(model, source, samples or batch, device, preset=preset, settings=settings,
                                        batch=batch, status=lambda line: status(f"{done} of {total}: {line}"))

        for model, source in zip(models, sources or (None,) * len(models), strict=True):
            results.append(networks.Result(model.stem, "file", measure(model, source)))
        for name in chosen:
            status(f"building {name}")
            graph, origin = suite.load(name)
            results.append(networks.Result(name, origin, measure(graph), suite.reference_cycles(name, config.rows)))
    if json_path is not None:
        networks.save_json(results, json_path)
    if csv_path is not None:
        networks.save_csv(results, csv_path)
    show(networks.table(results))
    if layers:
        for result in results:
            show(result.report.table())
    print("every output byte equals golden's")


@bench.command("accuracy")
@click.argument("models", metavar="[MODEL ...]", nargs=-1, type=click.Path(path_type=Path))
@click.option("--networks", "names", metavar="NAME,...", help=f"Networks by name: {', '.join(suite.SUITE)}.")
@click.option("--all", "everything", is_flag=True, help="All of them, also those of many million cycles, which take "
              "minutes on the RTL.")
@click.option("--presets", default="tiny,ulx3s,edge", metavar="NAME,...", help="tiny,ulx3s,edge unless told otherwise.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a value of every preset.")
def accuracy_command(models: tuple[Path, ...], names: str | None, everything: bool, presets: str,
                     settings: tuple[str, ...]) -> None:
    """Compare the cycles of the sim device with those of the RTL, in total and instruction by instruction.

    Fails at the first difference. The last column is the RTL's CPU time by that of the cycle model.

    \b
    Examples:
      systolith bench accuracy
      systolith bench accuracy --networks vww --presets edge --set dram_latency=200 --set dram_bandwidth=4
      systolith bench accuracy model.tflite --presets tiny
    """
    chosen = suite.select(names, everything) if names or everything or not models else []
    configs = {preset: configuration(preset, settings) for preset in presets.split(",")}
    rows: list[accuracy.Row] = []
    with _status() as status:
        graphs = [(model.stem, lambda model=model: read_model(model)) for model in models]
        graphs += [(name, lambda name=name: suite.load(name)[0]) for name in chosen]
        for name, read in graphs:
            status(f"reading {name}")
            graph = read()
            rows += [accuracy.compare(name, graph, preset, config, status) for preset, config in configs.items()]
    show(accuracy.table(rows))
    accuracy.check(rows)
    print("sim counts the cycles of rtl")


@bench.command("speed")
@config_options
@click.option("--seconds", default=3.0, type=click.FloatRange(0), help="Wall time for each simulator; 3 unless told "
              "otherwise. Each runs one image at least.")
def speed_command(preset: str | None, settings: tuple[str, ...], seconds: float) -> None:
    """Compare the simulated cycles per second of the rtl device with those of simulators under cocotb.

    One image of the digits network, again and again, on the same core; what counts is the time from the first start
    to the last result, without compilation, elaboration and reset: wall time for the cycles per second, CPU time for
    the ratios, because other work disturbs it less. Needs `pip install 'systolith[test]'`.

    \b
    Example:
      systolith bench speed --preset tiny --seconds 10
    """
    config = configuration(preset, settings)
    with _status() as status:
        rows = list(speed.compare(config, seconds, status))
    show(speed.table(rows))


@bench.command("simulators")
@click.argument("files", metavar="[MODEL|TOPOLOGY ...]", nargs=-1, type=click.Path(path_type=Path))
@click.option("--layers", "most", metavar="N", type=click.IntRange(1), help="Only the first N layers of each file.")
@click.option("--all", "everything", is_flag=True, help="Without a file: all of ResNet-18, which takes SCALE-Sim ten "
              "minutes or more and gigabytes of memory.")
@config_options
def simulators_command(files: tuple[Path, ...], most: int | None, everything: bool, preset: str | None,
                       settings: tuple[str, ...]) -> None:
    """Compare SCALE-Sim with the cycle model on the same layers: cycles, utilisation and CPU time.

    Of a model the convolutions and dense layers; of a topology all layers; without a file three layers of ResNet-18.
    Both have the same array, memories and bandwidth, and begin each layer with empty buffers. SCALE-Sim takes about a
    minute for 100 million MACs. Needs `pip install 'systolith[peers]'`. See docs/benchmarks.md.

    \b
    Examples:
      systolith bench simulators
      systolith bench simulators model.tflite --layers 4
      systolith bench simulators topology.csv --scalesim-config scale.cfg
    """
    if everything and files:
        raise UsageError("--all must come without files, of which all layers run unless --layers says otherwise")
    config = configuration(preset, settings)
    layers = simulators.choose(files, everything, most)
    rows: list[simulators.Measured] = []
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("loading", total=sum(layer.macs for layer in layers))
        for row in simulators.compare(layers, config, lambda line: bar.update(task, description=line)):
            rows.append(row)
            bar.advance(task, row.macs)
    show(simulators.table(rows, config))


@bench.command("depthwise")
@click.option("--rows", default=16, type=click.Choice([4, 8, 16, 32]), help="Rows of the array; 16 unless told "
              "otherwise.")
@click.option("--filter-rows", "filter_rows", multiple=True, type=int, metavar="N",
              help="Rows that the filter mode reaches; may be given again. The presets' unless told otherwise.")
@click.option("--seeds", default=0, type=click.IntRange(0, 100), help="Also place and route the array so many times "
              "for its clock frequency, each about a minute for 8 rows; larger arrays than 8 have too many multipliers "
              "for the part.")
def depthwise_command(rows: int, filter_rows: tuple[int, ...], seeds: int) -> None:
    """Compare the array with and without filter mode (depthwise convolution) in synthesis for Lattice ECP5.

    LUT4-equivalents are LUT4 + 2 x CCU2C of the array alone. Needs `pip install 'systolith[fpga]'`.

    \b
    Examples:
      systolith bench depthwise
      systolith bench depthwise --rows 8 --filter-rows 5 --filter-rows 8 --seeds 3
    """
    presets = {config.fir_rows for config in PRESETS.values() if config.rows == rows}
    with _status() as status:
        found = list(depthwise.measure(rows, filter_rows or sorted(presets), seeds, status))
    show(depthwise.table(found))


@bench.command("area")
@config_options
def area_command(preset: str | None, settings: tuple[str, ...]) -> None:
    """Synthesise the core for Lattice ECP5 and show the cells of its blocks.

    LUT4-equivalents are LUT4 + 2 x CCU2C. The blocks are synthesised one by one; "whole core" is the core without
    borders between them, the number that counts. Takes minutes. Needs `pip install 'systolith[fpga]'`.

    \b
    Example:
      systolith bench area --preset ulx3s
    """
    config = configuration(preset, settings)
    with _status() as status:
        found = resources.measure(config, status)
    show(resources.table(config, *found))


@contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    """Show a line, and how long it has been there, while work goes on; nothing where nobody watches."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("loading", total=None)
        yield lambda line: shown.reset(task, description=line)
