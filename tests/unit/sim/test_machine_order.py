"""Random orders and the static race check: sufficient tokens give one result, a missing one is found."""

import numpy as np
import pytest

from systolith.hw.isa import Buffer, ErrorCode, Opcode, Unit, encode
from systolith.sim.machine import Machine, MachineError
from systolith.sim.races import find_races
from tests.unit.sim.reference import ALL_BANKS, PROGRAM, TINY, load_program, machine

R, PIXELS, LAYERS, OUT = TINY.rows, 16, 6, 0x4000
ONE_PIXEL = {"in_h": 1, "in_w": PIXELS, "out_h": 1, "out_w": PIXELS}


def layers(drop: tuple[int, str] | None = None) -> list[bytes]:
    """Return a chain of pointwise layers, each stored; weights and results alternate between two places.

    ``drop`` names an instruction and one of its tokens to leave out.
    """
    program = [
        (Opcode.LOAD, {}, {"dram": 0, "rows": 1, "row_words": PIXELS}),
        (Opcode.LOAD, {}, {"dram": 0x100, "rows": 1, "row_words": 9, "buffer": Buffer.PARAM}),
    ]
    for n in range(LAYERS):
        source, target = (n % 2) * 512, (1 - n % 2) * 512
        # Weight slots alternate, so a load waits for the compute before last.
        program += [
            (Opcode.LOAD, {"wait_compute": max(0, n - 1)},
             {"dram": 0x200 + n * R * R, "local": n % 2 * R, "rows": 1, "row_words": R, "buffer": Buffer.WGT}),
            (Opcode.COMPUTE, {"wait_load": 3 + n, "wait_vector": n},
             {"in_base": source, "step_x": 1, "stride_x": 1, "kh": 1, "kw": 1, "blocks": 1, "groups": 1, "tiles": 1,
              "wgt": n % 2 * R, "acc": n % 2 * TINY.acc_half, **ONE_PIXEL}),
            (Opcode.REQUANT, {"wait_compute": n + 1, "wait_store": max(0, n - 1), "wait_load": 2},
             {"dst": target, "dst_step_x": 1, "out_h": 1, "out_w": PIXELS, "acc": n % 2 * TINY.acc_half,
              "lo": -128, "hi": 127}),
            (Opcode.STORE, {"wait_vector": n + 1},
             {"dram": OUT + n * PIXELS * R, "local": target, "rows": 1, "row_words": PIXELS}),
        ]
    if drop:
        program[drop[0]][1].pop(drop[1])
    return [encode(opcode, {**ALL_BANKS, **waits}, **body) for opcode, waits, body in program]


def prepared(program: list[bytes]) -> tuple[Machine, int]:
    m = machine(5)
    planes = np.zeros((9, R), np.uint8)
    planes[:8] = np.array([[3, -40, 500, 0], [2**30] * R], "<i4").T.copy().view(np.uint8).reshape(R, 8).T
    planes[8] = np.array([-7] * R, np.int8).view(np.uint8)
    m.write(0x100, planes)
    return m, load_program(m, *program)


def outcome(program: list[bytes], order: str, seed: int = 0) -> bytes:
    m, count = prepared(program)
    try:
        m.run(PROGRAM, count, order=order, seed=seed)
    except MachineError as error:
        return str(error).encode()
    return m.read(OUT, LAYERS * PIXELS * R)


def races(program: list[bytes]) -> list[str]:
    m, count = prepared(program)
    return [str(race) for race in find_races(m.steps(PROGRAM, count), TINY, m.dram.size // R)]


def test_sufficient_tokens_give_one_result():
    expected = outcome(layers(), "program")
    assert len(set(expected)) > 50  # not a result that any order would give
    for seed in range(40):
        assert outcome(layers(), "random", seed) == expected, f"seed {seed}"
    assert races(layers()) == []


# The last layer's weight load, compute, requant and store.
LOAD, COMPUTE, REQUANT, STORE = (2 + 4 * (LAYERS - 1) + i for i in range(4))


@pytest.mark.parametrize("second, token, first, unit, memory", [
    (LOAD, "wait_compute", LOAD - 7, Unit.COMPUTE, "wgt"),
    (COMPUTE, "wait_load", LOAD, Unit.LOAD, "wgt"),
    (COMPUTE, "wait_vector", REQUANT - 4, Unit.VECTOR, "act"),
    (REQUANT, "wait_compute", COMPUTE, Unit.COMPUTE, "acc"),
    (REQUANT, "wait_store", STORE - 8, Unit.STORE, "act"),
    (STORE, "wait_vector", REQUANT, Unit.VECTOR, "act"),
])
def test_a_missing_token_is_found(second, token, first, unit, memory):
    expected = outcome(layers(), "program")
    broken = layers((second, token))
    assert outcome(broken, "program") == expected  # program order hides it
    assert any(outcome(broken, "random", seed) != expected for seed in range(60))
    message = f"instruction {second} must wait for instruction {first} ({unit.name}): both touch {memory}"
    assert any(found.startswith(message) for found in races(broken))


def test_compute_and_requant_must_not_share_an_accumulator_half():
    compute = {"step_x": 1, "kh": 1, "kw": 1, "blocks": 1, "groups": 1, "tiles": 1, **ONE_PIXEL}
    program = [encode(Opcode.COMPUTE, ALL_BANKS, acc=PIXELS, **compute),
               encode(Opcode.REQUANT, ALL_BANKS, dst=100, out_h=1, out_w=PIXELS, lo=-128, hi=127)]
    m, count = prepared(program)
    m.param[:9] = 0
    with pytest.raises(MachineError, match="accumulator half 0 must be free") as caught:
        for seed in range(20):
            m.run(PROGRAM, count, order="random", seed=seed)
    assert caught.value.code == ErrorCode.ACC_CONFLICT
    assert races(program) == ["instruction 1 must wait for instruction 0 (COMPUTE): both touch acc half 0"]


def forward(loads: int) -> list[bytes]:
    """Return loads that all wait for the store behind them."""
    load = encode(Opcode.LOAD, {**ALL_BANKS, "wait_store": 1}, rows=1, row_words=1)
    return [load] * loads + [encode(Opcode.STORE, ALL_BANKS, rows=1, row_words=1, dram=OUT)]


def test_a_full_queue_can_deadlock():
    m, count = prepared(forward(TINY.queue_depth))
    assert m.run(PROGRAM, count, order="random").instructions[Unit.LOAD] == TINY.queue_depth
    m, count = prepared(forward(TINY.queue_depth + 1))
    with pytest.raises(MachineError, match="wait_store must be reachable, not 1 with 0 STORE") as caught:
        m.run(PROGRAM, count, order="random")
    assert (caught.value.code, caught.value.unit, caught.value.index) == (ErrorCode.WATCHDOG, Unit.LOAD, 0)


def test_tokens_must_name_earlier_instructions():
    m, count = prepared(forward(1))
    with pytest.raises(MachineError, match="wait_store must be reachable, not 1 with 0 STORE instructions before it"):
        m.run(PROGRAM, count)
    with pytest.raises(MachineError, match="wait_store must be at most 0") as caught:
        races(forward(1))
    assert caught.value.code == ErrorCode.WATCHDOG


@pytest.mark.parametrize("seed", range(3))
def test_random_order_is_repeatable(seed):
    broken = layers((COMPUTE, "wait_vector"))
    assert outcome(broken, "random", seed) == outcome(broken, "random", seed)
