"""Cycles and speed of SCALE-Sim and of the cycle model on the same layers."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from ...hw.config import AcceleratorConfig
from ..compiler import compile_graph
from ..errors import UsageError
from ..frontends import read_model
from ..frontends.scalesim import graph_of, layers_of
from ..frontends.scalesim_config import write_scalesim_config
from ..frontends.scalesim_topology import SUFFIX, Layer, read_topology, write_topology
from ..report import utilisation
from ..runtime.performance import performance

INSTALL = "do `pip install 'systolith[peers]'` in an environment of its own, because SCALE-Sim needs an older NumPy"
WARM_UP = Layer("warm-up", (4, 4), (1, 1), 4, 4)
_LAYOUT_COLUMNS = 20
# What SCALE-Sim's own command does, without traces; the time is that of one layer, without imports.
_RUN = """
import sys, time
from scalesim.scale_sim import scalesim
config, topology, layout, folder = sys.argv[1:]
begin = time.process_time()
simulator = scalesim(save_disk_space=True, verbose=False, config=config, topology=topology, layout=layout)
simulator.run_scale(top_path=folder)
print(time.process_time() - begin)
"""


def _resnet18() -> tuple[Layer, ...]:
    """Return the layers of ResNet-18 for images of 224 x 224."""
    layers, before = [Layer("conv1", (229, 229), (7, 7), 3, 64, (2, 2))], 64
    for stage, (size, channels) in enumerate(((56, 64), (28, 128), (14, 256), (7, 512)), 2):
        stride = channels // before
        first = (size - 1) * stride + 3
        layers.append(Layer(f"conv{stage}_1", (first, first), (3, 3), before, channels, (stride, stride)))
        layers += [Layer(f"conv{stage}_{i}", (size + 2, size + 2), (3, 3), channels, channels) for i in (2, 3, 4)]
        if stride > 1:
            layers.append(Layer(f"down{stage}", (first - 2, first - 2), (1, 1), before, channels, (stride, stride)))
        before = channels
    return (*layers, Layer.product("fc", 1, 1000, 512))


RESNET18 = _resnet18()
DEFAULT = ("conv3_2", "down4", "fc")
"""Layers of it that SCALE-Sim simulates in a minute or two: a 3x3 and a 1x1 convolution and the dense layer."""


@dataclass(frozen=True)
class Measured:
    """One layer in both simulators.

    Attributes:
        name: of the layer.
        macs: multiply-accumulates.
        cycles: of SCALE-Sim, prefetch and stalls included, and of the cycle model, from START to the last write.
        stalls: of SCALE-Sim's cycles those for which it waits for DRAM.
        seconds: CPU time of SCALE-Sim, of the compiler, and of counting the cycles of the program.
    """

    name: str
    macs: int
    cycles: tuple[int, int]
    stalls: int
    seconds: tuple[float, float, float]


def choose(files: Sequence[Path], everything: bool, most: int | None) -> list[Layer]:
    """Return the layers of models and topologies, or without files some of ResNet-18 or all; at most `most` per file.

    Raises:
        SystolithError: a file cannot be read, or has no layer that SCALE-Sim knows.
    """
    if not files:
        return [layer for layer in RESNET18 if everything or layer.name in DEFAULT][:most]
    found = list[Layer]()
    for file in files:
        layers = read_topology(file) if file.suffix == SUFFIX else layers_of(read_model(file))
        if not layers:
            raise UsageError(f"{file} must have a convolution or a dense layer, which is what SCALE-Sim knows")
        for layer in layers[:most]:
            if layer.stride[0] != layer.stride[1]:
                raise UsageError(f"layer {layer.name} of {file} must have equal strides for SCALE-Sim, not "
                                 f"{layer.stride[0]} and {layer.stride[1]}")
        found += layers[:most]
    return found


def compare(layers: Sequence[Layer], config: AcceleratorConfig, status: Callable[[str], None]) -> Iterator[Measured]:
    """Yield each layer as soon as both simulators have it; each begins with empty buffers.

    Raises:
        UsageError: SCALE-Sim is not installed, or fails.
        DeviceError: the cycle model cannot be compiled.
    """
    if importlib.util.find_spec("scalesim") is None:
        raise UsageError(f"bench simulators needs SCALE-Sim; {INSTALL}")
    _count(WARM_UP, config, status)
    for layer in layers:
        status(f"{layer.name} in the cycle model")
        ours, compiling, counting = _count(layer, config, status)
        status(f"{layer.name} in SCALE-Sim")
        theirs, stalls, seconds = _run_scalesim(layer, config)
        yield Measured(layer.name, layer.macs, (theirs, ours), stalls, (seconds, compiling, counting))


def _count(layer: Layer, config: AcceleratorConfig, status: Callable[[str], None]) -> tuple[int, float, float]:
    """Return the cycles of a layer by the cycle model, and CPU seconds of compilation and counting."""
    graph = graph_of("layer", [layer])
    begin = time.process_time()
    program = compile_graph(graph, config)
    compiled = time.process_time()
    report = performance(program, status=status)
    counted = time.process_time()
    if any(each.unit == "cpu" for each in report.layers) or report.cycles is None:
        raise UsageError(f"layer {layer.name} must fit the accelerator to be compared; "
                         f"{next((each.reason for each in report.layers if each.reason), 'it has no cycles')}")
    return report.cycles, compiled - begin, counted - compiled


def _run_scalesim(layer: Layer, config: AcceleratorConfig) -> tuple[int, int, float]:
    """Return the cycles of a layer by SCALE-Sim, those of them that are stalls, and CPU seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [folder / each for each in ("config.cfg", f"topology{SUFFIX}", f"layout{SUFFIX}", "results")]
        write_scalesim_config(config, files[0])
        write_topology([layer], files[1])
        # Not used, but read: a line for the layer, and for a depthwise one its channels where the topology has them.
        columns = [1] * _LAYOUT_COLUMNS
        columns[4] = layer.channels
        files[2].write_text("Layer,\n" + ",".join([layer.name, *map(str, columns)]) + ",\n")
        try:
            # A process of its own gives its memory back, of which a large layer takes gigabytes.
            done = subprocess.run([sys.executable, "-W", "ignore", "-c", _RUN, *map(str, files)], capture_output=True,
                                  text=True, check=True, cwd=folder)
            rows = list(csv.reader((files[3] / "run" / "COMPUTE_REPORT.csv").read_text().splitlines()[1:]))
            # A depthwise layer is one layer per channel there.
            return (sum(int(float(row[1])) for row in rows), sum(int(float(row[3])) for row in rows),
                    float(done.stdout.split()[-1]))
        except subprocess.CalledProcessError as error:
            reason = (error.stderr.strip().splitlines() or [f"it ended with status {error.returncode}"])[-1]
        except (OSError, ValueError, IndexError) as error:
            reason = f"its report cannot be read ({error})"
        raise UsageError(f"SCALE-Sim must simulate {layer.name}, but: {reason}; {INSTALL}")


def table(rows: Sequence[Measured], config: AcceleratorConfig) -> Table:
    """Return the layers and their sum as a table for `rich`."""
    made = Table(title=f"SCALE-Sim and sim, {config.rows}x{config.cols}", title_justify="left",
                 caption_justify="left", box=SIMPLE, pad_edge=False)
    made.add_column("layer", overflow="fold")
    for heading in ("MACs", "SCALE-Sim\ncycles", "\nstalls", "sim\ncycles", "SCALE-Sim\nutilisation",
                    "sim\nutilisation", "SCALE-Sim\nseconds", "compile\nseconds", "count\nseconds", "faster\nby",
                    "count\nby"):
        made.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        made.add_row(*_cells(row, config))
    made.add_section()
    made.add_row(*_cells(total(rows), config))
    made.caption = "CPU seconds; faster by: SCALE-Sim / (compile + count); count by: SCALE-Sim / count"
    return made


def total(rows: Sequence[Measured]) -> Measured:
    """Return the sum of layers."""
    cycles = (sum(row.cycles[0] for row in rows), sum(row.cycles[1] for row in rows))
    seconds = (sum(row.seconds[0] for row in rows), sum(row.seconds[1] for row in rows),
               sum(row.seconds[2] for row in rows))
    return Measured("total", sum(row.macs for row in rows), cycles, sum(row.stalls for row in rows), seconds)


def _cells(row: Measured, config: AcceleratorConfig) -> list[str]:
    shares = [utilisation(row.macs, cycles, config) or 0 for cycles in row.cycles]
    theirs, compiling, counting = row.seconds
    return [row.name, f"{row.macs:,}", f"{row.cycles[0]:,}", f"{row.stalls:,}", f"{row.cycles[1]:,}",
            *(f"{share:.1%}" for share in shares), f"{theirs:.2f}", f"{compiling:.4f}", f"{counting:.4f}",
            f"{theirs / max(compiling + counting, 1e-9):,.0f}", f"{theirs / max(counting, 1e-9):,.0f}"]
