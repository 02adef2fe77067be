"""Frames with a checksum over a serial line: what arrives damaged is not there."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .protocol import CRC_BYTES, CRC_POLYNOMIAL, CRC_RESIDUE
from .slip import SlipDecoder, SlipEncoder

__all__ = ["CRC_LATENCY", "CONTENT", "FRAME_BYTES", "FrameReceiver", "FrameTransmitter", "SerialCrc"]

# A byte of a frame's contents; `last` is set with the last one.
CONTENT = StructLayout({"data": unsigned(8), "last": unsigned(1)})
# Bytes of contents that wait to be executed: a block RAM of 18 Kbit, as most FPGAs have them.
FRAME_BYTES = 2048
# Cycles from `start` to the `value` that includes `data`: a register, and one per bit.
CRC_LATENCY = 9


class SerialCrc(wiring.Component):
    """Update a CRC by one bit per cycle.

    ``start`` takes the byte ``data``, at most every `CRC_LATENCY` cycles; ``clear`` begins anew. The complement of
    ``value`` is the CRC. When the byte that enters is the low byte of ``value`` itself, the register is merely shifted
    by it.
    """

    clear: In(1)
    start: In(1)
    data: In(8)
    busy: Out(1)
    value: Out(32, init=0xFFFF_FFFF)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = Signal(9)  # a marker behind those that are left
        m.d.comb += self.busy.eq(bits[1:].any())
        with m.If(self.start):
            m.d.sync += bits.eq(Cat(self.data, 1))
        with m.Elif(self.busy):
            m.d.sync += [bits.eq(bits[1:]),
                         self.value.eq(self.value[1:] ^ Mux(bits[0] ^ self.value[0], CRC_POLYNOMIAL, 0))]
        with m.If(self.clear):
            m.d.sync += self.value.eq(~0)
        return m


class FrameReceiver(wiring.Component):
    """Turn bytes from the line into the contents of intact frames, without their CRC.

    A frame is offered at ``o`` when all of it is there and its CRC is right. Frames that are damaged, empty, or longer
    than the room that the ones before have left are dropped. Bytes must come more than `CRC_LATENCY` cycles apart.

    Parameters
    ----------
    depth : int
        Bytes of contents that can wait, a power of two.
    """

    def __init__(self, depth: int = FRAME_BYTES):
        if not isinstance(depth, int) or depth < 2 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two of at least 2, not {depth!r}")
        self.depth = depth
        super().__init__({"i": In(stream.Signature(8, always_ready=True)), "o": Out(stream.Signature(CONTENT))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.slip = slip = SlipDecoder()
        m.submodules.crc = crc = SerialCrc()
        m.submodules.memory = memory = Memory(shape=CONTENT, depth=self.depth, init=[])
        write, read = memory.write_port(), memory.read_port()

        # Not before the end of a frame is it known which bytes are its CRC, so that many and one more are held back.
        held = [Signal(8, name=f"held{i}") for i in range(CRC_BYTES + 1)]
        filled = Signal(len(held))
        tail, complete, head = (Signal(range(self.depth), name=name) for name in ("tail", "complete", "head"))
        overflow, end, push = Signal(), Signal(), Signal()
        full, intact = Signal(), Signal()  # as of the cycle before, which is early enough
        m.d.sync += [full.eq((tail + 1)[:len(tail)] == head), intact.eq(crc.value == CRC_RESIDUE)]
        m.d.comb += [
            slip.i.payload.eq(self.i.payload), slip.i.valid.eq(self.i.valid), slip.o.ready.eq(1),
            end.eq(slip.o.payload.end), crc.data.eq(slip.o.payload.data),
            crc.start.eq(slip.o.valid & ~end), crc.clear.eq(slip.o.valid & end),
            push.eq(slip.o.valid & filled[-1] & ~overflow),
            write.addr.eq(tail), write.data.data.eq(held[-1]), write.data.last.eq(end), write.en.eq(push & ~full),
        ]
        with m.If(slip.o.valid):
            m.d.sync += [Cat(held).eq(Cat(slip.o.payload.data, held)), filled.eq(Cat(1, filled))]
            with m.If(write.en):
                m.d.sync += tail.eq(tail + 1)
            with m.Elif(push):
                m.d.sync += overflow.eq(1)
            with m.If(end):
                m.d.sync += [filled.eq(0), overflow.eq(0)]
                with m.If(write.en & intact):
                    m.d.sync += complete.eq(tail + 1)
                with m.Else():
                    m.d.sync += tail.eq(complete)

        m.d.comb += [read.addr.eq(head), read.en.eq((head != complete) & (self.o.ready | ~self.o.valid)),
                     self.o.payload.eq(read.data)]
        with m.If(self.o.ready | ~self.o.valid):
            m.d.sync += self.o.valid.eq(read.en)
        m.d.sync += head.eq(head + read.en)
        return m


class FrameTransmitter(wiring.Component):
    """Turn contents into bytes for the line: END, the contents, their CRC, END."""

    i: In(stream.Signature(CONTENT))
    o: Out(stream.Signature(8))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.slip = slip = SlipEncoder()
        m.submodules.crc = crc = SerialCrc()
        wiring.connect(m, slip.o, wiring.flipped(self.o))
        left = Signal(range(CRC_BYTES))
        sent = slip.i.valid & slip.i.ready
        with m.FSM():
            with m.State("BEGIN"):
                m.d.comb += [crc.clear.eq(1), slip.i.payload.end.eq(1), slip.i.valid.eq(self.i.valid)]
                with m.If(sent):
                    m.next = "CONTENTS"
            with m.State("CONTENTS"):
                m.d.comb += [
                    slip.i.payload.data.eq(self.i.payload.data), slip.i.valid.eq(self.i.valid & ~crc.busy),
                    self.i.ready.eq(slip.i.ready & ~crc.busy), crc.data.eq(self.i.payload.data), crc.start.eq(sent),
                ]
                m.d.sync += left.eq(CRC_BYTES - 1)
                with m.If(sent & self.i.payload.last):
                    m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [slip.i.payload.data.eq(~crc.value[:8]), slip.i.valid.eq(~crc.busy),
                             crc.data.eq(crc.value[:8]), crc.start.eq(sent)]
                with m.If(sent):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 0):
                        m.next = "END"
            with m.State("END"):
                m.d.comb += [slip.i.payload.end.eq(1), slip.i.valid.eq(1)]
                with m.If(sent):
                    m.next = "BEGIN"
        return m
