"""Cycles of the `sim` device against those of the RTL, instruction by instruction."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from ...hw.config import AcceleratorConfig
from ...hw.isa import INSTR_BYTES
from ...sim.timing import TimingModel
from ..compiler import compile_graph
from ..devices.base import RunResult
from ..devices.select import open_accelerator
from ..devices.sim import time_program
from ..errors import DeviceError
from ..graph import Graph
from ..program import HwStep
from .networks import MismatchError


@dataclass(frozen=True)
class Row:
    """One network on one preset.

    Attributes:
        network, preset: which.
        instructions: of the program.
        sim, rtl: cycles of one sample.
        apart: instructions that `sim` starts or retires in another cycle than `rtl`.
        counters: counters of the core that differ.
        seconds: CPU time of the cycle model and of the RTL.
    """

    network: str
    preset: str
    instructions: int
    sim: int
    rtl: int
    apart: int
    counters: int
    seconds: tuple[float, float]

    @property
    def equal(self) -> bool:
        return self.sim == self.rtl and not self.apart and not self.counters


def compare(network: str, graph: Graph, preset: str, config: AcceleratorConfig, status: Callable[[str], None]) -> Row:
    """Run one sample's program in the cycle model and on the RTL, whose DRAM holds zeros besides the constants.

    Cycles do not depend on data. Steps of the CPU, which take none, are left out.

    Raises:
        DeviceError: a device cannot be compiled, or stops.
    """
    status(f"compiling {network} for {preset}")
    program = compile_graph(graph, config)
    try:
        model = TimingModel(config, progress=status)
    except RuntimeError as error:
        raise DeviceError(str(error).splitlines()[0].rstrip(":")) from error
    pairs, seconds = list[tuple[RunResult, RunResult]](), [0.0, 0.0]
    with open_accelerator("rtl", config, program.dram_bytes, status) as device:
        device.write(0, program.image)
        for step in (each for each in program.steps if isinstance(each, HwStep)):
            status(f"counting {network} on {preset}")
            code = program.image[step.code_offset:step.code_offset + step.count * INSTR_BYTES]
            starts = [time.process_time()]
            modelled = time_program(model, code, config, step.code_offset)
            starts.append(time.process_time())
            pairs.append((modelled, device.run(step.code_offset, step.count)))
            starts.append(time.process_time())
            seconds = [spent + after - before
                       for spent, before, after in zip(seconds, starts, starts[1:], strict=False)]
    sim, rtl = (sum(pair[device].cycles or 0 for pair in pairs) for device in (0, 1))
    return Row(network, preset, sum(step.count for step in program.steps if isinstance(step, HwStep)), sim, rtl,
               sum(_apart(*pair) for pair in pairs), sum(_other_counters(*pair) for pair in pairs),
               (seconds[0], seconds[1]))


def _apart(sim: RunResult, rtl: RunResult) -> int:
    """Return how many instructions start or retire in different cycles."""
    assert sim.issue and sim.retire and rtl.issue and rtl.retire, "both devices trace"
    return int(sum(np.count_nonzero((sim.issue[unit] != rtl.issue[unit]) | (sim.retire[unit] != rtl.retire[unit]))
                   for unit in rtl.issue))


def _other_counters(sim: RunResult, rtl: RunResult) -> int:
    return sum(sim.counters[name] != value for name, value in rtl.counters.items())


def table(rows: Sequence[Row]) -> Table:
    """Return the rows as a table for `rich`."""
    made = Table(box=SIMPLE, pad_edge=False)
    for name in ("network", "preset"):
        made.add_column(name)
    for name in ("instructions", "rtl cycles", "sim cycles", "difference", "instructions apart", "counters apart",
                 "sim faster by"):
        made.add_column(name, justify="right")
    for row in rows:
        made.add_row(row.network, row.preset, f"{row.instructions:,}", f"{row.rtl:,}", f"{row.sim:,}",
                     f"{row.sim - row.rtl:,}", f"{row.apart:,}", str(row.counters),
                     f"{row.seconds[1] / max(row.seconds[0], 1e-9):,.0f}")
    return made


def check(rows: Sequence[Row]) -> None:
    """Raise `MismatchError` for the first network whose cycles are not those of the RTL."""
    for row in rows:
        if not row.equal:
            raise MismatchError(f"cycles of {row.network} on sim with preset {row.preset} must be those of rtl; report "
                                "it with the settings")
