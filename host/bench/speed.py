"""Simulated clock cycles per second of one core in several simulators.

All run the same Verilog and the same program, one image of the digits network, and must compute the same bytes as the
instruction-level simulator. The `rtl` device has its DRAM model in C++, the others have that of cocotbext-axi.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from ...hw.config import AcceleratorConfig
from ...models.zoo import digits
from ...sim.rtl.build import core_verilog
from ...sim.speed import Simulator, Speed, Workload, measure, missing_packages
from ..compiler import compile_graph
from ..devices.base import Accelerator
from ..devices.select import open_accelerator
from ..errors import DeviceError, UsageError
from ..frontends.tflite import read_tflite
from ..program import HwStep
from .networks import MismatchError

_SEED = 0
Status = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One simulator: its name, and its speed or else a note on why there is none."""

    simulator: str
    speed: Speed | None
    note: str = ""


def compare(config: AcceleratorConfig, seconds: float, status: Status | None = None) -> Iterator[Row]:
    """Yield the speed of the `rtl` device, of Verilator under cocotb and of Icarus Verilog under cocotb, in this order.

    Args:
        config: the core.
        seconds: wall time for which each simulator repeats the program; each completes one run at least.
        status: called with one line before each slow step.

    Raises:
        UsageError: cocotb is not installed.
        DeviceError: a simulator fails.
        MismatchError: a simulator computes other bytes.
    """
    missing = missing_packages()
    if missing:
        raise UsageError(f"bench speed must have the test packages, but {', '.join(missing)} cannot be found; "
                         "do `pip install 'systolith[test]'`")
    work = workload(config)
    with open_accelerator("rtl", config, work.dram_bytes, status) as device:
        if status:
            status("Simulating with the rtl device")
        yield Row("rtl device (Verilator, C++)", repeat(device, work, seconds))
    verilog = core_verilog(config, status)
    yield Row("Verilator, cocotb", _measure("verilator", verilog, work, seconds, status))
    if shutil.which("iverilog"):
        yield Row("Icarus Verilog, cocotb", _measure("icarus", verilog, work, seconds, status))
    else:
        yield Row("Icarus Verilog, cocotb", None, "not installed: apt install iverilog")


def repeat(device: Accelerator, work: Workload, seconds: float) -> Speed:
    """Run `work` on `device`, which counts cycles, for `seconds` and at least once.

    Raises:
        MismatchError: the output is not the expected one.
    """
    device.write(0, work.image)
    runs = cycles = 0
    start, cpu_start = time.perf_counter(), time.process_time()
    while True:
        device.write(work.output, bytes(len(work.expected)))
        result = device.run(work.program, work.count)
        if device.read(work.output, len(work.expected)) != work.expected:
            raise MismatchError("output of the rtl device must equal that of the sim device, not differ; "
                                "report it with the settings")
        runs += 1
        cycles += result.cycles or 0
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return Speed(runs, cycles, elapsed, time.process_time() - cpu_start)


def workload(config: AcceleratorConfig) -> Workload:
    """Return the accelerator's part of one digits image, compiled for `config`."""
    program = compile_graph(read_tflite(digits.model_path()), config)
    step = next(step for step in program.steps if isinstance(step, HwStep))
    (given,), (made,) = step.inputs, step.outputs
    image = np.frombuffer(program.image.ljust(program.dram_bytes, b"\0"), np.uint8).copy()
    sample = np.random.default_rng(_SEED).integers(-128, 128, given.shape, np.int8)
    packed = given.pack(sample, config.word_bytes)
    image[given.offset:given.offset + len(packed)] = np.frombuffer(packed, np.uint8)
    with open_accelerator("sim", config, program.dram_bytes) as reference:
        reference.write(0, image.tobytes())
        reference.run(step.code_offset, step.count)
        expected = reference.read(made.offset, made.size(config.word_bytes))
    return Workload(program.dram_bytes, image.tobytes(), step.code_offset, step.count, made.offset, expected)


def table(rows: Sequence[Row]) -> Table:
    """Return the rows as a table for `rich`."""
    made = Table(box=SIMPLE, pad_edge=False)
    made.add_column("simulator")
    for name in ("runs", "cycles", "seconds", "CPU seconds", "cycles per second", "slower than the first by"):
        made.add_column(name, justify="right")
    made.add_column("")
    for row in rows:
        cells = ("-",) * 6 if row.speed is None else (
            str(row.speed.runs), f"{row.speed.cycles:,}", f"{row.speed.seconds:.2f}",
            f"{row.speed.cpu_seconds:.2f}", f"{row.speed.cycles_per_second:,.0f}", f"{slowdown(rows, row):.3g}")
        made.add_row(row.simulator, *cells, row.note)
    return made


def slowdown(rows: Sequence[Row], row: Row) -> float:
    """Return the CPU time that `row` takes per cycle as a multiple of that of the first row; both must have a speed."""
    assert row.speed is not None and rows[0].speed is not None, "a row without a speed has no ratio"
    return rows[0].speed.cycles_per_cpu_second / row.speed.cycles_per_cpu_second


def _measure(simulator: Simulator, verilog: str, work: Workload, seconds: float, status: Status | None) -> Speed:
    try:
        return measure(simulator, verilog, work, seconds, status)
    except RuntimeError as error:
        raise DeviceError(str(error)) from error
