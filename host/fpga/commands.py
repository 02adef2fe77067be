"""The command `systolith build`."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from ...hw.boards import BOARDS
from ...hw.link.protocol import BAUD
from ..console import check_writable, config_options, show
from ..errors import UsageError
from ..runtime.network import configuration
from .design import Design
from .flow import BITSTREAM, REPORT, build
from .tools import BuildError

__all__ = ["build_command"]

LOADER = "openFPGALoader"


@click.command("build")
@click.option("--board", "name", required=True, metavar="BOARD", help=f"{', '.join(BOARDS)}.")
@config_options
@click.option("--mhz", type=click.FloatRange(min=1), metavar="MHZ",
              help="Clock; the board's own unless told otherwise.")
@click.option("--memory-kib", type=click.IntRange(1), metavar="KIB",
              help="On-chip memory; all that the FPGA has left unless told otherwise.")
@click.option("--baud", type=click.IntRange(1), default=BAUD, metavar="BAUD", show_default=True,
              help="Bits per second of the serial line.")
@click.option("--seeds", type=click.IntRange(1), default=1, metavar="N", show_default=True,
              help="Placements to try; the fastest is kept.")
@click.option("-o", "--output", metavar="DIR", type=click.Path(path_type=Path),
              help=f"Folder for {BITSTREAM} and {REPORT}; build/BOARD unless told otherwise.")
@click.option("--floorplan", metavar="P.png", type=click.Path(path_type=Path),
              help="File for a picture of where the blocks lie; needs matplotlib.")
@click.option("--program", is_flag=True, help=f"Load the bitstream into the board with {LOADER}.")
def build_command(name: str, preset: str | None, settings: tuple[str, ...], mhz: float | None, memory_kib: int | None,
                  baud: int, seeds: int, output: Path | None, floorplan: Path | None,
                  program: bool) -> None:
    """Build the bitstream of an accelerator for BOARD and report what it takes and how fast it is.

    Without --preset the board's own is taken. A bitstream is written only if it meets its clock at the slow corner. See
    docs/boards.md.

    \b
    Examples:
      systolith build --board ulx3s-85f
      systolith build --board ulx3s-85f --preset tiny --mhz 100 --seeds 4 -o build/tiny
      systolith build --board ulx3s-85f --program
    """
    if name not in BOARDS:
        raise UsageError(f"board must be one of {', '.join(BOARDS)}, not {name!r}")
    board = BOARDS[name]
    loader = shutil.which(LOADER)
    if program and loader is None:
        raise UsageError(f"{LOADER} must be installed for --program, but is not on PATH; install it, or load the "
                         "bitstream by other means")
    if floorplan:
        if importlib.util.find_spec("matplotlib") is None:
            raise UsageError("matplotlib must be installed for --floorplan; do `pip install 'systolith[plot]'`")
        check_writable(floorplan)
    design = Design.of(board, configuration(preset or board.preset, settings), mhz=mhz, memory_kib=memory_kib,
                       baud=baud)
    output = output or Path("build") / name
    output.mkdir(parents=True, exist_ok=True)

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)

        def progress(stage: str, share: float | None) -> None:
            bar.update(task, description=f"{name}: {stage}", total=None if share is None else 1.0,
                       completed=share or 0.0)

        result = build(design, seeds=seeds, progress=progress)
    for table in result.report.tables():
        show(table)
    shutil.copyfile(result.folder / REPORT, output / REPORT)
    if floorplan:
        result.placement.draw(floorplan, f"{board.title}, {design.config.rows}x{design.config.cols}")
    if not result.report.met:
        (output / BITSTREAM).unlink(missing_ok=True)
        raise BuildError(f"no bitstream is written, because {result.report.shortfall()}; try --seeds {seeds + 3} or a "
                         "lower --mhz")
    shutil.copyfile(result.bitstream, output / BITSTREAM)
    print(f"{output / BITSTREAM}: {result.bitstream.stat().st_size:,} bytes")
    if program:
        assert loader is not None
        status = subprocess.run([loader, *board.loader, output / BITSTREAM], check=False).returncode
        if status:
            raise BuildError(f"{LOADER} must load the bitstream, but ended with status {status}; connect the board")
