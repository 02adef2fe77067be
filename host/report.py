"""The report of a run, as a record, as JSON for scripts and as a table for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from ..hw.config import PRESETS, AcceleratorConfig
from .activity import ActivityReport
from .energy import EnergyReport
from .views import Views


@dataclass(frozen=True)
class LayerReport:
    """One operator of the network.

    Attributes:
        name: operator name.
        op: operator kind, such as "CONV_2D".
        unit: "array", "vector" or "cpu": who did the work.
        macs: multiply-accumulates per sample.
        cycles: clock cycles that the layer added to a sample, or None when the device does not count them; layers
            overlap, see `profile.Timeline`.
        utilisation: macs / (cycles * rows * cols), 0 to 1, or None when there are no cycles to divide by.
        reason: why the operator runs on the CPU, or None.
        stalls: `cycles` by what the array did or waited for, see `profile.Cause`, or None as above.
        dram_bytes: bytes that its instructions, themselves included, move from and to DRAM, or None as above.
    """

    name: str
    op: str
    unit: str
    macs: int
    cycles: int | None
    utilisation: float | None
    reason: str | None = None
    stalls: Mapping[str, int] | None = None
    dram_bytes: int | None = None


@dataclass(frozen=True)
class Report:
    """Measurements of one `Session.run`; `cycles`, `macs` and bytes are per sample.

    Attributes:
        model: name of the network.
        device: device specification, such as "rtl".
        preset: name of the preset with this gateware, or None when there is none.
        config_hash: identity of the configuration, 16 hexadecimal digits.
        samples: samples in the run.
        macs: multiply-accumulates.
        cycles: clock cycles, or None when the device does not count them.
        utilisation: macs / (cycles * rows * cols), 0 to 1, or None as above.
        dram_bytes_read: bytes read from DRAM, instructions included, or None when the device has no DRAM.
        dram_bytes_written: bytes written to DRAM, or None as above.
        seconds: wall time of the whole run on this computer.
        dram_wait: share of `cycles` in which the array stood still because data had not arrived, or None.
        batch: most samples that ran at once.
        note: why the device left out what it else would count, one line, or None.
        counters: the device's own counters, summed over all samples.
        layers: the operators in execution order; their cycles sum to `cycles`.
        stalls: the sum of the layers' `stalls`, or None.
        energy: modelled energy, where it was asked for.
        operating_points: the same at every operating point of the technology, by name, where that was asked for.
        activity: switching activity, where it was counted.
        config: the options of the configuration.
        views: what pictures need besides, where it was asked for.
    """

    model: str
    device: str
    preset: str | None
    config_hash: str
    samples: int
    macs: int
    cycles: int | None
    utilisation: float | None
    dram_bytes_read: int | None
    dram_bytes_written: int | None
    seconds: float
    dram_wait: float | None = None
    batch: int = 1
    note: str | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    layers: tuple[LayerReport, ...] = ()
    stalls: Mapping[str, int] | None = None
    energy: EnergyReport | None = None
    operating_points: Mapping[str, EnergyReport] | None = None
    activity: ActivityReport | None = None
    config: Mapping[str, int | str] = field(default_factory=dict)
    views: Views | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        return asdict(self)

    def save(self, path: str | Path) -> None:
        """Write the report as JSON, one line for each key and for each entry of a list of objects.

        Raises:
            OSError: the file cannot be written.
        """
        Path(path).write_text(_json(self.to_dict()) + "\n", encoding="utf-8")

    def table(self) -> Table:
        """Return the layers and their sum as a table for `rich`."""
        table = Table(title=f"{self.model} on {self.device}", title_justify="left", caption_justify="left", box=SIMPLE,
                      pad_edge=False)
        table.add_column("layer", overflow="fold")
        for name in ("operator", "unit"):
            table.add_column(name)
        for name in ("MACs", "cycles", "utilisation"):
            table.add_column(name, justify="right")
        for layer in self.layers:
            table.add_row(layer.name, layer.op, layer.unit, f"{layer.macs:,}", _count(layer.cycles),
                          _percent(layer.utilisation))
        table.add_section()
        table.add_row("total", "", "", f"{self.macs:,}", _count(self.cycles), _percent(self.utilisation))
        if self.dram_wait is not None:
            table.caption = f"the array waits for DRAM during {self.dram_wait:.1%} of the cycles"
        elif self.note is not None:
            table.caption = self.note
        return table


def stall_table(report: Report) -> Table:
    """Return each layer's cycles by cause, and their sum, as a table for `rich`; of a report that has them."""
    table = Table(title="cycles by cause", title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("layer", overflow="fold")
    total = report.stalls or {}
    for name in (*total, "cycles"):
        table.add_column(name, justify="right")
    for layer in report.layers:
        if layer.cycles:
            table.add_row(layer.name, *(f"{value:,}" for value in (layer.stalls or {}).values()), _count(layer.cycles))
    table.add_section()
    table.add_row("total", *(f"{value:,}" for value in total.values()), _count(report.cycles))
    table.add_row("share", *(_percent(value / report.cycles if report.cycles else None) for value in total.values()))
    return table


def utilisation(macs: int, cycles: int | None, config: AcceleratorConfig) -> float | None:
    """Return the share of the array's multiplications that were useful, or None without cycles."""
    return macs / (cycles * config.rows * config.cols) if cycles else None


def preset_name(config: AcceleratorConfig) -> str | None:
    """Return the name of the preset whose gateware `config` has, or None."""
    return next((name for name, preset in PRESETS.items() if preset.hash() == config.hash()), None)


def config_hash(config: AcceleratorConfig) -> str:
    """Return the identity of `config` as 16 hexadecimal digits."""
    return f"{config.hash():016x}"


def _json(value: Any) -> str:
    if isinstance(value, dict) and value:
        return "{\n" + ",\n".join(f"{json.dumps(key)}: {_lines(each)}" for key, each in value.items()) + "\n}"
    return json.dumps(value)


def _lines(value: Any) -> str:
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(map(json.dumps, value)) + "\n]"
    return _json(value)


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
