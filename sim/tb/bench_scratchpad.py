"""The activation buffer: random readers and writers on the banks they hold, and accesses outside them."""

from collections import deque

import cocotb

from ...hw.scratchpad import ACT_READ_LATENCY, READERS, WRITERS
from .support import Bench

ADDRESS, BANK = 1, 2


class TB(Bench):
    """Activation buffer and a list of its words."""

    async def start(self):
        config = self.config
        ports = [f"read_{u}" for u in READERS] + [f"write_{u}" for u in WRITERS]
        await self.reset(**{f"{p}__en": 0 for p in ports}, **{f"hold_{p}": 0 for p in ports})
        self.words = [None] * config.act_words  # unknown, for the memory outlives a reset
        self.due = {u: deque([None] * ACT_READ_LATENCY) for u in READERS}

    def port(self, direction, unit, signal):
        return getattr(self.dut, f"{direction}_{unit}__{signal}")

    def lend(self, direction, units):
        """Lend each bank's port to one unit or to none."""
        masks = dict.fromkeys(units, 0)
        for bank in range(self.config.act_banks):
            unit = self.rng.choice((*units, None))
            if unit:
                masks[unit] |= 1 << bank
        for unit, mask in masks.items():
            getattr(self.dut, f"hold_{direction}_{unit}").value = mask
        return masks

    def address(self, mask, sure):
        """Return an address, in a bank of ``mask`` if ``sure`` and there is one; often the same few."""
        config = self.config
        banks = [b for b in range(config.act_banks) if mask >> b & 1]
        if sure and banks:
            return self.rng.choice(banks) * config.bank_words + self.rng.choice((0, 1, config.bank_words - 1))
        return self.rng.choice((self.rng.randrange(config.act_words), config.act_words, (1 << 20) - 1,
                                self.rng.randrange(1 << 20)))

    def error(self, address, mask):
        config = self.config
        if address >= config.act_words:
            return ADDRESS
        return 0 if mask >> address // config.bank_words & 1 else BANK

    async def access(self, read_masks, write_masks, sure):
        """Let every unit access at random, then check what it is told and what it gets."""
        reads = {u: self.address(read_masks[u], sure) if self.rng.random() < 0.8 else None for u in READERS}
        writes = {u: (self.address(write_masks[u], sure), self.rng.getrandbits(8 * self.config.word_bytes))
                  if self.rng.random() < 0.7 else None for u in WRITERS}
        for unit, address in reads.items():
            self.port("read", unit, "en").value = int(address is not None)
            self.port("read", unit, "addr").value = self.rng.getrandbits(20) if address is None else address
        for unit, write in writes.items():
            self.port("write", unit, "en").value = int(write is not None)
            self.port("write", unit, "addr").value, self.port("write", unit, "data").value = write or (0, 0)
        await self.tick()
        for unit, address in reads.items():
            expected = self.due[unit].popleft()
            if expected is not None:
                assert int(self.port("read", unit, "data").value) == expected
            value = None
            if address is not None:
                error = self.error(address, read_masks[unit])
                assert int(self.port("read", unit, "error").value) == error
                # A word that is written in the same cycle may read as anything.
                written = any(write and write[0] == address for write in writes.values())
                value = None if error or written else self.words[address]
            self.due[unit].append(value)
        for unit, write in writes.items():
            if write is None:
                continue
            error = self.error(write[0], write_masks[unit])
            assert int(self.port("write", unit, "error").value) == error
            if not error:
                self.words[write[0]] = write[1]


@cocotb.test()
async def units_share_the_banks(dut):
    tb = TB(dut)
    await tb.start()
    for _ in range(150):
        reads, writes = tb.lend("read", READERS), tb.lend("write", WRITERS)
        for _ in range(tb.rng.randint(1, 25)):
            await tb.access(reads, writes, sure=tb.rng.random() < 0.95)


@cocotb.test()
async def accesses_elsewhere_do_nothing(dut):
    tb = TB(dut)
    await tb.start()
    everything = (1 << tb.config.act_banks) - 1
    reads, writes = dict.fromkeys(READERS, 0), dict.fromkeys(WRITERS, 0)
    # Fill, then write where nothing is held, then read all.
    dut.hold_write_load.value = everything
    for address in range(tb.config.act_words):
        dut.write_load__en.value, dut.write_load__addr.value, dut.write_load__data.value = 1, address, address
        tb.words[address] = address
        await tb.tick()
    dut.write_load__en.value, dut.hold_write_load.value = 0, 0
    for _ in range(200):
        await tb.access(reads, writes, sure=False)
    dut.hold_read_vector.value = reads["vector"] = everything
    for address in range(tb.config.act_words):
        tb.address = lambda mask, sure, address=address: address
        await tb.access(reads, writes, sure=True)
