"""What a bitstream takes of its FPGA and how fast it is, read from the reports of the tools."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

__all__ = ["BuildReport", "Clock", "SlowPath", "Resource"]

# nextpnr's names of what an ECP5 has, in the order of the table.
_RESOURCES = {"TRELLIS_COMB": "look-up tables", "TRELLIS_FF": "flip-flops", "MULT18X18D": "multipliers",
              "DP16KD": "block RAMs", "EHXPLLL": "PLLs", "TRELLIS_IO": "pins"}
# Cells of the netlist that look-up tables are spent on.
_CELLS = ("LUT4", "CCU2C", "TRELLIS_DPR16X4", "TRELLIS_FF")
# What synthesis appends to the name of a signal when it names a cell or a net after it.
_SYNTHETIC = re.compile(r"_(LUT4|CCU2C|TRELLIS_FF|TRELLIS_DPR16X4|PFUMX|L6MUX21|DP16KD|MULT18X18D)(_.*)?$|\$.*$")
_BIT = re.compile(r"\[\d+\]$")


@dataclass(frozen=True)
class Resource:
    """How many of one kind of block are used, of how many."""

    name: str
    used: int
    available: int

    @property
    def share(self) -> float:
        return self.used / self.available if self.available else 0.0


@dataclass(frozen=True)
class Clock:
    """A clock and the frequency that it reaches at the slow corner, MHz, beside the one it must reach."""

    name: str
    achieved: float
    required: float

    @property
    def met(self) -> bool:
        return self.achieved >= self.required


@dataclass(frozen=True)
class SlowPath:
    """The slowest path of a clock: its signals from register to register, and its delays in ns."""

    clock: str
    signals: tuple[str, ...]
    logic: float
    routing: float


@dataclass(frozen=True)
class BuildReport:
    """A build of one design.

    Attributes:
        build_id: the number that the bitstream carries.
        design: board, preset and so on, as given.
        tools: versions.
        resources: of the FPGA.
        cells: of the netlist, by primitive.
        blocks: cells of each block of the gateware, by nextpnr's name of their kind.
        macs: multiply-accumulates per cycle of the array.
        clocks, path: timing at the seed that was kept.
        seed: of that placement.
        seeds: frequency of the slowest clock relative to its requirement, per seed that was tried.
        seconds: wall time per step.
    """

    build_id: str
    design: dict[str, Any]
    tools: dict[str, str]
    resources: tuple[Resource, ...]
    cells: dict[str, int]
    blocks: dict[str, dict[str, int]]
    macs: int
    clocks: tuple[Clock, ...]
    path: SlowPath
    seed: int
    seeds: dict[int, float]
    seconds: dict[str, float]

    @property
    def met(self) -> bool:
        return all(clock.met for clock in self.clocks)

    @property
    def lut4_equivalents(self) -> int:
        """LUT4 + 2 x CCU2C: a carry cell takes the place of two look-up tables."""
        return self.cells["LUT4"] + 2 * self.cells["CCU2C"]

    def shortfall(self) -> str:
        """Return which clock misses its frequency by how much."""
        worst = min(self.clocks, key=lambda clock: clock.achieved / clock.required)
        return f"{worst.name} reaches {worst.achieved:.1f} MHz of {worst.required:.1f} MHz"

    def to_json(self) -> str:
        values = {**asdict(self), "timing_met": self.met, "lut4_equivalents": self.lut4_equivalents,
                  "lut4_equivalents_per_mac": self.lut4_equivalents / self.macs}
        return json.dumps(values, indent=2)

    @classmethod
    def from_json(cls, text: str) -> BuildReport:
        values = json.loads(text)
        for derived in ("timing_met", "lut4_equivalents", "lut4_equivalents_per_mac"):
            del values[derived]
        values["resources"] = tuple(Resource(**item) for item in values["resources"])
        values["clocks"] = tuple(Clock(**item) for item in values["clocks"])
        values["path"] = SlowPath(**{**values["path"], "signals": tuple(values["path"]["signals"])})
        values["seeds"] = {int(seed): ratio for seed, ratio in values["seeds"].items()}
        return cls(**values)

    def tables(self) -> list[Table]:
        """Return the report for people."""
        resources = Table("resource", "used", "available", "share", title=self.design["title"], title_justify="left")
        for item in self.resources:
            resources.add_row(item.name, f"{item.used:,}", f"{item.available:,}", f"{item.share:.1%}")
        blocks = Table("block", *(_RESOURCES[kind] for kind in next(iter(self.blocks.values()))))
        for block, counts in self.blocks.items():
            blocks.add_row(block, *(f"{count:,}" for count in counts.values()))
        facts = Table(show_header=False)
        for name, value in self._facts():
            facts.add_row(name, value)
        return [resources, blocks, facts]

    def _facts(self) -> list[tuple[str, str]]:
        cells = ", ".join(f"{count:,} {name}" for name, count in self.cells.items())
        logic, routing = self.path.logic, self.path.routing
        return [
            ("cells", cells),
            ("LUT4 equivalents per MAC", f"{self.lut4_equivalents / self.macs:.0f}"),
            *((f"clock {clock.name}", f"{clock.achieved:.1f} MHz, {clock.required:.1f} MHz required"
               f"{'' if clock.met else ': NOT MET'}") for clock in self.clocks),
            ("slowest path", f"{logic + routing:.2f} ns, {routing / (logic + routing):.0%} of it routing"),
            *(("", signal) for signal in self.path.signals),
            ("seeds", ", ".join(f"{seed}: {ratio:.0%}" for seed, ratio in self.seeds.items())),
            ("time", ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items())),
            ("build ID", self.build_id),
        ]


def read_resources(report: dict[str, Any]) -> tuple[Resource, ...]:
    """Return what nextpnr's report says of the resources."""
    return tuple(Resource(name, report["utilization"][key]["used"], report["utilization"][key]["available"])
                 for key, name in _RESOURCES.items())


def read_clocks(report: dict[str, Any]) -> tuple[Clock, ...]:
    """Return the clocks of nextpnr's report."""
    return tuple(Clock(_signal(name.removeprefix("$glbnet$")), clock["achieved"], clock["constraint"])
                 for name, clock in report["fmax"].items())


def read_path(report: dict[str, Any]) -> SlowPath:
    """Return the slowest path inside a clock domain."""
    inside = [path for path in report["critical_paths"] if path["from"] == path["to"]]
    worst = max(inside, key=lambda path: sum(step["delay"] for step in path["path"]))
    delays = {"logic": 0.0, "routing": 0.0}
    signals: list[str] = []
    for step in worst["path"]:
        delays["routing" if step["type"] == "routing" else "logic"] += step["delay"]
        for end in (step["from"], step["to"]):
            signal = _BIT.sub("", _signal(end["cell"]))
            if signal and (not signals or signals[-1] != signal):
                signals.append(signal)
    return SlowPath(_signal(worst["from"].split()[-1].removeprefix("$glbnet$")), tuple(signals), **delays)


def read_cells(path: Path) -> dict[str, int]:
    """Return the cells of the netlist of which look-up tables and registers are made."""
    kinds = json.loads(path.read_text(encoding="utf-8"))["design"]["num_cells_by_type"]
    return {kind: kinds.get(kind, 0) for kind in _CELLS}


def _signal(name: str) -> str:
    """Return the signal of our gateware after which synthesis named a cell or net."""
    return _SYNTHETIC.sub("", name)
