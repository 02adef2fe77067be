"""Line buffer: earlier lines of the image for the array's filter mode."""

from itertools import pairwise

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .array import older_lines
from .block_memory import block_memory
from .config import AcceleratorConfig

__all__ = ["LINE_READ_LATENCY", "LineBuffer"]

# Cycles from a read address to the registered words.
LINE_READ_LATENCY = 2


class LineBuffer(wiring.Component):
    """Delay the stream of words ``x`` by ``delay`` cycles per line.

    ``lines[g]`` is what ``x`` was ``(g + 1) * delay`` cycles before the next cycle, in which its reader may register
    it. All lines share one memory of ``line_words`` entries that is walked in a circle of ``delay`` (more than
    ``LINE_READ_LATENCY``, at most ``line_words``); ``restart`` begins a new circle, after which what was delayed before
    is lost. Only cycles with ``en`` count: without it the circle stands still and the memory is not accessed.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        word = data.ArrayLayout(signed(8), config.rows)
        self._lines = max(1, older_lines(config.fir_rows))
        super().__init__({
            "x": In(word), "delay": In(range(config.line_words + 1)), "restart": In(1), "en": In(1),
            "lines": Out(data.ArrayLayout(word, self._lines)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if not older_lines(self.config.fir_rows):
            return m
        width = 8 * self.config.rows
        memory = block_memory(unsigned(width * self._lines), self.config.line_words)
        m.submodules.memory = memory
        write, read = memory.write_port(), memory.read_port()

        # A word is read just before the place is written again, LINE_READ_LATENCY cycles ahead.
        position = Signal(range(self.config.line_words))
        places = [position, *(Signal.like(position, name=f"position_d{i + 1}") for i in range(LINE_READ_LATENCY))]
        older = Signal(width * self._lines)
        with m.If(self.en):
            m.d.sync += position.eq(Mux(position + 1 == self.delay, 0, position + 1))
            m.d.sync += [behind.eq(place) for place, behind in pairwise(places)]
            m.d.sync += older.eq(read.data)
        with m.If(self.restart):
            m.d.sync += position.eq(0)
        m.d.comb += [
            read.en.eq(self.en), read.addr.eq(position), self.lines.eq(read.data),
            write.en.eq(self.en), write.addr.eq(places[-1]),
            write.data.eq(Cat(self.x, older)[:width * self._lines]),
        ]
        return m
