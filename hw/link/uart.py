"""Receiver and transmitter of a serial line: a start bit, 8 data bits from the least significant on, a stop bit."""

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["MIN_DIVISOR", "UartReceiver", "UartTransmitter"]

# With fewer cycles per bit a sample cannot keep away from both edges of its bit.
MIN_DIVISOR = 4


def _check(divisor: int) -> None:
    if not isinstance(divisor, int) or divisor < MIN_DIVISOR:
        raise ValueError(f"divisor must be an integer of at least {MIN_DIVISOR}, not {divisor!r}")


class UartReceiver(wiring.Component):
    """Turn the line ``rx`` into bytes.

    Each bit is sampled once, in its middle as counted from the edge of the start bit. A start bit that has gone by its
    middle is noise, and a byte without stop bit is dropped; after one, the line must be high before the next begins.
    Bytes are ``10 * divisor`` cycles apart, less the sender's deviation.

    Parameters
    ----------
    divisor : int
        Cycles per bit, at least `MIN_DIVISOR`; otherwise ``ValueError``.
    """

    def __init__(self, divisor: int):
        _check(divisor)
        self.divisor = divisor
        super().__init__({"rx": In(1, init=1), "o": Out(stream.Signature(8, always_ready=True)), "busy": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line = Signal(init=1)
        m.submodules += FFSynchronizer(self.rx, line, init=1)
        left = Signal(range(self.divisor))
        sample = left == 0
        shift = Signal(9)  # a marker, which arrives at bit 0 when all data bits are behind it
        m.d.sync += [left.eq(left - 1), self.o.valid.eq(0)]
        with m.If(sample):
            m.d.sync += left.eq(self.divisor - 1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [left.eq(self.divisor // 2 - 1), shift.eq(1 << 8)]
                with m.If(~line):
                    m.next = "START"
            with m.State("START"):
                m.d.comb += self.busy.eq(1)
                with m.If(sample):
                    m.next = "BITS"
                    with m.If(line):
                        m.next = "IDLE"
            with m.State("BITS"):
                m.d.comb += self.busy.eq(1)
                with m.If(sample):
                    m.d.sync += shift.eq(Cat(shift[1:], line))
                    with m.If(shift[0]):  # this is the stop bit
                        m.d.sync += [self.o.payload.eq(shift[1:]), self.o.valid.eq(line)]
                        m.next = "IDLE"
                        with m.If(~line):
                            m.next = "BREAK"
            with m.State("BREAK"):
                with m.If(line):
                    m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Send bytes on the line ``tx``, each in ``10 * divisor`` cycles.

    Parameters
    ----------
    divisor : int
        Cycles per bit, at least `MIN_DIVISOR`; otherwise ``ValueError``.
    """

    def __init__(self, divisor: int):
        _check(divisor)
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1), "busy": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = Signal(range(self.divisor))
        shift = Signal(9)  # what follows, the stop bit last
        m.d.comb += self.i.ready.eq(~self.busy)
        with m.If(~self.busy):
            m.d.sync += [left.eq(self.divisor - 1), shift.eq(Cat(self.i.payload, Const(1, 1)))]
            with m.If(self.i.valid):
                m.d.sync += [self.busy.eq(1), self.tx.eq(0)]
        with m.Elif(left == 0):
            m.d.sync += [left.eq(self.divisor - 1), shift.eq(shift[1:]), self.tx.eq(shift[0])]
            with m.If(shift == 0):
                m.d.sync += [self.busy.eq(0), self.tx.eq(1)]
        with m.Else():
            m.d.sync += left.eq(left - 1)
        return m
