"""Execute what comes over the serial line on the accelerator's memory and registers."""

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from ..axi import ADDR_BITS, BURST_INCR, OKAY, axi4_signature, axi_lite_signature
from ..config import AcceleratorConfig
from ..csr import CSR_ADDR_BITS
from .frames import FrameReceiver, FrameTransmitter
from .protocol import COUNT_BITS, HEADER, IDENTITY, MAGIC, NUMBER_BITS, NUMBER_OFFSET, VERSION, Space, Status
from .uart import UartReceiver, UartTransmitter

__all__ = ["HostLink"]


class HostLink(wiring.Component):
    """The board's end of the host link; docs/host-link.md is its contract.

    ``bus`` issues single full-width beats, one at a time, of which all bytes are written. ``csr`` is the master of a
    register block such as that of `Core`. ``active`` is high while bytes travel, for an LED.

    Parameters
    ----------
    config : AcceleratorConfig
        Configuration of the accelerator, whose hash the driver asks for.
    divisor : int
        Cycles per bit of the line, at least 4.
    build_id : int
        64 bits that tell this bitstream from others.
    memory_bytes : int
        Bytes of memory behind ``bus``, from address 0 on; the driver asks for it. Beats beyond it must be answered
        with an error.
    clock_hz : int
        Frequency of the clock, for the driver to know.

    Raises
    ------
    ValueError
        If a number is outside its range.
    """

    def __init__(self, config: AcceleratorConfig, *, divisor: int, build_id: int, memory_bytes: int, clock_hz: int):
        for name, value, bits in (("build_id", build_id, 64), ("memory_bytes", memory_bytes, 32),
                                  ("clock_hz", clock_hz, 32)):
            if not isinstance(value, int) or not 0 <= value < 1 << bits:
                raise ValueError(f"{name} must be an integer of {bits} bits, not {value!r}")
        self.config = config
        self.divisor = divisor
        self.build_id = build_id
        self.memory_bytes = memory_bytes
        self.clock_hz = clock_hz
        self._receiver, self._transmitter = UartReceiver(divisor), UartTransmitter(divisor)
        super().__init__({
            "rx": In(1, init=1), "tx": Out(1, init=1),
            "bus": Out(axi4_signature(ADDR_BITS, config.word_bytes)),
            "csr": In(axi_lite_signature(CSR_ADDR_BITS)),
            "active": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver, m.submodules.transmitter = receiver, transmitter = self._receiver, self._transmitter
        m.submodules.requests = requests = FrameReceiver()
        m.submodules.answers = answers = FrameTransmitter()
        wiring.connect(m, receiver.o, requests.i)
        wiring.connect(m, answers.o, transmitter.i)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx),
                     self.active.eq(receiver.busy | transmitter.busy)]
        rx, tx, bus, csr = requests.o, answers.i, self.bus, self.csr

        header = Signal(HEADER)
        index = Signal(range(HEADER.size // 8))
        op = header.op
        memory, registers, link = (op.space == space for space in (Space.MEMORY, Space.CSR, Space.LINK))
        address = Signal(32)
        number = Signal(NUMBER_BITS)  # of the next write to registers
        left = Signal(8)
        status, answer = Signal(Status), Signal(Status)
        ended, step = Signal(), Signal()  # the request is read to its end; one byte is done
        m.d.comb += address.eq(header.address)
        # One bit more than memory has, so that a request does not wrap from its end to its beginning.
        low = address[:max(CSR_ADDR_BITS, bits_for(self.memory_bytes))]
        m.d.sync += header.address[:len(low)].eq(low + step)

        lanes = self.config.word_bytes
        lane = address[:(lanes - 1).bit_length()]
        word = Signal(8 * lanes)  # assembled from the line, or
        beat = Signal(8 * lanes)  # taken from the bus
        byte = word[-8:]          # the last one from the line
        identity = IDENTITY.const({
            "magic": MAGIC, "version": VERSION, "build_id": self.build_id, "config_hash": self.config.hash(),
            "memory_bytes": self.memory_bytes, "clock_hz": self.clock_hz}).as_value()
        first = IDENTITY["number"].offset
        identity = Cat(identity[:first], number, identity[first + NUMBER_BITS:])

        aw_taken, w_taken = Signal(), Signal()
        aligned = Cat(Const(0, len(lane)), address[len(lane):])
        m.d.comb += [
            bus.awaddr.eq(aligned), bus.araddr.eq(aligned), bus.awburst.eq(BURST_INCR), bus.arburst.eq(BURST_INCR),
            bus.awsize.eq(len(lane)), bus.arsize.eq(len(lane)), bus.wdata.eq(word), bus.wstrb.eq(~0), bus.wlast.eq(1),
            csr.awaddr.eq(address[2:CSR_ADDR_BITS] << 2), csr.araddr.eq(address[2:CSR_ADDR_BITS] << 2),
            csr.wdata.eq(byte.replicate(4)), csr.wstrb.eq(1 << address[:2]),
        ]
        with m.FSM():
            with m.State("HEADER"):
                m.d.comb += rx.ready.eq(1)
                m.d.sync += [status.eq(Status.OK), aw_taken.eq(0), w_taken.eq(0)]
                with m.If(rx.valid):
                    m.d.sync += [header.eq(Cat(header.as_value()[8:], rx.payload.data)), index.eq(index + 1)]
                    with m.If(rx.payload.last):  # too short to say what it is
                        m.d.sync += index.eq(0)
                    with m.Elif(index == HEADER.size // 8 - 1):
                        m.next = "CHECK"

            with m.State("CHECK"):
                m.d.sync += ended.eq(0)
                with m.If((op.reserved != 0) | (op.space > max(Space))):
                    m.d.sync += status.eq(Status.OP)
                with m.Elif(registers & (address[CSR_ADDR_BITS:] != number)):
                    m.d.sync += status.eq(Status.NUMBER)
                with m.Elif(memory & op.write & (lane != 0)):
                    m.d.sync += status.eq(Status.FORMAT)
                m.next = "TAG"

            with m.State("TAG"):
                m.d.comb += [tx.valid.eq(1), tx.payload.data.eq(header.tag)]
                with m.If(tx.ready):
                    with m.If(status != Status.OK):
                        m.next = "DRAIN"
                    with m.Elif(op.write):
                        m.next = "WRITE"
                    with m.Else():
                        m.next = "COUNT"

            with m.State("COUNT"):
                m.d.comb += rx.ready.eq(1)
                m.d.sync += left.eq(rx.payload.data)
                with m.If(rx.valid):
                    m.d.sync += ended.eq(rx.payload.last)
                    m.next = "FETCH"
                    with m.If(~rx.payload.last):
                        m.d.sync += status.eq(Status.FORMAT)
                        m.next = "DRAIN"

            with m.State("FETCH"):
                m.d.comb += [bus.arvalid.eq(memory), csr.arvalid.eq(registers)]
                with m.If(link | (memory & bus.arready) | (registers & csr.arready)):
                    m.next = "SEND"
                with m.If(memory & bus.arready):
                    m.next = "BEAT"

            with m.State("BEAT"):
                m.d.comb += bus.rready.eq(1)
                m.d.sync += beat.eq(bus.rdata)
                with m.If(bus.rvalid):
                    m.next = "SEND"
                    with m.If(bus.rresp != OKAY):
                        m.d.sync += status.eq(Status.BUS)
                        m.next = "STATUS"

            with m.State("SEND"):
                m.d.comb += [tx.valid.eq(csr.rvalid | ~registers), csr.rready.eq(tx.ready & registers)]
                with m.If(memory):
                    m.d.comb += tx.payload.data.eq(beat.word_select(lane, 8))
                with m.Elif(registers):
                    m.d.comb += tx.payload.data.eq(csr.rdata.word_select(address[:2], 8))
                with m.Else():
                    m.d.comb += tx.payload.data.eq(identity.word_select(address[:5], 8))
                with m.If(tx.valid & tx.ready):
                    m.d.comb += step.eq(1)
                    m.d.sync += left.eq(left - 1)
                    with m.If(registers & (csr.rresp != OKAY)):
                        m.d.sync += status.eq(Status.BUS)
                        m.next = "STATUS"
                    with m.Elif(left == 0):
                        m.next = "STATUS"
                    with m.Elif(registers | (memory & (lane == lanes - 1))):
                        m.next = "FETCH"

            with m.State("WRITE"):
                m.d.comb += rx.ready.eq(1)
                with m.If(rx.valid):
                    m.d.sync += [word.eq(Cat(word[8:], rx.payload.data)), ended.eq(rx.payload.last)]
                    with m.If(registers | (memory & (lane == lanes - 1))):
                        m.next = "ISSUE"  # where the address is that of the last byte
                    with m.Else():
                        m.d.comb += step.eq(1)
                        with m.If(rx.payload.last):
                            m.next = "STATUS"
                            with m.If(memory):
                                m.d.sync += status.eq(Status.FORMAT)
                    with m.If(link):
                        with m.Switch(address[:5]):
                            for i in range(0, NUMBER_BITS, 8):
                                with m.Case(NUMBER_OFFSET + i // 8):
                                    m.d.sync += number[i:i + 8].eq(rx.payload.data)

            with m.State("ISSUE"):
                m.d.comb += [
                    bus.awvalid.eq(memory & ~aw_taken), bus.wvalid.eq(memory & ~w_taken),
                    csr.awvalid.eq(registers & ~aw_taken), csr.wvalid.eq(registers & ~w_taken),
                    bus.bready.eq(memory), csr.bready.eq(registers),
                ]
                with m.If(Mux(memory, bus.awready, csr.awready)):
                    m.d.sync += aw_taken.eq(1)
                with m.If(Mux(memory, bus.wready, csr.wready)):
                    m.d.sync += w_taken.eq(1)
                m.d.comb += answer.eq(Mux(Mux(memory, bus.bresp, csr.bresp) == OKAY, Status.OK, Status.BUS))
                with m.If(Mux(memory, bus.bvalid, csr.bvalid)):
                    m.d.comb += step.eq(1)
                    m.d.sync += [status.eq(answer), aw_taken.eq(0), w_taken.eq(0)]
                    with m.If(ended):
                        m.d.sync += number[:COUNT_BITS].eq(number[:COUNT_BITS] + (registers & (answer == Status.OK)))
                        m.next = "STATUS"
                    with m.Elif(answer != Status.OK):
                        m.next = "DRAIN"
                    with m.Else():
                        m.next = "WRITE"

            with m.State("DRAIN"):
                m.d.comb += rx.ready.eq(~ended)
                m.d.sync += ended.eq(ended | (rx.valid & rx.payload.last))
                with m.If(ended):
                    m.next = "STATUS"

            with m.State("STATUS"):
                m.d.comb += [tx.valid.eq(1), tx.payload.data.eq(status), tx.payload.last.eq(1)]
                m.d.sync += index.eq(0)
                with m.If(tx.ready):
                    m.next = "HEADER"
        return m
