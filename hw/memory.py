"""On-chip RAM behind an AXI4 slave port, for networks that need no DRAM."""

from amaranth import Cat, Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from .area import block_rams
from .axi import ADDR_BITS, AXI_ADDRESS, OKAY, axi4_signature, read_data_layout, write_data_layout
from .fifo import StreamFifo

__all__ = ["DECERR", "MEMORY_LATENCY", "UNIT_WORDS", "OnChipMemory", "memory_banks",
           "memory_block_rams"]

DECERR = 0b11
# Words in the largest bank: where a block RAM of 16 Kbit holds one bit of each word.
_BANK_WORDS = 1 << 14
# Words in the smallest: where a block RAM is as wide as it can be. Every memory is a multiple of it.
UNIT_WORDS = 1 << 9
# Cycles from a read in the walker to its beat at the port: memory, register of the bank, multiplexer, FIFO.
_PIPELINE = 4
# Cycles from an accepted read burst to its first beat, and from the last beat of a write burst to its response:
# address FIFO, walker, and `_PIPELINE`.
MEMORY_LATENCY = 2 + _PIPELINE


def memory_banks(words: int) -> list[int]:
    """Return the sizes of the banks that hold ``words`` words, largest first; each is a power of two.

    Raises ``ValueError`` unless ``words`` is a positive multiple of 512.
    """
    if words < 1 or words % UNIT_WORDS:
        raise ValueError(f"words must be a positive multiple of {UNIT_WORDS}, not {words}")
    banks = [_BANK_WORDS] * (words // _BANK_WORDS)
    return banks + [size for size in (1 << k for k in reversed(range(_BANK_WORDS.bit_length() - 1))) if words & size]


def memory_block_rams(words: int, data_bytes: int) -> int:
    """Return the block RAMs of ECP5 that a memory of ``words`` words of ``data_bytes`` bytes takes."""
    return sum(block_rams(size, 8 * data_bytes) for size in memory_banks(words))


class OnChipMemory(wiring.Component):
    """AXI4 slave of ``words`` words in banks of block RAM, zero at first.

    Its time is the contract of the ``fixed`` DRAM in sim/rtl/dram.hpp, with latency `MEMORY_LATENCY` and a bandwidth of
    two words per cycle (one read, one written), except that data may be written before its address is accepted and that
    at most ``outstanding`` bursts per direction are in flight. Bursts must be INCR, of full-width, aligned beats of
    which all bytes are written, and have ID 0. A beat outside the memory answers DECERR, reads as 0 and is not written.
    """

    def __init__(self, data_bytes: int, words: int, outstanding: int):
        self.data_bytes = data_bytes
        self.words = words
        self.outstanding = outstanding
        self.banks = memory_banks(words)
        super().__init__({"bus": In(axi4_signature(ADDR_BITS, data_bytes))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ram = [Memory(shape=unsigned(8 * self.data_bytes), depth=size, init=[]) for size in self.banks]
        for i, memory in enumerate(ram):
            m.submodules[f"bank{i}"] = memory
        self._read(m, [memory.read_port() for memory in ram])
        self._write(m, [memory.write_port() for memory in ram])
        return m

    def _bursts(self, m: Module, channel: str, accept, step) -> tuple[Signal, Signal, Signal]:
        """Walk the bursts of an address channel, taken while ``accept``, a word per ``step``.

        Returns the word's number, whether there is one, and whether it is the burst's last.
        """
        bus = self.bus
        addr, length, valid, ready = (getattr(bus, channel + name) for name in ("addr", "len", "valid", "ready"))
        m.submodules[f"{channel}_fifo"] = fifo = StreamFifo(AXI_ADDRESS, self.outstanding)
        shift = (self.data_bytes - 1).bit_length()
        word, left = Signal(ADDR_BITS - shift, name=f"{channel}_word"), Signal(8, name=f"{channel}_left")
        active, last = Signal(name=f"{channel}_active"), Signal(name=f"{channel}_at_last")
        m.d.comb += [
            fifo.i.payload.addr.eq(addr), fifo.i.payload.len.eq(length), fifo.i.valid.eq(valid & accept),
            ready.eq(fifo.i.ready & accept), last.eq(left == 0), fifo.o.ready.eq(~active | (step & last)),
        ]
        with m.If(fifo.o.ready):
            m.d.sync += [active.eq(fifo.o.valid), word.eq(fifo.o.payload.addr[shift:]), left.eq(fifo.o.payload.len)]
        with m.Elif(step):
            m.d.sync += [word.eq(word + 1), left.eq(left - 1)]
        return word, active, last

    def _hits(self, word: Signal) -> list:
        """Return for each bank whether ``word`` lies there: it begins at a multiple of its own size."""
        starts = [sum(self.banks[:i]) for i in range(len(self.banks))]
        shifts = [(size - 1).bit_length() for size in self.banks]
        return [word[shift:] == start >> shift for start, shift in zip(starts, shifts, strict=True)]

    def _read(self, m: Module, ports: list) -> None:
        bus = self.bus
        layout = read_data_layout(self.data_bytes)
        m.submodules.beats = beats = StreamFifo(layout, 2 * _PIPELINE)
        # A word is read only when the FIFO has room for it, counted from the start of its way there.
        room = Signal(range(beats.depth + 1), init=beats.depth)
        step = Signal()
        word, active, last = self._bursts(m, "ar", 1, step)
        taken = bus.rvalid & bus.rready
        m.d.comb += step.eq(active & (room != 0))
        m.d.sync += room.eq(room + taken - step)

        width = 8 * self.data_bytes
        stage = data.StructLayout({"valid": 1, "last": 1, "hits": len(ports)})
        read, held, joined = (Signal(stage, name=name) for name in ("read", "held", "joined"))
        m.d.sync += [read.valid.eq(step), read.last.eq(last), read.hits.eq(Cat(self._hits(word))),
                     held.eq(read), joined.eq(held)]
        parts = []
        for i, port in enumerate(ports):
            value = Signal(width, name=f"value{i}")
            m.d.comb += port.addr.eq(word)
            m.d.sync += value.eq(port.data)  # a block RAM is slow: nothing between its output and a register
            parts.append(value & held.hits[i].replicate(width))
        joined_data = Signal(width)
        m.d.sync += joined_data.eq(_any(parts))
        m.d.comb += [
            beats.i.valid.eq(joined.valid), beats.i.payload.data.eq(joined_data), beats.i.payload.last.eq(joined.last),
            beats.i.payload.resp.eq(OKAY), bus.rvalid.eq(beats.o.valid), beats.o.ready.eq(bus.rready),
            bus.rdata.eq(beats.o.payload.data), bus.rlast.eq(beats.o.payload.last),
            bus.rresp.eq(beats.o.payload.resp),
        ]
        with m.If(~joined.hits.any()):
            m.d.comb += beats.i.payload.resp.eq(DECERR)

    def _write(self, m: Module, ports: list) -> None:
        bus = self.bus
        m.submodules.words = words = StreamFifo(write_data_layout(self.data_bytes), 4)
        m.d.comb += [words.i.payload.data.eq(bus.wdata), words.i.payload.last.eq(bus.wlast),
                     words.i.valid.eq(bus.wvalid), bus.wready.eq(words.i.ready)]
        unanswered = Signal(range(self.outstanding + 1))
        step = Signal()
        word, active, last = self._bursts(m, "aw", unanswered != self.outstanding, step)
        hits = Signal(len(ports))
        m.d.comb += [step.eq(active & words.o.valid), words.o.ready.eq(active), hits.eq(Cat(self._hits(word)))]

        where, value = Signal.like(word), Signal(8 * self.data_bytes)
        m.d.sync += [where.eq(word), value.eq(words.o.payload.data)]
        for i, port in enumerate(ports):
            enable = Signal(name=f"enable{i}")
            m.d.sync += enable.eq(step & hits[i])
            m.d.comb += [port.en.eq(enable), port.addr.eq(where), port.data.eq(value)]

        m.submodules.responses = responses = StreamFifo(unsigned(2), self.outstanding)
        outside, so_far = Signal(), Signal()
        m.d.comb += [outside.eq(so_far | ~hits.any()), responses.i.valid.eq(step & last),
                     responses.i.payload.eq(outside.replicate(2) & DECERR)]
        with m.If(step):
            m.d.sync += so_far.eq(outside & ~last)

        # A response is due MEMORY_LATENCY cycles after the last beat was taken.
        ended = Signal(MEMORY_LATENCY - 1)
        due = Signal(range(self.outstanding + 1))
        answered = bus.bvalid & bus.bready
        m.d.sync += [
            ended.eq(Cat(bus.wvalid & bus.wready & bus.wlast, ended)), due.eq(due + ended[-1] - answered),
            unanswered.eq(unanswered + (bus.awvalid & bus.awready) - answered),
        ]
        m.d.comb += [bus.bvalid.eq((due != 0) & responses.o.valid), bus.bresp.eq(responses.o.payload),
                     responses.o.ready.eq((due != 0) & bus.bready)]


def _any(values):
    result = values[0]
    for value in values[1:]:
        result = result | value
    return result
