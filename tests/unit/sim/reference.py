"""The machine's arithmetic once more, as plain loops over Python integers, and helpers to run one instruction."""

from __future__ import annotations

import numpy as np

from systolith.hw.config import AcceleratorConfig
from systolith.hw.isa import Opcode, encode
from systolith.sim.machine import Machine

TINY = AcceleratorConfig.preset("tiny")
PROGRAM = 0x8000
ALL_BANKS = {"rd_banks": 0xFF, "wr_banks": 0xFF}


def machine(seed: int = 0, config: AcceleratorConfig = TINY) -> Machine:
    """Return a machine whose every memory holds random bytes."""
    rng = np.random.default_rng(seed)
    m = Machine(config, 1 << 16)
    for memory in (m.dram, m.act, m.wgt, m.param):
        memory[:] = rng.integers(0, 256, memory.shape).astype(np.uint8).view(memory.dtype)
    m.acc[:] = rng.integers(-(2**31), 2**31, m.acc.shape)
    return m


def load_program(m: Machine, *instructions: bytes, base: int = 0) -> int:
    """Write the program and return its length."""
    m.write(base + PROGRAM, b"".join(instructions))
    return len(instructions)


def run_one(m: Machine, opcode: Opcode, header: dict[str, int] | None = None, base: int = 0, **body: int):
    """Run one instruction that may touch every bank."""
    count = load_program(m, encode(opcode, ALL_BANKS if header is None else header, **body), base=base)
    return m.run(PROGRAM, count, base)


def wrap(x: int) -> int:
    """Return the 32-bit word that holds x, as a signed number."""
    return (x + 2**31) % 2**32 - 2**31


def requant(x: int, mult: int, shift: int) -> int:
    """Double rounding: high half of the doubled product, then a rounding division by a power of two."""
    high = (wrap(x << max(shift, 0)) * mult + 2**30) >> 31
    divisor = 2 ** max(-shift, 0)
    sign = -1 if high < 0 else 1
    return sign * ((abs(high) + divisor // 2) // divisor)


def clamp(x: int, f: dict[str, int]) -> int:
    return min(max(x + f["zp"], f["lo"]), f["hi"])


def tap(act: np.ndarray, f: dict[str, int], y: int, x: int, ky: int, kx: int, block: int = 0) -> list[int]:
    """Return the word under one tap of a window, padding included."""
    iy = f["iy0"] + y * f["stride_y"] + ky * f.get("dil_y", 1)
    ix = f["ix0"] + x * f["stride_x"] + kx * f.get("dil_x", 1)
    if not (0 <= iy < f["in_h"] and 0 <= ix < f["in_w"]):
        return [f["fill"]] * act.shape[1]
    address = f["in_base"] + y * f["step_y"] + x * f["step_x"] + ky * f["tap_y"] + kx * f["tap_x"]
    address += block * f.get("step_block", 0)
    return act[address % 2**20].tolist()


def window(in_base: int, in_h: int, in_w: int, blocks: int, kernel: tuple[int, int], stride: tuple[int, int],
           pads: tuple[int, int], dilation: tuple[int, int], out: tuple[int, int], *, fill: int) -> dict[str, int]:
    """Return the fields of a window over an [in_h][in_w][blocks] image; ``pads`` is (top, left)."""
    start = in_base - (pads[0] * in_w + pads[1]) * blocks
    return {"in_base": start % 2**20, "iy0": -pads[0], "ix0": -pads[1], "in_h": in_h, "in_w": in_w,
            "step_y": stride[0] * in_w * blocks, "step_x": stride[1] * blocks,
            "tap_y": dilation[0] * in_w * blocks, "tap_x": dilation[1] * blocks,
            "stride_y": stride[0], "stride_x": stride[1],
            "kh": kernel[0], "kw": kernel[1], "out_h": out[0], "out_w": out[1], "fill": fill}
