"""Batches: how many samples of a network run at once, which is what takes the fewest cycles."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from ...hw.config import AcceleratorConfig
from ..batching import Parts, batched, split
from ..compiler import compile_graph
from ..errors import ProgramError
from ..program import HwStep, Program
from ..stats import layer_stats, least_cycles
from .executor import BatchExecutor, Loader

# What a run takes besides: its first loads and its last stores, about.
_RUN_CYCLES = 300
# Share of its cycles that a network must save at least, so that an estimate is enough.
_LEAST_GAIN = 1 / 32


class Batches:
    """Divides samples into batches, and makes the programs of batches when they are first needed.

    Args:
        program: the network for one sample.
        config: configuration of the core.
        loader: the device.
        most: samples of the largest batch; None for twice the rows of the array, where dense layers get no faster.
    """

    def __init__(self, program: Program, config: AcceleratorConfig, loader: Loader, most: int | None) -> None:
        self._program, self._config, self._loader = program, config, loader
        self._most = 2 * config.rows if most is None else most
        self._made: dict[int, BatchExecutor | None] = {1: BatchExecutor(loader, program, None, 1)}

    def executors(self, samples: int) -> Iterator[BatchExecutor]:
        """Yield what runs the next samples until all are done: batches of the largest size, then of halves of it."""
        size = self._most
        while samples:
            executor = self._executor(size) if size <= samples else None
            if executor is None:
                size //= 2
                continue
            yield executor
            samples -= size

    def _executor(self, size: int) -> BatchExecutor | None:
        """Return what runs `size` samples at once, or None where that is no gain or cannot be."""
        if size not in self._made:
            self._made[size] = self._make(size)
        return self._made[size]

    def _make(self, size: int) -> BatchExecutor | None:
        if self._parts is None:
            return None
        whole, part = self._cycles
        least = size * whole * _LEAST_GAIN
        if size * part - _RUN_CYCLES < least:
            return None
        head = self._head
        try:
            tail = compile_graph(batched(self._parts.tail, size), self._config)
        except ProgramError:  # more DRAM than addresses reach
            return None
        runs = sum(isinstance(step, HwStep) for step in tail.steps)
        gain = size * part - runs * _RUN_CYCLES - least_cycles(layer_stats(tail), self._config)
        programs = [tail] if head is None else [head, tail]
        if gain < least or not all(self._runs_alike(program) for program in programs):
            return None
        return BatchExecutor(self._loader, head, tail, size)

    @cached_property
    def _parts(self) -> Parts | None:
        return split(self._program.graph)

    @cached_property
    def _head(self) -> Program | None:
        head = self._parts and self._parts.head
        return compile_graph(head, self._config) if head else None

    @cached_property
    def _cycles(self) -> tuple[float, float]:
        """The fewest cycles of one sample, and of the tail's share of them; 0 for instructions that do not exist."""
        program = self._program
        try:
            stats = layer_stats(program)
        except ValueError:  # the core will say so
            return 0, 0
        tail = {op.name for op in self._parts.tail.ops} if self._parts else set[str]()
        shared = [each for layer, each in zip(program.layers, stats, strict=True) if layer.name in tail]
        return least_cycles(stats, self._config), least_cycles(shared, self._config)

    def _runs_alike(self, program: Program) -> bool:
        """Tell whether each operator runs where it does for a single sample; the host reshapes at no cost."""
        units = {layer.name: layer.unit for layer in self._program.layers}
        return all(units.get(layer.name) == layer.unit or (layer.kind, layer.unit) == ("RESHAPE", "cpu")
                   for layer in program.layers)
