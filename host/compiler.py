"""Compiler: from a model or a graph to a program for one configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..hw.config import AcceleratorConfig
from ..hw.isa import INSTR_BYTES
from .backend.absorption import absorb_moves
from .backend.constants import BURST_WORDS, ConstantPool
from .backend.dependencies import Tracker, memory_sizes
from .backend.emit import Emitter
from .backend.encode import encode_program
from .backend.fusion import fuse_elements
from .backend.instruction import Instruction
from .backend.layers import ConvLayer, Storage
from .backend.layers import Layer as BackendLayer
from .backend.lower import Lowered, lower
from .backend.memory import MemoryPlan, Unplaceable, plan_memory
from .backend.partition import partition
from .backend.placement import place_copies
from .backend.schedule import advance, order_layers
from .errors import ProgramError
from .frontends import read_model
from .graph import Graph, Op
from .passes import run_passes
from .program import Binding, CpuStep, HwStep, Layer, Port, Program

# DRAM addresses have 32 bits.
MAX_DRAM_BYTES = 1 << 32
_CODE_ALIGN = 256


def compile_model(path: str | Path, config: AcceleratorConfig) -> Program:
    """Compile a .tflite or .onnx file.

    Raises:
        ModelError: the file cannot be read.
        UnsupportedOperatorError: it has operators that nothing here can run.
        ProgramError: the network needs more DRAM than addresses reach.
    """
    return compile_graph(read_model(path), config)


def compile_graph(graph: Graph, config: AcceleratorConfig) -> Program:
    """Compile a verified graph; what the hardware cannot run becomes steps of the CPU.

    Raises:
        GraphError: a compiler pass broke the graph (a bug).
        ProgramError: the network needs more DRAM than addresses reach.
    """
    graph = run_passes(graph)
    forced: dict[str, str] = {}
    while True:
        try:
            return _Compilation(graph, config, lower(graph, config, forced)).program()
        except Unplaceable as problem:
            forced[problem.op] = str(problem)


class _Compilation:
    """One attempt with a given assignment of operators to hardware and CPU."""

    def __init__(self, graph: Graph, config: AcceleratorConfig, lowered: Lowered) -> None:
        self.graph, self.config, self.lowered = graph, config, lowered
        self.groups = partition(graph, lowered)
        self.layers: list[Layer] = []
        self.layer_index: list[int] = []
        self.pool = ConstantPool(config.word_bytes)
        self.tensors = ConstantPool(config.word_bytes)  # only its offsets matter: the space of tensors in DRAM
        self.dram: dict[str, int] = {}
        self.produced: set[str] = set()
        self.steps: list[tuple[HwStep, list[Instruction]] | CpuStep] = []

    def program(self) -> Program:
        """Return the compiled program. Raises `Unplaceable` for an operator that must go to the CPU."""
        for number, group in enumerate(self.groups):
            if group[0].name in self.lowered.reasons:
                self._cpu_step(group[0])
            else:
                self._hardware_step(number, group)
        return self._link()

    def _cpu_step(self, op: Op) -> None:
        self.steps.append(CpuStep(self.graph.ops.index(op)))
        self._add_layer(op)

    def _hardware_step(self, number: int, group: list[Op]) -> None:
        lowered, storages = self.lowered, self.lowered.storages
        lowest = [layer for op in group for layer in lowered.layers[op.name]]
        if not lowest:
            return
        written = {layer.output.storage for layer in lowest}
        later = {name for group in self.groups[number + 1:] for op in group for name in op.inputs}
        leaving = {lowered.storage_of[name] for name in later | set(self.graph.outputs)
                   if lowered.storage_of.get(name) in written}
        layers = order_layers(fuse_elements(absorb_moves(lowest, leaving), leaving))
        arriving = {x.storage for layer in layers for x in layer.inputs} - written
        layers = place_copies(layers, storages, arriving | leaving)
        written = {layer.output.storage for layer in layers}
        plan = plan_memory(layers, storages, self.config)
        for name in sorted({x.storage for layer in layers for x in (*layer.inputs, layer.output)}):
            if name in arriving or name in leaving or name not in plan.resident:
                self._reserve(storages[name])
        hosted = [name for name in sorted(arriving - self.produced) if not storages[name].data]
        inputs = [self._binding(storages[name].tensor, name) for name in hosted]
        self.produced |= written | arriving
        instructions = self._instructions(layers, plan, arriving, leaving, group)
        step = HwStep(0, len(self.layer_index), len(instructions), tuple(inputs), self._outputs(written))
        self.layer_index += [instruction.layer for instruction in instructions]
        self.steps.append((step, instructions))

    def _instructions(self, layers: list[BackendLayer], plan: MemoryPlan, arriving: set[str], leaving: set[str],
                      group: list[Op]) -> list[Instruction]:
        by_name = {op.name: op for op in group}
        emitter = Emitter(self.config, self.lowered.storages, plan, self.dram, arriving, self.pool)
        last = {layer.output.storage: layer for layer in layers}
        numbers: dict[str, int] = {}
        for layer, layer_plan in zip(layers, plan.layers, strict=True):
            done = (layer.op, *(step.op for step in layer.steps)) if isinstance(layer, ConvLayer) else (layer.op,)
            for name in done:
                if name not in numbers:
                    numbers[name] = len(self.layers)
                    self._add_layer(by_name[name])
            storage = layer.output.storage
            emitter.emit(layer, layer_plan, tuple(numbers[name] for name in done),
                         leaves=storage in leaving and last[storage] is layer)
        tracker = Tracker(memory_sizes(self.config, len(self.tensors.data)))
        return advance(emitter.instructions, tracker, max(1, self.config.queue_depth - 2))

    def _reserve(self, storage: Storage) -> None:
        if storage.name not in self.dram:
            self.dram[storage.name] = (self.pool.add(storage.data) if storage.data else
                                       self.tensors.add(bytes(storage.dram_bytes(self.config.word_bytes))))

    def _outputs(self, written: set[str]) -> tuple[Binding, ...]:
        """Return the bindings of the tensors that the host reads after the step that writes `written`."""
        host = {name for op in self.graph.ops if op.name in self.lowered.reasons for name in op.inputs}
        names = sorted(host | set(self.graph.outputs))
        return tuple(self._binding(name, self.lowered.storage_of[name]) for name in names
                     if self.lowered.storage_of.get(name) in written)

    def _binding(self, tensor: str, storage: str) -> Binding:
        stored = self.lowered.storages[storage]
        return Binding(tensor, self.graph.tensors[tensor].shape, self.dram[storage], stored.h * stored.w,
                       stored.channels, stored.gather)

    def _add_layer(self, op: Op) -> None:
        self.layers.append(Layer(op.name, op.kind, self.graph.macs(op), self.lowered.unit(op),
                                 self.lowered.reasons.get(op.name)))

    def _link(self) -> Program:
        """Lay out DRAM: constants, code, tensors; and encode the instructions, whose addresses are known now."""
        image = bytearray(self.pool.data)
        image += bytes(-len(image) % _CODE_ALIGN)
        count = sum(step.count for step, _ in self._hardware())
        tensor_base = len(image) + -(-count * INSTR_BYTES // _CODE_ALIGN) * _CODE_ALIGN
        tensor_base += -tensor_base % (BURST_WORDS * self.config.word_bytes)
        steps: list[HwStep | CpuStep] = []
        for item in self.steps:
            if isinstance(item, CpuStep):
                steps.append(item)
                continue
            step, instructions = item
            inputs, outputs = (tuple(replace(binding, offset=binding.offset + tensor_base) for binding in bindings)
                               for bindings in (step.inputs, step.outputs))
            steps.append(replace(step, code_offset=len(image), inputs=inputs, outputs=outputs))
            image += encode_program(instructions, self.config, tensor_base, len(self.tensors.data))
        dram_bytes = max(tensor_base + len(self.tensors.data), 1)  # a device has some memory even if nothing uses it
        dram_bytes += -dram_bytes % (BURST_WORDS * self.config.word_bytes)
        if dram_bytes > MAX_DRAM_BYTES:
            raise ProgramError(f"{self.graph.name} needs {dram_bytes} bytes of DRAM, more than {MAX_DRAM_BYTES}; "
                               "use a smaller network")
        return Program(
            model=self.graph.name, config=self.config, inputs=self._ports(self.graph.inputs),
            outputs=self._ports(self.graph.outputs), graph=self.graph, steps=tuple(steps),
            layers=tuple(self.layers), layer_index=np.array(self.layer_index, np.uint16), image=bytes(image),
            dram_bytes=dram_bytes)

    def _hardware(self) -> list[tuple[HwStep, list[Instruction]]]:
        return [item for item in self.steps if not isinstance(item, CpuStep)]

    def _ports(self, names: tuple[str, ...]) -> tuple[Port, ...]:
        ports = []
        for name in names:
            t = self.graph.tensors[name]
            scale, zero_point = (t.quant.scale[0], t.quant.zero_point[0]) if t.quant else (None, None)
            ports.append(Port(name, t.shape, t.dtype, scale, zero_point))
        return tuple(ports)
