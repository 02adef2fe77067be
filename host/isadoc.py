"""Tables of the instruction set and of the register map, made from the layouts that the gateware uses.

The layouts say where a field is; what it means is said here. A field without a description, or a description without a
field, is an error, so neither can be forgotten.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence

from amaranth import Shape
from amaranth.lib.data import StructLayout

from ..hw.array import SPACINGS
from ..hw.csr import CSR_ID, Control, Counter, Csr, Status, counter_offset
from ..hw.isa import BODIES, HEADER, HEADER_BITS, MAX_LEFT_SHIFT, UNIT_OF, Buffer, ErrorCode, Opcode, PoolMode

__all__ = ["field_table", "isa_tables", "markdown_table"]

_HEADER = {
    "opcode": "operation, see above",
    "rd_banks": "activation banks that the instruction reads, one bit each",
    "wr_banks": "activation banks that the instruction writes, one bit each",
    "wait_load": "LOAD instructions that must have retired",
    "wait_compute": "COMPUTE instructions that must have retired",
    "wait_vector": "VECTOR instructions that must have retired",
    "wait_store": "STORE instructions that must have retired",
}
_TRANSFER = {
    "dram": "byte address of the first run, relative to BASE, a multiple of R",
    "dram_stride": "bytes from one run to the next, a multiple of R",
    "local": "first word in the buffer",
    "local_stride": "words from one run to the next",
    "rows": "runs, at least 1",
    "row_words": "words per run, at least 1",
    "buffer": "destination of a LOAD: " + ", ".join(f"{b.value} {b.name}" for b in Buffer)
              + "; a STORE always reads ACT",
    "pitch": "LOAD to ACT: bytes between the windows that are gathered, at most R; 0 copies the words of a run",
    "windows": "LOAD with a pitch: words gathered from each run, at least 1",
}
_OUTPUT = {
    "dst": "word of output pixel (0, 0)",
    "dst_step_x": "words from one output pixel to the next in its row",
    "dst_step_y": "words from one output row to the next",
    "out_h": "output rows, at least 1",
    "out_w": "output columns, at least 1",
    "zp": "output zero point",
    "lo": "lower bound of the output",
    "hi": "upper bound of the output",
}
_WINDOW = {
    "in_base": "input word of output pixel (0, 0), tap (0, 0), block 0, modulo 2^20: it may lie in the padding",
    "step_x": "words between the inputs of neighbouring output columns",
    "step_y": "words between the inputs of neighbouring output rows",
    "tap_x": "words between neighbouring taps of a row",
    "tap_y": "words between neighbouring taps of a column",
    "iy0": "image row of output pixel (0, 0), tap (0, 0); negative in the padding",
    "ix0": "image column of output pixel (0, 0), tap (0, 0)",
    "in_h": "image rows; coordinates outside [0, in_h) read `fill`",
    "in_w": "image columns, likewise",
    "stride_x": "image columns between neighbouring output columns",
    "stride_y": "image rows between neighbouring output rows",
    "fill": "value of every channel of a padding pixel",
    "kw": "taps in x, at least 1",
    "kh": "taps in y, at least 1",
}
_SHIFT = f"exponent, -31 to {MAX_LEFT_SHIFT}; positive is left"
_PAIR = {
    **_OUTPUT,
    **{f"{x}": f"word of operand {x}, pixel (0, 0)" for x in "ab"},
    **{f"{x}_step_x": f"words between pixels of operand {x}" for x in "ab"},
    **{f"{x}_step_y": f"words between rows of operand {x}" for x in "ab"},
    **{f"{x}_zp": f"zero point of operand {x}" for x in "ab"},
    **{f"{x}_negate": f"ADD: 1 subtracts operand {x}" for x in "ab"},
    "b_mult": "ADD: Q31 multiplier of operand b; that of operand a, the one with the larger scale, is 1/2",
    "b_shift": f"ADD: its {_SHIFT}",
    "y_mult": "Q31 multiplier of the sum or product",
    "y_shift": f"its {_SHIFT}",
}
_FIELDS: dict[Opcode, dict[str, str]] = {
    Opcode.LOAD: _TRANSFER,
    Opcode.COMPUTE: {
        **_WINDOW,
        "out_h": _OUTPUT["out_h"] + "; out_h * out_w at most half of the accumulators",
        "out_w": _OUTPUT["out_w"],
        "dil_x": "image columns between neighbouring taps",
        "dil_y": "image rows between neighbouring taps",
        "blocks": "words (blocks of R channels) per tap, at least 1",
        "wgt": "first word of the weight tiles; each has R words",
        "tiles": "kh * kw * blocks",
        "acc": "accumulator of output pixel (0, 0); the pixels of all groups lie in one half",
        "accumulate": "1 adds the first tile to the accumulators, 0 overwrites them",
        "fir": "1 selects the filter mode (depthwise): `stride_*` then count words between outputs, and the"
               " coordinates of the words step by 1; array rows from `filter_rows` on multiply their channel of the"
               " word that completes the output",
        "spacing": f"filter mode: array rows per image line, one of {', '.join(map(str, SPACINGS))}",
        "walk_h": "filter mode: image lines that each pass streams",
        "walk_w": "filter mode: words of each line",
        "lead": "filter mode: words of `fill` before the first line",
        "skip_y": "filter mode: lines before the first output",
        "skip_x": "filter mode: words of each line before the first output",
        "step_block": "words between the blocks of a tap",
        "groups": "repetitions, at least 1; each uses the next weight tiles and the next accumulators",
        "step_group": "words between the inputs of neighbouring groups: 0, or one plane in a depthwise layer",
    },
    Opcode.REQUANT: {
        **_OUTPUT,
        "acc": "accumulator of output pixel (0, 0); the pixels of all groups lie in one half",
        "param": "first word of the channel parameters; groups follow each other",
        "groups": "blocks of output channels, at least 1",
        "dst_step_group": "words between the outputs of neighbouring groups",
    },
    Opcode.ADD: _PAIR,
    Opcode.MUL: _PAIR,
    Opcode.TABLE: {
        **_OUTPUT,
        "a": "word of the operand, pixel (0, 0)",
        "a_step_x": "words between its pixels",
        "a_step_y": "words between its rows",
        "param": "first word of the table in the parameter buffer",
        "reload": "1 reads the table first, 0 uses the one that was read last",
    },
    Opcode.POOL: {
        **_OUTPUT,
        **_WINDOW,
        "mode": ", ".join(f"{mode.value} {mode.name}" for mode in PoolMode),
        "bias": "SUM: added to the sum of the taps",
        "half": "AVERAGE: half of the number of taps, rounded down",
        "mult": "SUM: Q31 multiplier; AVERAGE: floor(2^31 / taps) + 1",
        "shift": f"SUM: {_SHIFT}; AVERAGE: 0",
    },
}
_FIELDS[Opcode.STORE] = _FIELDS[Opcode.LOAD]

_OPCODES = {
    Opcode.LOAD: "copy runs of words from DRAM to a buffer, or gather words from runs of bytes",
    Opcode.COMPUTE: "accumulate one output tile of a convolution or matrix product",
    Opcode.REQUANT: "accumulators plus bias, requantised per channel, to the activation buffer",
    Opcode.ADD: "add or subtract two activations of different scales",
    Opcode.MUL: "multiply two activations",
    Opcode.TABLE: "replace each activation by an entry of a table",
    Opcode.POOL: "reduce windows: maximum, requantised sum, average; also copy, pad, requantise",
    Opcode.STORE: "copy runs of words from the activation buffer to DRAM",
}
_ERRORS = {
    ErrorCode.NONE: "no error",
    ErrorCode.OPCODE: "the opcode does not exist",
    ErrorCode.ADDRESS: "a word outside its buffer, an accumulator outside its half, or a DRAM address that is not "
                       "aligned",
    ErrorCode.BANK: "an activation bank that `rd_banks` or `wr_banks` does not name",
    ErrorCode.AXI_READ: "a read response other than OKAY",
    ErrorCode.AXI_WRITE: "a write response other than OKAY",
    ErrorCode.WATCHDOG: "no progress for WATCHDOG cycles",
    ErrorCode.ACC_CONFLICT: "COMPUTE and REQUANT used one accumulator half at the same time",
    ErrorCode.FIELD: "a count of 0, or a value that means nothing",
}
_REGISTERS = {
    Csr.ID: ("read", f"{CSR_ID:#x}"),
    Csr.VERSION: ("read", "version of the instruction set"),
    Csr.HASH_LO: ("read", "configuration hash, bits 31:0"),
    Csr.HASH_HI: ("read", "configuration hash, bits 63:32"),
    Csr.CONTROL: ("write", "see below"),
    Csr.STATUS: ("read", "see below"),
    Csr.ERROR_CODE: ("read", "bits 7:0 error code, bits 15:8 unit"),
    Csr.ERROR_ADDRESS: ("read", "byte address of the offending instruction, relative to BASE"),
    Csr.BASE: ("read, write", "DRAM byte address that all others are relative to"),
    Csr.PROGRAM: ("read, write", "byte address of the first instruction, a multiple of its size"),
    Csr.COUNT: ("read, write", "instructions in the program, 24 bits"),
    Csr.WATCHDOG: ("read, write", "cycles without progress before the core stops"),
    Csr.COUNTERS: ("read", "counters, low word and high word each"),
}
_CONTROL = {
    Control.START: "1 starts the program; ignored while BUSY and, after an error, until RESET",
    Control.IRQ_ENABLE: "enables the interrupt; holds its value",
    Control.RESET: "1 resets all units, registers excepted; only while BUSY is 0, because bursts may be in flight",
}
_STATUS = {
    Status.BUSY: "a program runs, or AXI bursts of a stopped one are in flight",
    Status.DONE: "the program ended; write 1 to clear it and the interrupt",
    Status.ERROR: "the core stopped with an error; cleared by the next start",
}
_COUNTERS = {
    Counter.CYCLES: "cycles from start to end",
    Counter.LOAD_BUSY: "cycles in which LOAD works",
    Counter.COMPUTE_BUSY: "cycles in which COMPUTE works",
    Counter.VECTOR_BUSY: "cycles in which VECTOR works",
    Counter.STORE_BUSY: "cycles in which STORE works",
    Counter.ARRAY_ACTIVE: "pixel words entering the array",
    Counter.WAIT_LOAD: "cycles without a pixel word, because COMPUTE waits for a load",
    Counter.WAIT_VECTOR: "for the vector unit",
    Counter.WAIT_STORE: "for a store",
    Counter.WAIT_BANK: "for an activation bank",
    Counter.WAIT_WEIGHTS: "for a weight tile to reach the array",
    Counter.WAIT_FETCH: "for an instruction",
    Counter.DRAM_READ: "words read over AXI",
    Counter.DRAM_WRITE: "words written over AXI",
    Counter.INSTRUCTIONS: "instructions dispatched to the units",
}


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; all columns but the last, which may be long, are aligned."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [*(max(len(row[i]) for row in cells) for i in range(len(head) - 1)), 0]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
             for row in cells]
    lines.insert(1, "|" + "|".join("-" * (max(width, 1) + 2) for width in widths) + "|")
    return "\n".join(lines)


def field_table(layout: StructLayout, start: int, meaning: Mapping[str, str]) -> str:
    """Return the table of a layout whose bit 0 is bit `start` of the instruction.

    Raises:
        ValueError: `meaning` does not describe exactly the fields of the layout.
    """
    names = [str(name) for name, _ in layout]
    if set(names) != set(meaning):
        raise ValueError(f"fields must be described exactly once; differing: {sorted(set(names) ^ set(meaning))}")
    rows = []
    for name, place in layout:
        shape = Shape.cast(place.shape)
        low = start + place.offset
        bits = f"{low + shape.width - 1}:{low}" if shape.width > 1 else str(low)
        rows.append((f"`{name}`", bits, f"{'int' if shape.signed else 'uint'}{shape.width}", meaning[str(name)]))
    return markdown_table(("field", "bits", "type", "meaning"), rows)


def isa_tables() -> dict[str, str]:
    """Return all tables of docs/isa.md by name.

    Raises:
        ValueError: a member of the instruction set or of the register map has no description.
    """
    tables = {"header": field_table(HEADER, 0, _HEADER)}
    tables |= {opcode.name.lower(): field_table(BODIES[opcode], HEADER_BITS, _FIELDS[opcode])
               for opcode in Opcode if opcode not in (Opcode.STORE, Opcode.MUL)}  # as LOAD and ADD
    for whole, described in ((Opcode, _OPCODES), (ErrorCode, _ERRORS), (Csr, _REGISTERS), (Control, _CONTROL),
                             (Status, _STATUS), (Counter, _COUNTERS)):
        _check_complete(whole, described)
    tables["opcodes"] = markdown_table(("opcode", "name", "unit", "operation"), (
        (f"{op.value:#04x}", op.name, UNIT_OF[op].name, text) for op, text in _OPCODES.items()))
    tables["errors"] = markdown_table(("code", "name", "cause"), (
        (code.value, code.name, text) for code, text in _ERRORS.items()))
    tables["registers"] = markdown_table(("offset", "name", "access", "contents"), (
        (f"{csr.value:#04x}", csr.name, *text) for csr, text in _REGISTERS.items()))
    for name, flags in (("control", _CONTROL), ("status", _STATUS)):
        tables[name] = markdown_table(("bit", "name", "meaning"), (
            (flag.value.bit_length() - 1, flag.name, text) for flag, text in flags.items()))
    tables["counters"] = markdown_table(("offset", "name", "counts"), (
        (f"{counter_offset(counter):#05x}", counter.name, text) for counter, text in _COUNTERS.items()))
    return tables


def _check_complete(members: type[enum.Enum], described: Collection[object]) -> None:
    missing = [member.name for member in members if member not in described]
    if missing:
        raise ValueError(f"{members.__name__} must be described completely; missing: {', '.join(missing)}")
