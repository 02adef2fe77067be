"""Command line of the ASIC flow: `systolith asic`, and its tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from ...hw.asic.liberty import LIBERTY
from ...hw.asic.report import AsicReport, Corner
from ..console import check_writable, config_options, show
from ..errors import UsageError
from ..runtime.network import configuration
from .activity import read_activity
from .flow import CHOICES, asic_report

_LONGEST_PATH = 8  # steps that are shown at either end of the longest path


@click.command("asic")
@config_options
@click.option("--block", default="core", metavar="NAME", help=f"Only a part of it: {', '.join(CHOICES)}.")
@click.option("--liberty", "liberties", multiple=True, metavar="FILE", type=click.Path(path_type=Path),
              help="Library of standard cells; more are further corners of the same cells. OSU 180 nm by default.")
@click.option("--period", "period_ns", default=10.0, metavar="NS", help="Clock period in ns; 10 unless told otherwise.")
@click.option("--activity", metavar="FILE|RATE",
              help="Toggles of a run, .saif or .json of `systolith run --device rtl --activity`; or of every register "
              "per cycle.")
@click.option("--json", "json_path", metavar="FILE", type=click.Path(path_type=Path), help="Also write the report.")
@click.option("-o", "--output", metavar="DIR", type=click.Path(path_type=Path),
              help="Also write sources, netlist, report.json, and files for LibreLane.")
def asic_command(preset: str | None, settings: tuple[str, ...], block: str, liberties: tuple[Path, ...],
                 period_ns: float, activity: str | None, json_path: Path | None, output: Path | None) -> None:
    """Synthesise a core to standard cells: area, timing and power by block, without a layout.

    Needs Debian's opensta, and qflow-tech-osu018 unless --liberty names a library, and `pip install
    'systolith[fpga]'`. Memories are macros with modelled area and times: docs/asic.md.

    \b
    Examples:
      systolith asic
      systolith asic --block array --preset tiny --period 5
      systolith asic --liberty sky130_tt.lib --liberty sky130_ss.lib
      systolith asic --activity run.saif -o asic
    """
    if not 0.01 <= period_ns <= 1000:
        raise UsageError(f"--period must be between 0.01 and 1000 ns, not {period_ns:g}")
    if json_path:
        check_writable(json_path)
    if output and output.exists() and not output.is_dir():
        raise UsageError(f"output {output} must be a folder, not a file")
    config, toggles, console = configuration(preset, settings), read_activity(activity), Console(stderr=True)
    with console.status("starting") as bar:
        found = asic_report(config, liberties or (LIBERTY,), block=block, period_ns=period_ns, activity=toggles,
                            folder=output, status=bar.update)
    text = json.dumps(asdict(found), indent=1) + "\n"
    for path in (json_path, output / "report.json" if output else None):
        if path:
            path.write_text(text, encoding="utf-8")
    for table in tables(found):
        show(table)


def tables(report: AsicReport) -> Iterator[Table]:
    """Yield the areas of a report, its memories, and timing and power in each corner, as tables for `rich`."""
    yield _areas(report)
    if report.macros:
        yield _memories(report)
    for corner in report.corners:
        yield _timing(report, corner)
        yield _path(corner)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index else "left")
    return table


def _areas(report: AsicReport) -> Table:
    table = _table(f"{report.top} in {report.library}, mapped for {report.period_ns:g} ns; a gate is a NAND of "
                   f"{report.gate:g} um2", "block", "cells", "flip-flops", "area, um2", "gates", "share")
    area = sum(block.area for block in report.blocks.values())
    for name, block in report.blocks.items():
        table.add_row(name, f"{block.cells:,}", f"{block.flip_flops:,}", f"{block.area:,.0f}", f"{block.gates:,.0f}",
                      f"{block.area / area:.1%}")
    table.add_section()
    blocks = report.blocks.values()
    table.add_row("total", f"{sum(each.cells for each in blocks):,}", f"{sum(each.flip_flops for each in blocks):,}",
                  f"{area:,.0f}", f"{sum(each.gates for each in blocks):,.0f}", "")
    return table


def _memories(report: AsicReport) -> Table:
    table = _table("memories, as macros (a model)", "block", "words x bits", "count", "area, um2", "reads per cycle",
                   "writes per cycle", "power, mW")
    for each in report.macros:
        rates = [each.reads, each.writes]
        known = [rate for rate in rates if rate is not None]
        power = f"{sum(known) * each.access / report.period_ns * 1e12:,.2f}" if known else "-"
        table.add_row(each.block, f"{each.words} x {each.bits}", str(each.count), f"{each.count * each.area:,.0f}",
                      *("-" if rate is None else f"{rate:.3f}" for rate in rates), power)
    table.add_section()
    table.add_row("total", "", str(sum(each.count for each in report.macros)),
                  f"{sum(each.count * each.area for each in report.macros):,.0f}", "", "", "")
    return table


def _timing(report: AsicReport, corner: Corner) -> Table:
    table = _table(f"{corner.library}, {corner.volts:g} V: {corner.mhz:.0f} MHz; power in mW at "
                   f"{1e3 / report.period_ns:.0f} MHz, toggles: {report.activity}",
                   "block", "MHz", "longest path ends at", "internal", "switching", "leakage", "total")
    table.columns[2].justify = "left"
    table.columns[2].overflow = "fold"
    totals = [0.0, 0.0, 0.0]
    for name, block in corner.blocks.items():
        watts = [block.internal, block.switching, block.leakage]
        totals = [sum(pair) for pair in zip(totals, watts, strict=True)]
        table.add_row(name, f"{block.mhz:.0f}" if block.mhz else "-", block.endpoint or "-", *_milli(watts))
    table.add_section()
    table.add_row("total", f"{corner.mhz:.0f}", "", *_milli(totals))
    return table


def _milli(watts: list[float]) -> list[str]:
    return [f"{value * 1e3:,.3f}" for value in (*watts, sum(watts))]


def _path(corner: Corner) -> Table:
    table = _table(f"longest path in {corner.library}, {len(corner.path)} steps", "pin", "cell", "delay, ns",
                   "time, ns")
    shown = list(corner.path)
    skipped = len(shown) - 2 * _LONGEST_PATH
    for index, point in enumerate(shown):
        if skipped > 0 and index == _LONGEST_PATH:
            table.add_row(f"... {skipped} steps", "", "", "")
        if skipped <= 0 or not _LONGEST_PATH <= index < len(shown) - _LONGEST_PATH:
            table.add_row(point.pin, point.cell, f"{point.delay:.3f}", f"{point.time:.3f}")
    return table
