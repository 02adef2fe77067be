"""The systolic array: sums of every pixel, with weights written at both ends of the window that `w` allows."""

import cocotb
import numpy as np

from ...hw.array import array_latency, psum_bits
from .support import Bench, pack, unpack


class TB(Bench):
    """Array driven from a timetable of pixels and weight rows; noise everywhere else."""

    async def start(self):
        await self.reset(x=0, swap=0, w=0, w_row=0, w_en=0)
        self.rows = self.config.rows
        self.now = 0
        self.pixels = {}     # cycle -> (word, swap)
        self.weights = {}    # cycle -> (row, weights)
        self.expected = {}   # cycle -> sums
        self.last_swap = self.last_load = self.end = -1 << 30

    def words(self, count):
        extreme = self.rng.random() < 0.2
        values = self.np_rng.choice([-128, 127], (count, self.rows)) if extreme else \
            self.np_rng.integers(-128, 128, (count, self.rows))
        return values.astype(np.int64)

    def tile(self, pixels, gap, load):
        """Plan a tile of ``pixels`` words, ``gap`` cycles after the last, with its weights written at ``load``.

        ``early``: row r in the first cycle in which the contract allows it, r cycles after the swap before;
        ``late``: in the last, r - 1 cycles after its own swap; ``random``: between, in any order.
        """
        rows, weights = self.rows, self.words(self.rows)
        # One row per cycle: the rows of this tile come after those of the tile before.
        first_load = max(self.last_swap, self.last_load + rows, 0)
        swap = max(self.end + gap, first_load + 1)
        load_at = {"early": first_load, "late": swap - 1}.get(load, self.rng.randint(first_load, swap - 1))
        cycles = [load_at + r for r in range(rows)]
        if load == "random":
            for _ in range(20):
                choice = [self.rng.randint(max(self.last_swap, 0) + r, swap + r - 1) for r in range(rows)]
                if len(set(choice)) == rows and not set(choice) & set(self.weights):
                    cycles = choice
                    break
        for row, cycle in enumerate(cycles):
            assert cycle not in self.weights
            self.weights[cycle] = (row, weights[row])
        words = self.words(pixels)
        for n, word in enumerate(words):
            self.pixels[swap + n] = (word, n == 0)
            self.expected[swap + n + array_latency(rows)] = word @ weights
        self.last_swap, self.last_load, self.end = swap, max(cycles) - rows + 1, swap + pixels

    async def play(self):
        """Drive the timetable, and compare the sums in the very cycle in which they must appear."""
        dut, rows, checked = self.dut, self.rows, 0
        for cycle in range(max(self.expected) + 1):
            word, swap = self.pixels.get(cycle, (self.words(1)[0], False))
            row, weights = self.weights.get(cycle, (self.rng.randrange(rows), self.words(1)[0]))
            dut.x.value, dut.swap.value = pack(word, 8), int(swap)
            dut.w.value, dut.w_row.value, dut.w_en.value = pack(weights, 8), row, int(cycle in self.weights)
            await self.tick()
            if cycle in self.expected:
                sums = unpack(int(dut.psum.value), psum_bits(rows), rows)
                assert (sums == self.expected[cycle]).all(), f"cycle {cycle}: {sums}, not {self.expected[cycle]}"
                checked += 1
        assert checked == len(self.expected)


@cocotb.test()
async def tiles_back_to_back(dut):
    for load in ("early", "late"):
        tb = TB(dut)
        await tb.start()
        for _ in range(30):
            tb.tile(tb.rows + tb.rng.choice((0, 0, tb.rng.randint(1, 9))), 0, load)
        await tb.play()


@cocotb.test()
async def random_tiles_and_gaps(dut):
    tb = TB(dut)
    await tb.start()
    for _ in range(60):
        tb.tile(tb.rng.randint(1, 3 * tb.rows), tb.rng.choice((0, 0, tb.rng.randint(0, 4 * tb.rows))),
                tb.rng.choice(("early", "late", "random")))
    await tb.play()


@cocotb.test()
async def largest_sums(dut):
    tb = TB(dut)
    await tb.start()
    tb.words = lambda count: np.full((count, tb.rows), -128, np.int64)
    tb.tile(4, 0, "early")
    await tb.play()
