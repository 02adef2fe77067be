"""The requantiser against the golden model, one random vector of lanes per cycle."""

import cocotb
import numpy as np

from ...hw.isa import MAX_LEFT_SHIFT
from ...hw.requant import CLAMP_LATENCY, REQUANT_LATENCY
from ...models.quantise import requantize
from .support import Bench, pack, unpack

MIN_SHIFT = -31


def tie_inputs(rng, shift, mult):
    """Return an int32 near which ``x * mult`` rounds to a tie of either rounding."""
    right, left = max(-shift, 0), max(shift, 0)
    target = (2 * rng.randint(-64, 64) + 1) << max(right - 1, 0)  # h with the guard bit set and nothing below it
    x = (target << 31) // (mult << left) if mult else target
    return max(-(1 << 31), min((1 << 31) - 1, x + rng.randint(-2, 2)))


class TB(Bench):
    """Requantiser fed every cycle; results checked after their latency."""

    async def start(self):
        await self.reset(x=0, mult=0, shift=0, truncate=0, offset=0, lo=0x80, hi=0x7F)

    async def run(self, vectors, lo=-128, hi=127):
        """Feed (x, mult, shift, truncate, offset) per cycle; return [y], int64 [n, lanes], and [out] likewise."""
        dut, lanes = self.dut, self.params["lanes"]
        dut.lo.value, dut.hi.value = lo & 0xFF, hi & 0xFF
        ys, outs = [], []
        for n in range(len(vectors) + CLAMP_LATENCY + 1):
            x, mult, shift, truncate, _ = vectors[min(n, len(vectors) - 1)]
            dut.x.value, dut.mult.value, dut.shift.value = pack(x, 32), pack(mult, 32), pack(shift, 6)
            dut.truncate.value = int(truncate)
            behind = n - (REQUANT_LATENCY - 1)
            if 0 <= behind < len(vectors):
                dut.offset.value = vectors[behind][4] & 0xFF
            await self.tick()
            if REQUANT_LATENCY <= n < len(vectors) + REQUANT_LATENCY:
                ys.append(unpack(int(dut.y.value), 32, lanes))
            if CLAMP_LATENCY <= n < len(vectors) + CLAMP_LATENCY:
                outs.append(unpack(int(dut.out.value), 8, lanes))
        return np.array(ys), np.array(outs)

    def vector(self, lane):
        return [lane() for _ in range(self.params["lanes"])]

    async def check(self, lane, count):
        """Compare ``count`` vectors of lanes drawn by ``lane() -> (x, mult, shift)`` with the golden model."""
        vectors = []
        for _ in range(count):
            x, mult, shift = zip(*self.vector(lane), strict=True)
            vectors.append((x, mult, shift, 0, self.rng.randint(-128, 127)))
        lo, hi = sorted(self.rng.randint(-128, 127) for _ in range(2))
        y, out = await self.run(vectors, lo, hi)
        for n, (x, mult, shift, _, offset) in enumerate(vectors):
            # The sum with the offset is an int32 too.
            expected = (requantize(x, mult, shift) + np.int32(offset)).astype(np.int32)
            assert (y[n] == expected).all(), f"y {y[n]}, not {expected}, of {vectors[n]}"
            assert (out[n] == expected.clip(lo, hi)).all(), f"out {out[n]} of {vectors[n]}, clamped to {lo}..{hi}"


@cocotb.test()
async def full_range(dut):
    tb = TB(dut)
    await tb.start()
    rng = tb.rng
    edges = (0, 1, -1, (1 << 31) - 1, -(1 << 31), 1 << 30, -(1 << 30))

    def lane():
        x = rng.choice((rng.choice(edges), rng.randrange(-1 << 31, 1 << 31), rng.randint(-1 << 16, 1 << 16)))
        mult = rng.choice((0, 1 << 30, (1 << 31) - 1, rng.randrange(1 << 30, 1 << 31), rng.randrange(1 << 31)))
        return x, mult, rng.randint(MIN_SHIFT, MAX_LEFT_SHIFT)

    await tb.check(lane, 4000)


@cocotb.test()
async def every_shift_at_its_ties(dut):
    tb = TB(dut)
    await tb.start()
    for shift in range(MIN_SHIFT, MAX_LEFT_SHIFT + 1):
        def lane(shift=shift):
            mult = tb.rng.choice((1 << 30, 3 << 29, tb.rng.randrange(1 << 30, 1 << 31)))
            return tie_inputs(tb.rng, shift, mult), mult, shift

        await tb.check(lane, 60)


@cocotb.test()
async def truncating_division_is_exact(dut):
    tb = TB(dut)
    await tb.start()
    rng = tb.rng
    vectors, expected = [], []
    for _ in range(3000):
        lanes = []
        for _ in range(tb.params["lanes"]):
            n = rng.choice((rng.randint(2, 12), rng.randint(2, 2048)))
            largest = 128 * n + n // 2
            multiple = n * rng.randint(-128, 128)
            lanes.append((n, rng.choice((0, largest, -largest, rng.randint(-largest, largest), multiple,
                                         max(-largest, multiple - 1), min(largest, multiple + 1)))))
        mult = [(1 << 31) // n + 1 for n, _ in lanes]
        vectors.append(([v for _, v in lanes], mult, [0] * len(lanes), 1, 0))
        expected.append([abs(v) // n * (1 if v > 0 else -1) for n, v in lanes])
    y, _ = await tb.run(vectors)
    wrong = np.argwhere(y != np.array(expected))
    assert not wrong.size, f"{vectors[wrong[0][0]]}: {y[wrong[0][0]]}, not {expected[wrong[0][0]]}"
