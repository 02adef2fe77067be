"""Networks on the accelerator: what they cost, and that every output byte is golden's."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from .. import arrays
from ..errors import SystolithError, UsageError
from ..graph import Graph
from ..report import Report
from ..runtime import Session, TensorInfo
from ..runtime.network import load_network
from ..runtime.tensors import Arrays, batch_inputs
from .suite import REFERENCE

DEVICES = ("rtl", "sim")
SAMPLE_KEY = "x"
"""Name that the samples of a network with one input may have in an `.npz` file, whatever the input's name."""

_SEED = 0


class MismatchError(SystolithError):
    """A device computed other bytes than golden."""


@dataclass(frozen=True)
class Result:
    """One network's measurements.

    Attributes:
        network: its name.
        source: where its weights are from: "published", "trained", "seeded", or "file" for a user's model.
        report: measurements of the run.
        reference_cycles: cycles that `suite.REFERENCE` takes, None where there are none to compare with.
    """

    network: str
    source: str
    report: Report
    reference_cycles: int | None = None

    @property
    def ratio(self) -> float | None:
        """How many times as many cycles the reference, which runs one sample at a time, takes; or None."""
        if not self.reference_cycles or not self.report.cycles or self.report.batch > 1:
            return None
        return self.reference_cycles / self.report.cycles

    def record(self) -> dict[str, Any]:
        """Return the numbers of the table, by name."""
        report = self.report
        return {"network": self.network, "source": self.source, "macs": report.macs, "cycles": report.cycles,
                "utilisation": report.utilisation, "reference": REFERENCE, "reference_cycles": self.reference_cycles,
                "ratio": self.ratio, "dram_bytes_read": report.dram_bytes_read,
                "dram_bytes_written": report.dram_bytes_written, "dram_wait": report.dram_wait,
                "cpu_operators": sum(layer.unit == "cpu" for layer in report.layers),
                "samples": report.samples, "batch": report.batch, "preset": report.preset, "device": report.device}


def run_network(model: Path | Graph, samples_from: Path | None, count: int, device: str, *, preset: str | None = None,
                settings: Sequence[str] = (), batch: int = 1,
                status: Callable[[str], None] | None = None) -> Report:
    """Return the measurements of `count` samples of a model on a device.

    Args:
        model: a model file, or its graph.
        samples_from: NumPy file with `count` samples or more along axis 0; None makes random ones, always the same.
        count: samples, of which the report holds the average.
        device: one of `DEVICES`.
        preset: name of a preset, `edge` when None.
        settings: `KEY=VALUE` changes of it.
        batch: samples that run at once at most.
        status: called with one line before each slow step.

    Raises:
        MismatchError: an output differs from golden's.
        SystolithError: the model, the samples, the configuration or the device cannot be used.
    """
    if device not in DEVICES:
        raise UsageError(f"device of a benchmark must be {' or '.join(DEVICES)}, not {device!r}")
    graph = model if isinstance(model, Graph) else load_network(model)
    if not isinstance(graph, Graph):
        raise UsageError(f"{model} must be a model, not a compiled program; give the .tflite file")
    with Session(graph, "golden") as golden:
        inputs = _random(golden.inputs, count) if samples_from is None else _load(samples_from, golden.inputs, count)
        if status:
            status(f"{graph.name} on golden")
        expected = golden.run(inputs)
    with Session(graph, device, preset=preset, settings=settings, batch=batch, status=status) as session:
        if status:
            status(f"{graph.name} on {device}")
        found = session.run(inputs)
    check(found, expected, f"{device} running {graph.name}")
    assert session.last_report is not None, "a session that ran has a report"
    return session.last_report


def check(found: Arrays, expected: Arrays, who: str) -> None:
    """Raise `MismatchError` at the first element in which `found` is not `expected`."""
    for name, reference in expected.items():
        wrong = np.argwhere(found[name].view(np.uint8) != reference.view(np.uint8))
        if len(wrong):
            raise MismatchError(f"output '{name}' of {who} must equal golden's, not differ in {len(wrong)} bytes, the "
                                f"first at {tuple(wrong[0].tolist())}; report it with the model and the settings")


def table(results: Sequence[Result]) -> Table:
    """Return one row per network as a table for `rich`; the last column counts the operators on the CPU."""
    made = Table(box=SIMPLE, pad_edge=False, caption_justify="left")
    made.add_column("network", overflow="fold")
    made.add_column("weights")
    for name in ("MACs", "cycles", "utilisation", REFERENCE, "ratio", "DRAM read", "DRAM written", "DRAM wait",
                 "on CPU"):
        made.add_column(name, justify="right")
    for result in results:
        found = result.record()
        at_once = f", {found['batch']} at once" if found["batch"] > 1 else ""
        made.add_row(f"{result.network}{at_once}", result.source, _show(found["macs"], ","),
                     _show(found["cycles"], ","), _show(found["utilisation"], ".1%"),
                     _show(found["reference_cycles"], ","), _show(found["ratio"], ".2f"),
                     _show(found["dram_bytes_read"], ","), _show(found["dram_bytes_written"], ","),
                     _show(found["dram_wait"], ".1%"), str(found["cpu_operators"]))
    made.caption = next((result.report.note for result in results if result.report.note), None)
    return made


def save_json(results: Sequence[Result], path: Path) -> None:
    """Write all measurements, layers included, as a JSON list.

    Raises:
        OSError: the file cannot be written.
    """
    records = [{**result.report.to_dict(), **result.record()} for result in results]
    path.write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")


def save_csv(results: Sequence[Result], path: Path) -> None:
    """Write the numbers of the table with a line of names above; what is not known is empty.

    Raises:
        OSError: the file cannot be written.
    """
    records = [result.record() for result in results]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)


def _show(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _random(infos: Sequence[TensorInfo], count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(_SEED)
    return {info.name: _random_array(rng, (count, *info.shape[1:]), np.dtype(info.dtype)) for info in infos}


def _random_array(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def _load(path: Path, infos: Sequence[TensorInfo], count: int) -> dict[str, np.ndarray]:
    given = arrays.load(path)
    if isinstance(given, dict) and len(infos) == 1 and infos[0].name not in given and SAMPLE_KEY in given:
        given = given[SAMPLE_KEY]
    batch = batch_inputs(given, infos)
    held = len(next(iter(batch.values())))
    if held < count:
        raise UsageError(f"{path} must hold {count} samples, not {held}; ask for fewer with --samples")
    return {name: array[:count] for name, array in batch.items()}
