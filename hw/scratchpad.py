"""Activation buffer: banks with one read and one write port each, lent to one unit at a time."""

from amaranth import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .block_memory import block_memory
from .config import AcceleratorConfig

__all__ = ["ACT_READ_LATENCY", "ACT_WRITE_LATENCY", "READERS", "WRITERS", "ActivationBuffer", "act_read_signature",
           "act_write_signature"]

# Cycles from a read address to its data, at full rate: memory, then a register behind the bank multiplexer.
ACT_READ_LATENCY = 2
# Cycles from a write to the first read that sees it.
ACT_WRITE_LATENCY = 1

READERS = ("compute", "vector", "store")
WRITERS = ("vector", "load")


def act_read_signature(config: AcceleratorConfig) -> wiring.Signature:
    """Return the read port of a unit; ``error`` (address, bank) is valid together with ``en``."""
    return wiring.Signature({"en": Out(1), "addr": Out(20), "data": In(unsigned(8 * config.word_bytes)),
                             "error": In(2)})


def act_write_signature(config: AcceleratorConfig) -> wiring.Signature:
    """Return the write port of a unit; ``error`` (address, bank) is valid together with ``en``."""
    return wiring.Signature({"en": Out(1), "addr": Out(20), "data": Out(unsigned(8 * config.word_bytes)),
                             "error": In(2)})


def _select(values: list[Value], index: Value) -> Value:
    """Return ``values[index]``, of a power of two of values, by multiplexers of two.

    Of four values: one that chooses among the first two, or is told to pass the low bit of ``index``, and one that it
    controls, are two look-up tables of four inputs per bit instead of three.
    """
    if len(values) == 2:
        return Mux(index[0], values[1], values[0])
    if len(values) == 4:
        low = Mux(index[1], index[0].replicate(len(values[0])), Mux(index[0], values[1], values[0]))
        return Mux(index[1], (low & values[3]) | (~low & values[2]), low)
    half = len(values) // 2
    return Mux(index[-1], _select(values[half:], index[:-1]), _select(values[:half], index[:-1]))


class ActivationBuffer(wiring.Component):
    """Scratchpad of ``act_words`` words in ``act_banks`` banks selected by the high address bits.

    A unit may touch only banks it holds (``hold_*``, one bit per bank; no two units hold the same port); an access
    elsewhere does nothing and raises the port's ``error``. So no access ever waits, and timing is known in advance.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        ports = {f"read_{u}": In(act_read_signature(config)) for u in READERS}
        ports |= {f"write_{u}": In(act_write_signature(config)) for u in WRITERS}
        ports |= {f"hold_read_{u}": In(config.act_banks) for u in READERS}
        ports |= {f"hold_write_{u}": In(config.act_banks) for u in WRITERS}
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        banks, depth_bits = config.act_banks, (config.bank_words - 1).bit_length()
        bank_bits = (banks - 1).bit_length()
        width = 8 * config.word_bytes

        def select(port, hold, name):
            """Return one enable per bank, and set the port's error bits."""
            bank, outside = port.addr[depth_bits:depth_bits + bank_bits], port.addr[depth_bits + bank_bits:].any()
            hit = Signal(banks, name=f"hit_{name}")
            m.d.comb += [hit.eq(Cat(port.en & ~outside & hold[b] & (bank == b) for b in range(banks))),
                         port.error.eq(Cat(outside, ~outside & ~hit.any()))]
            return hit

        def one_of(pairs):
            """AND-OR multiplexer of (selected, value)."""
            result = 0
            for selected, value in pairs:
                result = result | (value & selected.replicate(len(value)))
            return result

        reads = {u: getattr(self, f"read_{u}") for u in READERS}
        writes = {u: getattr(self, f"write_{u}") for u in WRITERS}
        read_hits = {u: select(port, getattr(self, f"hold_read_{u}"), f"read_{u}") for u, port in reads.items()}
        write_hits = {u: select(port, getattr(self, f"hold_write_{u}"), f"write_{u}") for u, port in writes.items()}
        outputs = []
        for b in range(banks):
            memory = block_memory(unsigned(width), config.bank_words)
            m.submodules[f"bank{b}"] = memory
            write, read = memory.write_port(), memory.read_port()
            # The address multiplexers follow the holder, not the access: a short path to the memory.
            m.d.comb += [
                read.en.eq(Cat(hit[b] for hit in read_hits.values()).any()),
                read.addr.eq(one_of((getattr(self, f"hold_read_{u}")[b], reads[u].addr[:depth_bits]) for u in READERS)),
                write.en.eq(Cat(hit[b] for hit in write_hits.values()).any()),
                write.addr.eq(one_of((getattr(self, f"hold_write_{u}")[b], writes[u].addr[:depth_bits])
                                     for u in WRITERS)),
                write.data.eq(one_of((getattr(self, f"hold_write_{u}")[b], writes[u].data) for u in WRITERS)),
            ]
            outputs.append(read.data)
        for u in READERS:
            bank = Signal(bank_bits, name=f"last_bank_{u}")
            m.d.sync += [bank.eq(reads[u].addr[depth_bits:depth_bits + bank_bits]),
                         reads[u].data.eq(_select(outputs, bank))]
        return m
