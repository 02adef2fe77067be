"""Accumulator buffer: int32 partial sums of one output tile per ping-pong half."""

from amaranth import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .array import psum_bits
from .block_memory import block_memory
from .config import AcceleratorConfig
from .pipeline import delayed

__all__ = ["ACC_READ_LATENCY", "ACC_WRITE_LATENCY", "MIN_PASS", "AccumulatorBuffer"]

# Cycles from a read address to its registered data.
ACC_READ_LATENCY = 2
# Cycles from `address` (ACC_READ_LATENCY before the sums) to the cycle after which a read sees the result.
ACC_WRITE_LATENCY = ACC_READ_LATENCY + 2
# The same word may be accumulated again this many cycles later, so no pass may repeat faster.
MIN_PASS = ACC_WRITE_LATENCY


class AccumulatorBuffer(wiring.Component):
    """Add column sums into ``acc_depth`` words of ``cols`` int32, and let the vector unit read the other half.

    The array side presents ``address`` and ``overwrite`` with ``en`` exactly ``ACC_READ_LATENCY`` cycles before the
    sums appear at ``psum``. Each half is one memory with one read port; ``conflict`` reports that both sides read the
    same half, whereupon the vector side's data is not valid. ``read_data`` is zero in cycles for which it was not read.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self._address_bits = (config.acc_depth - 1).bit_length()
        super().__init__({
            "en": In(1), "address": In(self._address_bits), "overwrite": In(1),
            "psum": In(data.ArrayLayout(signed(psum_bits(config.rows)), config.cols)),
            "read_en": In(1), "read_address": In(self._address_bits),
            "read_data": Out(data.ArrayLayout(signed(32), config.cols)),
            "conflict": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word = data.ArrayLayout(signed(32), self.config.cols)
        half_bits = self._address_bits - 1

        en, address = (delayed(m, value, ACC_READ_LATENCY, name)
                       for value, name in ((self.en, "en"), (self.address, "address")))

        # Registers behind the memories: the sums so far, and what the vector unit reads.
        old, total = Signal(word, reset_less=True), Signal(word, reset_less=True)
        write_en, write_address = Signal(), Signal(self._address_bits)
        m.d.sync += [total[c].eq(old[c] + self.psum[c]) for c in range(self.config.cols)]
        m.d.sync += [write_en.eq(en), write_address.eq(address)]

        outputs, conflicts = [], []
        for half in range(2):
            memory = block_memory(unsigned(32 * self.config.cols), 1 << half_bits)
            m.submodules[f"half{half}"] = memory
            write, read = memory.write_port(), memory.read_port()
            from_array, from_vector = Signal(name=f"from_array{half}"), Signal(name=f"from_vector{half}")
            m.d.comb += [
                from_array.eq(self.en & ~self.overwrite & (self.address[half_bits] == half)),
                from_vector.eq(self.read_en & (self.read_address[half_bits] == half)),
                read.en.eq(from_array | from_vector),
                read.addr.eq(self.read_address),
                write.en.eq(write_en & (write_address[half_bits] == half)),
                write.addr.eq(write_address), write.data.eq(total),
            ]
            with m.If(from_array):
                m.d.comb += read.addr.eq(self.address)
            conflicts.append(from_array & from_vector)
            outputs.append(read.data)
        m.d.sync += self.conflict.eq(conflicts[0] | conflicts[1])
        # Zero unless it was read: for the first sum of an accumulator, and for the vector unit's adder.
        for data_out, read, half in ((old, self.en & ~self.overwrite, self.address[half_bits]),
                                     (self.read_data, self.read_en, self.read_address[half_bits])):
            chosen = [delayed(m, read & (half == h), 1, f"chosen_{h}") for h in range(2)]
            m.d.sync += data_out.eq(Mux(chosen[0], outputs[0], 0) | Mux(chosen[1], outputs[1], 0))
        return m
