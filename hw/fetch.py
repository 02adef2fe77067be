"""Instruction fetch: read the program from DRAM ahead of its execution."""

from amaranth import Cat, Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .axi import ADDR_BITS, AXI_ADDRESS, BURST_WORDS, OKAY, read_data_layout
from .config import AcceleratorConfig
from .fifo import StreamBuffer, StreamFifo
from .isa import ENTRY, ERROR, INSTR_BITS, INSTR_BYTES, ErrorCode

__all__ = ["FETCH_DEPTH", "FETCH_LATENCY", "FetchUnit", "fetch_bursts"]

# Instructions requested or waiting at the output.
FETCH_DEPTH = 4
# Cycles from `start` to the first AR valid.
FETCH_LATENCY = 2


def fetch_bursts(config: AcceleratorConfig) -> int:
    """Return the bursts in flight that instruction fetch may reach."""
    return FETCH_DEPTH * max(1, INSTR_BYTES // config.word_bytes // BURST_WORDS)


class FetchUnit(wiring.Component):
    """Read ``count`` instructions from byte ``base + address`` and stream them out in order, with their index.

    ``start`` is a strobe, ignored while ``busy``; ``busy`` falls when the last instruction has been taken at ``o``.
    Up to ``FETCH_DEPTH`` instructions are requested ahead.

    ``error`` holds until reset: ADDRESS when the program is not aligned to an instruction (index 0), AXI_READ for a
    response other than OKAY. After an error, or while ``halt``, nothing more is requested and what arrives is
    dropped; ``quiet`` tells that no burst is in flight, so that a reset cannot break the bus protocol.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self.fifo = StreamFifo(ENTRY, FETCH_DEPTH)
        super().__init__({
            "start": In(1), "base": In(ADDR_BITS), "address": In(ADDR_BITS), "count": In(24), "halt": In(1),
            "ar": Out(stream.Signature(AXI_ADDRESS)),
            "r": In(stream.Signature(read_data_layout(config.word_bytes))),
            "o": Out(stream.Signature(ENTRY)),
            "busy": Out(1), "quiet": Out(1), "error": Out(ERROR),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word_bits = 8 * self.config.word_bytes
        beats = INSTR_BYTES // self.config.word_bytes
        # Instructions are aligned, so with 16 or fewer beats each is one burst inside an aligned block.
        burst_words = min(beats, BURST_WORDS)
        bursts = beats // burst_words
        m.submodules.slice = address = StreamBuffer(AXI_ADDRESS)
        m.submodules.fifo = fifo = self.fifo
        wiring.connect(m, address.o, wiring.flipped(self.ar))
        wiring.connect(m, fifo.o, wiring.flipped(self.o))

        pointer = Signal(ADDR_BITS)
        to_request, to_deliver = Signal(24), Signal(24)    # instructions
        credits = Signal(range(FETCH_DEPTH + 1), init=FETCH_DEPTH)
        in_flight = Signal(range(fetch_bursts(self.config) + 1))
        burst = Signal(range(max(2, bursts)))
        stop, request, opened, delivered, burst_returned = Signal(), Signal(), Signal(), Signal(), Signal()

        m.d.comb += [
            stop.eq(self.halt | self.error.valid),
            self.busy.eq(to_deliver != 0),
            self.quiet.eq(in_flight == 0),
            # An instruction takes its credit with its first burst.
            address.i.valid.eq((to_request != 0) & ((credits != 0) | (burst != 0)) & ~stop),
            address.i.payload.addr.eq(pointer), address.i.payload.len.eq(burst_words - 1),
            request.eq(address.i.valid & address.i.ready),
            opened.eq(request & (burst == 0)),
            delivered.eq(self.o.valid & self.o.ready),
        ]
        with m.If(request):
            m.d.sync += [pointer.eq(pointer + burst_words * self.config.word_bytes), burst.eq(burst + 1)]
            with m.If(burst == bursts - 1):
                m.d.sync += [burst.eq(0), to_request.eq(to_request - 1)]
        with m.If(delivered):
            m.d.sync += to_deliver.eq(to_deliver - 1)
        with m.If(opened & ~delivered):
            m.d.sync += credits.eq(credits - 1)
        with m.Elif(delivered & ~opened):
            m.d.sync += credits.eq(credits + 1)
        with m.If(request & ~burst_returned):
            m.d.sync += in_flight.eq(in_flight + 1)
        with m.Elif(burst_returned & ~request):
            m.d.sync += in_flight.eq(in_flight - 1)

        # Assemble: the beats before the last wait in a shift register, the last goes to the FIFO with them.
        take, ends = Signal(), Signal()
        beat = Signal(range(max(2, beats)))
        index = Signal(24)
        m.d.comb += [
            self.r.ready.eq(1), take.eq(self.r.valid), ends.eq(beat == beats - 1),
            burst_returned.eq(take & self.r.payload.last),
            fifo.i.payload.index.eq(index),
            fifo.i.valid.eq(take & ends & ~stop & (self.r.payload.resp == OKAY)),
        ]
        if beats == 1:
            m.d.comb += fifo.i.payload.instr.eq(self.r.payload.data)
        else:
            held = Signal(INSTR_BITS - word_bits)
            whole = Cat(held, self.r.payload.data)
            m.d.comb += fifo.i.payload.instr.eq(whole)
            with m.If(take):
                m.d.sync += held.eq(whole[word_bits:])
        with m.If(take):
            m.d.sync += beat.eq(beat + 1)
            with m.If(ends):
                m.d.sync += [beat.eq(0), index.eq(index + 1)]
            with m.If((self.r.payload.resp != OKAY) & ~stop):
                m.d.sync += [self.error.valid.eq(1), self.error.code.eq(ErrorCode.AXI_READ),
                             self.error.index.eq(index)]

        first = Signal(unsigned(ADDR_BITS))
        m.d.comb += first.eq(self.base + self.address)
        with m.If(self.start & ~self.busy & ~stop):
            m.d.sync += [pointer.eq(first), to_request.eq(self.count), to_deliver.eq(self.count), index.eq(0)]
            with m.If(first[:(INSTR_BYTES - 1).bit_length()].any()):
                m.d.sync += [self.error.valid.eq(1), self.error.code.eq(ErrorCode.ADDRESS), self.error.index.eq(0),
                             to_request.eq(0), to_deliver.eq(0)]
        return m
