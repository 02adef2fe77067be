"""What goes on a chip: a core with its memory, the link to its host, and lights."""

from dataclasses import replace

from amaranth import Const, Module, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .area import Area, area, block_rams
from .config import AcceleratorConfig
from .csr import Csr, Status
from .hosted import HostedCore
from .link import HostLink
from .link.frames import CONTENT, FRAME_BYTES
from .memory import memory_block_rams

__all__ = ["LEDS", "System", "check_baud", "system_area"]

# What the lights show, in the order in which a board that has fewer gives them up: the clock runs, the host has sent
# something, instructions have retired (both stay lit for a moment), the last STATUS that the host read was an error.
LEDS = data.StructLayout({"heartbeat": 1, "link": 1, "busy": 1, "error": 1})
# Seconds for which a light stays lit, and half of the period of the heartbeat.
_LIGHT_SECONDS = 0.1


def system_area(config: AcceleratorConfig, memory_words: int) -> Area:
    """Return the resources of a system with a memory of that many words, a multiple of 512 or 0."""
    core = area(config)
    memory = memory_block_rams(memory_words, config.word_bytes) if memory_words else 0
    return replace(core, sram_kib=core.sram_kib + memory_words * config.word_bytes / 1024 + FRAME_BYTES / 1024,
                   block_rams=core.block_rams + memory + block_rams(FRAME_BYTES, Shape.cast(CONTENT).width))


def check_baud(baud: int, clock_hz: int) -> None:
    """Raise ``ValueError`` unless the link can run at ``baud`` bits per second."""
    if not 0 < baud <= clock_hz // 4:
        raise ValueError(f"baud must be a positive number of at most {clock_hz // 4}, not {baud}")


class System(wiring.Component):
    """Everything on the chip but clock and reset: a core, its memory, the link to the host, and lights.

    Parameters
    ----------
    config : AcceleratorConfig
    memory_kib : int
        Size of the on-chip RAM.
    clock_hz : int
        Frequency of the clock.
    baud : int
        Bits per second of the link, at most a quarter of ``clock_hz``; otherwise ``ValueError``.
    build_id : int
        64 bits by which the host knows this design.

    Attributes
    ----------
    divisor : int
        Cycles per bit of the link.
    rx, tx
        Serial lines from and to the host; ``rx`` may be asynchronous.
    leds
        `LEDS`.
    """

    rx: In(1, init=1)
    tx: Out(1, init=1)
    leds: Out(LEDS)

    def __init__(self, config: AcceleratorConfig, *, memory_kib: int, clock_hz: int, baud: int, build_id: int = 0):
        check_baud(baud, clock_hz)
        self.config = config
        self.memory_kib = memory_kib
        self.clock_hz = clock_hz
        self.baud = baud
        self.build_id = build_id
        self.divisor = round(clock_hz / baud)
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        memory_bytes = 1024 * self.memory_kib
        m.submodules.link = link = HostLink(
            self.config, divisor=self.divisor, build_id=self.build_id, memory_bytes=memory_bytes,
            clock_hz=self.clock_hz)
        m.submodules.hosted = hosted = HostedCore(self.config, memory_bytes // self.config.word_bytes)
        wiring.connect(m, link.bus, hosted.host)
        wiring.connect(m, link.csr, hosted.csr)
        m.d.comb += [link.rx.eq(self.rx), self.tx.eq(link.tx)]

        light_bits = (round(_LIGHT_SECONDS * self.clock_hz) - 1).bit_length()
        beat = Signal(light_bits + 1)
        m.d.sync += beat.eq(beat + 1)
        reads_status, failed = Signal(), Signal()
        with m.If(link.csr.arvalid & link.csr.arready):
            m.d.sync += reads_status.eq(link.csr.araddr == Csr.STATUS)
        with m.If(link.csr.rvalid & link.csr.rready & reads_status):
            m.d.sync += failed.eq((link.csr.rdata & Const(Status.ERROR, 32)).any())
        m.d.comb += [self.leds.heartbeat.eq(beat[-1]), self.leds.error.eq(failed)]
        for light, event in ((self.leds.link, link.active), (self.leds.busy, hosted.retired)):
            left = Signal(light_bits, name="left")
            m.d.comb += light.eq(left != 0)
            with m.If(event):
                m.d.sync += left.eq(~0)
            with m.Elif(light):
                m.d.sync += left.eq(left - 1)
        return m
