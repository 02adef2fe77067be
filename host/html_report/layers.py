"""Charts with one mark per layer: roofline, cycles by cause, energy by component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.core.properties import value
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, FixedTicker, Label, Range1d
from bokeh.models.layouts import LayoutDOM
from bokeh.plotting import figure

from . import theme
from .source import Source

_MOST_NAMED = 90  # layers whose names fit below a chart
_NAME = 24        # characters of a name there
_ANNOTATED = 5    # layers that the roofline names, at most
_APART = 0.2      # the least logarithm of the ratio of their heights
_NAME_WIDTH = 0.2  # share of the width of the chart that a name takes


def roofline(source: Source) -> figure:
    """Return every layer that multiplies: MACs per cycle over MACs per byte of DRAM traffic, and the two roofs.

    The network must multiply.
    """
    peak, bandwidth = source.config.rows * source.config.cols, source.config.memory_bandwidth
    layers = [(index, layer) for index, layer in enumerate(source.layers)
              if layer["macs"] and layer["cycles"] and layer["dram_bytes"]]
    points = [_point(layer["name"], layer["op"], layer["macs"], layer["cycles"], layer["dram_bytes"],
                     layer["cycles"] / source.values["cycles"], index) for index, layer in layers]
    whole = _point("whole network", "", source.values["macs"], source.values["cycles"], source.dram_bytes, 1)
    xs, ys = ([point[key] for point in (*points, whole)] for key in ("intensity", "rate"))
    ridge = peak / bandwidth
    low, high = min(*xs, ridge) / 2.2, max(*xs, ridge) * 2.2
    plot = theme.chart(430, x="operational intensity, MACs per byte of DRAM traffic", y="MACs per cycle",
                       zoom="box_zoom", x_axis_type="log", y_axis_type="log", x_range=Range1d(low, high),
                       y_range=Range1d(min(*ys, low * bandwidth) / 1.5, peak * 1.9))
    plot.xgrid.grid_line_color = theme.GRID
    plot.xaxis.formatter = plot.yaxis.formatter = theme.thousands()
    plot.line([low, ridge, high], [low * bandwidth, peak, peak], line_color=theme.INK, line_width=2)
    plot.add_layout(Label(x=high, y=peak, text=f"array: {peak:,} MACs per cycle ", text_align="right", y_offset=5,
                          **_TEXT))
    plot.add_layout(Label(x=low, y=low * bandwidth, text=f"DRAM: {bandwidth:g} bytes per cycle", x_offset=10,
                          y_offset=-2, text_baseline="top", **_TEXT))
    for op, colour in theme.colours(dict.fromkeys(point["op"] for point in points), theme.OPERATORS).items():
        marks = plot.scatter("intensity", "rate", size="size", source=_columns(p for p in points if p["op"] == op),
                             fill_color=colour, line_color="white", legend_label=op)
        theme.hover(plot, [marks], _POINT_ROWS)
    star = plot.scatter("intensity", "rate", source=_columns([whole]), marker="diamond", size=17, fill_color=theme.INK,
                        line_color="white", legend_label="whole network")
    theme.hover(plot, [star], _POINT_ROWS)
    for point in _apart(sorted(points, key=lambda p: p["macs"] / peak - p["cycles"])):
        left = point["intensity"] > high * (low / high) ** _NAME_WIDTH  # there is no room at its right
        plot.add_layout(Label(x=point["intensity"], y=point["rate"], text=f"{point['number']} {_short(point['layer'])}",
                              x_offset=-12 if left else 12, text_align="right" if left else "left", y_offset=-4,
                              text_baseline="top", **{**_TEXT, "text_color": theme.FAINT}))
    theme.legend_above(plot, box=26)
    return plot


_TEXT: dict[str, Any] = {"text_font": theme.FONT, "text_font_size": "12px", "text_color": theme.INK}
_POINT_ROWS = [("layer", "@number @layer"), ("operator", "@op"), ("MACs", "@macs{0,0}"), ("cycles", "@cycles{0,0}"),
               ("of all cycles", "@share{0.0%}"), ("DRAM bytes", "@bytes{0,0}"), ("MACs per byte", "@intensity{0,0.0}"),
               ("MACs per cycle", "@rate{0,0.0}")]


def _point(layer: str, op: str, macs: int, cycles: int, moved: int, share: float,
           number: int | str = "") -> dict[str, Any]:
    return {"number": number, "layer": layer, "op": op, "macs": macs, "cycles": cycles, "bytes": moved, "share": share,
            "intensity": macs / moved, "rate": macs / cycles, "size": 7 + 36 * share ** 0.5}


def _apart(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first points whose names can stand beside them without touching."""
    chosen: list[dict[str, Any]] = []
    for point in points:
        if len(chosen) < _ANNOTATED and all(abs(np.log(point["rate"] / other["rate"])) > _APART for other in chosen):
            chosen.append(point)
    return chosen


def _columns(rows: Any) -> ColumnDataSource:
    rows = list(rows)
    return ColumnDataSource({key: [row[key] for row in rows] for key in rows[0]})


def stalls(source: Source) -> LayoutDOM:
    """Return the cycles of each layer by cause, and below them the shares of each cause."""
    names = [cause for cause, cycles in source.values["stalls"].items() if cycles]
    parts = {name: [layer["stalls"][name] for layer in source.layers] for name in names}
    return _stacks(source, parts, theme.colours(names, theme.CAUSES), "cycles", "{0,0}")


def energy(source: Source) -> LayoutDOM:
    """Return the energy of each layer by component, in microjoules, and below it the shares of each component."""
    assert source.energy is not None
    names = [name for name, joules in source.energy["components"].items() if joules]
    parts = {name: [1e6 * layer["components"][name] for layer in source.energy["layers"]] for name in names}
    return _stacks(source, parts, theme.colours(names, theme.COMPONENTS), "uJ", "{0,0.00}")


def _stacks(source: Source, parts: Mapping[str, Sequence[float]], colours: Mapping[str, str], unit: str,
            form: str) -> LayoutDOM:
    """Return two stacked bars per layer, in the order of `parts`: values, and shares in percent."""
    layers, names = source.layers, list(parts)
    total = np.sum([parts[name] for name in names], axis=0)
    share = {name: 100 * np.divide(parts[name], total, out=np.zeros(len(total)), where=total > 0) for name in names}
    shown = Range1d(-0.7, len(layers) - 0.3, bounds=(-0.7, len(layers) - 0.3))
    tops = theme.chart(250, y=unit, x_range=shown)
    shares = theme.chart(120, y="share, %", x_range=shown, y_range=Range1d(0, 100))
    labels = {"layer": [f"{index} {layer['name']}" for index, layer in enumerate(layers)],
              "op": [layer["op"] for layer in layers]}
    for plot, values, suffix in ((tops, parts, form), (shares, share, "{0.0} %")):
        data = {"x": list(range(len(layers))), **labels, **{f"v_{name}": list(values[name]) for name in names},
                "total": total.tolist()}
        bars = plot.vbar_stack([f"v_{name}" for name in names], x="x", width=0.84, source=ColumnDataSource(data),
                               fill_color=[colours[name] for name in names], line_color=None,
                               **({"legend_label": names} if plot is tops else {}))
        theme.hover(plot, bars, [("layer", "@layer"), ("operator", "@op"), (f"total {unit}", "@total" + form),
                                 *((name, f"@v_{name}{suffix}") for name in names)])
    tops.yaxis.formatter, tops.y_range.start = theme.thousands(), 0
    tops.xaxis.visible = False
    theme.legend_above(tops)
    _name_layers(shares, [layer["name"] for layer in layers])
    return column(tops, shares, sizing_mode="stretch_width", spacing=0)


def _name_layers(plot: figure, names: Sequence[str]) -> None:
    """Label the x axis with the layers' names, or with their numbers where there are too many."""
    if len(names) > _MOST_NAMED:
        plot.xaxis.axis_label = "layer number"
        plot.height += 46
        return
    shown = [_short(name) for name in names]
    plot.xaxis.ticker = FixedTicker(ticks=list(range(len(names))))
    plot.xaxis.major_label_overrides = dict(enumerate(shown))
    plot.xaxis.major_label_orientation = "vertical"
    plot.xaxis.major_label_text_font_size = "10px"
    plot.height += 16 + round(6.3 * max(map(len, shown)))
    plot.xaxis.major_tick_line_color = None


def _short(name: str) -> str:
    """Return the end of a long name, which is where names differ."""
    return name if len(name) <= _NAME else f"...{name[3 - _NAME:]}"


def components(source: Source) -> figure:
    """Return the energy of the whole network by component."""
    assert source.energy is not None
    parts = sorted(((joules, name) for name, joules in source.energy["components"].items() if joules))
    names = [name for _, name in parts]
    colours = theme.colours(names, theme.COMPONENTS)
    plot = theme.chart(60 + 26 * len(names), x="uJ", y_range=names)
    total = sum(joules for joules, _ in parts)
    data = ColumnDataSource({"name": names, "value": [1e6 * joules for joules, _ in parts],
                             "share": [joules / total for joules, _ in parts],
                             "text": [f" {1e6 * joules:,.1f} uJ, {joules / total:.1%}" for joules, _ in parts],
                             "colour": [colours[name] for name in names]})
    bars = plot.hbar(y="name", right="value", height=0.72, fill_color="colour", line_color=None, source=data)
    plot.text(x="value", y="name", text="text", text_baseline="middle", source=data,
              **{**_TEXT, "text_font": value(theme.FONT)})
    theme.hover(plot, [bars], [("component", "@name"), ("uJ", "@value{0,0.00}"), ("share", "@share{0.0%}")])
    plot.x_range = Range1d(0, 1.22e6 * parts[-1][0])
    plot.xaxis.formatter = theme.thousands()
    plot.ygrid.grid_line_color, plot.xgrid.grid_line_color = None, theme.GRID
    return plot
