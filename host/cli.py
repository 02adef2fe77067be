"""Command line: `systolith COMMAND`; the group below lists them.

Exit status 0 is success; 2 comes with one line on stderr that says what is wrong and what to do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..sim.energy import DRAM_TYPES, LEVELS, TECHNOLOGIES, Gating, OperatingPoint, operating_points
from ..sim.rtl.saif import save_saif
from ..sim.rtl.waves import Waves
from . import arrays, inspection
from .asic.commands import asic_command
from .bench.commands import bench
from .compiler import compile_graph
from .console import check_writable, config_options, show
from .devices.select import DEVICES, GOLDEN, NAMES
from .disasm import disassemble
from .dvfs import at_points, points_table
from .energy import clocked
from .errors import SystolithError, UsageError
from .explore.commands import explore_command
from .fpga.commands import build_command
from .graph import Graph
from .html_report.commands import report_command
from .program import Program
from .quantizer.commands import quantize_command
from .report import stall_table
from .runtime import Session
from .runtime.network import configuration, load_network, load_program
from .runtime.performance import performance
from .trace import TraceFile
from .twin import twin_command
from .zoo import zoo_command

T = TypeVar("T")

USAGE_STATUS = 2
INTERRUPTED_STATUS = 130


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line `args` (of the process when None) and exit with its status."""
    try:
        cli.main(args, prog_name="systolith", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED_STATUS)
    except (BrokenPipeError, SystemExit):  # the reader, such as `head`, has seen enough; then click exits by itself
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
    except click.ClickException as error:
        _fail(error.format_message())
    except (SystolithError, OSError) as error:
        _fail(str(error))
    sys.exit(0)


def _fail(message: str) -> NoReturn:
    print("systolith: error:", " ".join(message.split()), file=sys.stderr)
    sys.exit(USAGE_STATUS)


@click.group(no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="systolith", message="%(prog)s %(version)s")
def cli() -> None:
    """Compile and run int8 neural networks on the Systolith accelerator.

    \b
    Examples:
      systolith quantize model.onnx -o model.tflite --calibration x.npy
      systolith info model.tflite
      systolith compile model.tflite -o model.sysl --preset ulx3s
      systolith run model.sysl --input x.npy --output y.npy --report report.json
      systolith run model.tflite --input x.npy --device rtl --set dram_latency=80
      systolith explore model.tflite -o sweep.csv --rows 8,16,32 --act-kib 64,128
    """


@cli.command("compile")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, metavar="PROGRAM", type=click.Path(path_type=Path),
              help="Program file to write.")
@config_options
def compile_command(model: Path, output: Path, preset: str | None, settings: tuple[str, ...]) -> None:
    """Compile MODEL to a program for one accelerator configuration.

    \b
    Examples:
      systolith compile model.tflite -o model.sysl
      systolith compile model.tflite -o model.sysl --preset edge --set act_kib=256
    """
    graph = load_network(model)
    if not isinstance(graph, Graph):
        raise UsageError(f"{model} must be a model, not a compiled program; give the .tflite or .onnx file")
    check_writable(output)
    program = compile_graph(graph, configuration(preset, settings))
    program.save(output)
    print(f"{output}: {inspection.summary(program)}")


@cli.command("run")
@click.argument("network", metavar="MODEL|PROGRAM", type=click.Path(path_type=Path))
@click.option("--input", "source", metavar="X.npy", type=click.Path(path_type=Path),
              help="One sample or a batch along axis 0, in the model's dtype or float32; .npz by input name.")
@click.option("--output", metavar="Y.npy", type=click.Path(path_type=Path),
              help="File for the outputs; .npz holds them by name.")
@click.option("--device", metavar="DEVICE", help=f"{', '.join(NAMES)}[,baud=N][,build=ID]; sim unless told otherwise.")
@click.option("--perf", is_flag=True, help="Only count cycles: without data, so it takes neither --input, --output nor "
              "--device.")
@config_options
@click.option("--batch", metavar="N", type=click.IntRange(1),
              help="Samples that run at once at most, 1 for one by one; as many as save cycles unless told otherwise.")
@click.option("--energy", metavar="TECHNOLOGY[,KEY=VALUE]", help=f"Model the energy at {', '.join(TECHNOLOGIES)}; keys "
              f"are point ({', '.join(LEVELS)}) or volts, mhz, dram ({', '.join(DRAM_TYPES)}) and gating "
              f"({', '.join(Gating)}). See docs/energy.md.")
@click.option("--dvfs", is_flag=True, help="With --perf and --energy: also compare all operating points.")
@click.option("--report", metavar="R.json", type=click.Path(path_type=Path), help="File for cycles, MACs and bytes.")
@click.option("--stalls", is_flag=True, help="Show what the array did or waited for in the cycles of each layer.")
@click.option("--trace", metavar="T.json", type=click.Path(path_type=Path),
              help="File for a trace of every instruction, which Perfetto shows; see docs/simulator.md.")
@click.option("--activity", metavar="A.json", type=click.Path(path_type=Path),
              help="File for what the array's cells multiply and, on rtl, the toggles of nets; .saif for the latter "
              "bit by bit. See docs/simulator.md.")
@click.option("--waves", metavar="W.fst[,from=CYCLE][,to=CYCLE]", help="File for the signals of device rtl, .fst or "
              ".vcd, with signal lists for GTKWave and Surfer beside it; see docs/simulator.md.")
def run_command(network: Path, source: Path | None, output: Path | None, device: str | None, perf: bool,
                preset: str | None, settings: tuple[str, ...], batch: int | None, energy: str | None,
                dvfs: bool, report: Path | None, stalls: bool, trace: Path | None, activity: Path | None,
                waves: str | None) -> None:
    """Run MODEL or PROGRAM on the samples in a NumPy file.

    \b
    Examples:
      systolith run model.tflite --input x.npy --output y.npy
      systolith run model.sysl --input batch.npy --output y.npy --device rtl --report report.json
      systolith run model.tflite --perf --preset edge --set dram_latency=80
      systolith run model.tflite --perf --stalls --trace trace.json
      systolith run model.tflite --input x.npy --device rtl --activity activity.json
      systolith run model.tflite --input x.npy --device rtl --waves w.fst,from=1000,to=5000
      systolith run model.tflite --perf --energy 16nm,mhz=600,dram=lpddr4
      systolith run model.tflite --perf --energy 16nm --dvfs
    """
    point = _parsed(OperatingPoint.parse, energy)
    record = _parsed(Waves.parse, waves)
    counts = activity is not None or (point is not None and point.gating is Gating.ZERO)
    if perf and (source or output or device):
        raise UsageError("--perf must come without --input, --output and --device, because it takes no data")
    if dvfs and not (perf and point):
        raise UsageError("--dvfs must come with --perf and --energy TECHNOLOGY, because each point has its own cycles")
    for option, given in (("--stalls", stalls), ("--trace", trace), ("--energy", energy)):
        if device == GOLDEN and given:
            raise UsageError(f"{option} must come with --device {' or '.join(DEVICES[1:])}, not {GOLDEN}, "
                             "which counts no cycles")
    if not perf and source is None:
        raise UsageError("Missing option '--input'; give a file of samples, or --perf to count cycles without")
    inputs = arrays.load(source) if source else {}
    if record and device != "rtl":
        raise UsageError(f"--waves must come with --device rtl, not {'--perf' if perf else device or 'sim'}, "
                         "which has no signals")
    _check_activity(activity, "perf" if perf else device or "sim")
    for path in filter(None, (output, report, trace, activity, record.path if record else None)):
        check_writable(path)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
          TraceFile(trace) if trace else nullcontext() as tracer):
        task = bar.add_task("loading", total=None)

        def status(line: str) -> None:
            bar.update(task, description=line)

        if perf:
            measured = performance(network, preset=preset, settings=settings, batch=batch or 1, point=point,
                                   status=status, trace=tracer, views=report is not None)
            if dvfs and point:
                points = {name: replace(each, gating=point.gating)
                          for name, each in operating_points(point.technology, point.dram).items()}
                measured = replace(measured, operating_points=at_points(
                    network, points, preset=preset, settings=settings, batch=batch or 1, status=status))
        else:
            with Session(network, device or "sim", preset=preset, settings=settings, batch=batch,
                         status=status, activity=counts, waves=record) as session:
                if output is not None:
                    arrays.check_path(output, [info.name for info in session.outputs])
                if point is not None:
                    clocked(point, session.config)  # or the reason why not, before the run
                status("running")
                results = session.run(
                    inputs, progress=lambda done, total: bar.update(task, completed=done, total=total), trace=tracer)
                assert session.last_report is not None, "a session that ran has a report"
                measured = session.last_report
                if point is not None:
                    measured = replace(measured, energy=session.energy(point))
                if activity is not None:
                    measured = replace(measured, activity=session.activity())
                    _save_activity(activity, session)
                if report is not None:
                    measured = replace(measured, views=session.views())
    if output is not None:
        arrays.save(output, results)
    if report is not None:
        measured.save(report)
    show(measured.table())
    if stalls and measured.stalls is not None:
        show(stall_table(measured))
    for part in (measured.energy, measured.activity):
        for table in part.tables() if part else ():
            show(table)
    if measured.operating_points:
        show(points_table(measured.operating_points))
    at_once = f", up to {measured.batch} at once," if measured.batch > 1 else ""
    how = "counted without data" if perf else f"{measured.samples} sample{'s' if measured.samples > 1 else ''}{at_once}"
    print(f"{how} in {measured.seconds:.3f} s")


def _check_activity(path: Path | None, device: str) -> None:
    if path is None:
        return
    if path.suffix not in (".json", ".saif"):
        raise UsageError(f"name of an activity file must end in .json or .saif, not {path.name!r}")
    if device not in DEVICES[1:]:
        raise UsageError(f"--activity must come with --device {' or '.join(DEVICES[1:])}, not {device}, "
                         "which does not count it")
    if path.suffix == ".saif" and device != "rtl":
        raise UsageError(f"--activity with a .saif file must come with --device rtl, not {device}, which has no nets")


def _save_activity(path: Path, session: Session) -> None:
    nets = session.nets()
    if path.suffix == ".saif" and nets is not None:
        save_saif(path, nets)
    else:
        session.activity().save(path)


def _parsed(parse: Callable[[str], T], text: str | None) -> T | None:
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


@cli.command("info")
@click.argument("network", metavar="MODEL|PROGRAM", type=click.Path(path_type=Path))
@config_options
def info_command(network: Path, preset: str | None, settings: tuple[str, ...]) -> None:
    """Show the operators of MODEL or PROGRAM: shapes, MACs, bytes, and what falls back to the CPU and why.

    \b
    Examples:
      systolith info model.tflite
      systolith info model.tflite --preset tiny
    """
    for renderable in inspection.describe(load_program(network, preset=preset, settings=settings)):
        show(renderable)


@cli.command("disasm")
@click.argument("program", type=click.Path(path_type=Path))
def disasm_command(program: Path) -> None:
    """Print the instructions of PROGRAM, one per line.

    \b
    Example:
      systolith disasm model.sysl | head
    """
    for line in disassemble(Program.load(program)):
        print(line)


cli.add_command(asic_command)
cli.add_command(bench)
cli.add_command(build_command)
cli.add_command(explore_command)
cli.add_command(quantize_command)
cli.add_command(report_command)
cli.add_command(twin_command)
cli.add_command(zoo_command)
