"""Executors run one sample: a graph on the golden operators, or a compiled program on an accelerator."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ..devices.base import Accelerator, RunResult
from ..devices.golden import constants, execute, execute_op
from ..errors import DeviceError
from ..graph import Graph
from ..program import CpuStep, HwStep, Program
from .tensors import Arrays


class Executor(Protocol):
    """Runs one sample; returns the outputs by name and the measurements of each hardware step."""

    def run(self, inputs: Arrays) -> tuple[dict[str, np.ndarray], list[RunResult]]: ...

    def close(self) -> None: ...


class GraphExecutor:
    """Runs a graph on the golden operators."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def run(self, inputs: Arrays) -> tuple[dict[str, np.ndarray], list[RunResult]]:
        return execute(self._graph, inputs), []

    def close(self) -> None:
        """Nothing to give back."""


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
