"""Command line of the page: `systolith report`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from ..console import check_writable
from ..errors import UsageError
from .source import MALFORMED, load


@click.command("report")
@click.argument("report", metavar="R.json", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, metavar="PAGE.html", type=click.Path(path_type=Path),
              help="HTML file to write; it needs no network and no other file.")
def report_command(report: Path, output: Path) -> None:
    """Draw the report of `systolith run --report R.json` as one HTML page.

    Needs the extra `systolith[report]`.

    \b
    Examples:
      systolith run model.tflite --perf --energy 16nm --report r.json
      systolith report r.json -o r.html
    """
    source = load(report)
    check_writable(output)
    if importlib.util.find_spec("bokeh") is None:
        raise UsageError("systolith report needs the package bokeh; pip install systolith[report]")
    from .page import render  # an extra

    try:
        page = render(source)
    except MALFORMED as error:
        raise UsageError(f"{report} must be a report of this version ({type(error).__name__}: {error}); write it with "
                         "'systolith run --report' again") from error
    output.write_text(page, encoding="utf-8")
    print(f"{output}: {output.stat().st_size:,} bytes; open it in a browser")
