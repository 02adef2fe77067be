"""Traces of runs in the Chrome trace-event format, which Perfetto and chrome://tracing show; 1 us is 1 clock cycle."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np

from ..hw.isa import Unit
from ..sim.decode import Instruction
from .devices.base import RunResult
from .errors import DeviceError
from .profile import Cause, InstructionTable, IntArray, Timeline, decode_code, hardware_code, working
from .program import Program

Event = dict[str, Any]

PROCESS = 1
"""The `pid` of all events."""

RUNS, LAYERS, ARRAY = "runs", "layers", "array"
TRACKS = {RUNS: 1, LAYERS: 2, ARRAY: 3} | {unit.name.lower(): 4 + unit for unit in Unit}
"""Tracks and their `tid`, from the top: one slice per hardware step, per layer in turn, per cause, per instruction."""

BANDWIDTHS = {Unit.LOAD: "DRAM read", Unit.STORE: "DRAM write"}
"""Counter tracks: bytes per cycle of the transfers of a unit."""


@dataclass(frozen=True)
class _Step:
    """The instructions of one hardware step: in program order, and those of each unit."""

    instructions: Sequence[Instruction]
    of_unit: dict[Unit, list[Instruction]]
    table: InstructionTable


class TraceFile:
    """A trace that is written to a file while networks run; a context manager.

        with TraceFile("trace.json") as trace, Session("model.tflite", "sim") as session:
            session.run(samples, trace=trace)

    Hardware steps follow each other, those of one sample, of the samples and of further runs. A unit's slices do not
    overlap: it accepts an instruction while it works on the one before, and its slice begins when that one retires.
    The file is written from the first run on; it is complete JSON also when a run ends with an error.

    Args:
        path: file to write.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._file: TextIO | None = None
        self._steps: dict[Program, list[_Step]] = {}
        self._runs = 0
        self.cycles = 0

    cycles: int
    """Cycles of the trace so far."""

    def __enter__(self) -> TraceFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is None:
            self._begin()
        if self._file is not None:
            self._file.write("\n]}\n")
            self._file.close()

    def add(self, runs: Iterable[tuple[Program, Sequence[RunResult]]]) -> None:
        """Add runs of programs, with one result per hardware step.

        Raises:
            DeviceError: the device has no trace.
        """
        for program, results in runs:
            for result in results:
                if result.retire is None:
                    raise DeviceError(f"a trace must come from a device that counts cycles; {result.note}")
            self._begin()
            if program not in self._steps:
                self._steps[program] = [_step(program, code, layers) for code, layers in hardware_code(program)]
            for number, (step, result) in enumerate(zip(self._steps[program], results, strict=True)):
                assert result.cycles is not None, "a device that traces also counts cycles"
                self._write([_slice(RUNS, program.model, self.cycles, result.cycles, {
                    "run": self._runs, "step": number, "instructions": len(step.instructions)})])
                self._write(_events(program, step, result, self.cycles))
                self.cycles += result.cycles
            self._runs += 1

    def _begin(self) -> None:
        if self._file is not None:
            return
        self._file = self._path.open("w", encoding="utf-8")
        about = {"time": "1 us is 1 clock cycle", "writer": "Systolith"}
        self._file.write(f'{{"otherData": {json.dumps(about)},\n"traceEvents": [\n')
        self._file.write(_line(_metadata(0, "process_name", "Systolith, 1 us = 1 cycle")))
        for track, tid in TRACKS.items():
            self._write([_metadata(tid, "thread_name", track), _metadata(tid, "thread_sort_index", tid)])

    def _write(self, events: Iterable[Event]) -> None:
        assert self._file is not None, "the file is begun before events are written"
        for event in events:
            self._file.write(",\n" + _line(event))


def _step(program: Program, code: bytes, layers: np.ndarray) -> _Step:
    instructions = decode_code(code)
    of_unit = {unit: [i for i in instructions if i.unit == unit] for unit in Unit}
    return _Step(instructions, of_unit, InstructionTable.of(code, layers, program.config))


def _events(program: Program, step: _Step, result: RunResult, start: int) -> Iterator[Event]:
    for unit in Unit:
        yield from _instructions(program, step, result, unit, start)
    for unit, name in BANDWIDTHS.items():
        amounts = step.table.dram_bytes[step.table.units == unit].tolist()
        yield from _bandwidth(name, amounts, *working(result, unit), start)
    timeline = Timeline.of(step.table, result)
    assert timeline is not None
    for layer, begin, end in _merged(timeline.edges, timeline.layers):
        of = program.layers[layer]
        yield _slice(LAYERS, of.name, start + begin, end - begin, {"operator": of.kind})
    for cause, begin, end in _merged(timeline.edges, timeline.causes):
        yield _slice(ARRAY, Cause(cause).name.lower(), start + begin, end - begin, {})


def _instructions(program: Program, step: _Step, result: RunResult, unit: Unit, start: int) -> Iterator[Event]:
    assert result.issue is not None and result.retire is not None
    times = zip(*(each.tolist() for each in (*working(result, unit), result.issue[unit], result.retire[unit])),
                strict=True)
    for i, (begin, end, issue, retire) in zip(step.of_unit[unit], times, strict=True):
        layer = program.layers[step.table.layers[i.index]].name
        moved = {"bytes": int(step.table.dram_bytes[i.index])} if unit in BANDWIDTHS else {}
        fields = {name: value for name, value in i.fields.items() if value}
        yield _slice(unit.name.lower(), f"{i.opcode.name} {layer}", start + begin, end - begin, {
            "index": i.index, "layer": layer, "issue": start + issue, "retire": start + retire, **moved, **fields})


def _bandwidth(name: str, amounts: Sequence[int], begins: IntArray, ends: IntArray, start: int) -> Iterator[Event]:
    """Yield the counter of transfers of `amounts` bytes, each spread evenly over the time that it takes."""
    for amount, (begin, end), following in itertools.zip_longest(
            amounts, zip(begins.tolist(), ends.tolist(), strict=True), begins[1:].tolist()):
        yield _count(name, start + begin, amount / (end - begin))
        if following != end:
            yield _count(name, start + end, 0)


def _merged(edges: IntArray, values: IntArray) -> Iterator[tuple[int, int, int]]:
    """Yield value, beginning and end of each longest row of spans with one value, of spans between `edges`."""
    first = np.flatnonzero(np.diff(values, prepend=-1))
    begins = edges[first]
    yield from zip(values[first].tolist(), begins.tolist(), np.append(begins[1:], edges[-1]).tolist(), strict=True)


def _line(event: Event) -> str:
    return json.dumps(event, separators=(",", ":"))


def _metadata(tid: int, name: str, value: str | int) -> Event:
    key = "sort_index" if isinstance(value, int) else "name"
    return {"ph": "M", "pid": PROCESS, "tid": tid, "name": name, "args": {key: value}}


def _slice(track: str, name: str, start: int, duration: int, args: dict[str, Any]) -> Event:
    return {"ph": "X", "pid": PROCESS, "tid": TRACKS[track], "name": name, "ts": start, "dur": duration, "args": args}


def _count(name: str, time: int, rate: float) -> Event:
    return {"ph": "C", "pid": PROCESS, "tid": 0, "name": name, "ts": time, "args": {"bytes per cycle": rate}}
