"""Runs compiled programs on the instruction-level machine and compares them with the golden device."""

from __future__ import annotations

from typing import Literal

import numpy as np

from systolith.host.devices.golden import constants, execute, execute_op
from systolith.host.graph import Graph
from systolith.host.program import HwStep, Program
from systolith.sim.machine import Machine

Order = Literal["program", "random"]


def run(program: Program, inputs: dict[str, np.ndarray], order: Order = "program", seed: int = 0,
        machine: Machine | None = None) -> dict[str, np.ndarray]:
    """Run one sample; outputs by name."""
    word = program.config.word_bytes
    if machine is None:
        machine = Machine(program.config, program.dram_bytes)
        machine.write(0, program.image)
    values = constants(program.graph) | inputs
    for step in program.steps:
        if isinstance(step, HwStep):
            for binding in step.inputs:
                machine.write(binding.offset, binding.pack(values[binding.name], word))
            machine.run(step.code_offset, step.count, order=order, seed=seed)
            for binding in step.outputs:
                values[binding.name] = binding.unpack(machine.read(binding.offset, binding.size(word)), word)
        else:
            op = program.graph.ops[step.op]
            values.update(zip(op.outputs, execute_op(program.graph, op, values), strict=True))
    return {name: values[name] for name in program.graph.outputs}


def random_inputs(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Uniform random values for the inputs of a graph."""
    rng = np.random.default_rng(seed)
    tensors = [graph.tensors[name] for name in graph.inputs]
    return {t.name: rng.integers(*((-128, 128) if t.dtype == "int8" else (0, 256)), t.shape).astype(t.dtype)
            for t in tensors}


def check(graph: Graph, program: Program, seeds: int = 2) -> None:
    """Compare the program with the golden device, in program order and in random orders."""
    inputs = random_inputs(graph)
    expected = execute(graph, inputs)
    for seed in range(-1, seeds):
        found = run(program, inputs, "program" if seed < 0 else "random", seed)
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, err_msg=f"output {name}, order seed {seed}")
