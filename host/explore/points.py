"""One point of a sweep, a network on a configuration: what is recorded of it, and how it is evaluated."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from ...hw.area import PARTS, area, shortages
from ...hw.config import AcceleratorConfig
from ...sim.energy import OperatingPoint
from ..errors import SystolithError, UsageError
from ..graph import Graph
from ..runtime.network import load_network
from ..runtime.performance import performance

Value = int | float | str | bool | None
Row = dict[str, Value]

OPTIONS = tuple(f.name for f in fields(AcceleratorConfig))
_OPTION_TYPES: dict[str, type] = {f.name: type(f.default) for f in fields(AcceleratorConfig)}


@dataclass(frozen=True)
class Network:
    """Identity of a model file: its path, its name without suffix, and a digest of its contents."""

    path: Path
    name: str
    digest: str


def read_network(path: Path) -> tuple[Network, Graph]:
    """Return the network in a file, which must be a model that can be read; raises `SystolithError` otherwise."""
    graph = load_network(path)
    if not isinstance(graph, Graph):
        raise UsageError(f"{path} must be a model, not a compiled program; give the .tflite or .onnx file")
    return Network(path, " ".join(path.stem.split()), hashlib.sha256(path.read_bytes()).hexdigest()[:16]), graph


@dataclass(frozen=True)
class Point:
    """A network on a configuration, with its energy at an operating point (for `OperatingPoint.parse`) if given."""

    network: Network
    config: AcceleratorConfig
    energy: str | None = None


@dataclass(frozen=True)
class Recorder:
    """Makes the rows of points.

    Args:
        fpga: part of `PARTS` that the core is to fit, or None.
        energy: the operating point of all points, or None.
    """

    fpga: str | None = None
    energy: str | None = None

    @property
    def key(self) -> dict[str, type]:
        """The columns that tell rows apart, with the type of their values."""
        return {"model": str, "digest": str, **_OPTION_TYPES,
                **({"fpga": str} if self.fpga else {}), **({"energy": str} if self.energy else {})}

    @property
    def columns(self) -> dict[str, type]:
        """All columns of a row, with the type of their values; any but those of the key may be None."""
        return {**self.key, "macs": int, "cycles": int, "utilisation": float, "seconds": float,
                "dram_bytes_read": int, "dram_bytes_written": int, "cpu_operators": int,
                **({"microjoules": float} if self.energy else {}),
                "multipliers": int, "sram_kib": float, "block_rams": int,
                **({"fits": bool, "shortage": str} if self.fpga else {}), "problem": str}

    def identity(self, point: Point) -> Row:
        """Return the columns of the key."""
        found: Row = {"model": point.network.name, "digest": point.network.digest, **point.config.to_dict()}
        return found | {name: getattr(self, name) for name in ("fpga", "energy") if getattr(self, name)}

    def row(self, point: Point, measured: Mapping[str, Value]) -> Row:
        """Return the row of a point of which `evaluate` returned `measured`."""
        need = area(point.config)
        row: Row = dict.fromkeys(self.columns)
        row |= self.identity(point) | dict(measured)
        row |= {"multipliers": need.multipliers, "sram_kib": need.sram_kib, "block_rams": need.block_rams}
        if self.fpga:
            shortage = shortages(need, PARTS[self.fpga])
            row |= {"fits": not shortage, "shortage": shortage or None}
        return row


def evaluate(point: Point, graph: Graph) -> Row:
    """Return what the cycle model says of a point, or in `problem` why the network, `graph`, cannot run there."""
    try:
        settings = [f"{name}={value}" for name, value in point.config.to_dict().items()]
        where = OperatingPoint.parse(point.energy) if point.energy else None
        report = performance(graph, settings=settings, point=where)
    except SystolithError as error:
        return {"problem": " ".join(str(error).split())}
    energy: Row = {"microjoules": report.energy.joules * 1e6} if report.energy else {}
    mhz = report.energy.mhz if report.energy else point.config.clock_mhz
    seconds = report.cycles / (mhz * 1e6) if report.cycles is not None and mhz else None
    return {"macs": report.macs, "cycles": report.cycles, "utilisation": report.utilisation, "seconds": seconds,
            "dram_bytes_read": report.dram_bytes_read, "dram_bytes_written": report.dram_bytes_written,
            "cpu_operators": sum(layer.unit == "cpu" for layer in report.layers), **energy}
