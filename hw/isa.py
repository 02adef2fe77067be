"""Instruction set: opcodes, layouts and units, shared by gateware, assembler, disassembler and simulator.

An instruction is 64 bytes: a 128-bit header (opcode, bank masks, dependency tokens) and a 384-bit body that depends on
the opcode. The four units retire their own instructions in order and count them; the ``wait_*`` fields hold how many
instructions each unit must have retired before this one may start. All buffer addresses and strides count words of
``AcceleratorConfig.word_bytes``; DRAM addresses and strides count bytes from the CSR ``BASE`` and are word aligned.
"""

import enum
from typing import Any

from amaranth import Shape, signed, unsigned
from amaranth.lib.data import StructLayout

__all__ = ["ADD", "BODIES", "BODY_BITS", "COMPUTE", "ENTRY", "ERROR", "HEADER", "HEADER_BITS", "INSTR_BITS",
           "INSTR_BYTES", "MAX_LEFT_SHIFT", "PARAM_WORDS", "POOL", "REQUANT", "TABLE", "TABLE_ENTRIES", "TRANSFER",
           "UNIT_OF", "Buffer", "ErrorCode", "Opcode", "PoolMode", "Unit", "decode", "encode"]

INSTR_BYTES = 64
INSTR_BITS = 8 * INSTR_BYTES
HEADER_BITS = 128
BODY_BITS = INSTR_BITS - HEADER_BITS
# Words of the parameter buffer per block of output channels: byte planes of bias (4), multiplier (4) and shift (1).
PARAM_WORDS = 9
# Entries of TABLE's table: one per value of int8.
TABLE_ENTRIES = 256
# Positive requantisation shifts above this have no hardware (a real scale of 128 or more per accumulator step).
MAX_LEFT_SHIFT = 7

_ACT = unsigned(20)    # activation or weight buffer address, or a step of one image row
_STEP = unsigned(16)   # a step of one pixel
_SIZE = unsigned(13)   # an image coordinate or a count of channel blocks
_COORD = signed(14)    # an image coordinate that may lie in the padding
_GROUPS = unsigned(9)  # repetitions for further blocks of output channels


class Unit(enum.IntEnum):
    """The units that execute instructions, in the order of their bits and counters."""

    LOAD = 0
    COMPUTE = 1
    VECTOR = 2
    STORE = 3


class Opcode(enum.IntEnum):
    """Operation codes; 0 is illegal so that erased memory is not a program."""

    LOAD = 0x10
    COMPUTE = 0x20
    REQUANT = 0x30
    ADD = 0x31
    POOL = 0x32
    MUL = 0x33
    TABLE = 0x34
    STORE = 0x40


class Buffer(enum.IntEnum):
    """Destination of a load."""

    ACT = 0
    WGT = 1
    PARAM = 2


class PoolMode(enum.IntEnum):
    """Reduction over the window, and what follows it.

    ``MAX``: maximum of the taps. ``SUM``: sum of the taps plus ``bias``, requantised. ``AVERAGE``: sum of the taps
    divided by their number n: ``half = n // 2`` is added away from zero, then multiplied by
    ``mult = 2^31 // n + 1`` without rounding, truncating toward zero (exact for 2 <= n <= 2048).
    """

    MAX = 0
    SUM = 1
    AVERAGE = 2


class ErrorCode(enum.IntEnum):
    """Reasons for which the core stops."""

    NONE = 0
    OPCODE = 1
    ADDRESS = 2
    BANK = 3
    AXI_READ = 4
    AXI_WRITE = 5
    WATCHDOG = 6
    ACC_CONFLICT = 7
    FIELD = 8


HEADER = StructLayout({
    "opcode": unsigned(8),
    "rd_banks": unsigned(8),       # activation banks that the instruction reads
    "wr_banks": unsigned(8),       # activation banks that the instruction writes
    "wait_load": unsigned(24),
    "wait_compute": unsigned(24),
    "wait_vector": unsigned(24),
    "wait_store": unsigned(24),
})

# LOAD and STORE: `rows` runs of `row_words` words. With `pitch`, a LOAD gathers instead of copying: a run is a string
# of bytes, and word i of its `windows` words holds the bytes from i * pitch on.
TRANSFER = StructLayout({
    "dram": unsigned(32),
    "dram_stride": unsigned(32),
    "local": _ACT,
    "local_stride": _ACT,
    "rows": unsigned(16),
    "row_words": unsigned(16),
    "buffer": unsigned(2),         # a `Buffer`; STORE always reads the activation buffer
    "pitch": unsigned(7),          # bytes between windows, at most a word; 0 copies words
    "windows": _SIZE,
})

# COMPUTE: for ky, kx, block: load one rows x cols weight tile, stream out_h x out_w pixels, accumulate. With `fir`
# (depthwise): stream walk_h x walk_w pixels per tile through the array as one filter per column, and accumulate those
# that complete an output; `stride_*` are then the strides of outputs, and coordinates step by 1. All this `groups`
# times, each with the next weight tiles, the next accumulators, and its input `step_group` words further.
COMPUTE = StructLayout({
    "in_base": _ACT,               # word of output pixel (0, 0), tap (0, 0), block 0; wraps when that lies in padding
    "step_x": _STEP, "step_y": _ACT,      # words between neighbouring output pixels' inputs
    "tap_x": _STEP, "tap_y": _ACT,        # words between neighbouring taps
    "iy0": _COORD, "ix0": _COORD,         # image coordinate of output pixel (0, 0), tap (0, 0)
    "in_h": _SIZE, "in_w": _SIZE,         # coordinates outside [0, in_h) x [0, in_w) read `fill`
    "stride_x": unsigned(4), "stride_y": unsigned(4),
    "fill": signed(8),
    "out_h": _SIZE, "out_w": _SIZE,
    "dil_x": unsigned(6), "dil_y": unsigned(6),
    "kw": unsigned(5), "kh": unsigned(5),
    "blocks": _SIZE,
    "wgt": _ACT,
    "tiles": unsigned(20),         # kh * kw * blocks
    "acc": unsigned(12),
    "accumulate": unsigned(1),     # add to the accumulators instead of overwriting them in the first pass
    "fir": unsigned(1),            # filter mode; the fields below belong to it
    "spacing": unsigned(5),        # array rows per image line, one of `SPACINGS`
    "walk_h": _SIZE, "walk_w": _SIZE,
    "lead": unsigned(5),           # words of `fill` in front of the first line
    "skip_y": unsigned(5), "skip_x": unsigned(5),  # lines, and words of each line, before the first output
    "step_block": _ACT,            # words between the channel blocks of a pixel
    "groups": _GROUPS, "step_group": _ACT,
})

_OUT = {"dst": _ACT, "dst_step_x": _STEP, "dst_step_y": _ACT, "out_h": _SIZE, "out_w": _SIZE,
        "zp": signed(8), "lo": signed(8), "hi": signed(8)}

# REQUANT: accumulators + bias, per-channel requantisation, clamp; `groups` times, each with the next accumulators, the
# next `PARAM_WORDS` parameter words, and its output `dst_step_group` words further.
REQUANT = StructLayout({**_OUT, "acc": unsigned(12), "param": unsigned(16),
                        "groups": _GROUPS, "dst_step_group": _ACT})

# ADD: y = requant(+-((a - a_zp) << 19) +- requant((b - b_zp) << 20)) + zp, clamped: operand a has the larger scale, and
# its factor 1/2 is exact. MUL: y = requant((a - a_zp) * (b - b_zp)) + zp, clamped.
ADD = StructLayout({
    **_OUT,
    "a": _ACT, "a_step_x": _STEP, "a_step_y": _ACT,
    "b": _ACT, "b_step_x": _STEP, "b_step_y": _ACT,
    "a_zp": signed(8), "b_zp": signed(8),
    "a_negate": unsigned(1), "b_negate": unsigned(1),  # ADD only
    "b_mult": unsigned(32), "b_shift": signed(6),      # ADD only
    "y_mult": unsigned(32), "y_shift": signed(6),
})

# TABLE: y = table[x], a function of one int8. `reload` first reads the 256 entries, in the order of x = -128 .. 127,
# from the parameter buffer; they stay until another reload.
TABLE = StructLayout({
    **_OUT,                        # zp, lo and hi are unused
    "a": _ACT, "a_step_x": _STEP, "a_step_y": _ACT,
    "param": unsigned(16), "reload": unsigned(1),
})

# POOL: a window reduction per channel; taps outside the image count as `fill`.
POOL = StructLayout({
    **_OUT,
    "in_base": _ACT, "step_x": _STEP, "step_y": _ACT, "tap_x": _STEP, "tap_y": _ACT,
    "iy0": _COORD, "ix0": _COORD, "in_h": _SIZE, "in_w": _SIZE,
    "stride_x": unsigned(4), "stride_y": unsigned(4), "fill": signed(8),
    "kw": unsigned(8), "kh": unsigned(8),
    "mode": unsigned(2),
    "bias": signed(32), "half": unsigned(16), "mult": unsigned(32), "shift": signed(6),
})

BODIES: dict[Opcode, StructLayout] = {
    Opcode.LOAD: TRANSFER, Opcode.STORE: TRANSFER, Opcode.COMPUTE: COMPUTE,
    Opcode.REQUANT: REQUANT, Opcode.ADD: ADD, Opcode.MUL: ADD, Opcode.POOL: POOL, Opcode.TABLE: TABLE,
}
UNIT_OF: dict[Opcode, Unit] = {
    Opcode.LOAD: Unit.LOAD, Opcode.STORE: Unit.STORE, Opcode.COMPUTE: Unit.COMPUTE,
    Opcode.REQUANT: Unit.VECTOR, Opcode.ADD: Unit.VECTOR, Opcode.MUL: Unit.VECTOR, Opcode.POOL: Unit.VECTOR,
    Opcode.TABLE: Unit.VECTOR,
}

# What travels through the queues: the instruction and its index in the program, for error reports.
ENTRY = StructLayout({"instr": unsigned(INSTR_BITS), "index": unsigned(24)})

# What a unit reports in the cycle in which it meets an error.
ERROR = StructLayout({"valid": unsigned(1), "code": unsigned(8), "index": unsigned(24)})


def _pack(layout: StructLayout, values: dict[str, int]) -> int:
    word = 0
    known = dict(iter(layout))
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"field must be one of {', '.join(map(str, known))}, not {name!r}")
        shape = Shape.cast(known[name].shape)
        low = -(1 << shape.width - 1) if shape.signed else 0
        high = low + (1 << shape.width) - 1
        if not low <= value <= high:
            raise ValueError(f"{name} must be between {low} and {high}, not {value}")
        word |= (int(value) & ((1 << shape.width) - 1)) << known[name].offset
    return word


def _unpack(layout: StructLayout, word: int) -> dict[str, int]:
    values = {}
    for name, fld in layout:
        shape = Shape.cast(fld.shape)
        value = word >> fld.offset & ((1 << shape.width) - 1)
        if shape.signed and value >> (shape.width - 1):
            value -= 1 << shape.width
        values[str(name)] = value
    return values


def encode(opcode: Opcode, header: dict[str, int] | None = None, **body: int) -> bytes:
    """Encode one instruction to 64 little-endian bytes; absent fields are 0.

    Raises ``ValueError`` when a field does not exist or its value does not fit.
    """
    word = _pack(HEADER, {"opcode": opcode, **(header or {})}) | _pack(BODIES[opcode], body) << HEADER_BITS
    return word.to_bytes(INSTR_BYTES, "little")


def decode(data: bytes) -> tuple[Opcode, dict[str, int], dict[str, int]]:
    """Decode 64 bytes to ``(opcode, header fields, body fields)``.

    Raises ``ValueError`` for a wrong length or an opcode that does not exist.
    """
    if len(data) != INSTR_BYTES:
        raise ValueError(f"an instruction must be {INSTR_BYTES} bytes, not {len(data)}")
    word = int.from_bytes(data, "little")
    header: dict[str, Any] = _unpack(HEADER, word & ((1 << HEADER_BITS) - 1))
    try:
        opcode = Opcode(header["opcode"])
    except ValueError:
        raise ValueError(f"opcode must be one of {', '.join(f'{o.value:#04x}' for o in Opcode)}, "
                         f"not {header['opcode']:#04x}") from None
    return opcode, header, _unpack(BODIES[opcode], word >> HEADER_BITS)


assert HEADER.size <= HEADER_BITS and all(body.size <= BODY_BITS for body in BODIES.values())
