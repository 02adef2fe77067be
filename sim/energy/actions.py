"""What each instruction makes the core do, counted from its fields: multiplications, memory accesses, DRAM bytes.

Everything here is exact: it follows from the loops that `hw/` runs, not from data. What does not is for others to add.
"""

import enum

import numpy as np
import numpy.typing as npt

from ...hw.config import AcceleratorConfig
from ...hw.isa import INSTR_BYTES, PARAM_WORDS, TABLE_ENTRIES, Buffer, Opcode
from ..decode import Instruction
from ..memories import in_image

__all__ = ["Action", "Counts", "actions_of"]

Counts = npt.NDArray[np.int64]
"""How often each action happens, int64 [len(Action)], by its value."""


class Action(enum.IntEnum):
    """What costs energy. A word is R bytes, an accumulator word R int32; lanes are counted one by one."""

    MAC = 0             # multiply-accumulates of the array's cells, useful or not
    ARRAY_WORD = 1      # words entering the array
    ACT_READ = 2        # words
    ACT_WRITE = 3
    WGT_READ = 4
    WGT_WRITE = 5
    PARAM_READ = 6
    PARAM_WRITE = 7
    ACC_READ = 8        # accumulator words
    ACC_WRITE = 9
    LANE_ADD = 10       # int32 additions and comparisons of the vector unit
    LANE_PRODUCT = 11   # products of two activations
    LANE_REQUANT = 12   # 32 x 31-bit products of the requantisers
    TABLE_READ = 13     # entries of the look-up tables, one table per lane
    TABLE_WRITE = 14
    DRAM_READ = 15      # bytes
    DRAM_WRITE = 16
    LINE_WORD = 17      # words through the line buffer, read and written together
    CYCLE = 18          # cycles, which only a cycle model or the core can count
    ZERO_MAC = 19       # those of MAC with a zero operand, which only a device with data can count


def actions_of(config: AcceleratorConfig, instruction: Instruction) -> Counts:
    """Return what a valid instruction does, the fetch of itself included; 0 for what needs a run."""
    counts = np.zeros(len(Action), np.int64)
    counts[Action.DRAM_READ] = INSTR_BYTES
    for action, number in _COUNTERS[instruction.opcode](config, instruction.fields).items():
        counts[action] += number
    return counts


def _load(config: AcceleratorConfig, f: dict[str, int]) -> dict[Action, int]:
    written = {Buffer.ACT: Action.ACT_WRITE, Buffer.WGT: Action.WGT_WRITE, Buffer.PARAM: Action.PARAM_WRITE}
    return {Action.DRAM_READ: f["rows"] * f["row_words"] * config.word_bytes,
            written[Buffer(f["buffer"])]: f["rows"] * (f["windows"] if f["pitch"] else f["row_words"])}


def _store(config: AcceleratorConfig, f: dict[str, int]) -> dict[Action, int]:
    words = f["rows"] * f["row_words"]
    return {Action.ACT_READ: words, Action.DRAM_WRITE: words * config.word_bytes}


def _compute(config: AcceleratorConfig, f: dict[str, int]) -> dict[Action, int]:
    pixels, passes = f["out_h"] * f["out_w"], f["groups"] * f["tiles"]
    height, width, lead, stride_y, stride_x = ((f["walk_h"], f["walk_w"], f["lead"], 1, 1) if f["fir"] else
                                               (f["out_h"], f["out_w"], 0, f["stride_y"], f["stride_x"]))
    words = passes * (lead + height * width)
    inside = (in_image(f["iy0"], np.arange(height) * stride_y, np.arange(f["kh"]) * f["dil_y"], f["in_h"]).sum()
              * in_image(f["ix0"], np.arange(width) * stride_x, np.arange(f["kw"]) * f["dil_x"], f["in_w"]).sum())
    sums = passes * pixels
    return {Action.MAC: words * config.rows * config.cols, Action.ARRAY_WORD: words,
            Action.LINE_WORD: words if f["fir"] else 0,  # and the buffer turns on until the last of them has left it
            Action.ACT_READ: int(inside) * f["blocks"] * f["groups"], Action.WGT_READ: passes * config.rows,
            Action.ACC_WRITE: sums, Action.ACC_READ: sums - (0 if f["accumulate"] else f["groups"] * pixels)}


def _requant(config: AcceleratorConfig, f: dict[str, int]) -> dict[Action, int]:
    words = f["groups"] * f["out_h"] * f["out_w"]
    return {Action.ACC_READ: words, Action.PARAM_READ: f["groups"] * PARAM_WORDS, Action.LANE_ADD: words * config.cols,
            Action.LANE_REQUANT: words * config.cols, Action.ACT_WRITE: words}


def _add(config: AcceleratorConfig, f: dict[str, int]) -> dict[Action, int]:
    words = f["out_h"] * f["out_w"]  # operand b is requantised before the sum is
    return {Action.ACT_READ: 2 * words, Action.LANE_ADD: words * config.cols,
            Action.LANE_REQUANT: 2 * words * config.cols, Action.ACT_WRITE: words}


def _mul(config: AcceleratorConfig, f: dict[str, int]) -> dict[Action, int]:
    words = f["out_h"] * f["out_w"]
    return {Action.ACT_READ: 2 * words, Action.LANE_PRODUCT: words * config.cols,
            Action.LANE_REQUANT: words * config.cols, Action.ACT_WRITE: words}


def _table(config: AcceleratorConfig, f: dict[str, int]) -> dict[Action, int]:
    words = f["out_h"] * f["out_w"]  # an entry passes the requantiser, with a factor of 1
    entries = TABLE_ENTRIES if f["reload"] else 0  # the parameter word is read again for each entry
    return {Action.ACT_READ: words, Action.TABLE_READ: words * config.cols, Action.LANE_REQUANT: words * config.cols,
            Action.ACT_WRITE: words, Action.PARAM_READ: entries, Action.TABLE_WRITE: entries * config.cols}


def _pool(config: AcceleratorConfig, f: dict[str, int]) -> dict[Action, int]:
    words = f["out_h"] * f["out_w"]
    inside = (in_image(f["iy0"], np.arange(f["out_h"]) * f["stride_y"], np.arange(f["kh"]), f["in_h"]).sum()
              * in_image(f["ix0"], np.arange(f["out_w"]) * f["stride_x"], np.arange(f["kw"]), f["in_w"]).sum())
    # The first tap is taken over, each further one is added or compared, and then a bias or rounding term added.
    return {Action.ACT_READ: int(inside), Action.LANE_ADD: words * f["kh"] * f["kw"] * config.cols,
            Action.LANE_REQUANT: words * config.cols, Action.ACT_WRITE: words}


_COUNTERS = {Opcode.LOAD: _load, Opcode.STORE: _store, Opcode.COMPUTE: _compute, Opcode.REQUANT: _requant,
             Opcode.ADD: _add, Opcode.MUL: _mul, Opcode.TABLE: _table, Opcode.POOL: _pool}
