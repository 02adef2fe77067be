"""Load and store unit on one AXI bus, against a memory with random stalls and error responses."""

from dataclasses import replace
from itertools import pairwise

import cocotb

from ...hw.axi import ADDR_BITS, ARBITER_LATENCY, BURST_WORDS
from ...hw.dma import ADDRESS_LATENCY, LOAD_LATENCY, STORE_LATENCY
from ...hw.isa import Buffer, ErrorCode
from .coverage import Coverage
from .dma_tb import DRAM_BYTES, TB, Transfer
from .dut_dma import READ_LATENCY
from .runner import COVERAGE_DIR

# DRAM offsets of what is read and of what is written.
SOURCE, TARGET, HALF = 0, DRAM_BYTES // 2 - (1 << 14), DRAM_BYTES // 4


def random_transfer(tb, dram, local_words, buffer=Buffer.ACT):
    """Return a transfer of up to 6 rows at a random place from ``dram`` on, with disjoint rows."""
    rng, word = tb.rng, tb.word
    row_words = rng.choice([1, 2, rng.randint(1, 16), rng.randint(17, 40)])
    rows = rng.randint(1, max(1, min(6, local_words // 2 // row_words)))
    gap = rng.choice([0, 0, rng.randint(1, 20)])
    local_stride = row_words + rng.choice([0, rng.randint(1, 5)]) if rows * (row_words + 5) < local_words else row_words
    span = (rows - 1) * local_stride + row_words
    return Transfer(dram=dram + word * rng.randrange(40), dram_stride=word * (row_words + gap), rows=rows,
                    row_words=row_words, local=rng.randrange(local_words - span + 1), local_stride=local_stride,
                    buffer=buffer)


def random_gather(tb, dram, most_windows=80):
    """Return a gather at a random place from ``dram`` on, sometimes with beats behind the last window of a run."""
    rng, word = tb.rng, tb.word
    pitch = rng.choice([1, word, rng.randint(1, word)])
    row_words = rng.choice([1, 2, rng.randint(1, 16), rng.randint(17, 40)])
    fit = min(most_windows, (row_words - 1) * word // pitch + 1)
    windows = rng.choice([fit, fit, rng.randint(1, fit)])
    rows = rng.randint(1, 6)
    local_stride = windows + rng.choice([0, rng.randint(1, 5)])
    span = (rows - 1) * local_stride + windows
    return Transfer(dram=dram + word * rng.randrange(40), dram_stride=word * (row_words + rng.choice([0, 0, 3])),
                    rows=rows, row_words=row_words, local=rng.randrange(tb.config.act_words - span + 1),
                    local_stride=local_stride, pitch=pitch, windows=windows)


def size_of(tb, buffer):
    config = tb.config
    return {Buffer.ACT: config.act_words, Buffer.WGT: config.wgt_words, Buffer.PARAM: config.param_words}[buffer]


def random_loads(tb, count):
    """Copies into all buffers, and gathers."""
    loads = []
    for _ in range(count):
        dram, buffer = SOURCE + tb.word * tb.rng.randrange(1000), tb.rng.choice((*Buffer, None, None))
        loads.append(random_gather(tb, dram) if buffer is None else
                     random_transfer(tb, dram, size_of(tb, buffer), buffer))
    return loads


def coverage():
    return Coverage({"kind": ("copy", "gather"), "pitch": ("copy", "1", "between", "word"), "spare": (False, True),
                     "beats": ("1", "a burst", "more"), "rows": ("1", "2+"), "after": ("copy", "gather", "none")},
                    [("kind", "after"), ("kind", "beats"), ("kind", "rows"), ("pitch", "beats"), ("pitch", "rows"),
                     ("spare", "rows")])


def sample(cover, tb, load, after):
    """Count ``load`` and the kind of the load ``after`` it; spare beats follow the last window of a run."""
    def kind(transfer):
        return "none" if transfer is None else "gather" if transfer.pitch else "copy"

    cover.sample(
        kind=kind(load), after=kind(after), rows="1" if load.rows == 1 else "2+",
        pitch={0: "copy", 1: "1", tb.word: "word"}.get(load.pitch, "between"),
        spare=bool(load.pitch) and (load.windows - 1) * load.pitch + tb.word <= (load.row_words - 1) * tb.word,
        beats="1" if load.row_words == 1 else "a burst" if load.row_words <= BURST_WORDS else "more")


def random_stores(tb, count):
    """Transfers to disjoint places, so that each can be checked at its own `done`."""
    stores, dram = [], TARGET
    for _ in range(count):
        stores.append(random_transfer(tb, dram, tb.config.act_words))
        dram = max(address for address, _ in stores[-1].words(tb.word)) + tb.word
    return stores


@cocotb.test()
@cocotb.parametrize(stalls=[0.0, 0.3, 0.8])
async def loads_fill_the_buffers(dut, stalls):
    tb = TB(dut)
    await tb.start(stalls)
    loads = random_loads(tb, 80)
    cover = coverage()
    for load, after in pairwise([*loads, None]):
        tb.expect_load(load)
        sample(cover, tb, load, after)
    await tb.issue("load", loads)
    await tb.until(lambda: tb.done["load"] == len(loads), "done of every load", 100_000)
    if not stalls:
        cover.save(COVERAGE_DIR, f"loads, words of {tb.word} bytes")
        assert cover.percent >= 90
    assert tb.error("load") is None
    touched = {(int(load.buffer), local) for load in loads for _, local in load.words(tb.word)}
    assert set(tb.writes) == touched


@cocotb.test()
@cocotb.parametrize(stalls=[0.0, 0.3, 0.8])
async def stores_copy_the_activation_buffer_to_dram(dut, stalls):
    tb = TB(dut)
    await tb.start(stalls)
    stores = random_stores(tb, 40)
    image = bytearray(tb.ram.read(0, DRAM_BYTES))
    for store in stores:
        tb.expect_store(store)
        for dram, local in store.words(tb.word):
            image[tb.base + dram:tb.base + dram + tb.word] = tb.act[local]
    await tb.issue("store", stores)
    await tb.until(lambda: tb.done["store"] == len(stores), "done of every store")
    assert tb.error("store") is None
    assert tb.done["release"] == len(stores)
    assert bytes(tb.ram.read(0, DRAM_BYTES)) == image


@cocotb.test()
@cocotb.parametrize(stalls=[0.0, 0.5])
async def loads_stores_and_fetch_share_the_bus(dut, stalls):
    tb = TB(dut)
    await tb.start(stalls)
    loads, stores = random_loads(tb, 25), random_stores(tb, 25)
    program = tb.write_program(HALF, 60)
    for load in loads:
        tb.expect_load(load)
    for store in stores:
        tb.expect_store(store)
    tasks = [cocotb.start_soon(tb.issue("load", loads)), cocotb.start_soon(tb.issue("store", stores))]
    await tb.fetch(HALF, len(program))
    for task in tasks:
        await task
    await tb.until(lambda: (tb.done["load"], tb.done["store"]) == (len(loads), len(stores)), "done of everything")
    await tb.until(lambda: not dut.fetch_busy.value, "end of the program")
    assert tb.fetched == program
    assert [tb.error(unit) for unit in ("load", "store", "fetch")] == [None] * 3
    await tb.until(lambda: dut.quiet.value, "quiet")


@cocotb.test()
@cocotb.parametrize(stalls=[0.0, 0.3, 0.8])
async def gathers_of_every_pitch(dut, stalls):
    """Each pitch with a run that its windows use up to the last byte, or that is longer, at either end of a bank."""
    tb = TB(dut)
    await tb.start(stalls)
    loads, word, bank = [], tb.word, tb.config.bank_words
    for pitch in range(1, word + 1):
        windows = tb.rng.randint(1, 3) * word + 1
        row_words = -(-((windows - 1) * pitch) // word) + 1
        for spare in (0, 1, 17):
            loads.append(Transfer(dram=word * tb.rng.randrange(40), dram_stride=word * (row_words + spare), rows=2,
                                  row_words=row_words + spare, local=bank - windows + tb.rng.randint(0, windows),
                                  local_stride=windows, pitch=pitch, windows=windows))
    for load in loads:
        tb.expect_load(load)
    await tb.issue("load", loads)
    await tb.until(lambda: tb.done["load"] == len(loads), "done of every load", 100_000)
    assert tb.error("load") is None


@cocotb.test()
async def a_gather_writes_one_window_per_cycle(dut):
    tb = TB(dut)
    await tb.start()
    word = tb.word
    pitch, runs = max(1, word // 2 - 1), 3
    row_words = 40
    windows = (row_words - 1) * word // pitch + 1
    writes = []

    async def watch():
        while True:
            await tb.cycles(1)
            if dut.write__en.value:
                writes.append(tb.cycle)

    cocotb.start_soon(watch())
    gather = Transfer(dram=0, local=0, rows=runs, row_words=row_words, dram_stride=row_words * word, pitch=pitch,
                      windows=windows, local_stride=windows)
    tb.expect_load(gather)
    await tb.issue("load", [gather])
    await tb.until(lambda: tb.done["load"] == 1, "done")
    assert len(writes) == runs * windows
    # A cycle is lost only where the last beat of a run completes no further window.
    assert writes[-1] - writes[0] + 1 <= len(writes) + runs


@cocotb.test()
@cocotb.parametrize((("name", "latency"), [("load", 0), ("load", 30), ("store", 0)]))
async def one_word_per_cycle_across_bursts_and_instructions(dut, name, latency):
    """Long rows, many rows, and instructions of two bursts back to back: no gap between beats."""
    tb = TB(dut)
    if latency:
        tb.set_read_latency(latency)
    await tb.start()
    words, word = 96, tb.word
    transfers = [Transfer(dram=0, local=0, row_words=words),
                 Transfer(dram=0, local=0, rows=3, row_words=32, dram_stride=48 * word, local_stride=32),
                 *(Transfer(dram=32 * i * word, local=32 * i, row_words=32) for i in range(3))]
    await tb.issue(name, transfers)
    await tb.until(lambda: tb.done[name] == len(transfers), "done")
    beats = tb.bus.beats["r" if name == "load" else "w"]
    assert len(beats) == 3 * words
    if latency:
        assert beats[0] - tb.bus.asked[0] >= latency
    assert beats[-1] - beats[0] + 1 == len(beats), f"{len(beats)} beats took {beats[-1] - beats[0] + 1} cycles"


@cocotb.test()
async def latencies_are_the_published_ones(dut):
    tb = TB(dut)
    await tb.start()
    first_write: list[int] = []
    await tb.issue("load", [Transfer(dram=0, local=0)])
    while not first_write:
        await tb.cycles(1)
        if dut.write__en.value:
            first_write.append(tb.cycle)
    (beat,) = tb.bus.beats["r"]
    assert tb.bus.first["ar"] - tb.taken["load"][0] == ADDRESS_LATENCY + ARBITER_LATENCY
    assert ADDRESS_LATENCY + first_write[0] - beat == LOAD_LATENCY
    await tb.issue("store", [Transfer(dram=0, local=0)])
    await tb.until(lambda: tb.done["store"] == 1, "done")
    assert tb.bus.first["aw"] - tb.taken["store"][0] == ADDRESS_LATENCY
    assert tb.bus.first["w"] - tb.taken["store"][0] == STORE_LATENCY + READ_LATENCY


def bad_transfers(tb, name):
    """Yield (transfer, expected error); the transfers before the bad word are good."""
    config, word = tb.config, tb.word
    yield Transfer(dram=0, local=0, rows=0), ErrorCode.FIELD
    yield Transfer(dram=0, local=0, row_words=0), ErrorCode.FIELD
    yield Transfer(dram=1, local=0), ErrorCode.ADDRESS
    yield Transfer(dram=0, local=0, rows=2, dram_stride=word // 2), ErrorCode.ADDRESS
    yield Transfer(dram=0, local=config.act_words), ErrorCode.ADDRESS
    yield Transfer(dram=0, local=config.act_words - 20, row_words=21), ErrorCode.ADDRESS
    yield Transfer(dram=0, local=1, rows=2, local_stride=(1 << 20) - 1), ErrorCode.ADDRESS
    yield Transfer(dram=0, local=0, banks=0b10), ErrorCode.BANK
    yield Transfer(dram=0, local=config.bank_words - 3, row_words=4, banks=0b01), ErrorCode.BANK
    yield Transfer(dram=0, local=config.bank_words - 3, row_words=4, banks=0b10), ErrorCode.BANK
    if name == "load":
        yield Transfer(dram=0, local=0, buffer=3), ErrorCode.FIELD
        gather = Transfer(dram=0, local=0, row_words=9, pitch=1, windows=8 * word + 1)
        for change in ({"windows": 0}, {"pitch": word + 1}, {"pitch": 127}, {"buffer": Buffer.WGT}, {"buffer": 3},
                       {"windows": 8 * word + 2}, {"windows": 8191}, {"rows": 2, "windows": 8 * word + 2},
                       {"pitch": word, "windows": 10}, {"row_words": 40, "pitch": 2, "windows": 39 * word // 2 + 2}):
            yield replace(gather, **change), ErrorCode.FIELD
        yield replace(gather, local=config.act_words - 8 * word), ErrorCode.ADDRESS
        yield replace(gather, rows=2, local_stride=(1 << 20) - 1), ErrorCode.ADDRESS
        yield replace(gather, local=config.bank_words - 8 * word, banks=0b01), ErrorCode.BANK
        yield replace(gather, local=config.bank_words - 1, banks=0b10), ErrorCode.BANK
        yield replace(gather, row_words=config.bank_words // word + 9, windows=config.bank_words + 2,
                      local=config.bank_words - 1, banks=0b101), ErrorCode.BANK
        for buffer in (Buffer.WGT, Buffer.PARAM):
            yield Transfer(dram=0, local=size_of(tb, buffer) - 1, row_words=2, buffer=buffer), ErrorCode.ADDRESS


@cocotb.test()
@cocotb.parametrize(name=["load", "store"])
async def bad_instructions_stop_the_unit_and_reset_revives_it(dut, name):
    tb = TB(dut)
    await tb.start(0.3)
    good = Transfer(dram=0, local=0, row_words=5)
    for bad, code in bad_transfers(tb, name):
        tb.writes.clear()
        bursts = sum(len(bursts) for bursts in tb.bus.bursts.values())
        await tb.issue(name, [good], 6)
        await tb.issue(name, [bad], 7)
        await tb.until(lambda: tb.error(name) is not None, f"an error for {bad}")
        assert tb.error(name) == (code, 7), bad
        await tb.until(lambda: dut.quiet.value, "quiet")
        assert all(local < tb.config.act_words for _, local in tb.writes)
        assert sum(len(bursts) for bursts in tb.bus.bursts.values()) >= bursts
        await tb.cycles(20)
        assert not getattr(dut, f"{name}__ready").value, "nothing starts after an error"
        await tb.reset()
        before = tb.done[name]
        (tb.expect_load if name == "load" else tb.expect_store)(good)
        await tb.issue(name, [good])
        await tb.until(lambda: tb.done[name] > before, "done after reset")  # noqa: B023
        assert tb.error(name) is None


@cocotb.test()
async def addresses_wrap_at_the_end_of_the_address_space(dut):
    """The base is added modulo 2**32, so an offset can be negative."""
    tb = TB(dut)
    await tb.start()
    offset = 64 * tb.word
    load = Transfer(dram=(1 << ADDR_BITS) - offset, local=0, row_words=2)
    await tb.issue("load", [load])
    await tb.until(lambda: tb.done["load"] == 1, "done")
    assert tb.writes[0, 0] == tb.dram(-offset) and tb.writes[0, 1] == tb.dram(tb.word - offset)


@cocotb.test()
@cocotb.parametrize((("name", "gather"), [("load", False), ("load", True), ("store", False)]))
async def bus_errors_name_the_instruction(dut, name, gather):
    """Also in a word of a run that is behind its last window."""
    tb = TB(dut)
    await tb.start(0.2)
    transfers = [Transfer(dram=512 * tb.word * i, local=60 * i, rows=2, row_words=30, dram_stride=64 * tb.word,
                          local_stride=30) for i in range(4)]
    bad = tb.base + transfers[2].dram + 64 * tb.word + 20 * tb.word
    if gather:
        transfers[2] = replace(transfers[2], pitch=1, windows=2 * tb.word, local_stride=2 * tb.word)
    tb.ram.bad = range(bad, bad + 1)
    task = cocotb.start_soon(tb.issue(name, transfers, 100))
    await tb.until(lambda: tb.error(name) is not None, "an error")
    await tb.until(lambda: dut.quiet.value, "quiet")
    assert tb.error(name) == (ErrorCode.AXI_READ if name == "load" else ErrorCode.AXI_WRITE, 102)
    assert tb.done[name] == 2
    if name == "load":
        assert max(local for _, local in tb.writes) < transfers[2].local + max(50, 4 * gather * tb.word)
    task.cancel()
    dut.load__valid.value = dut.store__valid.value = 0
    tb.ram.bad = range(0)
    await tb.reset()
    await tb.issue(name, transfers[:1])
    await tb.until(lambda: tb.done[name] == 3, "done after reset")


@cocotb.test()
@cocotb.parametrize(name=["load", "store"])
async def halt_empties_the_bus(dut, name):
    tb = TB(dut)
    await tb.start(0.4)
    for _ in range(20):
        windows = tb.rng.choice([0, 399]) if name == "load" else 0
        await tb.issue(name, [Transfer(dram=tb.word * 3, local=0, row_words=200, pitch=min(windows, tb.word // 2),
                                       windows=windows)])
        await tb.cycles(tb.rng.randrange(40))
        dut.halt.value = 1
        await tb.cycles(2)
        await tb.until(lambda: dut.quiet.value, "quiet")
        bursts = {channel: list(bursts) for channel, bursts in tb.bus.bursts.items()}
        await tb.cycles(10)
        assert tb.bus.bursts == bursts, "no burst is issued while halted"
        await tb.reset()
        dut.halt.value = 0
