"""Sums what the hardware steps of every sample measured, and makes the report of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ...hw.isa import INSTR_BYTES
from ...sim.activity import MacEvent
from ...sim.energy import Action, Gating, OperatingPoint
from ...sim.rtl.activity import BlockActivity
from ..activity import ActivityReport, activity_report
from ..devices.base import RunResult
from ..energy import EnergyReport, energy_report, program_actions
from ..errors import UsageError
from ..profile import Cause, InstructionTable, Timeline, hardware_code
from ..program import Layer, Program
from ..report import LayerReport, Report, config_hash, preset_name, utilisation
from ..views import Views, views_of


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
        self._counts_macs = False
        self._macs = np.zeros((len(self._program.layers), len(MacEvent)), np.int64)
        self._cycles: np.ndarray | None = np.zeros((len(self._program.layers), len(Cause)), np.int64)
        self._total: int | None = 0
        self._counters: Counter[str] = Counter()
        self._moved = np.zeros(len(self._program.layers), np.int64)
        self._runs: Counter[Program] = Counter()
        self._first: dict[Program, Sequence[RunResult]] = {}
        self._note: str | None = None
        self._read = self._written = self._samples = self._batch = 0

    def add(self, runs: Iterable[tuple[Program, Sequence[RunResult]]], samples: int = 1) -> None:
        """Add the runs of programs that `samples` samples took together, with one result per hardware step."""
        self._samples += samples
        self._batch = max(self._batch, samples)
        for program, results in runs:
            self._runs[program] += 1
            self._first.setdefault(program, results)
            self._add(program, results)

    def _add(self, program: Program, results: Sequence[RunResult]) -> None:
        for result in results:
            self._counters.update(result.counters)
            self._read += result.dram_bytes_read
            self._written += result.dram_bytes_written
            self._note = self._note or result.note
            self._total = None if self._total is None or result.cycles is None else self._total + result.cycles
        for (_, layers), result in zip(hardware_code(program), results, strict=True):
            if result.macs is not None:
                self._counts_macs = True
                np.add.at(self._macs, [self._index[program.layers[layer].name] for layer in layers], result.macs)
        if any(result.retire is None for result in results):
            self._cycles = None
        if self._cycles is None:
            return
        # Made when the first trace is there: only a program that ran to its end is known to be well formed.
        if program not in self._tables:
            self._tables[program] = [InstructionTable.of(code, layers, program.config)
                                     for code, layers in hardware_code(program)]
        for table, result in zip(self._tables[program], results, strict=True):
            timeline = Timeline.of(table, result)
            assert timeline is not None, "a device that traces also counts cycles"
            cycles = timeline.cycles(len(program.layers))
            assert cycles.sum() == result.cycles, "every cycle belongs to exactly one layer"
            moved = np.bincount(table.layers, table.dram_bytes + INSTR_BYTES, len(cycles)).astype(np.int64)
            for index in np.flatnonzero(cycles.any(axis=1) | (moved > 0)):
                name = program.layers[index].name
                self._cycles[self._index[name]] += cycles[index]
                self._moved[self._index[name]] += moved[index]

    def report(self, device: str, seconds: float) -> Report:
        """Return the report of all samples added, at least one."""
        program, counted = self._program, self._cycles
        # Rounded where layers and causes end, so that those of the average sample still sum to its cycles.
        average = None if counted is None else np.diff(
            np.cumsum(counted) // self._samples, prepend=0).reshape(counted.shape)
        stalls = [None] * len(program.layers) if average is None else [_by_name(each) for each in average]
        total = None if self._total is None else self._total // self._samples
        moved = [None] * len(stalls) if counted is None else (self._moved // self._samples).tolist()
        layers = tuple(_layer(*each, program) for each in zip(program.layers, stalls, moved, strict=True))
        waits = counted[:, Cause.DRAM].sum() / (total * self._samples) if counted is not None and total else None
        return Report(
            model=program.model, device=device, preset=preset_name(program.config),
            config_hash=config_hash(program.config), samples=self._samples, macs=program.macs, cycles=total,
            utilisation=utilisation(program.macs, total, program.config),
            dram_bytes_read=self._read // self._samples, dram_bytes_written=self._written // self._samples,
            seconds=seconds, dram_wait=waits, batch=self._batch, note=self._note, counters=dict(self._counters),
            layers=layers, stalls=None if average is None else _by_name(average.sum(axis=0)),
            config=program.config.to_dict())

    def views(self) -> Views | None:
        """Return what pictures of the first run of each program need, or None where no cycle was counted."""
        return None if self._cycles is None else views_of(self._first, self._index)

    def activity(self, device: str, blocks: Mapping[str, BlockActivity] | None) -> ActivityReport:
        """Return what the array's cells did for all samples added, at least one, on a device that counted it."""
        cycles = None if self._cycles is None else self._cycles.sum(axis=1)
        names = [layer.name for layer in self._program.layers]
        return activity_report(device, names, self._macs, cycles, self._samples, self._program.config, blocks)

    def energy(self, point: OperatingPoint) -> EnergyReport:
        """Return the energy of all samples added, at least one, at a point with a clock.

        Raises:
            UsageError: the device did not count cycles, or not the zero operands that the gating of `point` needs.
        """
        if self._cycles is None:
            raise UsageError(f"energy needs cycles; {self._note}")
        if point.gating is Gating.ZERO and not self._counts_macs:
            raise UsageError("gating=zero needs a run that counts zero operands: with data, and with activity")
        actions = np.zeros((len(self._program.layers), len(Action)), np.int64)
        for program, runs in self._runs.items():
            for layer, counts in zip(program.layers, program_actions(program), strict=True):
                actions[self._index[layer.name]] += runs * counts
        actions[:, Action.CYCLE] = self._cycles.sum(axis=1)
        actions[:, Action.ZERO_MAC] = self._macs[:, MacEvent.ZERO]
        names = [layer.name for layer in self._program.layers]
        return energy_report(names, actions, self._samples, self._program.macs, self._program.config, point)


def _by_name(cycles: np.ndarray) -> dict[str, int]:
    return {cause.name.lower(): int(cycles[cause]) for cause in Cause}


def _layer(layer: Layer, stalls: dict[str, int] | None, moved: int | None, program: Program) -> LayerReport:
    cycles = None if stalls is None else sum(stalls.values())
    share = utilisation(layer.macs, cycles, program.config)
    return LayerReport(layer.name, layer.kind, layer.unit, layer.macs, cycles, share, layer.reason, stalls, moved)
