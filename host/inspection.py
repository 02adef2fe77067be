"""What a compiled program consists of, for people: ports, operators, sizes, and what runs on the CPU and why."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE
from rich.console import RenderableType
from rich.table import Table

from ..hw.isa import INSTR_BYTES
from .batching import refusal, split
from .graph import Graph
from .program import Port, Program
from .report import config_hash, preset_name
from .stats import layer_stats


def summary(program: Program) -> str:
    """Return one line on `program`."""
    on_cpu = sum(layer.unit == "cpu" for layer in program.layers)
    return (f"{len(program.layers)} operators ({on_cpu} on the CPU), {program.macs:,} MACs, "
            f"{len(program.layer_index):,} instructions, {program.dram_bytes:,} bytes of DRAM, {_core(program)}")


def describe(program: Program) -> Iterator[RenderableType]:
    """Yield what to print, by `rich`, to describe `program`."""
    yield f"model    {program.model}"
    for port in program.inputs:
        yield f"input    {_port(port)}"
    for port in program.outputs:
        yield f"output   {_port(port)}"
    yield f"core     {_core(program)}"
    yield f"batches  {_batches(program.graph)}"
    yield (f"program  {len(program.layer_index):,} instructions ({len(program.layer_index) * INSTR_BYTES:,} bytes), "
           f"{len(program.image):,} bytes with weights, {program.dram_bytes:,} bytes of DRAM in all")
    yield _operators(program)
    for layer in program.layers:
        if layer.unit == "cpu":
            yield f"on the CPU: {layer.kind} {layer.name}: {layer.reason or 'the accelerator does not have it'}"
    if all(layer.unit != "cpu" for layer in program.layers):
        yield "nothing runs on the CPU"


def _operators(program: Program) -> Table:
    shapes = {op.name: program.graph.result(op).shape for op in program.graph.ops}
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("layer", overflow="fold")
    for name in ("operator", "unit", "output"):
        table.add_column(name)
    for name in ("MACs", "bytes loaded", "bytes stored"):
        table.add_column(name, justify="right")
    stats = layer_stats(program)
    for layer, counted in zip(program.layers, stats, strict=True):
        table.add_row(layer.name, layer.kind, layer.unit, "x".join(map(str, shapes.get(layer.name, ()))) or "-",
                      f"{layer.macs:,}", f"{counted.bytes_loaded:,}", f"{counted.bytes_stored:,}")
    table.add_section()
    table.add_row("total", "", "", "", f"{program.macs:,}", f"{sum(each.bytes_loaded for each in stats):,}",
                  f"{sum(each.bytes_stored for each in stats):,}")
    return table


def _batches(graph: Graph) -> str:
    parts = split(graph)
    if parts and parts.head:
        first = parts.tail.ops[0]
        return f"several samples at once from {first.kind} {first.name} on, where that saves cycles"
    if parts:
        return "several samples at once, where that saves cycles"
    for op in reversed(graph.ops):
        if why := refusal(graph, op):
            return f"samples one by one because of {op.kind} {op.name}: {why}"
    return "samples one by one: there are no weights to share"


def _port(port: Port) -> str:
    shape = "x".join(map(str, port.shape))
    quantisation = "" if port.scale is None else f", scale {port.scale:.8g}, zero point {port.zero_point}"
    return f"{port.name}: {port.dtype} {shape}{quantisation}"


def _core(program: Program) -> str:
    config = program.config
    name = preset_name(config) or "custom"
    return f"{name} {config.rows}x{config.cols}, configuration {config_hash(config)}"
