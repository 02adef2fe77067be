"""The page: charts, summary and table put into one HTML file that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from bokeh.embed import json_item
from bokeh.resources import Resources
from jinja2 import Environment
from markupsafe import Markup

from . import array, layers, theme, timeline
from .source import Source


def render(source: Source) -> str:
    """Return the page of a report."""
    charts: dict[str, Any] = {"stalls": layers.stalls(source)}
    if source.values["macs"]:
        charts["roofline"] = layers.roofline(source)
    if source.views:
        charts["timeline"] = timeline.timeline(source)
        if source.views["occupancy"]:
            charts["array"] = array.grid(source)
    if source.energy:
        charts |= {"components": layers.components(source), "energy": layers.energy(source)}
    folder = files(__package__)
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["count"] = lambda value: "-" if value is None else f"{value:,}"
    environment.filters["percent"] = lambda value: "-" if value is None else f"{value:.1%}"
    environment.filters["script"] = _script
    template = environment.from_string(folder.joinpath("page.html").read_text("utf-8"))
    return template.render(
        report=source.values, config=source.config, energy=source.energy, dram_bytes=source.dram_bytes,
        summary=list(_summary(source)), table=list(_table(source)), causes=theme.CAUSES,
        charts={name: json_item(chart, name) for name, chart in charts.items()},
        occupancy=source.views["occupancy"] if source.views else [],
        style=folder.joinpath("page.css").read_text("utf-8"), script=folder.joinpath("page.js").read_text("utf-8"),
        bokeh="\n".join(Resources("inline", components=["bokeh"]).js_raw))


def _summary(source: Source) -> Iterable[tuple[str, str, str]]:
    """Yield a title, a value and a remark for each of the figures at the top."""
    values, config = source.values, source.config
    mhz = source.energy["mhz"] if source.energy else config.clock_mhz
    time = f"; {values['cycles'] / mhz / 1000:,.2f} ms at {mhz:g} MHz" if mhz else ""  # else nobody knows the clock
    yield "cycles", f"{values['cycles']:,}", f"per sample{time}"
    yield ("utilisation", f"{values['utilisation']:.1%}",
           f"{values['macs']:,} MACs on {config.rows} x {config.cols} cells")
    yield ("DRAM", _bytes(source.dram_bytes), f"{_bytes(values['dram_bytes_read'])} read, "
           f"{_bytes(values['dram_bytes_written'])} written")
    yield "waits for DRAM", f"{values['stalls'].get('dram', 0) / values['cycles']:.1%}", "of the cycles"
    if source.energy:
        energy = source.energy
        yield ("energy, a model", f"{1e3 * energy['joules']:,.3g} mJ",
               f"{1e3 * energy['watts']:,.0f} mW, {energy['gops_per_watt']:,.0f} GOPS/W; {energy['technology']}, "
               f"{energy['volts']:g} V")


def _table(source: Source) -> Iterable[dict[str, Any]]:
    cycles = source.values["cycles"]
    for number, layer in enumerate(source.layers):
        waits = {cause: count for cause, count in layer["stalls"].items() if cause != "busy" and count}
        worst = max(waits, key=lambda cause: waits[cause], default=None)
        yield {**layer, "number": number, "share": (layer["cycles"] or 0) / cycles, "wait": worst,
               "waited": waits[worst] / layer["cycles"] if worst and layer["cycles"] else None}


def _script(value: Any) -> Markup:
    """Return JSON that cannot end the element it stands in; keys keep their order, which Bokeh's references need."""
    return Markup(json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


def _bytes(count: int) -> str:
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:,} bytes"
