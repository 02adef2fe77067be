"""What a sweep shows: the Pareto front and what was not run as tables, and a plot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from .pareto import METRICS, Comparison, Design
from .points import Row
from .space import Refused


def front_table(found: Comparison, swept: Sequence[str]) -> Table:
    """Return the Pareto front: the swept options and the metrics."""
    table = _table("Pareto front")
    for name in swept:
        table.add_column(name, justify="right")
    for name in found.metrics:
        table.add_column(METRICS[name].label, justify="right")
    for design in found.front:
        cells = [f"{design.options[name]}" for name in swept]
        cells += [_number(design.metric(name)) for name in found.metrics]
        table.add_row(*cells)
    return table


def front_notes(found: Comparison) -> str:
    """Return the line below the front: how many configurations it is of, and which are not among them."""
    notes = [f"{len(found.front)} of {len(found.candidates)} configurations"]
    if found.front and len(found.front[0].rows) > 1:
        notes.append(f"geometric means over {len(found.front[0].rows)} networks")
    if found.too_large:
        notes.append(f"{found.too_large} that do not fit the FPGA are left out")
    if found.incomplete:
        notes.append(f"{found.incomplete} that leave operators to the CPU which others run are left out")
    return "; ".join(notes)


def refused_table(refused: Sequence[Refused]) -> Table:
    """Return the reasons for which combinations are not valid, with how many they are and the first."""
    counts = Counter(each.reason for each in refused)
    first = {each.reason: each.values for each in reversed(refused)}
    return _reasons("not valid", ((_settings(first[reason]), count, reason) for reason, count in counts.items()))


def problems_table(rows: Sequence[Row], swept: Sequence[str]) -> Table:
    """Return the reasons for which networks cannot run, with how many configurations they are and the first."""
    counts = Counter((row["model"], row["problem"]) for row in rows)
    first = {(row["model"], row["problem"]): row for row in reversed(rows)}
    return _reasons("cannot run", ((f"{key[0]} {_settings({name: first[key][name] for name in swept})}", count,
                                    f"{key[1]}") for key, count in counts.items()))


def plot(path: Path, found: Comparison) -> None:
    """Draw the configurations: the first metric over the one that varies most, another as colour; the front is ringed.

    There must be candidates.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # an extra

    def points(designs: Sequence[Design], name: str) -> list[float]:
        return [design.metric(name) for design in designs]

    first, *others = found.metrics if len(found.metrics) > 1 else (*found.metrics, "multipliers")
    second, *more = sorted(others, key=lambda name: -len(set(points(found.candidates, name))))
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    colour: dict[str, Any] = {}
    if more:
        shades = points(found.candidates, more[0])
        colour = {"c": shades, "cmap": "viridis", "norm": "log" if min(shades) > 0 else "linear"}
    dots = axes.scatter(points(found.candidates, second), points(found.candidates, first), s=22, **colour)
    axes.scatter(points(found.front, second), points(found.front, first), s=70, facecolors="none", edgecolors="crimson",
                 label="Pareto front")
    if more:
        figure.colorbar(dots, label=METRICS[more[0]].label)
    networks = list(found.candidates[0].rows)
    axes.set(xscale="log", yscale="log", xlabel=METRICS[second].label, ylabel=METRICS[first].label,
             title=networks[0] if len(networks) == 1 else f"geometric mean over {len(networks)} networks")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend()
    figure.savefig(path, dpi=150)


def _reasons(title: str, lines: Iterable[tuple[str, int, str]]) -> Table:
    table = _table(title)
    table.add_column("configurations", justify="right")
    table.add_column("such as", overflow="fold")
    table.add_column("because", overflow="fold")
    for example, count, reason in lines:
        table.add_row(f"{count:,}", example, reason)
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", caption_justify="left", box=SIMPLE, pad_edge=False)


def _settings(values: Mapping[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


def _number(value: float) -> str:
    value = round(value, 6)  # a geometric mean of equal numbers is not quite that number
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:,.1f}"
