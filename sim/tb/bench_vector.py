"""The vector unit with its memories modelled: bytes against the instruction-level machine, rate, and errors."""

import cocotb
import numpy as np

from ...hw.accumulator import ACC_READ_LATENCY
from ...hw.isa import PARAM_WORDS, ErrorCode, Opcode, PoolMode, encode
from ...hw.scratchpad import ACT_READ_LATENCY
from ...hw.vector import GROUP_PERIOD, ISSUE_TO_WRITE, PARAM_READ_LATENCY, vector_latency, vector_period
from ..decode import decode_instruction
from ..memories import Memories
from ..steps import Broken, prepare
from .coverage import Coverage
from .runner import COVERAGE_DIR
from .stimuli import (
    PADDING_KINDS,
    random_add,
    random_pair,
    random_params,
    random_pool,
    random_requant,
    random_table,
)
from .support import Bench, pack, pack_entry, unpack, unpack_error

_BANKS = {"rd_banks": 0xFF, "wr_banks": 0xFF}


class TB(Bench):
    """Vector unit, memories of the exact latencies that it also writes, and the machine's memories beside them."""

    def __init__(self, dut):
        super().__init__(dut)
        config = self.config
        self.expected = memories = Memories(config, config.word_bytes)
        memories.act[:] = self.np_rng.integers(-128, 128, memories.act.shape)
        memories.acc[:] = self.np_rng.integers(-1 << 31, 1 << 31, memories.acc.shape)
        memories.acc[::2] >>= 15  # of the size that real sums have
        blocks = config.param_words // PARAM_WORDS
        memories.param[:blocks * PARAM_WORDS] = np.concatenate(
            [random_params(self.rng, config, ((-31, 7), (-10, -4))[n % 2]) for n in range(blocks)])
        self.act = [pack(word, 8) for word in memories.act[:config.act_words]]
        acc, param = [pack(word, 32) for word in memories.acc], [pack(word, 8) for word in memories.param]
        self.accepts, self.writes, self.dones, self.errors = [], [], [], []
        self.every_cycle(self._record)  # before the reads: what is written in a cycle is read from the next
        self.read_port(dut.act__en, dut.act__addr, dut.act__data, ACT_READ_LATENCY, self.act)
        self.read_port(dut.acc_en, dut.acc_address, dut.acc_data, ACC_READ_LATENCY, acc, idle_zero=True)
        self.read_port(dut.param_en, dut.param_addr, dut.param_data, PARAM_READ_LATENCY, param)

    def _record(self):
        dut = self.dut
        if int(dut.start__valid.value) and int(dut.start__ready.value):
            self.accepts.append(self.cycle)
        if int(dut.out__en.value):
            self.writes.append(self.cycle)
            address = int(dut.out__addr.value)
            if address < len(self.act):
                self.act[address] = int(dut.out__data.value)
        if int(dut.done.value):
            self.dones.append(self.cycle)
        error = unpack_error(int(dut.error.value))
        if error:
            self.errors.append(error)

    async def start(self):
        await self.reset(start__valid=0, act__error=0, out__error=0)

    def apply(self, opcode, body):
        """Let the machine run an instruction."""
        step = prepare(self.config, decode_instruction(encode(opcode, _BANKS, **body), 0), 0, 1)
        assert not isinstance(step, Broken), f"{opcode.name} {body} must be able to run"
        step.commit(self.expected, step.fetch(self.expected))

    async def run(self, instructions):
        """Run (opcode, body) back to back; compare the cycles of writes and ends, and the buffer."""
        for events in (self.accepts, self.writes, self.dones):
            events.clear()
        for index, (opcode, body) in enumerate(instructions):
            await self.send("start", pack_entry(encode(opcode, _BANKS, **body), index))
        await self.until(lambda: len(self.dones) == len(instructions), "all instructions retire", 50_000)
        await self.tick()
        assert not self.errors
        for opcode, body in instructions:
            self.apply(opcode, body)
        expected = self.expected.act[:self.config.act_words]
        got = np.array([unpack(word, 8, self.config.cols) for word in self.act])
        wrong = np.argwhere(got != expected)
        assert not wrong.size, (f"word, channel {wrong[0]} of {len(wrong)}: {got[tuple(wrong[0])]}, "
                                f"not {expected[tuple(wrong[0])]} after {instructions}")
        self.check_cycles(instructions)

    def check_cycles(self, instructions):
        cycle, writes = self.accepts[0], []
        idle = free = cycle
        read = cycle - GROUP_PERIOD  # when the parameters before these were used
        requant_before = False
        for accept, done, (opcode, body) in zip(self.accepts, self.dones, instructions, strict=True):
            assert accept == cycle, f"{opcode.name} is accepted in cycle {accept}, not {cycle}"
            words = body["out_h"] * body["out_w"]
            if opcode == Opcode.REQUANT:
                # Cycles in which the first word of a group may follow, and in which words are free to begin.
                ready = max(accept + 1 + PARAM_WORDS, read + GROUP_PERIOD)
                begun = max(accept + 1, min(max(free, ready), idle) if requant_before else idle)
                first = max(begun + 1, ready)
                for group in range(body["groups"]):
                    if group:
                        ready = first + GROUP_PERIOD
                        first = max(first + words, ready)
                    writes += range(first + ACC_READ_LATENCY + ISSUE_TO_WRITE,
                                    first + ACC_READ_LATENCY + ISSUE_TO_WRITE + words)
                read, free = first, first + words - 1
                cycle = max(begun + 1, ready)
            else:
                taps = body["kh"] * body["kw"] if opcode == Opcode.POOL else 1
                begun = max(accept + 1, idle)
                period = vector_period(opcode, taps)
                first = begun - 1 + vector_latency(opcode, taps, bool(body.get("reload")))
                writes += range(first, first + period * words, period)
                cycle = begun + 1
            requant_before = opcode == Opcode.REQUANT
            assert done == writes[-1], f"{opcode.name} ends in cycle {done}, not {writes[-1]}"
            idle = done + 1
        assert self.writes == writes, f"cycles of writes of {instructions}"

    def regions(self):
        """Return two disjoint ranges of words, to read from and to write to."""
        middle = self.config.act_words // 2
        parts = [range(middle), range(middle, self.config.act_words)]
        self.rng.shuffle(parts)
        return parts

    def requant(self):
        blocks = self.config.param_words // PARAM_WORDS
        body = random_requant(self.rng, self.config, range(self.config.act_words), range(blocks * PARAM_WORDS),
                              self.rng.randrange(2))
        body["param"] -= body["param"] % PARAM_WORDS
        return Opcode.REQUANT, body

    def add(self):
        return Opcode.ADD, random_add(self.rng, self.config, *self.regions())

    def mul(self):
        return Opcode.MUL, random_pair(self.rng, self.config, *self.regions())

    def table(self, *, reload=None):
        reload = self.rng.random() < 0.3 if reload is None else reload
        return Opcode.TABLE, random_table(self.rng, self.config, *self.regions(), reload=reload)

    def pool(self, mode, **limits):
        body, window = random_pool(self.rng, self.config, *self.regions(), mode, **limits)
        return (Opcode.POOL, body), window


@cocotb.test()
async def requantises_accumulators(dut):
    tb = TB(dut)
    await tb.start()
    for _ in range(tb.params["batches"]):
        await tb.run([tb.requant() for _ in range(tb.rng.randint(1, 4))])


@cocotb.test()
async def adds_images(dut):
    tb = TB(dut)
    await tb.start()
    for _ in range(tb.params["batches"]):
        await tb.run([tb.add() for _ in range(tb.rng.randint(1, 3))])


@cocotb.test()
async def multiplies_images(dut):
    tb = TB(dut)
    await tb.start()
    for _ in range(tb.params["batches"]):
        await tb.run([tb.mul() for _ in range(tb.rng.randint(1, 3))])


@cocotb.test()
async def looks_up_tables(dut):
    tb = TB(dut)
    await tb.start()
    await tb.run([tb.table(reload=True)])
    for _ in range(tb.params["batches"]):
        await tb.run([tb.table() for _ in range(tb.rng.randint(1, 3))])


@cocotb.test()
async def adds_in_place(dut):
    tb = TB(dut)
    await tb.start()
    for name in "ab":
        opcode, body = tb.add()
        body |= {"dst": body[name], "dst_step_x": body[f"{name}_step_x"], "dst_step_y": body[f"{name}_step_y"]}
        await tb.run([(opcode, body)])


@cocotb.test()
async def pools_in_every_mode(dut):
    tb = TB(dut)
    await tb.start()
    cover = Coverage({"mode": [mode.name for mode in PoolMode], "kernel": ("1", "2", "3", "4+"),
                      "padding": PADDING_KINDS, "words": ("1", "2+"), "after": ("nothing", "other mode", "same mode")},
                     [("mode", "kernel"), ("mode", "padding"), ("kernel", "padding"), ("kernel", "words"),
                      ("mode", "after")])
    for _ in range(tb.params["batches"] * 2):
        batch, before = [], None
        for _ in range(tb.rng.randint(1, 3)):
            mode = tb.rng.choice(list(PoolMode))
            instruction, window = tb.pool(mode)
            body, size = instruction[1], max(window.fields["kh"], window.fields["kw"])
            cover.sample(mode=mode.name, kernel="4+" if size > 3 else str(size), padding=window.padding,
                         words="1" if body["out_h"] * body["out_w"] == 1 else "2+",
                         after="nothing" if before is None else "same mode" if before == mode else "other mode")
            batch.append(instruction)
            before = mode
        await tb.run(batch)
    cover.save(COVERAGE_DIR, f"vector unit, {tb.config.rows} rows")
    assert cover.percent >= tb.params["coverage"]


@cocotb.test()
async def a_window_of_a_whole_image(dut):
    tb = TB(dut)
    await tb.start()
    size = 16
    for mode, fields in ((PoolMode.MAX, {}), (PoolMode.SUM, {"bias": 77, "mult": 0x5555_5555, "shift": -6}),
                         (PoolMode.AVERAGE, {"half": size * size // 2, "mult": (1 << 31) // size**2 + 1})):
        await tb.run([(Opcode.POOL, {
            "tap_x": 1, "tap_y": size, "in_h": size, "in_w": size, "kh": size, "kw": size, "out_h": 1, "out_w": 1,
            "dst": 300, "lo": -128, "hi": 127, "mode": mode, **fields})])


@cocotb.test()
async def all_kinds_follow_each_other(dut):
    tb = TB(dut)
    await tb.start()
    for _ in range(tb.params["batches"]):
        kinds = (tb.requant, tb.add, tb.mul, lambda: tb.table(reload=True),
                 lambda: tb.pool(tb.rng.choice([*PoolMode]))[0])
        await tb.run([tb.rng.choice((tb.requant, *kinds))() for _ in range(6)])


@cocotb.test()
async def errors_name_the_instruction_that_made_them(dut):
    tb = TB(dut)
    await tb.start()
    config = tb.config
    one = {"out_h": 1, "out_w": 1}
    good = (Opcode.POOL, {**one, "in_h": 1, "in_w": 1, "kw": 1, "kh": 1, "mode": PoolMode.MAX})
    for opcode, body, code in (
            (Opcode.REQUANT, {"out_h": 0, "out_w": 1, "groups": 1}, ErrorCode.FIELD),
            (Opcode.REQUANT, one, ErrorCode.FIELD),
            (Opcode.REQUANT, {**one, "groups": 1, "acc": config.acc_depth}, ErrorCode.FIELD),
            (Opcode.REQUANT, {**one, "groups": 1, "param": config.param_words - 8}, ErrorCode.ADDRESS),
            (Opcode.REQUANT, {"out_h": 1, "out_w": 2, "groups": 1, "acc": config.acc_half - 1}, ErrorCode.ADDRESS),
            (Opcode.REQUANT, {**one, "groups": 2, "acc": config.acc_half - 1}, ErrorCode.ADDRESS),
            (Opcode.TABLE, {**one, "reload": 1, "param": config.param_words - 1}, ErrorCode.ADDRESS),
            (Opcode.ADD, {"out_h": 1, "out_w": 0}, ErrorCode.FIELD),
            (Opcode.POOL, {**one, "kw": 0, "kh": 1}, ErrorCode.FIELD),
            (Opcode.POOL, {**one, "kw": 1, "kh": 1, "mode": 3}, ErrorCode.FIELD)):
        tb.errors.clear()
        await tb.send("start", pack_entry(encode(*good[:1], _BANKS, **good[1]), 6))
        await tb.send("start", pack_entry(encode(opcode, _BANKS, **body), 7))
        await tb.until(lambda: bool(tb.errors), f"an error of {opcode.name} {body}", 400)
        assert tb.errors[0] == (code, 7), f"{opcode.name} {body}: {tb.errors[0]}"
        dut.rst.value = 1
        await tb.tick(40)
        dut.rst.value = 0
        await tb.tick()
    for port, bit, code in ((dut.act__error, 1, ErrorCode.ADDRESS), (dut.act__error, 2, ErrorCode.BANK),
                            (dut.out__error, 1, ErrorCode.ADDRESS), (dut.out__error, 2, ErrorCode.BANK)):
        tb.errors.clear()
        port.value = bit
        await tb.send("start", pack_entry(encode(*good[:1], _BANKS, **good[1]), 9))
        await tb.until(lambda: bool(tb.errors), "an error of the buffer", 100)
        assert tb.errors[0] == (code, 9)
        port.value = 0
        await tb.tick(40)
