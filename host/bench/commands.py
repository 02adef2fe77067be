"""Command line of the benchmarks: `systolith bench networks | speed`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from ...models.zoo import digits
from ..console import config_options, show
from ..errors import UsageError
from ..runtime.network import configuration
from . import networks, speed


@click.group("bench", no_args_is_help=False)
def bench() -> None:
    """Measure networks on the accelerator, and the speed of its simulators: the tables of docs/benchmarks.md.

    \b
    Examples:
      systolith bench networks
      systolith bench networks model.tflite --layers
      systolith bench speed
    """


@bench.command("networks")
@click.argument("models", metavar="[MODEL ...]", nargs=-1, type=click.Path(path_type=Path))
@config_options
@click.option("--device", default=networks.DEVICES[0], metavar="DEVICE",
              help=f"{' or '.join(networks.DEVICES)}; sim counts no cycles.")
@click.option("--samples", default=1, type=click.IntRange(1), help="Samples of each network; 1 unless told otherwise.")
@click.option("--samples-from", "sources", multiple=True, metavar="X.npz", type=click.Path(path_type=Path),
              help="NumPy file with samples; once per MODEL, in the same order. Random samples without it.")
@click.option("--layers", is_flag=True, help="Also show the layers of each network.")
@click.option("--json", "output", metavar="FILE", type=click.Path(path_type=Path),
              help="Also write all measurements, layers included.")
def networks_command(models: tuple[Path, ...], preset: str | None, settings: tuple[str, ...], device: str,
                     samples: int, sources: tuple[Path, ...], layers: bool, output: Path | None) -> None:
    """Run the digits network, or each MODEL, and compare every output byte with golden.

    \b
    Examples:
      systolith bench networks --preset ulx3s
      systolith bench networks a.tflite b.tflite --samples 10 --samples-from a.npz --samples-from b.npz --json r.json
    """
    if sources and len(sources) != max(len(models), 1):
        raise UsageError(f"--samples-from must be given once per model, not {len(sources)} times for "
                         f"{max(len(models), 1)}")
    if output is not None and not output.absolute().parent.is_dir():
        raise UsageError(f"folder {output.parent} of output {output.name} must exist; create it")
    models = models or (digits.model_path(),)
    with _status() as status:
        reports = [networks.run_network(model, source, samples, device, preset=preset, settings=settings, status=status)
                   for model, source in zip(models, sources or (None,) * len(models), strict=True)]
    if output is not None:
        networks.save(reports, output)
    show(networks.table(reports))
    if layers:
        for report in reports:
            show(report.table())
    print("every output byte equals golden's")


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


@contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda line: None
        return
    with console.status("loading") as shown:
        yield shown.update
