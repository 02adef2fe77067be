"""The command `systolith twin`."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from ..hw.boards import BOARDS
from ..hw.link.uart import MIN_DIVISOR
from ..sim.twin.terminal import Terminal
from ..sim.twin.twin import Twin
from .console import config_options
from .errors import DeviceError, UsageError
from .fpga.design import Design
from .runtime.network import configuration

__all__ = ["twin_command"]

_REFRESH = 0.5  # seconds between two updates of what is shown


@click.command("twin")
@click.option("--board", "name", required=True, metavar="BOARD", help=f"{', '.join(BOARDS)}.")
@config_options
@click.option("--memory-kib", type=click.IntRange(1), metavar="KIB",
              help="On-chip memory; all that the FPGA has left unless told otherwise.")
@click.option("--baud", type=click.IntRange(1), metavar="BAUD",
              help="Bits per second of the serial line; a quarter of the clock, which is simulated fastest, unless "
                   "told otherwise.")
def twin_command(name: str, preset: str | None, settings: tuple[str, ...], memory_kib: int | None,
                 baud: int | None) -> None:
    """Simulate BOARD until Ctrl-C: its RTL, with its serial line at a pseudo-terminal.

    It prints the device that `systolith run` can then use. Without --preset the board's own is taken. See
    docs/host-link.md.

    \b
    Example:
      systolith twin --board ulx3s-85f
    """
    if name not in BOARDS:
        raise UsageError(f"board must be one of {', '.join(BOARDS)}, not {name!r}")
    board = BOARDS[name]
    config = configuration(preset or board.preset, settings)
    design = Design.of(board, config, memory_kib=memory_kib)
    design = replace(design, baud=baud or round(1e6 * design.pll.mhz) // MIN_DIVISOR)
    console = Console(stderr=True)
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=console, transient=True,
                  disable=not console.is_terminal) as bar:
        task = bar.add_task("starting")
        try:
            twin = Twin(design.top(0), lambda line: bar.update(task, description=line))
        except RuntimeError as error:
            raise DeviceError(f"the digital twin cannot start: {str(error).splitlines()[0].rstrip(':')}") from error
        with contextlib.closing(twin), contextlib.closing(Terminal(twin)) as terminal:
            options = " ".join([f"--preset {preset or board.preset}", *(f"--set {setting}" for setting in settings)])
            print(f"{name} with a core of {config.rows}x{config.cols} and {design.memory_kib} KiB of memory is at "
                  f"{terminal.port}; Ctrl-C ends it")
            print(f"systolith run MODEL --input X.npy --device serial:{terminal.port} {options}", flush=True)
            with _shown(bar, terminal), _stopped_by_signals(terminal):
                terminal.serve()
            print(f"{terminal.cycles:,} cycles, {terminal.received:,} bytes received, {terminal.sent:,} sent")


@contextlib.contextmanager
def _stopped_by_signals(terminal: Terminal) -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: terminal.stop()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def _shown(bar: Progress, terminal: Terminal) -> Iterator[None]:
    """Show now and then what the twin does."""
    ended = threading.Event()

    def show() -> None:
        cycles, began = 0, time.monotonic()
        while not ended.wait(_REFRESH):
            now, simulated = time.monotonic(), terminal.cycles - cycles
            speed = f"{simulated / (now - began) / 1e6:.2f} MHz" if simulated else "idle"
            bar.update(bar.task_ids[0], description=f"{speed}, {terminal.cycles:,} cycles, {terminal.received:,} bytes "
                                                    f"received, {terminal.sent:,} sent")
            cycles, began = terminal.cycles, now

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
