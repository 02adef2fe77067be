"""The Verilated core itself through the `rtl` device: same bytes as the instruction-level machine, errors, recovery."""

import dataclasses

import numpy as np
import pytest

from systolith.hw.config import PRESETS
from systolith.hw.csr import Control, Csr
from systolith.hw.isa import PARAM_WORDS, Buffer, ErrorCode, Opcode, Unit, encode
from systolith.sim.machine import Machine
from systolith.sim.rtl.device import CoreError, Fault, RtlCore

pytestmark = pytest.mark.rtl

CONFIG = dataclasses.replace(PRESETS["tiny"], watchdog=2000)
R = CONFIG.word_bytes
DRAM_BYTES = 1 << 18
PROGRAM, DATA, WEIGHTS, PARAMETERS, OUT = 0, 0x4000, 0x8000, 0xC000, 0x10000
SIZE = 6  # image height and width


def convolution() -> bytes:
    """Load an image, weights and parameters, convolve 3x3 with padding, requantise, store."""
    image = {"in_h": SIZE, "in_w": SIZE, "step_x": 1, "step_y": SIZE, "out_h": SIZE, "out_w": SIZE}
    return b"".join([
        encode(Opcode.LOAD, {"wr_banks": 1}, dram=DATA, local=0, rows=1, row_words=SIZE * SIZE, buffer=Buffer.ACT),
        encode(Opcode.LOAD, dram=WEIGHTS, local=0, rows=1, row_words=9 * R, buffer=Buffer.WGT),
        encode(Opcode.LOAD, dram=PARAMETERS, local=0, rows=1, row_words=PARAM_WORDS, buffer=Buffer.PARAM),
        encode(Opcode.COMPUTE, {"rd_banks": 1, "wait_load": 2}, **image, in_base=-(SIZE + 1) % (1 << 20), tap_x=1,
               tap_y=SIZE, iy0=-1, ix0=-1, stride_x=1, stride_y=1, dil_x=1, dil_y=1, kw=3, kh=3, blocks=1, tiles=9,
               groups=1, fill=-5),
        encode(Opcode.REQUANT, {"wr_banks": 2, "wait_load": 3, "wait_compute": 1}, groups=1, dst=CONFIG.bank_words,
               dst_step_x=1, dst_step_y=SIZE, out_h=SIZE, out_w=SIZE, zp=3, lo=-128, hi=127),
        encode(Opcode.STORE, {"rd_banks": 2, "wait_vector": 1}, dram=OUT, local=CONFIG.bank_words, rows=1,
               row_words=SIZE * SIZE),
    ])


def memory_image(program: bytes) -> bytes:
    rng = np.random.default_rng(7)
    memory = np.zeros(DRAM_BYTES, np.uint8)
    memory[DATA:WEIGHTS + 9 * R * R] = rng.integers(0, 256, WEIGHTS + 9 * R * R - DATA)
    bias, mult = rng.integers(-9999, 9999, R, np.int32), rng.integers(1 << 30, 1 << 31, R, np.int64).astype(np.int32)
    planes = [*bias.view(np.uint8).reshape(R, 4).T, *mult.view(np.uint8).reshape(R, 4).T, np.full(R, 256 - 9)]
    memory[PARAMETERS:PARAMETERS + PARAM_WORDS * R] = np.concatenate(planes)
    memory[PROGRAM:PROGRAM + len(program)] = np.frombuffer(program, np.uint8)
    return memory.tobytes()


def loaded(program: bytes, **options) -> tuple[RtlCore, int]:
    core = RtlCore(CONFIG, dram_bytes=DRAM_BYTES, **options)
    core.write(0, memory_image(program))
    return core, len(program) // 64


def expected_dram(program: bytes) -> bytes:
    machine = Machine(CONFIG, DRAM_BYTES)
    machine.write(0, memory_image(program))
    machine.run(PROGRAM, len(program) // 64)
    return machine.read(0, DRAM_BYTES)


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_the_dram_after_a_run_equals_the_machines(stall: float) -> None:
    program = convolution()
    core, count = loaded(program, stall=stall, seed=11)
    result = core.run(PROGRAM, count)
    expected = expected_dram(program)
    assert any(expected[OUT:OUT + SIZE * SIZE * R])
    assert core.read(0, DRAM_BYTES) == expected
    assert result.counters["ARRAY_ACTIVE"] == 9 * SIZE * SIZE
    assert {unit: len(result.retire[unit]) for unit in Unit} == {
        Unit.LOAD: 3, Unit.COMPUTE: 1, Unit.VECTOR: 1, Unit.STORE: 1}


def test_events_lie_within_the_run_and_in_order() -> None:
    core, count = loaded(convolution())
    result = core.run(PROGRAM, count)
    for unit in Unit:
        assert (result.issue[unit] < result.retire[unit]).all()
    assert result.retire[Unit.COMPUTE][0] <= result.issue[Unit.VECTOR][0]
    # The run starts two cycles after the command: the start register, then `running`.
    assert max(result.retire[Unit.STORE]) <= result.cycles + 2


@pytest.mark.parametrize(("fault", "code"), [
    (Fault.READ_ERROR, ErrorCode.AXI_READ), (Fault.WRITE_ERROR, ErrorCode.AXI_WRITE),
    (Fault.NO_READ_DATA, ErrorCode.WATCHDOG), (Fault.NO_WRITE_RESPONSE, ErrorCode.WATCHDOG),
    (Fault.NO_ACCEPT, ErrorCode.WATCHDOG),
])
def test_a_faulty_dram_stops_the_core_and_the_next_run_works(fault: Fault, code: ErrorCode) -> None:
    program = convolution()
    core, count = loaded(program)
    core.inject(fault, DATA, OUT + 4 * R)
    with pytest.raises(CoreError) as caught:
        core.run(PROGRAM, count)
    assert caught.value.code == code
    core.clear_faults()
    core.run(PROGRAM, count)
    assert core.read(0, DRAM_BYTES) == expected_dram(program)


def test_an_error_names_the_instruction_and_the_next_run_works() -> None:
    program = convolution()
    core, count = loaded(program)
    core.write(PROGRAM + 3 * 64, bytes([0xEE]))
    with pytest.raises(CoreError, match=r"OPCODE .* at address 0xc0 \(instruction 3\)") as caught:
        core.run(PROGRAM, count)
    assert caught.value.code == ErrorCode.OPCODE
    core.write(PROGRAM, program)
    core.run(PROGRAM, count)
    assert core.read(0, DRAM_BYTES) == expected_dram(program)


def test_a_soft_reset_between_runs_changes_nothing() -> None:
    program = convolution()
    core, count = loaded(program)
    first = core.run(PROGRAM, count)
    core.csr_write(Csr.CONTROL, Control.RESET)
    assert core.run(PROGRAM, count).cycles == first.cycles
    assert core.read(0, DRAM_BYTES) == expected_dram(program)
