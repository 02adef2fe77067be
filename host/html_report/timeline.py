"""Charts over the cycles of a run: activity, DRAM traffic and the memories, one below the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from bokeh.core.properties import value
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, Label, Range1d, Span
from bokeh.models.layouts import LayoutDOM
from bokeh.plotting import figure

from . import theme
from .source import Source

_WHAT = {("activations", 0): "output of", ("activations", 1): "loaded for", ("weights", 1): "weights of",
         ("parameters", 1): "parameters of", ("accumulators", 0): "sums of"}
_ROOM = 0.015  # share of the run that a layer must take to be numbered
_HEIGHTS = {"activations": 230, "weights": 130, "parameters": 110, "accumulators": 110}


def timeline(source: Source) -> LayoutDOM:
    """Return the charts over time, with one x axis: layers, causes, DRAM traffic, and each memory."""
    views = source.views
    assert views is not None
    shown = Range1d(0, views["cycles"], bounds=(0, views["cycles"]))
    plots = [_layers(source, shown), _causes(views["activity"], shown, views["cycles"]), _traffic(source, shown),
             *(_memory(source, memory, shown) for memory in views["memories"])]
    for plot in plots:
        plot.xaxis.formatter = theme.thousands()
        plot.xaxis.visible = plot is plots[-1]
    plots[-1].xaxis.axis_label = "cycles"
    plots[-1].height += 46
    return column(*plots, sizing_mode="stretch_width", spacing=4)


def _edges(activity: Mapping[str, Any], cycles: int) -> tuple[np.ndarray, np.ndarray]:
    count = len(activity["dram_read"])
    left = activity["interval"] * np.arange(count)
    return left, np.minimum(left + activity["interval"], cycles)


def _layers(source: Source, shown: Range1d) -> figure:
    """Return a strip of the layers in turn, with their numbers where there is room."""
    assert source.views is not None
    activity = source.views["activity"]
    left, right = _edges(activity, source.views["cycles"])
    of = np.array(activity["layer"])
    first = np.flatnonzero(np.diff(of, prepend=-1))
    begin, end, index = left[first], right[np.append(first[1:], len(of)) - 1], of[first]
    plot = theme.chart(26, x_range=shown, y_range=Range1d(0, 1))
    plot.yaxis.visible = plot.xaxis.visible = False
    plot.ygrid.grid_line_color = None
    roomy = end - begin > _ROOM * source.views["cycles"]
    data = ColumnDataSource({
        "left": begin, "right": end, "middle": (begin + end) / 2,
        "colour": [theme.layer_colour(each) for each in index],
        "text": [str(each) if room else "" for each, room in zip(index, roomy, strict=True)],
        "name": [f"{each} {source.layers[each]['name']}" for each in index]})
    marks = plot.quad("left", "right", 1, 0, source=data, fill_color="colour", line_color="white")
    plot.text("middle", 0.5, "text", source=data, text_align="center", text_baseline="middle", text_color="white",
              text_font=value(theme.FONT), text_font_size="11px", text_font_style="bold")
    theme.hover(plot, [marks], [("layer", "@name"), ("cycles", "@left{0,0} to @right{0,0}")])
    return plot


def _causes(activity: Mapping[str, Any], shown: Range1d, cycles: int) -> figure:
    left, right = _edges(activity, cycles)
    plot = theme.chart(170, y="array, % of cycles", x_range=shown, y_range=Range1d(0, 100))
    used = [name for name, values in activity["causes"].items() if any(values)]
    shares = {name: 100 * np.array(activity["causes"][name]) / (right - left) for name in used}
    bottom, marks = np.zeros(len(left)), []
    data = {"left": left, "right": right, **{f"v_{name}": shares[name] for name in used}}
    for name, colour in theme.colours(used, theme.CAUSES).items():
        top = bottom + shares[name]
        marks.append(plot.quad("left", "right", "top", "bottom", source=ColumnDataSource(
            {**data, "bottom": bottom, "top": top}), fill_color=colour, line_color=colour, legend_label=name))
        bottom = top
    theme.hover(plot, marks, [("cycles", "@left{0,0} to @right{0,0}"),
                              *((name, f"@v_{name}{{0.0}} %") for name in used)])
    theme.legend_above(plot)
    return plot


def _traffic(source: Source, shown: Range1d) -> figure:
    assert source.views is not None
    activity, roof = source.views["activity"], source.config.memory_bandwidth
    left, right = _edges(activity, source.views["cycles"])
    read, written = (np.array(activity[key]) / (right - left) for key in ("dram_read", "dram_written"))
    plot = theme.chart(120, y="bytes per cycle", x_range=shown, y_range=Range1d(0, roof * 1.3))
    data = ColumnDataSource({"left": left, "right": right, "read": read, "written": written, "both": read + written,
                             "zero": np.zeros(len(left))})
    marks = [plot.quad("left", "right", "read", "zero", source=data, color=theme.CAUSES["dram"],
                       legend_label="read from DRAM"),
             plot.quad("left", "right", "both", "read", source=data, color=theme.CAUSES["store"],
                       legend_label="written to DRAM")]
    plot.add_layout(Span(location=roof, dimension="width", line_color=theme.INK, line_dash="dashed"))
    plot.add_layout(Label(x=0, y=roof, text=f" {roof:g} bytes per cycle", text_font=theme.FONT, text_font_size="11px",
                          text_color=theme.INK))
    theme.hover(plot, marks, [("cycles", "@left{0,0} to @right{0,0}"), ("read, bytes per cycle", "@read{0.00}"),
                              ("written, bytes per cycle", "@written{0.00}")])
    theme.legend_above(plot)
    return plot


def _memory(source: Source, memory: Mapping[str, Any], shown: Range1d) -> figure:
    """Return the rectangles of one memory; light ones are loaded from DRAM where results lie there, too."""
    name = memory["name"]
    kib = memory["words"] * memory["word_bytes"] / 1024
    plot = theme.chart(_HEIGHTS[name], y=f"{name}, KiB", x_range=shown, y_range=Range1d(0, kib))
    plot.ygrid.level = "overlay"
    plot.ygrid.grid_line_alpha = 0.5
    names = [f"{index} {layer['name']}" for index, layer in enumerate(source.layers)]
    scale = memory["word_bytes"] / 1024
    for loaded in (0, 1):
        light = name == "activations" and bool(loaded)
        at = np.flatnonzero(np.array(memory["loaded"], np.int64) == loaded)
        columns = {key: np.array(memory[key], np.int64)[at] for key in ("layer", "low", "high", "begin", "end")}
        data = ColumnDataSource({
            "left": columns["begin"], "right": np.minimum(columns["end"], shown.end), "bottom": scale * columns["low"],
            "top": scale * columns["high"], "colour": [theme.layer_colour(layer, light) for layer in columns["layer"]],
            "what": [f"{_WHAT.get((name, loaded), 'of')} {names[layer]}" for layer in columns["layer"]]})
        marks = plot.quad("left", "right", "top", "bottom", source=data, color="colour")
        theme.hover(plot, [marks], [("holds", "@what"), ("cycles", "@left{0,0} to @right{0,0}"),
                                    ("KiB", "@bottom{0.00} to @top{0.00}")])
    return plot
