"""The view of the array: its cells as a grid that the page's script colours, tile by tile."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource, Range1d
from bokeh.plotting import figure

from . import theme
from .source import Source

CELLS = "cells"
"""Name of the data source whose colours the script sets."""


def grid(source: Source) -> figure:
    """Return the grid, row 0 at the top, with columns `colour` and `state` for the script."""
    rows, cols = source.config.rows, source.config.cols
    plot = figure(width=440, height=440, tools="", toolbar_location=None, x_range=Range1d(-0.5, cols - 0.5),
                  y_range=Range1d(rows - 0.5, -0.5), outline_line_color=None, background_fill_color=None,
                  border_fill_color=None, x_axis_location="above")
    plot.xaxis.axis_label, plot.yaxis.axis_label = "column: output channel", "row: input channel or tap"
    for axis in (plot.xaxis, plot.yaxis):
        axis.axis_label_text_font = axis.major_label_text_font = theme.FONT
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_color = axis.major_label_text_color = theme.INK
        axis.axis_label_text_font_size, axis.major_label_text_font_size = "12px", "11px"
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = None
    plot.grid.grid_line_color = None
    row, col = np.divmod(np.arange(rows * cols), cols)
    data = ColumnDataSource({"row": row, "col": col, "colour": ["#ffffff"] * len(row), "state": [""] * len(row)},
                            name=CELLS)
    marks = plot.rect("col", "row", 0.92, 0.92, source=data, fill_color="colour", line_color="#dfe5ea", line_width=0.6)
    theme.hover(plot, [marks], [("row, column", "@row, @col"), ("cell", "@state")])
    return plot
