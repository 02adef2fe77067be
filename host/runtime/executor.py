"""Executors run samples: on the golden operators of a graph, or as compiled programs on an accelerator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Protocol

import numpy as np

from ...sim.rtl.activity import Nets
from ..devices.base import Accelerator, RunResult
from ..devices.golden import constants, execute, execute_op
from ..errors import DeviceError
from ..graph import Graph
from ..program import CpuStep, HwStep, Program
from .tensors import Arrays

Measured = tuple[Program, list[RunResult]]
"""One run of a program and the measurements of its hardware steps."""


class Executor(Protocol):
    """Runs `samples` samples, stacked along axis 0; returns the outputs by name and what was measured."""

    samples: int

    def run(self, inputs: Arrays) -> tuple[dict[str, np.ndarray], list[Measured]]: ...


class GraphExecutor:
    """Runs a graph on the golden operators, sample by sample."""

    samples = 1

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def run(self, inputs: Arrays) -> tuple[dict[str, np.ndarray], list[Measured]]:
        return execute(self._graph, inputs), []


class Loader:
    """Runs programs on one device that holds one of them at a time.

    Args:
        open_device: returns the device with the DRAM that a program needs.
    """

    def __init__(self, open_device: Callable[[Program], Accelerator]) -> None:
        self._open = open_device
        self._program: Program | None = None
        self._executor: ProgramExecutor | None = None

    def run(self, program: Program, inputs: Arrays) -> tuple[dict[str, np.ndarray], list[RunResult]]:
        """Run `program`, after loading it where another one is loaded; see `ProgramExecutor.run`."""
        return self.load(program).run(inputs)

    def load(self, program: Program) -> ProgramExecutor:
        """Return the executor of `program`, which replaces the one before."""
        if self._executor is None or program is not self._program:
            self.close()
            self._executor, self._program = ProgramExecutor(program, self._open(program)), program
        return self._executor

    def nets(self) -> Nets | None:
        """Return what the nets of the device did since it was opened; see `Accelerator.nets`."""
        return self._executor.nets() if self._executor else None

    def close(self) -> None:
        """Give the device back."""
        if self._executor is not None:
            self._executor.close()
            self._executor = None


class BatchExecutor:
    """Runs the head of a network sample by sample and its tail once for all of them; either may be missing.

    Args:
        loader: the device.
        head: program for one sample, whose outputs are those of the network and inputs of the tail.
        tail: program for `samples` samples.
        samples: samples of a run.
    """

    def __init__(self, loader: Loader, head: Program | None, tail: Program | None, samples: int) -> None:
        self.samples = samples
        self._loader, self._head, self._tail = loader, head, tail

    @property
    def programs(self) -> Iterator[Program]:
        """The programs of one run, in order."""
        if self._head is not None:
            yield from repeat(self._head, self.samples)
        if self._tail is not None:
            yield self._tail

    def run(self, inputs: Arrays) -> tuple[dict[str, np.ndarray], list[Measured]]:
        """Run `samples` samples. Raises `DeviceError` as `ProgramExecutor.run` does."""
        values, measured = dict(inputs), list[Measured]()
        if self._head is not None:
            parts = []
            for index in range(self.samples):
                found, results = self._loader.run(self._head, {
                    port.name: _sample(inputs[port.name], index, self.samples) for port in self._head.inputs})
                parts.append(found)
                measured.append((self._head, results))
            values |= {name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in parts[0]}
        if self._tail is not None:
            found, results = self._loader.run(self._tail, {port.name: values[port.name] for port in self._tail.inputs})
            values |= found
            measured.append((self._tail, results))
        return values, measured


def _sample(array: np.ndarray, index: int, samples: int) -> np.ndarray:
    size = len(array) // samples
    return array[index * size:(index + 1) * size]


class ProgramExecutor:
    """Runs a program on an accelerator, which it owns and loads with the program's DRAM image.

    Args:
        program: program for the accelerator's configuration.
        accelerator: device with `program.dram_bytes` of DRAM.
    """

    def __init__(self, program: Program, accelerator: Accelerator) -> None:
        self._program, self._accelerator = program, accelerator
        self._constants = constants(program.graph)
        accelerator.write(0, program.image)

    def run(self, inputs: Arrays) -> tuple[dict[str, np.ndarray], list[RunResult]]:
        """Run one sample.

        Raises:
            DeviceError: the accelerator stopped; the DRAM image is written again, so the next run starts afresh.
        """
        values, results = self._constants | dict(inputs), []
        for step in self._program.steps:
            if isinstance(step, CpuStep):
                op = self._program.graph.ops[step.op]
                values.update(zip(op.outputs, execute_op(self._program.graph, op, values), strict=True))
            else:
                results.append(self._run_hardware(step, values))
        return {port.name: values[port.name] for port in self._program.outputs}, results

    def nets(self) -> Nets | None:
        return self._accelerator.nets()

    def close(self) -> None:
        self._accelerator.close()

    def _run_hardware(self, step: HwStep, values: dict[str, np.ndarray]) -> RunResult:
        device, word = self._accelerator, self._program.config.word_bytes
        for binding in step.inputs:
            device.write(binding.offset, binding.pack(values[binding.name], word))
        try:
            result = device.run(step.code_offset, step.count)
        except DeviceError:
            device.write(0, self._program.image)
            raise
        for binding in step.outputs:
            values[binding.name] = binding.unpack(device.read(binding.offset, binding.size(word)), word)
        return result
