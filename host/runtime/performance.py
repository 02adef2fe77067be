"""How long a network takes, computed from its instructions alone: no data, no device."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ...hw.config import AcceleratorConfig
from ...hw.isa import INSTR_BYTES
from ...sim.energy import OperatingPoint
from ...sim.timing import TimingModel
from ..devices.base import RunResult
from ..devices.select import open_accelerator
from ..devices.sim import time_program
from ..energy import clocked
from ..errors import DeviceError
from ..graph import Graph
from ..program import HwStep, Program
from ..report import Report
from ..trace import TraceFile
from .batches import Batches
from .executor import Loader
from .measurement import Measurement
from .network import load_configured

DEVICE = "sim"
"""The device whose report this is, and whose cycle model computes it."""


def performance(network: str | Path | Graph | Program, *, preset: str | None = None, settings: Sequence[str] = (),
                batch: int = 1, point: OperatingPoint | None = None, status: Callable[[str], None] | None = None,
                trace: TraceFile | None = None, views: bool = False) -> Report:
    """Return the report that `batch` samples on device `sim` would have; its seconds are those of the computation.

    Args:
        network: path of a model or of a program, or one of them in memory.
        preset, settings: as for `Session`.
        batch: samples, which run at once where that saves cycles.
        point: where the energy is wanted, too; without a clock it gets that of the configuration, or the highest.
        status: called with one line before each slow step.
        trace: open file to which the run is added.
        views: whether the report has `views`.

    Raises:
        SystolithError: the file or the configuration cannot be used, or the program would not come to its end.
        DeviceError: the cycle model cannot be compiled.
    """
    program, config = load_configured(network, preset=preset, settings=settings)
    point = clocked(point, config) if point else None
    try:
        model = TimingModel(config, progress=status)
    except RuntimeError as error:
        raise DeviceError(str(error).splitlines()[0].rstrip(":")) from error
    measurement, results = Measurement(program), dict[Program, list[RunResult]]()
    start = time.perf_counter()
    loader = Loader(lambda each: open_accelerator(DEVICE, config, each.dram_bytes, status))  # which nobody asks for
    for executor in Batches(program, config, loader, batch).executors(batch):
        for each in executor.programs:
            if each not in results:
                results[each] = _timed(model, each, config)
        runs = [(each, results[each]) for each in executor.programs]
        measurement.add(runs, executor.samples)
        if trace:
            trace.add(runs)
    report = measurement.report(DEVICE, time.perf_counter() - start)
    return replace(report, energy=measurement.energy(point) if point else None,
                   views=measurement.views() if views else None)


def _timed(model: TimingModel, program: Program, config: AcceleratorConfig) -> list[RunResult]:
    return [time_program(model, program.image[step.code_offset:step.code_offset + step.count * INSTR_BYTES], config,
                         step.code_offset)
            for step in program.steps if isinstance(step, HwStep)]
