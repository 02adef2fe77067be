"""Switching activity of a run: what the array's cells multiplied, by layer, and what the nets of each block did."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from ..hw.config import AcceleratorConfig
from ..sim.activity import MacEvent
from ..sim.rtl.activity import BlockActivity


@dataclass(frozen=True)
class CellActivity:
    """What the cells of the array did in a layer, or in the whole run, over all samples.

    Attributes:
        name: the layer, or "total".
        cell_cycles: cycles times cells, or None where no cycles were counted.
        idle: those in which the cell had no word to multiply, or None likewise.
        events: multiplications by `MacEvent`, in lower case.
    """

    name: str
    cell_cycles: int | None
    idle: int | None
    events: Mapping[str, int]


@dataclass(frozen=True)
class ActivityReport:
    """Activity of a run of `samples` samples, in all their cycles; see docs/simulator.md.

    Attributes:
        device: which device counted.
        samples: samples of the run.
        cycles: cycles of all of them, or None where they were not counted.
        array: all layers together.
        layers: the operators of the network, in order.
        blocks: what the nets of each block of the core did since its session began, by name, where there are nets.
    """

    device: str
    samples: int
    cycles: int | None
    array: CellActivity
    layers: tuple[CellActivity, ...]
    blocks: Mapping[str, BlockActivity] | None = None

    def save(self, path: str | Path) -> None:
        """Write the report as JSON. Raises `OSError` when the file cannot be written."""
        Path(path).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def tables(self) -> list[Table]:
        """Return the layers, and the blocks, as tables for `rich`."""
        table = Table(title="multiplications of the array's cells, by operand", title_justify="left", box=SIMPLE,
                      pad_edge=False)
        table.add_column("layer", overflow="fold")
        for name in ("idle cells", *(event.name.lower().replace("_", " ") for event in MacEvent)):
            table.add_column(name, justify="right")
        for layer in self.layers:
            if layer.events["mac"]:
                table.add_row(*_row(layer))
        table.add_section()
        table.add_row(*_row(self.array))
        return [table] if self.blocks is None else [table, _block_table(self.blocks)]


def activity_report(device: str, names: Sequence[str], macs: np.ndarray, cycles: np.ndarray | None, samples: int,
                    config: AcceleratorConfig, blocks: Mapping[str, BlockActivity] | None) -> ActivityReport:
    """Return the report of the layers `names`.

    Their `macs` are int64 [layers, len(MacEvent)], and their `cycles` int64 [layers], or None where they are unknown.
    """
    cells = config.rows * config.cols

    def activity(name: str, events: np.ndarray, took: int | None) -> CellActivity:
        cell_cycles = None if took is None else cells * took
        idle = None if cell_cycles is None else cell_cycles - int(events[MacEvent.MAC])
        return CellActivity(name, cell_cycles, idle, {event.name.lower(): int(events[event]) for event in MacEvent})

    took = [None] * len(names) if cycles is None else cycles.tolist()
    total = None if cycles is None else int(cycles.sum())
    return ActivityReport(device, samples, total, activity("total", macs.sum(axis=0), total),
                          tuple(activity(*each) for each in zip(names, macs, took, strict=True)), blocks)


def _row(cells: CellActivity) -> list[str]:
    macs = cells.events["mac"]
    idle = "-" if cells.idle is None or not cells.cell_cycles else f"{cells.idle / cells.cell_cycles:.1%}"
    shares = [f"{cells.events[event.name.lower()] / macs if macs else 0:.1%}" for event in MacEvent if event]
    return [cells.name, idle, f"{macs:,}", *shares]


def _block_table(blocks: Mapping[str, BlockActivity]) -> Table:
    table = Table(title="nets of the core", title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("block")
    for name in ("net bits", "toggles per bit and cycle", "register bits", "toggles per bit and cycle",
                 "cycles with a new value"):
        table.add_column(name, justify="right")
    for name, block in blocks.items():
        table.add_row(name.replace("_", " "), f"{block.net_bits:,}", f"{block.net_toggles:.3f}",
                      f"{block.register_bits:,}", f"{block.register_toggles:.3f}", f"{block.register_changes:.1%}")
    return table
