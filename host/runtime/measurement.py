"""Sums what the hardware steps of every sample measured, and makes the report of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from ...hw.isa import INSTR_BYTES
from ..devices.base import RunResult
from ..profile import InstructionTable, dram_wait_cycles, layer_cycles
from ..program import HwStep, Layer, Program
from ..report import LayerReport, Report, config_hash, preset_name, utilisation


class Measurement:
    """Measurements of one network over the samples of a run.

    Args:
        program: the network for one sample; programs of a batch consist of the same layers, by name.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._index = {layer.name: index for index, layer in enumerate(program.layers)}
        self._tables: dict[Program, list[InstructionTable]] = {}
        self.restart()

    def restart(self) -> None:
        """Forget all samples."""
        self._layers: np.ndarray | None = np.zeros(len(self._program.layers), np.int64)
        self._waits: int | None = 0
        self._counters: Counter[str] = Counter()
        self._note: str | None = None
        self._read = self._written = self._samples = self._batch = 0

    def add(self, runs: Iterable[tuple[Program, Sequence[RunResult]]], samples: int = 1) -> None:
        """Add the runs of programs that `samples` samples took together, with one result per hardware step."""
        self._samples += samples
        self._batch = max(self._batch, samples)
        for program, results in runs:
            self._add(program, results)

    def _add(self, program: Program, results: Sequence[RunResult]) -> None:
        for result in results:
            self._counters.update(result.counters)
            self._read += result.dram_bytes_read
            self._written += result.dram_bytes_written
            self._note = self._note or result.note
        if any(result.retire is None for result in results):
            self._layers = self._waits = None
        if self._layers is None or self._waits is None:
            return
        # Made when the first trace is there: only a program that ran to its end is known to be well formed.
        if program not in self._tables:
            self._tables[program] = _tables(program)
        for table, result in zip(self._tables[program], results, strict=True):
            cycles = layer_cycles(table, result, len(program.layers))
            waits = dram_wait_cycles(table, result)
            assert cycles is not None and waits is not None, "a device that traces also counts cycles"
            assert cycles.sum() == result.cycles, "every cycle belongs to exactly one layer"
            for index in np.flatnonzero(cycles):
                self._layers[self._index[program.layers[index].name]] += cycles[index]
            self._waits += waits

    def report(self, device: str, seconds: float) -> Report:
        """Return the report of all samples added, at least one."""
        program, counted = self._program, self._layers
        # Rounded where layers end, so that the layers of the average sample still sum to its cycles.
        ends = None if counted is None else np.cumsum(counted) // self._samples
        per_layer = [None] * len(program.layers) if ends is None else np.diff(ends, prepend=0).tolist()
        total = None if ends is None else sum(per_layer)
        layers = tuple(_layer(layer, cycles, program) for layer, cycles in zip(program.layers, per_layer, strict=True))
        waits = self._waits / (total * self._samples) if self._waits is not None and total else None
        return Report(
            model=program.model, device=device, preset=preset_name(program.config),
            config_hash=config_hash(program.config), samples=self._samples, macs=program.macs, cycles=total,
            utilisation=utilisation(program.macs, total, program.config),
            dram_bytes_read=self._read // self._samples, dram_bytes_written=self._written // self._samples,
            seconds=seconds, dram_wait=waits, batch=self._batch, note=self._note, counters=dict(self._counters),
            layers=layers)


def _tables(program: Program) -> list[InstructionTable]:
    tables = []
    for step in program.steps:
        if isinstance(step, HwStep):
            code = program.image[step.code_offset : step.code_offset + step.count * INSTR_BYTES]
            layers = program.layer_index[step.first : step.first + step.count]
            tables.append(InstructionTable.of(code, layers, program.config))
    return tables


def _layer(layer: Layer, cycles: int | None, program: Program) -> LayerReport:
    share = utilisation(layer.macs, cycles, program.config)
    return LayerReport(layer.name, layer.kind, layer.unit, layer.macs, cycles, share, layer.reason)
