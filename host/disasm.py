"""Disassembler: the instructions of a program as text, one per line."""

from __future__ import annotations

from collections.abc import Iterator

from ..hw.isa import INSTR_BYTES, UNIT_OF, Buffer, Opcode, PoolMode, Unit, decode
from .program import HwStep, Program

_BUFFERS = {int(buffer): buffer.name.lower() for buffer in Buffer}
_MODES = {int(mode): mode.name.lower() for mode in PoolMode}


def disassemble(program: Program) -> Iterator[str]:
    """Yield the steps, layers and instructions of `program`.

    Lines that start with "#" are headings. An instruction shows its index in its step, unit, opcode, in braces the
    counts of retired instructions that it waits for and the activation banks that it reads and writes, and its fields
    that are not 0 (the buffer of a load and the mode of a pool always).
    """
    for number, step in enumerate(program.steps):
        if isinstance(step, HwStep):
            yield from _hardware_step(program, number, step)
        else:
            op = program.graph.ops[step.op]
            yield f"# step {number}: CPU, {op.kind} {op.name}"


def _hardware_step(program: Program, number: int, step: HwStep) -> Iterator[str]:
    yield f"# step {number}: {step.count} instructions at DRAM {step.code_offset:#x}"
    for kind, bindings in (("input", step.inputs), ("output", step.outputs)):
        for b in bindings:
            yield f"# {kind} {b.name} {'x'.join(map(str, b.shape))} at DRAM {b.offset:#x}"
    layer = -1
    for index in range(step.count):
        if program.layer_index[step.first + index] != layer:
            layer = int(program.layer_index[step.first + index])
            yield f"# layer {layer}: {program.layers[layer].kind} {program.layers[layer].name}"
        start = step.code_offset + index * INSTR_BYTES
        yield f"{index:6d}  {format_instruction(program.image[start:start + INSTR_BYTES])}"


def format_instruction(data: bytes) -> str:
    """Return one instruction of 64 bytes as text. Raises `ValueError` when it is not an instruction."""
    opcode, header, body = decode(data)
    waits = [f"{unit.name.lower()}>={header[f'wait_{unit.name.lower()}']}" for unit in Unit
             if header[f"wait_{unit.name.lower()}"]]
    banks = [f"{name}={_bits(header[key])}" for name, key in (("rd", "rd_banks"), ("wr", "wr_banks")) if header[key]]
    always = {Opcode.LOAD: "buffer", Opcode.POOL: "mode"}.get(opcode)
    fields = [f"{name}={_value(opcode, name, value)}" for name, value in body.items() if value or name == always]
    unit = UNIT_OF[opcode].name.lower()
    return f"{unit:8}{opcode.name.lower():8} {{{' '.join(waits + banks)}}} {' '.join(fields)}"


def _bits(mask: int) -> str:
    return ",".join(str(bit) for bit in range(8) if mask >> bit & 1)


def _value(opcode: Opcode, name: str, value: int) -> str:
    if name == "buffer" and opcode == Opcode.LOAD:
        return _BUFFERS.get(value, str(value))
    if name == "mode":
        return _MODES.get(value, str(value))
    return f"{value:#x}" if name in ("dram", "dram_stride", "mult") or name.endswith("_mult") else str(value)
