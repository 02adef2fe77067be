"""The issue logic with the four units modelled: order, tokens, bank locks, priority, and what it reports."""

from collections import deque

import cocotb

from ...hw.isa import UNIT_OF, ErrorCode, Opcode, Unit, decode, encode
from ...hw.issue import GRANT_LATENCY, MAX_IN_FLIGHT, PRIORITY
from .support import Bench, pack_entry, unpack_error

_OPCODES = {unit: [opcode for opcode in Opcode if UNIT_OF[opcode] == unit] for unit in Unit}


class ModelUnit:
    """A unit that takes instructions and ends them in order, after random or fixed times."""

    def __init__(self, tb, unit, depth):
        self.tb, self.unit, self.depth = tb, unit, depth
        name = unit.name.lower()
        self.valid, self.ready, self.payload = (getattr(tb.dut, f"start_{name}__{s}")
                                                for s in ("valid", "ready", "payload"))
        self.holding = deque()   # banks of instructions that have not released them
        self.running = deque()   # release and end of instructions that have not ended
        self.retired = 0
        self.offering = False
        self.next_end = 0

    def step(self):
        """Look at the last cycle, choose the next; return (release, done)."""
        tb = self.tb
        if int(self.valid.value) and int(self.ready.value):
            self.take(int(self.payload.value))
        release = done = 0
        if self.running and self.running[0][0] is not None and tb.cycle >= self.running[0][0]:
            release = 1
            self.running[0][0] = None
        if self.running and self.running[0][0] is None and tb.cycle >= self.running[0][1]:
            done = 1
            self.running.popleft()
        self.ready.value = int(len(self.running) < self.depth and not tb.frozen and tb.rng.random() < 0.7)
        return release, done

    def take(self, payload):
        tb = self.tb
        raw, index = (payload & (1 << 512) - 1).to_bytes(64, "little"), payload >> 512
        opcode, header, _ = decode(raw)
        assert UNIT_OF[opcode] == self.unit
        assert index == tb.program[self.unit].popleft(), "a unit must get its instructions in program order"
        for other, wait in zip(Unit, (header["wait_load"], header["wait_compute"], header["wait_vector"],
                                      header["wait_store"]), strict=True):
            assert tb.units[other].retired >= wait, f"instruction {index} must wait for {wait} of {other.name}"
        self.holding.append((header["rd_banks"], header["wr_banks"]))
        tb.order.append(index)
        start = max(tb.cycle, self.next_end)
        release = start + tb.rng.choice((0, 1, tb.rng.randint(0, 12)))
        self.next_end = release + tb.rng.choice((0, 1, tb.rng.randint(0, 6)))
        self.running.append([release, self.next_end])


class TB(Bench):
    """Issue logic, four modelled units, and rules that hold in every cycle."""

    async def start(self):
        inputs = {f"start_{u.name.lower()}__ready": 0 for u in Unit}
        await self.reset(**inputs, i__valid=0, halt=0, clear=0, done=0, release=0)
        # A vector unit ends one instruction before the next; the others overlap them.
        self.units = [ModelUnit(self, u, 1 if u == Unit.VECTOR else 3) for u in Unit]
        self.program = [deque() for _ in Unit]
        self.order, self.errors, self.frozen = [], [], False
        self.given = (0, 0)
        self.every_cycle(self._step)

    def _step(self):
        # What was driven in the cycle that ends now has been seen.
        for unit in self.units:
            if self.given[0] >> unit.unit & 1:
                unit.holding.popleft()
            unit.retired += self.given[1] >> unit.unit & 1
        steps = [unit.step() for unit in self.units]
        self._check_locks()
        self.given = tuple(sum(step[i] << u for u, step in zip(Unit, steps, strict=True)) for i in range(2))
        self.dut.release.value, self.dut.done.value = self.given
        error = unpack_error(int(self.dut.error.value))
        if error:
            self.errors.append(error)

    def _check_locks(self):
        banks = self.config.act_banks
        for port, held in enumerate((int(self.dut.held_read.value), int(self.dut.held_write.value))):
            masks = [held >> banks * u & (1 << banks) - 1 for u in Unit]
            assert sum(mask.bit_count() for mask in masks) == (masks[0] | masks[1] | masks[2] | masks[3]).bit_count(), \
                f"no two units may hold one port: {masks}"
            for unit in self.units:
                for mask in unit.holding:
                    assert mask[port] & (1 << banks) - 1 & ~masks[unit.unit] == 0, "a running unit must hold its banks"

    async def give(self, index, opcode, header):
        self.program[UNIT_OF[opcode]].append(index)
        await self.send("i", pack_entry(encode(opcode, header), index))

    async def finish(self, count):
        await self.until(lambda: sum(unit.retired for unit in self.units) == count, f"{count} instructions retire")
        await self.until(lambda: bool(int(self.dut.idle.value)), "idle rises")

    def random_header(self, counts, banks, chance):
        waits = {f"wait_{u.name.lower()}": self.rng.randint(0, counts[u]) if self.rng.random() < chance else 0
                 for u in Unit}
        return {"rd_banks": self.rng.getrandbits(8) & banks, "wr_banks": self.rng.getrandbits(8) & banks, **waits}


@cocotb.test()
async def random_programs(dut):
    tb = TB(dut)
    await tb.start()
    index = 0
    counts = [0] * len(Unit)
    for _ in range(12):
        chance, banks = tb.rng.choice((0, 0.3, 1)), tb.rng.choice((0, 0b1, 0b1001, 0b1111))
        for _ in range(40):
            unit = tb.rng.choice(list(Unit))
            await tb.give(index, tb.rng.choice(_OPCODES[unit]), tb.random_header(counts, banks, chance))
            counts[unit] += 1
            index += 1
    await tb.finish(index)
    assert not tb.errors


@cocotb.test()
async def start_follows_the_head_by_its_named_latency(dut):
    tb = TB(dut)
    await tb.start()
    valid = dut.start_compute__valid
    await tb.give(0, Opcode.COMPUTE, {"rd_banks": 1})
    cycles = 0
    while not int(valid.value):
        await tb.tick()
        cycles += 1
    assert cycles == 1 + GRANT_LATENCY  # one cycle through the queue
    await tb.finish(1)


@cocotb.test()
async def a_free_bank_goes_to_compute_then_vector_then_store(dut):
    tb = TB(dut)
    await tb.start()
    index = 0
    for holder in Unit:
        tb.order.clear()
        tb.units[holder].next_end = tb.cycle + 60
        await tb.give(index, _OPCODES[holder][0], {"rd_banks": 0b10})
        waiting = [unit for unit in reversed(PRIORITY) if unit != holder]
        for offset, unit in enumerate(waiting, 1):
            await tb.give(index + offset, _OPCODES[unit][0], {"rd_banks": 0b10})
        await tb.tick(20)
        assert tb.order == [index]
        assert int(dut.blocked_bank.value) == (holder != Unit.COMPUTE)
        index += 4
        await tb.finish(index)
        assert tb.order == [index - 4, index - 1, index - 2, index - 3]


@cocotb.test()
async def tokens_say_for_whom_compute_waits(dut):
    tb = TB(dut)
    await tb.start()
    assert int(dut.compute_empty.value) and int(dut.idle.value)
    for index, (unit, port) in enumerate(((Unit.LOAD, dut.blocked_load), (Unit.VECTOR, dut.blocked_vector),
                                          (Unit.STORE, dut.blocked_store))):
        await tb.give(2 * index, Opcode.COMPUTE, {f"wait_{unit.name.lower()}": 1})
        await tb.tick(10)
        assert int(port.value) and not int(dut.idle.value)
        assert (int(dut.stuck_unit.value), int(dut.stuck_index.value)) == (Unit.COMPUTE, 2 * index)
        await tb.give(2 * index + 1, _OPCODES[unit][0], {})
        await tb.finish(2 * index + 2)
        assert not int(port.value)
        assert int(dut.stuck_index.value) == 2 * index + 2, "with nothing to run, the next to be fetched"


async def give_loads(tb, count):
    for index in range(count):
        await tb.give(index, Opcode.LOAD, {"wr_banks": 1 << index % tb.config.act_banks})


@cocotb.test()
async def a_unit_holds_banks_for_so_many_instructions(dut):
    tb = TB(dut)
    await tb.start()
    load = tb.units[Unit.LOAD]
    load.depth, load.next_end = 100, tb.cycle + 200
    count = MAX_IN_FLIGHT + 2
    sender = cocotb.start_soon(give_loads(tb, count))
    await tb.tick(100)
    assert len(load.running) == MAX_IN_FLIGHT
    await sender
    await tb.finish(count)


@cocotb.test()
async def an_unknown_opcode_stops_dispatch(dut):
    tb = TB(dut)
    await tb.start()
    await tb.give(0, Opcode.LOAD, {})
    for byte in (0x00, 0x11, 0x3F, 0xFF):
        tb.errors.clear()
        dut.i__payload.value = pack_entry(bytes([byte]) + bytes(63), 7)
        dut.i__valid.value = 1
        await tb.tick(5)
        assert tb.errors and set(tb.errors) == {(ErrorCode.OPCODE, 7)}
        assert not int(dut.i__ready.value)
    dut.i__valid.value = 0
    await tb.finish(1)


@cocotb.test()
async def halt_stops_grants_and_clear_restarts_the_counts(dut):
    tb = TB(dut)
    await tb.start()
    await tb.give(0, Opcode.LOAD, {})
    await tb.finish(1)
    await tb.give(1, Opcode.COMPUTE, {"wait_load": 2})
    dut.halt.value = 1
    await tb.tick(20)
    assert not int(dut.i__ready.value)
    dut.halt.value = 0
    await tb.give(2, Opcode.LOAD, {})
    await tb.finish(3)
    dut.clear.value = 1
    await tb.tick()
    dut.clear.value = 0
    for unit in tb.units:
        unit.retired = 0
    await tb.give(3, Opcode.COMPUTE, {"wait_load": 1})
    await tb.tick(20)
    assert int(dut.blocked_load.value)
    await tb.give(4, Opcode.LOAD, {})
    await tb.finish(2)
