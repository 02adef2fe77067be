"""What stops the machine: code, unit and index of the offending instruction."""

import pytest

from systolith.hw.isa import Buffer, ErrorCode, Opcode, Unit, encode
from systolith.sim.machine import Machine, MachineError
from tests.unit.sim.reference import ALL_BANKS, PROGRAM, TINY, load_program, machine, run_one

ONE = {"out_h": 1, "out_w": 1}
COMPUTE = {**ONE, "in_h": 8, "in_w": 8, "kh": 1, "kw": 1, "blocks": 1, "tiles": 1, "groups": 1, "stride_x": 1,
           "stride_y": 1}
POOL = {**ONE, "in_h": 8, "in_w": 8, "kh": 1, "kw": 1, "hi": 127, "mult": 1 << 30}
REQUANT = {**ONE, "groups": 1}
LOAD = {"rows": 1, "row_words": 1}
F, A, B = ErrorCode.FIELD, ErrorCode.ADDRESS, ErrorCode.BANK

WRONG = [
    (F, Opcode.LOAD, LOAD | {"rows": 0}, "rows must be positive, not 0"),
    (F, Opcode.STORE, LOAD | {"row_words": 0}, "row_words must be positive, not 0"),
    (F, Opcode.LOAD, LOAD | {"buffer": 3}, "buffer must be at most 2, not 3"),
    (F, Opcode.LOAD, LOAD | {"pitch": 1}, "windows must be positive, not 0"),
    (F, Opcode.LOAD, LOAD | {"pitch": 5, "windows": 1}, "pitch must be at most 4, not 5"),
    (F, Opcode.LOAD, LOAD | {"pitch": 1, "windows": 1, "buffer": 1}, "buffer must be 0 with a pitch, not 1"),
    (F, Opcode.LOAD, LOAD | {"pitch": 1, "windows": 2}, "windows must end within the 4 bytes of a run, not at 5"),
    (F, Opcode.LOAD, {"rows": 9, "row_words": 9, "pitch": 3, "windows": 12}, "within the 36 bytes of a run, not at 37"),
    (A, Opcode.LOAD, {"rows": 2, "row_words": 9, "pitch": 1, "windows": 33, "local_stride": TINY.act_words - 32},
     "act address must be below"),
    (A, Opcode.LOAD, LOAD | {"dram": 2}, "DRAM address must be a multiple of 4, not 0x2"),
    (A, Opcode.LOAD, LOAD | {"rows": 2, "dram_stride": 6}, "DRAM address must be a multiple of 4, not 0x6"),
    (A, Opcode.LOAD, LOAD | {"local": TINY.act_words}, "act address must be below"),
    (A, Opcode.LOAD, LOAD | {"local": TINY.wgt_words, "buffer": Buffer.WGT}, "wgt address must be below"),
    (A, Opcode.LOAD, LOAD | {"local": TINY.param_words, "buffer": Buffer.PARAM}, "param address must be below"),
    (A, Opcode.STORE, LOAD | {"rows": 9, "local_stride": TINY.act_words // 8}, "act address must be below"),
    (ErrorCode.AXI_READ, Opcode.LOAD, LOAD | {"dram": 1 << 16}, "DRAM address must be below 0x10000, not 0x10000"),
    (ErrorCode.AXI_WRITE, Opcode.STORE, LOAD | {"dram": 0xFFFC, "row_words": 2}, "DRAM address must be below"),
    *[(F, Opcode.COMPUTE, COMPUTE | {name: 0}, f"{name} must be positive, not 0")
      for name in ("out_h", "out_w", "kh", "kw", "blocks", "groups")],
    (A, Opcode.COMPUTE, COMPUTE | {"out_w": 16, "groups": 5}, "stay within a half of 64 words, not span 0..79"),
    (A, Opcode.COMPUTE, COMPUTE | {"groups": 2, "step_group": TINY.act_words}, "act address must be below"),
    (A, Opcode.COMPUTE, COMPUTE | {"wgt": TINY.wgt_words - 4, "groups": 2}, "wgt address must be below"),
    (F, Opcode.COMPUTE, COMPUTE | {"tiles": 2}, "tiles must be kh * kw * blocks = 1, not 2"),
    (F, Opcode.COMPUTE, COMPUTE | {"acc": TINY.acc_depth}, "acc must be below 128, not 128"),
    (A, Opcode.COMPUTE, COMPUTE | {"acc": 63, "out_w": 2}, "stay within a half of 64 words, not span 63..64"),
    (A, Opcode.COMPUTE, COMPUTE | {"out_h": 13, "out_w": 5}, "stay within a half of 64 words, not span 0..64"),
    (A, Opcode.COMPUTE, COMPUTE | {"in_base": TINY.act_words}, "act address must be below"),
    (A, Opcode.COMPUTE, COMPUTE | {"wgt": TINY.wgt_words - 3}, "wgt address must be below"),
    (A, Opcode.REQUANT, REQUANT | {"param": TINY.param_words - 8}, "param address must be below"),
    (A, Opcode.REQUANT, REQUANT | {"groups": 2, "param": TINY.param_words - 17}, "param address must be below"),
    (A, Opcode.REQUANT, REQUANT | {"dst": TINY.act_words}, "act address must be below"),
    (A, Opcode.REQUANT, REQUANT | {"groups": 2, "dst_step_group": TINY.act_words}, "act address must be below"),
    (A, Opcode.REQUANT, REQUANT | {"groups": 2, "acc": 63}, "stay within a half of 64 words, not span 63..64"),
    (F, Opcode.REQUANT, ONE, "groups must be positive, not 0"),
    (A, Opcode.MUL, {**ONE, "a": TINY.act_words}, "act address must be below"),
    (F, Opcode.MUL, {**ONE, "y_mult": 1 << 31}, "y_mult must be below 2^31, not 2147483648"),
    (A, Opcode.TABLE, {**ONE, "a": TINY.act_words}, "act address must be below"),
    (A, Opcode.TABLE, {**ONE, "param": TINY.param_words - 63, "reload": 1}, "param address must be below"),
    (A, Opcode.ADD, {**ONE, "out_h": 2, "b_step_y": TINY.act_words}, "act address must be below"),
    (F, Opcode.ADD, {**ONE, "y_shift": 8}, "y_shift must be between -31 and 7, not 8"),
    (F, Opcode.ADD, {**ONE, "b_shift": -32}, "b_shift must be between -31 and 7, not -32"),
    (F, Opcode.POOL, POOL | {"kw": 0}, "kw must be positive, not 0"),
    (F, Opcode.POOL, POOL | {"mode": 3}, "mode must be at most 2, not 3"),
    (F, Opcode.POOL, POOL | {"mode": 1, "shift": 8}, "shift must be between -31 and 7, not 8"),
    (F, Opcode.POOL, POOL | {"mode": 1, "mult": 1 << 31}, "mult must be below 2^31, not 2147483648"),
    (F, Opcode.POOL, POOL | {"mode": 2, "shift": -1}, "shift of an average must be 0, not -1"),
    (F, Opcode.POOL, POOL | {"out_h": 1000, "kh": 255, "kw": 255}, "must be at most 33554432 to be"),
    (F, Opcode.ADD, {"out_h": 8191, "out_w": 8191}, "out_h * out_w must be at most 1048576 to be simulated"),
    (F, Opcode.LOAD, {"rows": 65535, "row_words": 65535}, "rows * row_words must be at most 1048576 to be simulated"),
    (A, Opcode.POOL, POOL | {"in_base": TINY.act_words - 1, "kw": 2, "tap_x": 1}, "act address must be below"),
]


@pytest.mark.parametrize("code, opcode, fields, message", WRONG)
def test_stops_on(code, opcode, fields, message):
    with pytest.raises(MachineError) as caught:
        run_one(machine(), opcode, **fields)
    assert (caught.value.code, caught.value.index) == (code, 0)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


BANK = TINY.bank_words
BANKS = [
    (Opcode.LOAD, {}, LOAD | {"local": BANK - 1, "row_words": 2}, 0x00, 0x03),
    (Opcode.LOAD, {}, {"rows": 1, "row_words": 5, "local": BANK - 1, "pitch": 1, "windows": 17}, 0x00, 0x03),
    (Opcode.STORE, {}, LOAD | {"local": 2 * BANK}, 0x04, 0x00),
    (Opcode.STORE, {}, LOAD | {"rows": 2, "local_stride": 2 * BANK}, 0x05, 0x00),
    (Opcode.COMPUTE, {}, COMPUTE | {"in_base": BANK}, 0x02, 0x00),
    (Opcode.COMPUTE, {}, COMPUTE | {"in_base": BANK, "groups": 2, "step_group": BANK}, 0x06, 0x00),
    (Opcode.COMPUTE, {}, COMPUTE | {"in_base": 2 * BANK - 1, "ix0": -1, "out_w": 2, "step_x": BANK}, 0x04, 0x00),
    (Opcode.REQUANT, {}, REQUANT | {"dst": 3 * BANK}, 0x00, 0x08),
    (Opcode.ADD, {}, {**ONE, "a": BANK, "b": 3 * BANK}, 0x0A, 0x01),
    (Opcode.REQUANT, {}, REQUANT | {"groups": 2, "dst_step_group": 2 * BANK}, 0x00, 0x05),
    (Opcode.MUL, {}, {**ONE, "a": BANK, "b": 3 * BANK}, 0x0A, 0x01),
    (Opcode.TABLE, {}, {**ONE, "a": BANK, "dst": 2 * BANK}, 0x02, 0x04),
    (Opcode.POOL, {}, POOL | {"kw": 2, "tap_x": BANK, "dst": BANK}, 0x03, 0x02),
]


@pytest.mark.parametrize("opcode, header, fields, reads, writes", BANKS)
def test_bank_masks_must_cover_exactly_what_is_touched(opcode, header, fields, reads, writes):
    m = machine()
    m.param[:] = 0
    run_one(m, opcode, {"rd_banks": reads, "wr_banks": writes}, **fields)
    for name, mask in (("rd_banks", reads), ("wr_banks", writes)):
        for bank in range(8):
            if mask >> bank & 1:
                masks = {"rd_banks": reads, "wr_banks": writes, name: mask & ~(1 << bank)}
                with pytest.raises(MachineError, match=f"{name} must include bank {bank}") as caught:
                    run_one(m, opcode, masks, **fields)
                assert caught.value.code == B


def test_requant_refuses_a_shift_that_the_hardware_lacks():
    m = machine()
    m.param[:8], m.param[8] = 0, 8
    with pytest.raises(MachineError, match="REQUANT: shift must be between -31 and 7, not 8") as caught:
        run_one(m, Opcode.REQUANT, **REQUANT)
    assert (caught.value.code, caught.value.unit) == (F, Unit.VECTOR)


@pytest.mark.parametrize("order", ["program", "random"])
def test_reports_the_offending_instruction_and_runs_again(order):
    m = machine()
    good, bad = encode(Opcode.LOAD, ALL_BANKS, **LOAD), encode(Opcode.STORE, ALL_BANKS, rows=1)
    load_program(m, good, good, bad, good)
    with pytest.raises(MachineError) as caught:
        m.run(PROGRAM, 4, order=order)
    assert (caught.value.code, caught.value.unit, caught.value.index) == (F, Unit.STORE, 2)
    load_program(m, good, good)
    assert m.run(PROGRAM, 2, order=order).instructions[Unit.LOAD] == 2


@pytest.mark.parametrize("order", ["program", "random"])
def test_illegal_opcode_stops_the_dispatcher(order):
    m = machine()
    load_program(m, encode(Opcode.LOAD, ALL_BANKS, **LOAD), b"\x77" * 64)
    with pytest.raises(MachineError, match="opcode must be one of .*, not 0x77") as caught:
        m.run(PROGRAM, 2, order=order)
    assert (caught.value.code, caught.value.unit, caught.value.index) == (ErrorCode.OPCODE, None, 1)


def test_program_beyond_dram_is_a_bus_error():
    m = machine()
    m.write((1 << 16) - 64, encode(Opcode.LOAD, ALL_BANKS, **LOAD))
    with pytest.raises(MachineError) as caught:
        m.run((1 << 16) - 64, 2)
    assert (caught.value.code, caught.value.index) == (ErrorCode.AXI_READ, 1)


def test_program_must_be_aligned_to_an_instruction():
    with pytest.raises(MachineError, match="program address must be a multiple of 64, not 0x20") as caught:
        machine().run(32, 1)
    assert (caught.value.code, caught.value.index) == (A, 0)


@pytest.mark.parametrize("call, message", [
    (lambda: Machine(TINY, 6), "dram_bytes must be a positive multiple of 4 up to 2^32, not 6"),
    (lambda: machine().run(-64, 1), "program address must not be negative, not -64"),
    (lambda: machine().run(0, -1), "count must not be negative, not -1"),
    (lambda: machine().run(0, 0, order="any"), "order must be 'program' or 'random', not 'any'"),
])
def test_refuses_wrong_calls(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == message
