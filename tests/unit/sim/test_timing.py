"""The cycle model against the RTL: each instruction, pairs of them, random programs; and against itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from systolith.host.compiler import compile_graph
from systolith.host.frontends.tflite import read_tflite
from systolith.host.profile import hardware_code
from systolith.hw.config import PRESETS, AcceleratorConfig
from systolith.hw.isa import INSTR_BYTES, Buffer, ErrorCode, Opcode, PoolMode, Unit, encode
from systolith.sim import native
from systolith.sim.result import CoreResult
from systolith.sim.rtl import CoreError, RtlCore
from systolith.sim.tb.programs import Body, link, random_program
from systolith.sim.timing import TimingModel, WatchdogError
from systolith.sim.timing.build import build
from tests.random_networks import random_network

TINY = PRESETS["tiny"]
DRAM_BYTES = 1 << 20
INPUTS, OUTPUTS = range(1 << 16, 1 << 19), range(1 << 19, 1 << 20)
BANK = TINY.bank_words
MEMORIES = {"preset": TINY, "slow": replace(TINY, dram_latency=90, dram_bandwidth=3),
            "slowest": replace(TINY, dram_latency=3, dram_bandwidth=1),
            "cramped": replace(TINY, dram_latency=40, dram_bandwidth=4),
            # A word and a half in a cycle, and two.
            "uneven": replace(TINY, dram_latency=1, dram_bandwidth=6),
            "wide": replace(TINY, dram_latency=7, dram_bandwidth=8),
            "DDR3": replace(TINY, dram="ddr3_1600_x16", clock_mhz=333),
            "LPDDR4": replace(TINY, dram="lpddr4_3200_x16", clock_mhz=1000)}
# Of another core, which is not worth its compilation.
ALL_MEMORIES = {**MEMORIES, "one burst at a time": replace(TINY, outstanding=1)}

IMAGE = {"in_h": 6, "in_w": 6, "step_x": 1, "step_y": 6, "stride_x": 1, "stride_y": 1}
OUT = {"dst": BANK, "dst_step_x": 1, "dst_step_y": 7, "out_h": 5, "out_w": 7, "lo": -128, "hi": 127}
TABLE = {**OUT, "a": 3, "a_step_x": 1, "a_step_y": 7}
PAIR = {**TABLE, "b": 2 * BANK, "b_step_x": 1, "b_step_y": 7}
CONV = {**IMAGE, "out_h": 4, "out_w": 4, "kw": 3, "kh": 3, "tap_x": 1, "tap_y": 6, "dil_x": 1, "dil_y": 1, "blocks": 1,
        "tiles": 9, "groups": 1}
FILTER = {**IMAGE, "fir": 1, "spacing": 3, "walk_h": 6, "walk_w": 6, "skip_x": 2, "skip_y": 2, "lead": 1, "out_h": 4,
          "out_w": 4, "kw": 1, "kh": 1, "blocks": 1, "tiles": 1, "groups": 2}
DENSE = {"in_h": 1, "in_w": 1, "stride_x": 1, "out_h": 1, "out_w": 1, "kw": 1, "kh": 1, "blocks": 4, "step_block": 1,
         "tiles": 4, "groups": 3}
POOL = {**OUT, "in_h": 20, "in_w": 20, "step_x": 2, "step_y": 40, "tap_x": 1, "tap_y": 20, "stride_x": 2, "stride_y": 2,
        "kw": 3, "kh": 2, "mode": PoolMode.MAX}
BODIES: dict[str, Body] = {
    "a load": (Opcode.LOAD, {"dram": INPUTS.start + 12, "dram_stride": 200, "local": 5, "local_stride": 40, "rows": 3,
                             "row_words": 37}),
    "a load of one word": (Opcode.LOAD, {"dram": INPUTS.start, "rows": 1, "row_words": 1}),
    "a load of weights": (Opcode.LOAD, {"dram": INPUTS.start, "rows": 1, "row_words": 64, "buffer": Buffer.WGT}),
    "a gather": (Opcode.LOAD, {"dram": INPUTS.start, "dram_stride": 64, "local_stride": 50, "rows": 2, "row_words": 16,
                               "pitch": 3, "windows": 19}),
    "a convolution": (Opcode.COMPUTE, CONV),
    "a dense layer": (Opcode.COMPUTE, DENSE),
    "a sum into accumulators": (Opcode.COMPUTE, {**CONV, "acc": 3, "accumulate": 1}),
    "a filter": (Opcode.COMPUTE, FILTER),
    "a wider filter": (Opcode.COMPUTE, {**FILTER, "accumulate": 1, "walk_h": 5, "walk_w": 7, "out_h": 3}),
    "a requantisation": (Opcode.REQUANT, {**OUT, "groups": 1}),
    "a requantisation of many": (Opcode.REQUANT, {**OUT, "out_h": 1, "out_w": 1, "groups": 6, "dst_step_group": 3}),
    "an addition": (Opcode.ADD, PAIR),
    "a product": (Opcode.MUL, PAIR),
    "a table": (Opcode.TABLE, TABLE),
    "a table with entries": (Opcode.TABLE, {**TABLE, "reload": 1}),
    "a pooling": (Opcode.POOL, POOL),
    "a store": (Opcode.STORE, {"dram": OUTPUTS.start + 24, "dram_stride": 300, "local": BANK + 9, "local_stride": 50,
                               "rows": 3, "row_words": 41}),
    "a store of one word": (Opcode.STORE, {"dram": OUTPUTS.start, "local": BANK, "rows": 1, "row_words": 1}),
}


@pytest.fixture(params=MEMORIES)
def core(request: pytest.FixtureRequest) -> Iterator[RtlCore]:
    with RtlCore(MEMORIES[request.param], dram_bytes=DRAM_BYTES) as core:
        yield core


def assert_equal(found: CoreResult, expected: CoreResult, what: object) -> None:
    for trace in ("issue", "retire"):
        for unit in Unit:
            np.testing.assert_array_equal(getattr(found, trace)[unit], getattr(expected, trace)[unit],
                                          err_msg=f"{trace} of {unit.name}: {what}")
    assert found.counters == expected.counters, what
    assert found.cycles == expected.cycles


def compare(core: RtlCore, code: bytes, what: object) -> None:
    core.write(0, code)
    assert_equal(TimingModel(core.config).run(code), core.run(0, len(code) // INSTR_BYTES), what)


def random_code(seed: int, config: AcceleratorConfig) -> bytes:
    rng = random.Random(seed)
    bodies, _ = random_program(rng, config, rng.randint(5, 40), INPUTS, OUTPUTS)
    return link(config, bodies, rng.choice(("serial", "minimal")), DRAM_BYTES)


@pytest.mark.rtl
def test_each_instruction_takes_as_long_as_in_the_rtl(core: RtlCore) -> None:
    for name, body in BODIES.items():
        compare(core, link(TINY, [body], "serial", DRAM_BYTES), name)


@pytest.mark.rtl
def test_each_instruction_behind_each_other(core: RtlCore) -> None:
    for first, second in product(BODIES, repeat=2):
        compare(core, link(TINY, [BODIES[first], BODIES[second]], "minimal", DRAM_BYTES), (first, second))


@pytest.mark.rtl
def test_many_of_each_instruction(core: RtlCore) -> None:
    for name, body in BODIES.items():
        compare(core, link(TINY, [body] * 9, "minimal", DRAM_BYTES), name)


@pytest.mark.rtl
@pytest.mark.parametrize("seed", range(3))
def test_mixtures_of_short_instructions(core: RtlCore, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(15):
        names, tokens = rng.choices(list(BODIES), k=rng.randint(3, 30)), rng.choice(("serial", "minimal"))
        compare(core, link(TINY, [BODIES[name] for name in names], tokens, DRAM_BYTES), names)


@pytest.mark.rtl
@pytest.mark.parametrize("seed", range(2))
def test_random_programs(core: RtlCore, seed: int) -> None:
    compare(core, random_code(seed, TINY), seed)


@pytest.mark.rtl
@pytest.mark.slow
@pytest.mark.parametrize("first", range(10, 90, 10))
def test_sweep_of_random_programs(core: RtlCore, first: int) -> None:
    for seed in range(first, first + 10):
        compare(core, random_code(seed, TINY), seed)


@pytest.mark.rtl
def test_an_empty_program(core: RtlCore) -> None:
    compare(core, b"", "no instruction")


@pytest.mark.parametrize("memory", ALL_MEMORIES)
@pytest.mark.parametrize("preset", ["tiny", "ulx3s"])
def test_equal_cycles_counted_at_once_are_those_counted_one_by_one(preset: str, memory: str) -> None:
    config = with_memory(preset, memory)
    for seed in range(4):
        assert_same_one_by_one(config, random_code(seed, config), seed)


@pytest.mark.parametrize("memory", ALL_MEMORIES)
@pytest.mark.parametrize("preset", ["tiny", "edge"])
def test_the_cycles_of_networks_counted_at_once_are_those_counted_one_by_one(preset: str, memory: str) -> None:
    config = with_memory(preset, memory)
    for seed in range(3):
        program = compile_graph(read_tflite(random_network(seed).model), config)
        for code, _ in hardware_code(program):
            assert_same_one_by_one(config, code, seed)


# The narrowest fetches each instruction in two bursts.
@pytest.mark.parametrize("rows", [2, 4, 16])
def test_the_cycles_of_a_shared_bus_counted_at_once_are_those_counted_one_by_one(rows: int) -> None:
    rng = random.Random(rows)
    for number in range(300):
        config = replace(TINY, rows=rows, filter_rows=0, outstanding=rng.choice((1, 2, 8)),
                         dram_latency=rng.randint(1, 20), dram_bandwidth=rng.randint(rows // 2, 2 * rows))
        assert_same_one_by_one(config, b"".join(traffic(rng, config)), number)


def traffic(rng: random.Random, config: AcceleratorConfig) -> Iterator[bytes]:
    """Loads and stores that do not wait for each other."""
    for _ in range(rng.randint(2, 8)):
        rows, words = rng.randint(1, 4), rng.choice((1, 2, 3, 6, 9, 16, 17, 33))
        fields = {"dram_stride": config.word_bytes * words, "local_stride": words, "rows": rows, "row_words": words}
        start = config.word_bytes * rng.randint(0, 40)
        if rng.random() < 0.5:
            yield encode(Opcode.LOAD, {"wr_banks": 1}, dram=INPUTS.start + start, **fields)
        else:
            yield encode(Opcode.STORE, {"rd_banks": 2}, dram=OUTPUTS.start + start, local=config.bank_words, **fields)


def with_memory(preset: str, memory: str) -> AcceleratorConfig:
    names = ("dram", "dram_latency", "dram_bandwidth", "clock_mhz", "outstanding")
    return replace(PRESETS[preset], **{name: getattr(ALL_MEMORIES[memory], name) for name in names})


def assert_same_one_by_one(config: AcceleratorConfig, code: bytes, what: object) -> None:
    assert_equal(TimingModel(config).run(code), TimingModel(config, step_all=True).run(code), what)


def deadlock() -> list[bytes]:
    """A load, and a store that waits for more loads than there are."""
    return [encode(Opcode.LOAD, {"wr_banks": 1}, dram=INPUTS.start, rows=1, row_words=1),
            encode(Opcode.STORE, {"rd_banks": 1, "wait_load": 2}, dram=OUTPUTS.start, rows=1, row_words=1)]


def raises(error: type[Exception], call: Callable[[], object]) -> bool:
    try:
        call()
    except error:
        return True
    return False


def never_arrives() -> list[bytes]:
    return [encode(Opcode.LOAD, {"wr_banks": 1}, dram=INPUTS.start, rows=1, row_words=1)] * 3


@pytest.mark.rtl
@pytest.mark.parametrize(("program", "config"), [
    (deadlock(), replace(TINY, watchdog=500)), (never_arrives(), replace(TINY, watchdog=100, dram_latency=101)),
    (never_arrives(), replace(TINY, watchdog=200, dram_latency=220))])
def test_the_watchdog_ends_what_it_ends_in_the_rtl(program: Sequence[bytes], config: AcceleratorConfig) -> None:
    code = b"".join(program)
    with RtlCore(config, dram_bytes=DRAM_BYTES) as core:
        core.write(0, code)
        with pytest.raises(CoreError) as expected:
            core.run(0, len(program))
    with pytest.raises(WatchdogError) as found:
        TimingModel(config).run(code)

    assert expected.value.code == ErrorCode.WATCHDOG
    assert (found.value.unit, found.value.index) == (expected.value.unit, expected.value.address // INSTR_BYTES)


@pytest.mark.rtl
@pytest.mark.parametrize("latency", [95, 96, 97])
def test_the_watchdog_waits_as_long_as_in_the_rtl(latency: int) -> None:
    code, stopped = never_arrives()[0], set()
    for watchdog in range(latency, latency + 10):
        config = replace(TINY, watchdog=watchdog, dram_latency=latency)
        with RtlCore(config, dram_bytes=DRAM_BYTES) as core:
            core.write(0, code)
            outcomes = [raises(CoreError, lambda: core.run(0, 1)),  # noqa: B023 - called at once
                        raises(WatchdogError, lambda: TimingModel(config).run(code))]  # noqa: B023
        assert outcomes[0] == outcomes[1], watchdog
        stopped.add(outcomes[0])
    assert stopped == {True, False}


@pytest.mark.rtl
@pytest.mark.parametrize("memory", MEMORIES)
def test_what_makes_progress_may_take_longer_than_the_watchdog(memory: str) -> None:
    with RtlCore(replace(MEMORIES[memory], watchdog=100), dram_bytes=DRAM_BYTES) as core:
        for name, body in BODIES.items():
            compare(core, link(TINY, [body], "serial", DRAM_BYTES), name)


@pytest.mark.parametrize("instruction", [
    bytes(INSTR_BYTES), encode(Opcode.LOAD, rows=1), encode(Opcode.COMPUTE, **{**CONV, "groups": 0}),
    encode(Opcode.REQUANT, **OUT), encode(Opcode.ADD, **{**PAIR, "out_w": 0}),
    encode(Opcode.POOL, **{**POOL, "kh": 0})])
def test_an_instruction_without_work_is_refused(instruction: bytes) -> None:
    good = encode(*BODIES["an addition"][:1], **BODIES["an addition"][1])
    with pytest.raises(ValueError, match="instruction 1 must have an opcode that exists and work to do"):
        TimingModel(TINY).run(good + instruction)


def test_without_a_compiler_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYSTOLITH_CACHE", str(tmp_path))
    monkeypatch.setattr(native.shutil, "which", lambda tool: None)
    with pytest.raises(RuntimeError, match=r"g\+\+ must be installed to count cycles .* install g\+\+"):
        TimingModel(TINY)


def test_it_is_compiled_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYSTOLITH_CACHE", str(tmp_path))
    said: list[str] = []
    assert build(8, said.append) == build(8, said.append)
    assert said == ["Compiling the cycle model (cached afterwards)"]
