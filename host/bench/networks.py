"""Networks on the accelerator: what they cost, and that every output byte is golden's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

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

DEVICES = ("rtl", "sim")
SAMPLE_KEY = "x"
"""Name that the samples of a network with one input may have in an `.npz` file, whatever the input's name."""

_SEED = 0


class MismatchError(SystolithError):
    """A device computed other bytes than golden."""


def run_network(model: Path, samples_from: Path | None, count: int, device: str, *, preset: str | None = None,
                settings: Sequence[str] = (), status: Callable[[str], None] | None = None) -> Report:
    """Return the measurements of `count` samples of a model on a device.

    Args:
        model: a model file.
        samples_from: NumPy file with `count` samples or more along axis 0; None makes random ones, always the same.
        count: samples, of which the report holds the average.
        device: one of `DEVICES`.
        preset: name of a preset, `edge` when None.
        settings: `KEY=VALUE` changes of it.
        status: called with one line before each slow step.

    Raises:
        MismatchError: an output differs from golden's.
        SystolithError: the model, the samples, the configuration or the device cannot be used.
    """
    if device not in DEVICES:
        raise UsageError(f"device of a benchmark must be {' or '.join(DEVICES)}, not {device!r}")
    graph = load_network(model)
    if not isinstance(graph, Graph):
        raise UsageError(f"{model} must be a model, not a compiled program; give the .tflite file")
    with Session(graph, "golden") as golden:
        inputs = _random(golden.inputs, count) if samples_from is None else _load(samples_from, golden.inputs, count)
        if status:
            status(f"{graph.name} on golden")
        expected = golden.run(inputs)
    with Session(graph, device, preset=preset, settings=settings, status=status) as session:
        if status:
            status(f"{graph.name} on {device}")
        found = session.run(inputs)
    check(found, expected, f"{device} running {model.name}")
    assert session.last_report is not None, "a session that ran has a report"
    return session.last_report


def check(found: Arrays, expected: Arrays, who: str) -> None:
    """Raise `MismatchError` at the first element in which `found` is not `expected`."""
    for name, reference in expected.items():
        wrong = np.argwhere(found[name].view(np.uint8) != reference.view(np.uint8))
        if len(wrong):
            raise MismatchError(f"output '{name}' of {who} must equal golden's, not differ in {len(wrong)} bytes, the "
                                f"first at {tuple(wrong[0].tolist())}; report it with the model and the settings")


def table(reports: Sequence[Report]) -> Table:
    """Return one row per network as a table for `rich`."""
    made = Table(box=SIMPLE, pad_edge=False)
    made.add_column("network", overflow="fold")
    for name in ("MACs", "cycles", "utilisation", "DRAM read", "DRAM written", "DRAM wait", "samples"):
        made.add_column(name, justify="right")
    for report in reports:
        made.add_row(report.model, f"{report.macs:,}", _show(report.cycles, ","), _show(report.utilisation, ".1%"),
                     _show(report.dram_bytes_read, ","), _show(report.dram_bytes_written, ","),
                     _show(report.dram_wait, ".1%"), str(report.samples))
    return made


def save(reports: Sequence[Report], path: Path) -> None:
    """Write the reports as a JSON list.

    Raises:
        OSError: the file cannot be written.
    """
    path.write_text(json.dumps([report.to_dict() for report in reports], indent=2) + "\n", encoding="utf-8")


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
