"""Line buffer: a delay in enabled cycles, and when the compute unit enables it."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from systolith.hw import compute
from systolith.hw.array import older_lines
from systolith.hw.compute import ComputeUnit, array_empty
from systolith.hw.config import AcceleratorConfig
from systolith.hw.isa import Opcode, encode
from systolith.hw.lines import LINE_READ_LATENCY, LineBuffer

CONFIG = AcceleratorConfig(rows=8, act_kib=8, act_banks=2, wgt_kib=4, param_kib=1, acc_depth=32, filter_rows=8,
                           line_words=32)


@pytest.mark.parametrize("delay", [LINE_READ_LATENCY + 1, 7, 32])
def test_lines_are_what_entered_a_delay_of_enabled_cycles_ago(delay: int) -> None:
    rng = random.Random(delay)
    buffer, lines = LineBuffer(CONFIG), older_lines(CONFIG.fir_rows)
    entered, seen = list[int](), list[tuple[int, ...]]()

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        ctx.set(buffer.delay, delay)
        ctx.set(buffer.restart, 1)
        await ctx.tick()
        ctx.set(buffer.restart, 0)
        for _ in range(300):
            word, enable = rng.getrandbits(64), rng.random() < 0.6
            ctx.set(buffer.x.as_value(), word)
            ctx.set(buffer.en, enable)
            held = tuple(ctx.get(buffer.lines[g].as_value()) for g in range(lines))
            await ctx.tick()
            if enable:
                entered.append(word)
                seen.append(tuple(ctx.get(buffer.lines[g].as_value()) for g in range(lines)))
            else:
                assert held == tuple(ctx.get(buffer.lines[g].as_value()) for g in range(lines))

    run(buffer, bench)
    for now in range(lines * delay + LINE_READ_LATENCY, len(entered)):
        # Seen in the cycle behind the one of x[now], for the cycle behind that.
        assert list(seen[now]) == [entered[now + 2 - (g + 1) * delay] for g in range(lines)]


@pytest.mark.parametrize("fir", [0, 1])
def test_the_line_buffer_turns_only_for_words_of_the_filter_mode(fir: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[LineBuffer]()

    def recorded(config: AcceleratorConfig) -> LineBuffer:
        made.append(LineBuffer(config))
        return made[-1]

    monkeypatch.setattr(compute, "LineBuffer", recorded)
    config = AcceleratorConfig(rows=8, act_kib=8, act_banks=2, wgt_kib=4, param_kib=1, acc_depth=128, filter_rows=8,
                               line_words=32)
    unit, words = ComputeUnit(config), 5 * 7
    fields = {"in_h": 5, "in_w": 7, "step_x": 1, "step_y": 7, "stride_x": 1, "stride_y": 1, "out_h": 3, "out_w": 5,
              "kw": 1, "kh": 1, "blocks": 1, "tiles": 1, "groups": 1, "fir": fir, "walk_h": 5, "walk_w": 7,
              "spacing": 3}
    turned, active = 0, 0

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        nonlocal turned, active
        entry = int.from_bytes(encode(Opcode.COMPUTE, **fields), "little")
        ctx.set(unit.start.payload.instr, entry)
        ctx.set(unit.start.valid, 1)
        await ctx.tick()
        ctx.set(unit.start.valid, 0)
        for _ in range(words + 4 * array_empty(config)):
            turned += ctx.get(made[0].en)
            active += ctx.get(unit.active)
            await ctx.tick()

    run(unit, bench)
    assert active == (words if fir else 15)
    assert words <= turned <= words + array_empty(config) + 1 if fir else turned == 0


def run(component, bench) -> None:  # type: ignore[no-untyped-def]
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
