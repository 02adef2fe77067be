"""The compute unit with its memories modelled: sums against a NumPy loop, every cycle against its named latencies."""

from dataclasses import dataclass, field
from itertools import pairwise

import cocotb
import numpy as np

from ...hw.accumulator import ACC_READ_LATENCY, MIN_PASS
from ...hw.compute import (
    START_LATENCY,
    WEIGHT_READ_LATENCY,
    array_cycles,
    array_empty,
    compute_latency,
    pass_cycles,
)
from ...hw.isa import COMPUTE, ErrorCode, Opcode, encode
from ...hw.scratchpad import ACT_READ_LATENCY
from ...hw.window import PASS_LATENCY
from .coverage import Coverage
from .runner import COVERAGE_DIR
from .stimuli import PADDING_KINDS, random_compute, random_filter, random_window, words_back
from .support import Bench, pack, pack_entry, unpack, unpack_error

_ADDRESS_SPACE = 1 << 20


def convolve(body, act, wgt, acc, filter_rows):
    """Run one COMPUTE on the arrays of words, as its definition says; ``acc`` changes in place."""
    body = with_zeros(body)
    pixels, weights = pixels_of(body), body["tiles"] * wgt.shape[1]
    for g in range(body["groups"]):
        group = {"in_base": body["in_base"] + g * body["step_group"], "acc": body["acc"] + g * pixels,
                 "wgt": body["wgt"] + g * weights}
        convolve_group(body | group, act, wgt, acc, filter_rows)


def convolve_group(body, act, wgt, acc, filter_rows):
    rows, fir = wgt.shape[1], body["fir"]
    pixels = body["out_h"] * body["out_w"]
    words = body["walk_h"] * body["walk_w"] if fir else pixels
    y, x = np.divmod(np.arange(words), body["walk_w"] if fir else body["out_w"])
    stride_y, stride_x = (1, 1) if fir else (body["stride_y"], body["stride_x"])
    target = slice(body["acc"], body["acc"] + pixels)
    total = acc[target].astype(np.int64) if body["accumulate"] else np.zeros((pixels, rows), np.int64)
    tile = 0
    for ky in range(body["kh"]):
        for kx in range(body["kw"]):
            iy = body["iy0"] + y * stride_y + ky * body["dil_y"]
            ix = body["ix0"] + x * stride_x + kx * body["dil_x"]
            inside = (0 <= iy) & (iy < body["in_h"]) & (0 <= ix) & (ix < body["in_w"])
            for block in range(body["blocks"]):
                places = (body["in_base"] + y * body["step_y"] + x * body["step_x"] + ky * body["tap_y"]
                          + kx * body["tap_x"] + block * body["step_block"]) % _ADDRESS_SPACE
                taps = np.full((len(y), rows), body["fill"], np.int64)
                taps[inside] = act[places[inside]]
                first = body["wgt"] + tile * rows
                weights = wgt[first:first + rows].astype(np.int64)
                total += filtered(body, taps, weights, filter_rows) if fir else taps @ weights
                tile += 1
    acc[target] = total.astype(np.int32)  # wraps


def filtered(body, words, weights, filter_rows):
    """Return the sums of a pass in filter mode: each column filters its channel of the stream.

    Rows from ``filter_rows`` on multiply their channel of the newest word.
    """
    stream = np.concatenate([np.full((body["lead"], words.shape[1]), body["fill"], np.int64), words])
    y, x = np.divmod(np.arange(body["out_h"] * body["out_w"]), body["out_w"])
    newest = (body["lead"] + (body["skip_y"] + y * body["stride_y"]) * body["walk_w"]
              + body["skip_x"] + x * body["stride_x"])
    return stream[newest, filter_rows:] @ weights[filter_rows:] + sum(
        stream[newest - words_back(filter_rows, body["spacing"], body["walk_w"], row)] * weights[row]
        for row in range(filter_rows))


def with_zeros(body):
    """Return ``body`` with all fields of a COMPUTE; absent ones are 0."""
    return {**{str(name): 0 for name, _ in COMPUTE}, **body}


def pixels_of(body):
    return body["out_h"] * body["out_w"]


def words_of(body):
    """Return the words that each pass streams."""
    return body["lead"] + body["walk_h"] * body["walk_w"] if body.get("fir") else pixels_of(body)


def mode_of(body):
    """Return what the array and the line buffer must be set to."""
    return (body["spacing"], body["walk_w"]) if body.get("fir") else None


@dataclass
class Events:
    """Cycles in which the ports of the unit showed something."""

    accept: list = field(default_factory=list)
    active: list = field(default_factory=list)
    release: list = field(default_factory=list)
    done: list = field(default_factory=list)


def predict(config, bodies, start, mode=None):
    """Return the `Events` of instructions that are always waiting, the first taken in cycle ``start``.

    The array is empty then, and in ``mode``.
    """
    events = Events()
    period = pass_cycles(config, 1)
    loader_free, streamer_free, take = start, start, start - MIN_PASS
    acc, pixels = None, -1 - array_empty(config)
    for body in bodies:
        accept = max(loader_free, take + 1)
        events.accept.append(accept)
        if body["accumulate"] and acc is not None and (body.get("fir") or acc != body["acc"]):
            streamer_free = max(streamer_free, take + pixels + MIN_PASS - 1)
        if mode_of(body) != mode:  # every word must have left array and line buffer
            streamer_free = max(streamer_free, take + pixels + 2 + array_empty(config))
            mode = mode_of(body)
        acc, pixels = body["acc"], words_of(body)
        load = accept + START_LATENCY - 1  # of the tile's first weight row
        for _ in range(body["groups"] * body["tiles"]):
            load = max(load, take + 1)
            take = max(load + 1, streamer_free)
            streamer_free = take + max(pixels, MIN_PASS)
            events.active += range(take + PASS_LATENCY, take + PASS_LATENCY + pixels)
            load += period
        loader_free = load
        events.release.append(take + PASS_LATENCY + pixels - 1)
        events.done.append(take + pixels + compute_latency(config) - 1)
    return events


def coverage():
    return Coverage(
        {"kernel": ("1", "2", "3", "4+"), "stride": ("1", "2", "3+"), "padding": PADDING_KINDS,
         "blocks": ("1", "2", "3+"), "pixels": ("1", "below rows", "multiple of rows", "remainder"),
         "accumulate": (0, 1), "dilation": ("1", "2+"), "groups": ("1", "2", "3+"), "inputs": ("same", "other")},
        [("kernel", "stride"), ("kernel", "padding"), ("kernel", "blocks"), ("kernel", "pixels"),
         ("stride", "padding"), ("padding", "pixels"), ("blocks", "pixels"), ("accumulate", "pixels"),
         ("dilation", "padding"), ("dilation", "stride"), ("groups", "pixels"), ("groups", "accumulate"),
         ("groups", "blocks"), ("groups", "inputs")])


def sample(cover, body, padding, rows):
    pixels = pixels_of(body)
    cover.sample(
        kernel="4+" if max(body["kh"], body["kw"]) > 3 else str(max(body["kh"], body["kw"])),
        stride="3+" if max(body["stride_y"], body["stride_x"]) > 2 else str(max(body["stride_y"], body["stride_x"])),
        padding=padding, blocks="3+" if body["blocks"] > 2 else str(body["blocks"]),
        pixels=("1" if pixels == 1 else "below rows" if pixels < rows else
                "remainder" if pixels % rows else "multiple of rows"),
        groups="3+" if body["groups"] > 2 else str(body["groups"]), inputs="other" if body["step_group"] else "same",
        accumulate=body["accumulate"], dilation="1" if max(body["dil_y"], body["dil_x"]) == 1 else "2+")


class TB(Bench):
    """Compute unit, activation and weight memories of the exact latencies, and the accumulators it should hold."""

    def __init__(self, dut):
        super().__init__(dut)
        config = self.config
        self.act = self.np_rng.integers(-128, 128, (config.act_words, config.rows)).astype(np.int8)
        self.wgt = self.np_rng.integers(-128, 128, (config.wgt_words, config.rows)).astype(np.int8)
        self.acc = np.zeros((config.acc_depth, config.rows), np.int32)
        act, wgt = [pack(word, 8) for word in self.act], [pack(word, 8) for word in self.wgt]
        self.read_port(dut.act__en, dut.act__addr, dut.act__data, ACT_READ_LATENCY, act)
        self.read_port(dut.wgt_en, dut.wgt_addr, dut.wgt_data, WEIGHT_READ_LATENCY - 1, wgt)
        self.events = Events()
        self.mode = None
        self.errors = []
        self.every_cycle(self._record)

    def _record(self):
        dut, events = self.dut, self.events
        for signal, cycles in ((dut.active, events.active), (dut.release, events.release), (dut.done, events.done)):
            if int(signal.value):
                cycles.append(self.cycle)
        if int(dut.start__valid.value) and int(dut.start__ready.value):
            events.accept.append(self.cycle)
        error = unpack_error(int(dut.error.value))
        if error:
            self.errors.append(error)

    async def start(self):
        await self.reset(start__valid=0, acc_read_en=0, act__error=0)
        self.acc[:] = await self.read_acc(range(self.config.acc_depth))

    async def read_acc(self, addresses):
        """Return the accumulators at ``addresses``, read one per cycle."""
        words, asked = [], list(addresses)
        self.dut.acc_read_en.value = 1
        for n in range(len(asked) + ACC_READ_LATENCY):
            self.dut.acc_read_address.value = asked[min(n, len(asked) - 1)]
            await self.tick()
            if n >= ACC_READ_LATENCY:
                words.append(unpack(int(self.dut.acc_read_data.value), 32, self.config.cols))
        self.dut.acc_read_en.value = 0
        return np.array(words)

    async def send_all(self, bodies):
        """Offer the instructions without a pause."""
        for index, body in enumerate(bodies):
            await self.send("start", pack_entry(encode(Opcode.COMPUTE, **body), index))

    async def run(self, bodies):
        """Run instructions back to back; compare every event's cycle, then the accumulators."""
        self.events = Events()
        await self.send_all(bodies)
        await self.until(lambda: len(self.events.done) == len(bodies), "all instructions retire", 100_000)
        await self.tick(2)
        assert not self.errors
        expected = predict(self.config, bodies, self.events.accept[0], self.mode)
        self.mode = mode_of(bodies[-1])
        for name in ("accept", "active", "release", "done"):
            assert getattr(self.events, name) == getattr(expected, name), f"cycles of {name} of {bodies}"
        for body in bodies:
            convolve(body, self.act, self.wgt, self.acc, self.config.fir_rows)
        wrong = np.argwhere(await self.read_acc(range(self.config.acc_depth)) != self.acc)
        assert not wrong.size, f"accumulator, column {wrong[0]} of {len(wrong)} after {bodies}"

    def random_filter(self, **limits):
        config = self.config
        return random_filter(self.rng, config, range(config.act_words), range(config.wgt_words),
                             self.rng.randrange(2), **limits)[0]

    def random(self, half=None, **limits):
        half = self.rng.randrange(2) if half is None else half
        return random_compute(self.rng, self.config, range(self.config.act_words), range(self.config.wgt_words), half,
                              **limits)


@cocotb.test()
async def random_convolutions(dut):
    tb = TB(dut)
    await tb.start()
    cover = coverage()
    for _ in range(tb.params["batches"]):
        bodies = []
        for _ in range(tb.rng.randint(1, 6)):
            body, window = tb.random()
            sample(cover, body, window.padding, tb.config.rows)
            bodies.append(body)
        await tb.run(bodies)
    cover.save(COVERAGE_DIR, f"compute unit, {tb.config.rows} rows")
    assert cover.percent >= tb.params["coverage"]


@cocotb.test()
async def the_largest_kernels(dut):
    tb = TB(dut)
    await tb.start()
    for kernel, out in (((16, 16), (1, 1)), ((1, 31), (1, 2)), ((31, 1), (2, 3)), ((7, 16), (2, 2))):
        window = None
        while window is None:
            window = random_window(tb.rng, range(tb.config.act_words), "border", out, kernel, (1, 1), (1, 1), 1)
        await tb.run([{**window.fields, "dil_x": 1, "dil_y": 1, "blocks": 1, "groups": 1,
                       "tiles": kernel[0] * kernel[1], "wgt": 0, "acc": 0, "accumulate": 0}])


@cocotb.test()
async def tiles_of_rows_pixels_stream_without_a_bubble(dut):
    tb = TB(dut)
    await tb.start()
    rows = tb.config.rows
    for pixels in (max(rows, MIN_PASS), rows + 1 + MIN_PASS, tb.config.acc_half):
        body = {"in_h": 1, "in_w": 64, "step_x": 1, "tap_x": 1, "stride_x": 1, "dil_x": 1, "out_h": 1,
                "out_w": pixels, "kh": 1, "kw": 3, "blocks": 2, "groups": 1, "tiles": 6, "wgt": 5,
                "acc": 0, "accumulate": 0}
        await tb.run([body])
        active = tb.events.active
        assert active[-1] - active[0] + 1 == 6 * pixels
    # Nor does a bubble come between groups, however few words their passes stream.
    for words in (1, rows, max(rows, MIN_PASS)):
        groups = min(7, tb.config.acc_half // words)
        for accumulate in (0, 1):
            await tb.run([body | {"out_w": words, "groups": groups, "step_group": 64, "accumulate": accumulate}])
            passes = tb.events.active[::words]
            period = pass_cycles(tb.config, words)
            assert [later - earlier for earlier, later in pairwise(passes)] == [period] * (6 * groups - 1)
            assert array_cycles(tb.config, body | {"out_w": words, "groups": groups, "fir": 0}) == 6 * groups * period
    # With some more pixels not even the change of instruction costs a cycle.
    await tb.run([body] * 4)
    active = tb.events.active
    assert active[-1] - active[0] + 1 == 4 * 6 * pixels


@cocotb.test()
async def random_filters(dut):
    tb = TB(dut)
    await tb.start()
    for _ in range(tb.params["batches"] // 2):
        await tb.run([tb.random_filter() for _ in range(tb.rng.randint(1, 4))])


@cocotb.test()
async def the_mode_changes_between_instructions(dut):
    tb = TB(dut)
    await tb.start()
    for _ in range(tb.params["batches"] // 5):
        first, other = tb.random_filter(most_words=120), tb.random_filter(most_words=120)
        dense = tb.random(max_kernel=3)[0]
        await tb.run([dense, first, {**first, "fill": 3}, other, dense, dense, other])
        await tb.run(tb.rng.choices((first, other, dense), k=8))


@cocotb.test()
async def filters_of_one_line_length_stream_without_a_bubble(dut):
    tb = TB(dut)
    await tb.start()
    body = {}
    while not body or body["accumulate"] or words_of(body) < 2 * tb.config.rows + MIN_PASS:
        body = tb.random_filter()
    await tb.run([body] * 4)
    active = tb.events.active
    assert active[-1] - active[0] + 1 == 4 * array_cycles(tb.config, body)
    assert array_cycles(tb.config, body) == body["groups"] * body["tiles"] * words_of(body)


@cocotb.test()
async def the_other_half_is_read_meanwhile(dut):
    tb = TB(dut)
    await tb.start()
    half = tb.config.acc_half
    for busy in (0, 1, 0, 1):
        body = tb.random(busy, max_kernel=3)[0]
        sender = cocotb.start_soon(tb.send_all([body]))
        addresses = [(1 - busy) * half + tb.rng.randrange(half) for _ in range(200)]
        assert (await tb.read_acc(addresses) == tb.acc[addresses]).all()
        await sender
        done = len(tb.events.done)
        await tb.until(lambda done=done: len(tb.events.done) > done or not int(dut.busy.value), "the run ends")
        await tb.tick(50)
        convolve(body, tb.act, tb.wgt, tb.acc, tb.config.fir_rows)
        assert not tb.errors
    assert (await tb.read_acc(range(tb.config.acc_depth)) == tb.acc).all()


@cocotb.test()
async def reading_the_half_in_use_is_an_error(dut):
    tb = TB(dut)
    await tb.start()
    body = {"in_h": 1, "in_w": 8, "step_x": 1, "stride_x": 1, "out_h": 1, "out_w": 8, "kh": 1, "kw": 1, "blocks": 1,
            "groups": 1, "tiles": 1, "acc": 0, "accumulate": 1}
    await tb.send_all([body])
    await tb.read_acc([1] * 60)
    assert tb.errors[0] == (ErrorCode.ACC_CONFLICT, 0)


@cocotb.test()
async def errors_name_the_instruction_that_made_them(dut):
    tb = TB(dut)
    await tb.start()
    good = {"in_h": 1, "in_w": 8, "step_x": 1, "stride_x": 1, "out_h": 1, "out_w": 16, "kh": 1, "kw": 1, "blocks": 1,
            "groups": 1, "tiles": 1, "acc": 0, "accumulate": 0}
    config = tb.config
    fir = {"fir": 1, "walk_h": 1, "walk_w": 16, "spacing": 5, "stride_y": 1}
    for change, code in (*((fir | wrong, ErrorCode.FIELD) for wrong in (
                             {"walk_h": 0}, {"walk_w": 0}, {"stride_x": 0}, {"stride_y": 0}, {"spacing": 6},
                             {"spacing": 0}, {"walk_w": config.line_words - 4}, {"out_h": 0}, {"tiles": 2})),
                         (fir | {"acc": config.acc_half - 3}, ErrorCode.ADDRESS),
                         ({"groups": 0}, ErrorCode.FIELD), (fir | {"groups": 0}, ErrorCode.FIELD),
                         ({"groups": config.acc_half // 16 + 1}, ErrorCode.ADDRESS),
                         (fir | {"groups": config.acc_half // 16 + 1}, ErrorCode.ADDRESS),
                         ({"groups": 2, "wgt": config.wgt_words - config.rows}, ErrorCode.ADDRESS),
                         ({"kw": 2, "tiles": 4, "groups": 2}, ErrorCode.FIELD),
                         ({"kw": 0}, ErrorCode.FIELD), ({"blocks": 0}, ErrorCode.FIELD),
                         ({"out_h": 0}, ErrorCode.FIELD), ({"tiles": 0}, ErrorCode.FIELD),
                         ({"kw": 2}, ErrorCode.FIELD), ({"kw": 3, "tiles": 2}, ErrorCode.FIELD),
                         ({"wgt": config.wgt_words - config.rows + 1}, ErrorCode.ADDRESS),
                         ({"acc": config.acc_half - 3}, ErrorCode.ADDRESS), ({"acc": config.acc_depth},
                                                                             ErrorCode.FIELD)):
        tb.errors.clear()
        sender = cocotb.start_soon(tb.send_all([good, good, {**good, **change}, good]))
        await tb.until(lambda: bool(tb.errors), f"an error of {change}", 400)
        assert tb.errors[0] == (code, 2), f"{change}: {tb.errors[0]}"
        sender.cancel()
        dut.start__valid.value = 0
        dut.rst.value = 1
        await tb.tick(80)
        dut.rst.value = 0
        await tb.tick()
    tb.errors.clear()
    await tb.run([good, good])
