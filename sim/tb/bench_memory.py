"""On-chip memory behind the interconnect: its time against the contract of the fixed DRAM, its data, who goes first."""

import logging
from collections import deque

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiBus, AxiMaster

from ...hw.axi import BURST_INCR
from ...hw.interconnect import INTERCONNECT_LATENCY
from ...hw.memory import DECERR, MEMORY_LATENCY
from .support import Bench, pauses

LATENCY = INTERCONNECT_LATENCY + MEMORY_LATENCY


class FixedDram:
    """The contract in sim/rtl/dram.hpp for a bandwidth of two words per cycle, where the data bus limits nothing."""

    def __init__(self, latency):
        self.latency = latency
        self.reads, self.writes, self.answers = deque(), deque(), deque()
        self.beat = self.answer = None

    def offer(self, cycle):
        """Return what is driven in ``cycle``: the beat (word, last) or None, wready, the answer or None."""
        if self.beat is None and self.reads and self.reads[0][0] <= cycle:
            ready, word, beats = self.reads[0]
            self.beat = word, beats == 1
            self.reads[0] = ready, word + 1, beats - 1
            if beats == 1:
                self.reads.popleft()
        if self.answer is None and self.answers and self.answers[0][0] <= cycle:
            self.answer = self.answers.popleft()[1]
        return self.beat, bool(self.writes), self.answer

    def clock(self, cycle, read, write, beat_taken, word_taken, answer_taken):
        """End ``cycle`` in which these were transferred: (word, beats) of an address or None, and the rest or not.

        Returns the word to which the data that was taken goes.
        """
        target = None
        if beat_taken:
            self.beat = None
        if answer_taken:
            self.answer = None
        if word_taken:
            word, beats = self.writes.popleft()
            target = word
            if beats == 1:
                self.answers.append((cycle + self.latency, True))
            else:
                self.writes.appendleft((word + 1, beats - 1))
        if read:
            self.reads.append((cycle + self.latency, *read))
        if write:
            self.writes.append(write)
        return target


class TB(Bench):
    def __init__(self, dut):
        super().__init__(dut)
        self.size, self.words = self.params["data_bytes"], self.params["words"]

    async def reset(self):
        await super().reset(**{f"port{i}__{name}": 0 for i in range(2) for name in
                               ("arvalid", "awvalid", "wvalid", "rready", "bready")})

    def port(self, name):
        return getattr(self.dut, f"port0__{name}")

    def flag(self, name):
        return bool(int(self.port(name).value))


def burst(tb, words):
    """Return a random burst inside ``words``: first word, beats."""
    beats = min(tb.rng.choice((1, 1, 2, 5, 16)), len(words))
    return tb.rng.randrange(words.start, words.stop - beats + 1), beats


async def traffic(tb, cycles, reads, writes, ask, take, contents):
    """Drive port 0 at random and assert in each cycle that the slave drives what the contract says.

    ``reads`` and ``writes`` are ranges of words, which must not overlap; ``ask`` and ``take`` are probabilities of a
    new valid and of a ready. ``contents`` has the words by number and is kept up to date.
    """
    model, rng = FixedDram(LATENCY), tb.rng
    addresses = {"ar": None, "aw": None}
    data, missing = None, deque()  # beats left of each burst whose address was taken
    for cycle in range(cycles):
        quiet = cycle > cycles - 40 * LATENCY
        for channel, words in (("ar", reads), ("aw", writes)):
            open_bursts = len(model.reads) if channel == "ar" else len(model.writes) + len(model.answers)
            if addresses[channel] is None and words and not quiet and open_bursts < tb.params["outstanding"] - 2 \
                    and rng.random() < ask:
                addresses[channel] = burst(tb, words)
                word, beats = addresses[channel]
                tb.port(f"{channel}addr").value = word * tb.size
                tb.port(f"{channel}len").value = beats - 1
            tb.port(f"{channel}valid").value = int(addresses[channel] is not None)
        if data is None and missing and (quiet or rng.random() < ask):
            data = rng.getrandbits(8 * tb.size)
            tb.port("wdata").value, tb.port("wlast").value = data, int(missing[0] == 1)
        tb.port("wvalid").value = int(data is not None)
        for ready in ("rready", "bready"):
            tb.port(ready).value = int(quiet or rng.random() < take)
        await RisingEdge(tb.dut.clk)

        beat, wready, answer = model.offer(cycle)
        seen = tb.flag("rvalid"), tb.flag("wready"), tb.flag("bvalid"), tb.flag("arready"), tb.flag("awready")
        expected = beat is not None, wready, answer is not None, True, True
        if addresses["ar"] is None:
            expected, seen = expected[:3] + expected[4:], seen[:3] + seen[4:]
        if addresses["aw"] is None:
            expected, seen = expected[:-1], seen[:-1]
        assert seen == expected, f"cycle {cycle}: rvalid, wready, bvalid, ... are {seen}, not {expected}"
        if beat is not None:
            word, last = beat
            assert int(tb.port("rlast").value) == last
            assert int(tb.port("rdata").value) == contents.get(word, 0), f"cycle {cycle}: word {word}"
        word_taken = data is not None and wready
        target = model.clock(cycle, addresses["ar"], addresses["aw"],
                             beat is not None and tb.flag("rready"), word_taken,
                             answer is not None and tb.flag("bready"))
        if word_taken:
            contents[target], data = data, None
            missing[0] -= 1
            if not missing[0]:
                missing.popleft()
        if addresses["aw"]:
            missing.append(addresses["aw"][1])
        addresses = {"ar": None, "aw": None}
    assert not model.reads and not model.writes and not model.answers, "the bench must end with nothing in flight"


@cocotb.test()
async def time_is_that_of_the_fixed_dram(dut):
    tb = TB(dut)
    await tb.reset()
    low, high = range(tb.words // 2), range(tb.words // 2, tb.words)
    contents: dict[int, int] = {}
    for reads, writes in ((range(0), low), (low, range(0)), (low, high), (high, low), (low, range(0))):
        for ask, take in ((1, 1), (0.5, 0.5), (0.05, 1), (1, 0.3), (0.3, 0.9)):
            await traffic(tb, 1500, reads, writes, ask, take, contents)


@cocotb.test()
async def beats_outside_answer_decerr(dut):
    tb = TB(dut)
    await tb.reset()
    logging.getLogger(f"cocotb.{dut._name}").setLevel("ERROR")
    master = AxiMaster(AxiBus.from_prefix(dut, "port0_"), dut.clk)
    size, end = tb.size, tb.words * tb.size
    before = (await master.read(0, end - size, arid=0)).data
    for address, length, broken in ((end - size, size, False), (end - size, 2 * size, True), (end, size, True),
                                    (2 * end, size, True), (1 << 31, size, True)):
        read = await master.read(address, length, arid=0)
        assert (read.resp == DECERR) == broken, f"{read.resp} at {address:#x}"
        written = await master.write(address, bytes(length), awid=0)
        assert (written.resp == DECERR) == broken, f"{written.resp} at {address:#x}"
    assert (await master.read(0, end - size, arid=0)).data == before, "what is outside must not be written elsewhere"


@cocotb.test()
async def two_masters_keep_their_data(dut):
    tb = TB(dut)
    await tb.reset()
    logging.getLogger(f"cocotb.{dut._name}").setLevel("ERROR")
    masters = [AxiMaster(AxiBus.from_prefix(dut, f"port{i}_"), dut.clk) for i in range(2)]
    for master in masters:
        for channel in (master.read_if.ar_channel, master.read_if.r_channel, master.write_if.aw_channel,
                        master.write_if.w_channel, master.write_if.b_channel):
            channel.set_pause_generator(pauses(tb.rng, 0.3))

    async def work(number):
        half = tb.words * tb.size // 2
        image = bytearray((await masters[number].read(number * half, half, arid=0)).data)
        for _ in range(60):
            offset, words = tb.rng.randrange(half // tb.size - 64) * tb.size, tb.rng.randint(1, 64)
            if tb.rng.random() < 0.5:
                image[offset:offset + words * tb.size] = block = tb.rng.randbytes(words * tb.size)
                await masters[number].write(number * half + offset, block, awid=0)
            else:
                found = await masters[number].read(number * half + offset, words * tb.size, arid=0)
                assert found.data == image[offset:offset + words * tb.size], f"master {number} at {offset:#x}"

    other = cocotb.start_soon(work(1))
    await work(0)
    await other


@cocotb.test()
async def masters_that_ask_together_take_turns(dut):
    tb = TB(dut)
    await tb.reset()
    for i in range(2):
        for channel in ("ar", "aw"):
            getattr(dut, f"port{i}__{channel}len").value = 3
            getattr(dut, f"port{i}__{channel}burst").value = BURST_INCR
            getattr(dut, f"port{i}__{channel}valid").value = 1
        getattr(dut, f"port{i}__rready").value = getattr(dut, f"port{i}__bready").value = 1
    granted = {"ar": [], "aw": []}
    for _ in range(60):
        await RisingEdge(dut.clk)
        for channel, order in granted.items():
            order += [i for i in range(2) if int(getattr(dut, f"port{i}__{channel}ready").value)]
    for order in granted.values():
        assert len(order) >= tb.params["outstanding"]
        assert all(a != b for a, b in zip(order, order[1:], strict=False)), order
