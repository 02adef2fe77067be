"""Programs that are wrong and memories that fail: one clear error, and the same device then gives the right bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from systolith.host.compiler import compile_model
from systolith.host.devices.base import Accelerator
from systolith.host.devices.rtl import RtlAccelerator
from systolith.host.devices.select import open_accelerator
from systolith.host.errors import DeviceError
from systolith.host.program import HwStep, Program
from systolith.host.runtime import Session
from systolith.host.runtime.executor import ProgramExecutor
from systolith.hw.config import AcceleratorConfig
from systolith.hw.isa import INSTR_BYTES, ErrorCode, Opcode, decode, encode
from systolith.models.zoo import digits
from systolith.sim.rtl.device import CoreTimeout, Fault

CONFIG = replace(AcceleratorConfig.preset("tiny"), watchdog=2000)
IMAGE = np.random.default_rng(3).integers(-128, 128, (1, 8, 8, 1), np.int8)
SECONDS = 20  # none of these takes one; a hang takes minutes
ALL_BANKS = {"rd_banks": 0xFF, "wr_banks": 0xFF}


@pytest.fixture(scope="module")
def program() -> Program:
    return compile_model(digits.model_path(), CONFIG)


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    (logits,) = Session(digits.model_path(), "golden").run(IMAGE).values()
    return logits


@pytest.fixture(params=["sim", pytest.param("rtl", marks=pytest.mark.rtl)])
def device(request: pytest.FixtureRequest, program: Program) -> Iterator[Accelerator]:
    with open_accelerator(request.param, CONFIG, program.dram_bytes) as accelerator:
        yield accelerator


@pytest.fixture
def rtl(program: Program) -> Iterator[RtlAccelerator]:
    with RtlAccelerator(CONFIG, program.dram_bytes) as accelerator:
        yield accelerator


def run(program: Program, device: Accelerator) -> np.ndarray:
    (outputs,) = ProgramExecutor(program, device).run({"image": IMAGE})[0].values()
    return outputs


def failure(program: Program, device: Accelerator) -> DeviceError:
    start = time.monotonic()
    with pytest.raises(DeviceError) as caught:
        run(program, device)
    assert time.monotonic() - start < SECONDS
    assert "\n" not in str(caught.value)
    return caught.value


def hardware(program: Program) -> HwStep:
    (step,) = (step for step in program.steps if isinstance(step, HwStep))
    return step


def address(program: Program, opcode: Opcode, **fields: int) -> int:
    """Return the DRAM byte of the first instruction with this opcode and these fields."""
    step = hardware(program)
    for place in range(step.code_offset, step.code_offset + step.count * INSTR_BYTES, INSTR_BYTES):
        found, _, body = decode(program.image[place : place + INSTR_BYTES])
        if found == opcode and fields.items() <= body.items():
            return place
    raise AssertionError(f"the network must have a {opcode.name} with {fields}")


def overwritten(program: Program, place: int, code: bytes) -> Program:
    return replace(program, image=program.image[:place] + code + program.image[place + len(code) :])


def changed(program: Program, place: int, header: dict[str, int], **body: int) -> Program:
    opcode, old_header, old_body = decode(program.image[place : place + INSTR_BYTES])
    return overwritten(program, place, encode(opcode, old_header | header, **(old_body | body)))


A, F = ErrorCode.ADDRESS, ErrorCode.FIELD
WRONG_FIELDS = [
    pytest.param(A, Opcode.LOAD, {"buffer": 0}, {"local": CONFIG.act_words - 1, "row_words": 2, "pitch": 0},
                 id="load-act"),
    pytest.param(A, Opcode.LOAD, {"buffer": 1}, {"local": CONFIG.wgt_words - 1, "row_words": 2}, id="load-wgt"),
    pytest.param(A, Opcode.LOAD, {"buffer": 2}, {"local": CONFIG.param_words - 1, "row_words": 2}, id="load-param"),
    pytest.param(A, Opcode.LOAD, {}, {"dram": 2}, id="load-misaligned"),
    pytest.param(F, Opcode.LOAD, {}, {"buffer": 3}, id="load-buffer"),
    pytest.param(F, Opcode.LOAD, {}, {"rows": 0}, id="load-nothing"),
    pytest.param(F, Opcode.LOAD, {"buffer": 0}, {"pitch": 1, "windows": 0}, id="load-no-windows"),
    pytest.param(F, Opcode.LOAD, {"buffer": 0}, {"pitch": CONFIG.rows + 1, "windows": 1}, id="load-pitch"),
    pytest.param(F, Opcode.LOAD, {"buffer": 1}, {"pitch": 1, "windows": 1}, id="load-gather-wgt"),
    pytest.param(F, Opcode.LOAD, {"buffer": 0}, {"row_words": 2, "pitch": 1, "windows": CONFIG.rows + 2},
                 id="load-short-run"),
    pytest.param(A, Opcode.STORE, {}, {"local": CONFIG.act_words}, id="store-act"),
    pytest.param(ErrorCode.AXI_READ, Opcode.LOAD, {}, {"dram": 1 << 31}, id="load-dram"),
    pytest.param(ErrorCode.AXI_WRITE, Opcode.STORE, {}, {"dram": 1 << 31}, id="store-dram"),
    pytest.param(A, Opcode.COMPUTE, {}, {"in_base": CONFIG.act_words, "iy0": 0, "ix0": 0}, id="compute-act"),
    pytest.param(A, Opcode.COMPUTE, {}, {"wgt": CONFIG.wgt_words - 1}, id="compute-wgt"),
    pytest.param(F, Opcode.COMPUTE, {}, {"acc": CONFIG.acc_depth}, id="compute-acc"),
    pytest.param(A, Opcode.COMPUTE, {}, {"acc": CONFIG.acc_half - 1}, id="compute-acc-half"),
    pytest.param(F, Opcode.COMPUTE, {}, {"tiles": 1000}, id="compute-tiles"),
    pytest.param(F, Opcode.COMPUTE, {}, {"kh": 0}, id="compute-no-kernel"),
    pytest.param(F, Opcode.COMPUTE, {}, {"groups": 0}, id="compute-no-groups"),
    pytest.param(A, Opcode.COMPUTE, {}, {"groups": CONFIG.acc_half + 1}, id="compute-groups"),
    pytest.param(A, Opcode.REQUANT, {}, {"dst": CONFIG.act_words}, id="requant-act"),
    pytest.param(A, Opcode.REQUANT, {}, {"param": CONFIG.param_words - 1}, id="requant-param"),
    pytest.param(F, Opcode.REQUANT, {}, {"acc": CONFIG.acc_depth}, id="requant-acc"),
    pytest.param(A, Opcode.ADD, {}, {"b": CONFIG.act_words}, id="add-act"),
    pytest.param(A, Opcode.POOL, {}, {"in_base": CONFIG.act_words, "iy0": 0, "ix0": 0}, id="pool-act"),
    pytest.param(F, Opcode.POOL, {}, {"mode": 3}, id="pool-mode"),
]


@pytest.mark.parametrize(("code", "opcode", "which", "fields"), WRONG_FIELDS)
def test_wrong_field_stops_the_core_at_its_instruction(program: Program, expected: np.ndarray, device: Accelerator,
                                                       code: ErrorCode, opcode: Opcode, which: dict[str, int],
                                                       fields: dict[str, int]) -> None:
    place = address(program, opcode, **which)

    error = failure(changed(program, place, ALL_BANKS, **fields), device)

    assert (error.code, error.address) == (code, place), error
    np.testing.assert_array_equal(run(program, device), expected)


@pytest.mark.parametrize("opcode", [0x00, 0x11, 0x35, 0xFF])
def test_opcode_that_does_not_exist(program: Program, expected: np.ndarray, device: Accelerator, opcode: int) -> None:
    place = address(program, Opcode.REQUANT)

    error = failure(overwritten(program, place, bytes([opcode])), device)

    assert (error.code, error.address) == (ErrorCode.OPCODE, place)
    np.testing.assert_array_equal(run(program, device), expected)


def test_access_to_a_bank_that_is_not_in_the_mask(program: Program, expected: np.ndarray, device: Accelerator) -> None:
    place = address(program, Opcode.STORE)  # the only one: a unit may use what its other instructions hold

    error = failure(changed(program, place, {"rd_banks": 0}), device)

    assert (error.code, error.address) == (ErrorCode.BANK, place)
    np.testing.assert_array_equal(run(program, device), expected)


@pytest.mark.parametrize("opcode", [Opcode.LOAD, Opcode.COMPUTE, Opcode.REQUANT, Opcode.STORE])
def test_token_that_never_comes(program: Program, expected: np.ndarray, device: Accelerator, opcode: Opcode) -> None:
    place = address(program, opcode)

    error = failure(changed(program, place, {"wait_store": 1000}), device)

    assert (error.code, error.address) == (ErrorCode.WATCHDOG, place)
    np.testing.assert_array_equal(run(program, device), expected)


def test_tokens_that_wait_for_each_other(program: Program, expected: np.ndarray, device: Accelerator) -> None:
    deadlock = changed(program, address(program, Opcode.LOAD), {"wait_compute": 1})  # which waits for the load

    assert failure(deadlock, device).code == ErrorCode.WATCHDOG
    np.testing.assert_array_equal(run(program, device), expected)


def test_no_instructions_do_nothing(program: Program, expected: np.ndarray, device: Accelerator) -> None:
    assert device.run(hardware(program).code_offset, 0).dram_bytes_written == 0

    np.testing.assert_array_equal(run(program, device), expected)


def test_program_that_runs_into_data(program: Program, expected: np.ndarray, device: Accelerator) -> None:
    step = hardware(program)
    device.write(0, program.image)

    with pytest.raises(DeviceError) as caught:
        device.run(step.code_offset, step.count + 1000)

    assert caught.value.code in (ErrorCode.OPCODE, ErrorCode.AXI_READ)
    np.testing.assert_array_equal(run(program, device), expected)


def test_program_at_an_odd_address(program: Program, expected: np.ndarray, device: Accelerator) -> None:
    with pytest.raises(DeviceError, match="ADDRESS"):
        device.run(CONFIG.word_bytes, 1)

    np.testing.assert_array_equal(run(program, device), expected)


def faults(program: Program) -> dict[str, tuple[Fault, int, int, set[ErrorCode]]]:
    """Return the fault, its range of DRAM bytes and what may be reported, by name."""
    step, word = hardware(program), CONFIG.word_bytes
    weights = decode(program.image[address(program, Opcode.LOAD, buffer=1) :][:INSTR_BYTES])[2]
    middle = weights["dram"] + weights["row_words"] // 2 * word
    code = address(program, Opcode.ADD)
    (output,) = step.outputs
    everywhere = 0, program.dram_bytes
    read, write, watchdog = {ErrorCode.AXI_READ}, {ErrorCode.AXI_WRITE}, {ErrorCode.WATCHDOG}
    return {
        "fetch": (Fault.READ_ERROR, code + 2 * word, code + 3 * word, read),
        "first fetch": (Fault.READ_ERROR, step.code_offset, step.code_offset + word, read),
        "load": (Fault.READ_ERROR, middle, middle + word, read),
        "input": (Fault.READ_ERROR, step.inputs[0].offset, step.inputs[0].offset + word, read),
        "store": (Fault.WRITE_ERROR, output.offset + word, output.offset + 2 * word, write),
        "no read data": (Fault.NO_READ_DATA, *everywhere, watchdog),
        "no write response": (Fault.NO_WRITE_RESPONSE, *everywhere, watchdog),
        "no accept": (Fault.NO_ACCEPT, *everywhere, watchdog),
    }


@pytest.mark.rtl
@pytest.mark.parametrize("name", ["fetch", "first fetch", "load", "input", "store", "no read data",
                                  "no write response", "no accept"])
def test_memory_that_fails(program: Program, expected: np.ndarray, rtl: RtlAccelerator, name: str) -> None:
    fault, low, high, codes = faults(program)[name]
    np.testing.assert_array_equal(run(program, rtl), expected)
    for _ in range(2):
        rtl._core.inject(fault, low, high)

        assert failure(program, rtl).code in codes

        rtl._core.clear_faults()
        np.testing.assert_array_equal(run(program, rtl), expected)


@pytest.mark.rtl
def test_run_limit_is_one_line_and_the_next_run_works(program: Program, expected: np.ndarray,
                                                      rtl: RtlAccelerator) -> None:
    step = hardware(program)
    rtl.write(0, program.image)
    for limit in (1, 100, 3000):
        with pytest.raises(CoreTimeout, match=f"did not finish within {limit} cycles"):
            rtl._core.run(step.code_offset, step.count, max_cycles=limit)

        np.testing.assert_array_equal(run(program, rtl), expected)


def test_session_survives_inputs_that_it_refuses(program: Program, expected: np.ndarray) -> None:
    with Session(program, "sim") as session:
        for wrong in (IMAGE[..., 0], IMAGE.astype(np.int16), np.full(IMAGE.shape, np.nan, np.float32), {"x": IMAGE}):
            with pytest.raises(Exception, match="input"):
                session.run(wrong)

            np.testing.assert_array_equal(session.run(IMAGE)["probabilities"], expected)
