"""DMA between DRAM and the on-chip buffers: the load and store units and the walker of bursts that both contain."""

from itertools import pairwise
from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout, View
from amaranth.lib.wiring import In, Out

from .axi import ADDR_BITS, AXI_ADDRESS, BURST_WORDS, OKAY, RESPONSE, read_data_layout, write_data_layout
from .config import AcceleratorConfig
from .fifo import StreamBuffer, StreamFifo
from .isa import ENTRY, ERROR, HEADER, HEADER_BITS, TRANSFER, Buffer, ErrorCode, Unit

__all__ = ["ADDRESS_LATENCY", "BURST", "LOAD_LATENCY", "STORE_LATENCY", "BurstWalker", "LoadUnit", "StoreUnit",
           "local_write_signature"]

# Cycles from taking an instruction to its first AR or AW valid: walker, checked burst, register slice.
ADDRESS_LATENCY = 3
# Added by the load unit to the memory's latency: `ADDRESS_LATENCY` and the register of the write port.
LOAD_LATENCY = ADDRESS_LATENCY + 1
# Cycles from taking an instruction to its first W valid, less the latency of the buffer's read port.
STORE_LATENCY = ADDRESS_LATENCY + 1

_LEN_BITS = (BURST_WORDS - 1).bit_length()

# One burst: DRAM byte address, words - 1, first buffer word (of a gather: of its run), whether it ends the transfer,
# the instruction that it belongs to; for gathers: whether it ends its run, bytes between windows, windows - 1.
BURST = StructLayout({"addr": unsigned(ADDR_BITS), "len": unsigned(_LEN_BITS), "local": unsigned(20),
                      "buffer": unsigned(2), "final": unsigned(1), "index": unsigned(24),
                      "gather": unsigned(1), "run_ends": unsigned(1), "pitch": unsigned(7),
                      "last_window": unsigned(13)})


def local_write_signature(config: AcceleratorConfig) -> wiring.Signature:
    """Return the write port into the buffers: one word of ``buffer`` at ``addr`` in every cycle of ``en``."""
    return wiring.Signature({"en": Out(1), "buffer": Out(2), "addr": Out(20), "data": Out(8 * config.word_bytes)})


class BurstWalker(wiring.Component):
    """Split transfer instructions into AXI bursts, checked, one per cycle.

    A burst never crosses an aligned block of ``BURST_WORDS`` words. A bad instruction raises ``error`` (held until
    reset) instead of its first bad burst, and nothing more is walked: FIELD for an empty transfer, no such buffer or an
    impossible gather, ADDRESS for a DRAM address that is not word aligned or a word beyond the buffer, BANK for an
    activation bank that the header does not name. Each burst of a gather is checked for the windows of its whole run.
    The pitch of a copy is a word.

    Parameters
    ----------
    config : AcceleratorConfig
    unit : Unit
        ``LOAD``: into any buffer, checked against ``wr_banks``. ``STORE``: the activation buffer and ``rd_banks``.
    """

    def __init__(self, config: AcceleratorConfig, unit: Unit):
        if unit not in (Unit.LOAD, Unit.STORE):
            raise ValueError(f"unit must be LOAD or STORE, not {unit!r}")
        self.config = config
        self.unit = unit
        super().__init__({
            "start": In(stream.Signature(ENTRY)),
            "base": In(ADDR_BITS),
            "halt": In(1),
            "o": Out(stream.Signature(BURST)),
            "busy": Out(1),
            "error": Out(ERROR),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        shift = (config.word_bytes - 1).bit_length()
        is_load = self.unit is Unit.LOAD

        header = View(HEADER, self.start.payload.instr[:HEADER_BITS][:HEADER.size])
        body = View(TRANSFER, self.start.payload.instr[HEADER_BITS:][:TRANSFER.size])
        buffer = body.buffer if is_load else Buffer.ACT.value
        mask = header.wr_banks if is_load else header.rd_banks

        # Stage 1: the position in the transfer, and where its row begins.
        active = Signal()
        addr, row_addr, addr_stride = Signal(ADDR_BITS), Signal(ADDR_BITS), Signal(ADDR_BITS)
        next_addr = Signal(ADDR_BITS)
        # One bit more than an address, so that one step beyond the buffer does not wrap back into it.
        local, row_local, local_stride = Signal(21), Signal(21), Signal(20)
        next_local = Signal(21)
        words, row_words, rows = Signal(16), Signal(16), Signal(16)
        banks = Signal(8)

        # Stage 2: the burst at the output, checked before it becomes valid there.
        burst = Signal(BURST)
        burst_valid, bad = Signal(), Signal()
        last = Signal(22)
        code = Signal(unsigned(8))

        room = Signal(range(BURST_WORDS + 1))
        count = Signal(range(BURST_WORDS + 1))
        row_ends, advance = Signal(), Signal()
        m.d.comb += [
            room.eq(BURST_WORDS - addr[shift:shift + _LEN_BITS]),
            row_ends.eq(words <= room),
            next_addr.eq(row_addr + addr_stride), next_local.eq(row_local + local_stride),
            count.eq(Mux(row_ends, words, room)),
            advance.eq(active & ~self.halt & (~burst_valid | (self.o.valid & self.o.ready))),
            self.o.payload.eq(burst),
            self.o.valid.eq(burst_valid & ~bad),
            self.busy.eq(active | burst_valid),
        ]

        with m.If(self.o.valid & self.o.ready):
            m.d.sync += burst_valid.eq(0)
        with m.If(advance):
            m.d.sync += [
                burst_valid.eq(1), burst.addr.eq(addr), burst.len.eq(count - 1), burst.local.eq(local),
                burst.final.eq(row_ends & (rows == 1)), burst.run_ends.eq(row_ends),
                last.eq(local + Mux(burst.gather, burst.last_window, (count - 1)[:_LEN_BITS])),
                addr.eq(addr + (count << shift)), words.eq(words - count),
            ]
            with m.If(~burst.gather):
                m.d.sync += local.eq(local + count)
            with m.If(row_ends):
                m.d.sync += [
                    addr.eq(next_addr), row_addr.eq(next_addr), local.eq(next_local), row_local.eq(next_local),
                    words.eq(row_words), rows.eq(rows - 1), active.eq(rows != 1),
                ]

        # What is constant in an instruction belongs to both stages: the next one waits until stage 2 is empty or
        # leaves, which costs nothing, for its own first burst comes a cycle later anyway.
        m.d.comb += self.start.ready.eq(~active & ~self.halt & ~self.error.valid
                                        & (~burst_valid | (self.o.valid & self.o.ready)))
        gathers, bad_field = Signal(), Signal()
        m.d.comb += [
            gathers.eq((body.pitch != 0) & is_load),
            bad_field.eq((body.rows == 0) | (body.row_words == 0) | ((body.buffer == 3) & is_load) | gathers & (
                (body.windows == 0) | (body.pitch > config.word_bytes) | (body.buffer != Buffer.ACT))),
        ]
        with m.If(self.start.valid & self.start.ready):
            m.d.sync += [
                burst.gather.eq(gathers), burst.last_window.eq(body.windows - 1),
                burst.pitch.eq(Mux(gathers, body.pitch, config.word_bytes)),
                active.eq(1), banks.eq(mask), burst.buffer.eq(buffer), burst.index.eq(self.start.payload.index),
                addr.eq(self.base + body.dram), row_addr.eq(self.base + body.dram),
                local.eq(body.local), row_local.eq(body.local),
                addr_stride.eq(body.dram_stride), local_stride.eq(body.local_stride),
                words.eq(body.row_words), row_words.eq(body.row_words), rows.eq(body.rows),
            ]
            with m.If(bad_field):
                m.d.sync += [active.eq(0), self.error.valid.eq(1), self.error.code.eq(ErrorCode.FIELD),
                             self.error.index.eq(self.start.payload.index)]

        beyond, outside = Signal(), Signal()
        with m.Switch(burst.buffer):
            for which, size in ((Buffer.WGT, config.wgt_words), (Buffer.PARAM, config.param_words)):
                with m.Case(which):
                    m.d.comb += beyond.eq(last >= size)
            with m.Default():
                low = (config.bank_words - 1).bit_length()
                high = low + (config.act_banks - 1).bit_length()
                m.d.comb += [
                    beyond.eq(last >= config.act_words),
                    outside.eq(Cat(~banks[b] & (burst.local[low:high] <= b) & (last[low:high] >= b)
                                   for b in range(config.act_banks)).any()),
                ]
        m.d.comb += [
            code.eq(Mux(beyond | burst.addr[:shift].any(), ErrorCode.ADDRESS,
                        Mux(outside, ErrorCode.BANK, ErrorCode.NONE))),
            bad.eq(code != ErrorCode.NONE),
        ]
        with m.If(burst_valid & bad & ~self.error.valid):
            m.d.sync += [self.error.valid.eq(1), self.error.code.eq(code), self.error.index.eq(burst.index)]
        return m


def _unit_ports(config: AcceleratorConfig) -> dict[str, Any]:
    return {"start": In(stream.Signature(ENTRY)), "base": In(ADDR_BITS), "halt": In(1),
            "done": Out(1), "release": Out(1), "busy": Out(1), "quiet": Out(1), "error": Out(ERROR)}


def _shifted(pair: Value, offset: Value, size: int) -> Value:
    """Return ``size`` bytes of ``pair`` (one byte less than two words) from byte ``offset`` on, by halves."""
    for bit in reversed(range(len(offset))):
        pair = Mux(offset[bit], pair[8 << bit:], pair)[:8 * (size - 1 + (1 << bit))]
    return pair


class LoadUnit(wiring.Component):
    """Run LOAD instructions: read DRAM over ``ar`` and ``r``, write the buffers over ``write``.

    Addresses run ahead of the data: the next instruction is taken when the last burst of the one before is on its
    way, with up to ``config.outstanding`` bursts in flight. ``done`` (and ``release``, the same) comes with the write
    of the last beat of each instruction, in order.

    A gather writes one window per cycle while the beats that it lies in have arrived; a beat is held as long as more
    windows begin in it. Beats behind the last window of a run are taken and dropped.

    ``error`` holds until reset: the walker's, FIELD for a run that ends before its last window does, or AXI_READ for a
    response other than OKAY. After an error, or while ``halt``, no burst is issued and data is taken but not written;
    ``quiet`` tells that no burst is in flight, so that a reset cannot break the bus protocol.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        super().__init__({
            **_unit_ports(config),
            "ar": Out(stream.Signature(AXI_ADDRESS)),
            "r": In(stream.Signature(read_data_layout(config.word_bytes))),
            "write": Out(local_write_signature(config)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.walker = walker = BurstWalker(self.config, Unit.LOAD)
        m.submodules.flight = flight = StreamFifo(BURST, self.config.outstanding)
        m.submodules.slice = address = StreamBuffer(AXI_ADDRESS)
        wiring.connect(m, wiring.flipped(self.start), walker.start)
        wiring.connect(m, address.o, wiring.flipped(self.ar))

        stop, issue = Signal(), Signal()
        m.d.comb += [
            stop.eq(self.halt | self.error.valid), walker.base.eq(self.base), walker.halt.eq(stop),
            walker.o.ready.eq(address.i.ready & flight.i.ready & ~stop),
            issue.eq(walker.o.valid & walker.o.ready),
            address.i.payload.addr.eq(walker.o.payload.addr), address.i.payload.len.eq(walker.o.payload.len),
            flight.i.payload.eq(walker.o.payload),
            address.i.valid.eq(issue), flight.i.valid.eq(issue),
            self.busy.eq(walker.busy | flight.o.valid), self.quiet.eq(~flight.o.valid),
            self.error.eq(walker.error),
            self.release.eq(self.done),
        ]

        beat = Signal(_LEN_BITS)
        burst = flight.o.payload
        here, take, good, burst_ends, run_ends = Signal(), Signal(), Signal(), Signal(), Signal()
        # The next window begins `offset + 1` bytes behind the beginning of the beat before this one. For a copy, with
        # its pitch of a word, that is always this beat.
        size = self.config.word_bytes
        before = Signal(8 * size, reset_less=True)
        offset, following = Signal(range(size), init=size - 1), Signal(range(2 * size))
        window, windows_end, dropping = Signal.like(burst.last_window), Signal(), Signal()
        m.d.comb += [
            here.eq(flight.o.valid & self.r.valid),
            following.eq(offset + burst.pitch),
            windows_end.eq(window == burst.last_window),
            self.r.ready.eq(flight.o.valid & (~burst.gather | (following >= size) | windows_end | dropping | stop)),
            take.eq(self.r.valid & self.r.ready),
            good.eq(here & (self.r.payload.resp == OKAY) & ~stop),
            burst_ends.eq(beat == burst.len), run_ends.eq(burst_ends & burst.run_ends),
            flight.o.ready.eq(take & burst_ends),
        ]
        with m.If(take):
            m.d.sync += [beat.eq(Mux(burst_ends, 0, beat + 1)), before.eq(self.r.payload.data)]
        with m.If(take & run_ends):
            m.d.sync += [offset.eq(size - 1), window.eq(0), dropping.eq(0)]
        with m.Elif(good & burst.gather & ~dropping):
            m.d.sync += [offset.eq(following), window.eq(window + 1), dropping.eq(windows_end)]

        short = Signal()  # the run ends before its last window does
        m.d.comb += short.eq(burst.gather & run_ends & take & ~windows_end & ~dropping)
        m.d.sync += [
            self.write.en.eq(good & ~dropping), self.write.buffer.eq(burst.buffer),
            self.write.addr.eq(burst.local + Mux(burst.gather, window, beat)),
            self.write.data.eq(_shifted(Cat(before[8:], self.r.payload.data), offset, size)),
            self.done.eq(good & take & burst_ends & burst.final & ~short),
        ]

        # The data is older than what the walker works on, so its error takes precedence.
        failed, failed_code, failed_index = Signal(), Signal(8), Signal(24)
        with m.If(here & ((self.r.payload.resp != OKAY) | short) & ~self.error.valid):
            m.d.sync += [failed.eq(1), failed_index.eq(burst.index), failed_code.eq(
                Mux(self.r.payload.resp == OKAY, ErrorCode.FIELD, ErrorCode.AXI_READ))]
        with m.If(failed):
            m.d.comb += [self.error.valid.eq(1), self.error.code.eq(failed_code), self.error.index.eq(failed_index)]
        return m


class StoreUnit(wiring.Component):
    """Run STORE instructions: read the activation buffer over ``read``, write DRAM over ``aw``, ``w`` and ``b``.

    ``read_data`` must be valid exactly ``read_latency`` cycles after ``read.en``; a word is read only when the FIFO
    in front of ``w`` has room for it, so stalls of the bus lose nothing. ``release`` comes with the last word read of
    each instruction, ``done`` after its last B response, both in order.

    ``error`` holds until reset: the walker's, or AXI_WRITE for a response other than OKAY. After an error, or while
    ``halt``, no burst is issued and those in flight are completed; ``quiet`` tells that none is left.
    """

    def __init__(self, config: AcceleratorConfig, read_latency: int):
        if read_latency < 1:
            raise ValueError(f"read_latency must be at least 1, not {read_latency}")
        self.config = config
        self.read_latency = read_latency
        # A slot is free again read_latency + 2 cycles after the read that it was reserved for.
        depth = read_latency + 2
        self.words = StreamFifo(write_data_layout(config.word_bytes), depth)
        self.credits = Signal(range(depth + 1), init=depth)
        # What was asked of the read port travels beside its latency: enable, last of the burst, last of all.
        self.asked = [Signal(3, name=f"asked_{i}") for i in range(read_latency)]
        word = 8 * config.word_bytes
        super().__init__({
            **_unit_ports(config),
            "aw": Out(stream.Signature(AXI_ADDRESS)),
            "w": Out(stream.Signature(write_data_layout(config.word_bytes))),
            "b": In(stream.Signature(RESPONSE)),
            "read": Out(wiring.Signature({"en": Out(1), "addr": Out(20)})),
            "read_data": In(word),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.walker = walker = BurstWalker(config, Unit.STORE)
        m.submodules.slice = address = StreamBuffer(AXI_ADDRESS)
        m.submodules.reads = reads = StreamFifo(BURST, config.outstanding)
        m.submodules.flight = flight = StreamFifo(StructLayout({"final": 1, "index": 24}), config.outstanding)
        m.submodules.data = words = self.words
        wiring.connect(m, wiring.flipped(self.start), walker.start)
        wiring.connect(m, address.o, wiring.flipped(self.aw))
        wiring.connect(m, words.o, wiring.flipped(self.w))

        # Every burst goes to three places at once. `reads` never holds more than `flight`, so it always has room then.
        stop, issue = Signal(), Signal()
        m.d.comb += [
            stop.eq(self.halt | self.error.valid), walker.base.eq(self.base), walker.halt.eq(stop),
            walker.o.ready.eq(address.i.ready & flight.i.ready & ~stop),
            issue.eq(walker.o.valid & walker.o.ready),
            address.i.payload.addr.eq(walker.o.payload.addr), address.i.payload.len.eq(walker.o.payload.len),
            reads.i.payload.eq(walker.o.payload),
            flight.i.payload.final.eq(walker.o.payload.final), flight.i.payload.index.eq(walker.o.payload.index),
            address.i.valid.eq(issue), reads.i.valid.eq(issue), flight.i.valid.eq(issue),
            self.busy.eq(walker.busy | flight.o.valid), self.quiet.eq(~flight.o.valid),
            self.error.eq(walker.error),
        ]

        credits = self.credits
        beat = Signal(_LEN_BITS)
        burst = reads.o.payload
        burst_ends, returned = Signal(), Signal()
        m.d.comb += [
            burst_ends.eq(beat == burst.len),
            self.read.en.eq(reads.o.valid & (credits != 0)),
            self.read.addr.eq(burst.local + beat),
            reads.o.ready.eq(self.read.en & burst_ends),
            returned.eq(self.w.valid & self.w.ready),
        ]
        with m.If(self.read.en):
            m.d.sync += beat.eq(Mux(burst_ends, 0, beat + 1))
        with m.If(self.read.en & ~returned):
            m.d.sync += credits.eq(credits - 1)
        with m.Elif(returned & ~self.read.en):
            m.d.sync += credits.eq(credits + 1)

        m.d.sync += self.asked[0].eq(Cat(self.read.en, burst_ends, burst.final & burst_ends))
        m.d.sync += [later.eq(earlier) for earlier, later in pairwise(self.asked)]
        arrived = self.asked[-1]
        m.d.comb += [
            words.i.valid.eq(arrived[0]), words.i.payload.last.eq(arrived[1]),
            words.i.payload.data.eq(self.read_data), self.release.eq(arrived[0] & arrived[2]),
            self.b.ready.eq(flight.o.valid),
            flight.o.ready.eq(self.b.valid),
        ]

        take = self.b.valid & self.b.ready
        good = take & (self.b.payload.resp == OKAY) & ~self.error.valid
        m.d.sync += self.done.eq(good & flight.o.payload.final)
        failed, failed_index = Signal(), Signal(24)
        with m.If(take & (self.b.payload.resp != OKAY) & ~self.error.valid):
            m.d.sync += [failed.eq(1), failed_index.eq(flight.o.payload.index)]
        with m.If(failed):
            m.d.comb += [self.error.valid.eq(1), self.error.code.eq(ErrorCode.AXI_WRITE),
                         self.error.index.eq(failed_index)]
        return m
