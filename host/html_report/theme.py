"""Colours and fonts of the page: one colour per cause, component and operator in all charts."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle
from typing import Any

from bokeh.models import HoverTool, NumeralTickFormatter
from bokeh.plotting import figure

INK, FAINT, GRID, FONT = "#1f2933", "#5f6b7a", "#e8ecf0", "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
MARGIN = 78
"""Pixels left of the frame, the same in all charts, so that their axes are in line."""

CAUSES = {
    "busy": "#2f6fab", "weights": "#9cc4e4", "vector": "#eda63c", "store": "#9a6fb0", "dram": "#d64550",
    "issue": "#7d8a99", "fill": "#c8b88a", "end": "#d5dbe1",
}
COMPONENTS = {
    "macs": "#2f6fab", "registers": "#9cc4e4", "activations": "#3b9c80", "weights": "#84c98f", "parameters": "#c7d66d",
    "accumulators": "#b98ac9", "lines": "#c8b88a", "vector": "#eda63c", "leakage": "#7d8a99", "dram": "#d64550",
}
OPERATORS = {"CONV_2D": "#2f6fab", "DEPTHWISE_CONV_2D": "#eda63c", "FULLY_CONNECTED": "#9a6fb0",
             "TRANSPOSE_CONV": "#3b9c80"}
_OTHERS = ("#64a36f", "#b5655a", "#5c6fb1", "#a3843c", "#7f7f7f")
LAYERS = ("#3a78b5", "#ee9d3a", "#4ba388", "#d15f66", "#8f78b8", "#a3bf4f", "#5bb1cc", "#c98bb4", "#a58560", "#6b7d8f")
"""Neighbouring layers have different colours; every tenth has the same."""


def colours(names: Iterable[str], known: dict[str, str]) -> dict[str, str]:
    """Return a colour for each name: the known one, or one of others in turn."""
    others = cycle(_OTHERS)
    return {name: known[name] if name in known else next(others) for name in names}


def layer_colour(index: int, light: bool = False) -> str:
    """Return the colour of a layer, or a light one of the same hue."""
    colour = LAYERS[index % len(LAYERS)]
    if not light:
        return colour
    return "#" + "".join(f"{(int(colour[at:at + 2], 16) + 2 * 255) // 3:02x}" for at in (1, 3, 5))


def chart(height: int, *, x: str = "", y: str = "", zoom: str = "xbox_zoom", **options: Any) -> figure:
    """Return an empty chart as wide as the page; `x` and `y` are titles of the axes, `zoom` is what dragging does."""
    plot = figure(height=height, sizing_mode="stretch_width", tools=f"{zoom},pan,reset,save", active_drag=zoom,
                  toolbar_location="right", background_fill_color=None, border_fill_color=None, outline_line_color=None,
                  min_border_left=MARGIN, min_border_right=8, min_border_top=4, min_border_bottom=6, **options)
    plot.toolbar.autohide = True
    plot.toolbar.logo = None
    for axis, title in ((plot.xaxis, x), (plot.yaxis, y)):
        axis.axis_label = title or None
        axis.axis_label_text_font = axis.major_label_text_font = FONT
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size, axis.major_label_text_font_size = "12px", "11px"
        axis.axis_label_text_color, axis.major_label_text_color = INK, INK
        axis.axis_line_color = axis.major_tick_line_color = "#9aa5b1"
        axis.minor_tick_line_color = None
    plot.xgrid.grid_line_color = None
    plot.ygrid.grid_line_color = GRID
    return plot


def legend_above(plot: figure, box: int = 13) -> None:
    """Put the legend of a chart above its frame, in one row, with samples of `box` pixels."""
    legend = plot.legend[0]
    plot.add_layout(legend, "above")
    legend.orientation, legend.location = "horizontal", "left"
    legend.border_line_color = legend.background_fill_color = None
    legend.label_text_font, legend.label_text_font_size, legend.label_text_color = FONT, "12px", INK
    legend.glyph_width = legend.glyph_height = box
    legend.spacing, legend.padding, legend.margin, legend.label_standoff = 14, 0, 4, 4
    legend.click_policy = "none"


def hover(plot: figure, renderers: list[Any], rows: list[tuple[str, str]]) -> None:
    plot.add_tools(HoverTool(renderers=renderers, tooltips=rows, attachment="horizontal", visible=False))


def thousands() -> NumeralTickFormatter:
    return NumeralTickFormatter(format="0,0")
