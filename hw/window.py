"""Address walkers of the convolution and pooling windows.

A window operation is two nested 2-D loops over one image: an *outer* one that gives passes and an *inner* one that
gives the words of a pass. Convolution walks taps outside and pixels inside (weight-stationary); pooling walks pixels
outside and taps inside. Both need only additions: every step is a precomputed instruction field.
"""

from amaranth import Module, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

__all__ = ["LOOP", "PASS_LATENCY", "POINT", "InnerWalk", "OuterWalk", "OutputGate"]

# Cycles from taking a pass to its first address at the output of `InnerWalk`.
PASS_LATENCY = 2

# Where a pass begins: word address and image coordinate of its first word.
POINT = StructLayout({"addr": unsigned(20), "y": signed(14), "x": signed(14)})

# One 2-D loop: counts, address steps and coordinate steps.
LOOP = StructLayout({
    "n_x": unsigned(13), "n_y": unsigned(13),
    "addr_x": unsigned(16), "addr_y": unsigned(20),
    "coord_x": unsigned(6), "coord_y": unsigned(6),
})


class OuterWalk(wiring.Component):
    """Step through blocks, then x, then y, giving the start of one pass at a time.

    ``start`` loads ``origin``; ``point``, ``first`` and ``last`` then describe the first pass and ``step`` advances to
    the next. ``loop``, ``blocks`` and ``step_block``, the words between blocks, must stay constant until the last
    ``step``.
    """

    def __init__(self) -> None:
        super().__init__({
            "start": In(1), "step": In(1), "origin": In(POINT), "loop": In(LOOP), "blocks": In(13),
            "step_block": In(20), "point": Out(POINT), "first": Out(1), "last": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        tap, row = Signal(20), Signal(20)  # address of block 0 at this x; address of x = 0 at this y
        block, x, y = Signal(13), Signal(13), Signal(13)
        x0 = Signal(signed(14))
        next_tap, next_row = Signal(20), Signal(20)
        last_block, last_x, last_y = Signal(), Signal(), Signal()
        m.d.comb += [
            next_tap.eq(tap + self.loop.addr_x), next_row.eq(row + self.loop.addr_y),
            last_block.eq(block + 1 == self.blocks), last_x.eq(x + 1 == self.loop.n_x),
            last_y.eq(y + 1 == self.loop.n_y), self.last.eq(last_block & last_x & last_y),
        ]
        with m.If(self.start):
            m.d.sync += [self.point.eq(self.origin), tap.eq(self.origin.addr), row.eq(self.origin.addr),
                         x0.eq(self.origin.x), block.eq(0), x.eq(0), y.eq(0), self.first.eq(1)]
        with m.Elif(self.step):
            m.d.sync += self.first.eq(0)
            with m.If(~last_block):
                m.d.sync += [block.eq(block + 1), self.point.addr.eq(self.point.addr + self.step_block)]
            with m.Elif(~last_x):
                m.d.sync += [block.eq(0), x.eq(x + 1), tap.eq(next_tap), self.point.addr.eq(next_tap),
                             self.point.x.eq(self.point.x + self.loop.coord_x)]
            with m.Else():
                m.d.sync += [block.eq(0), x.eq(0), y.eq(y + 1), row.eq(next_row), tap.eq(next_row),
                             self.point.addr.eq(next_row), self.point.x.eq(x0),
                             self.point.y.eq(self.point.y + self.loop.coord_y)]
        return m


class OutputGate(wiring.Component):
    """Pick the words of a pass that complete an output of the filter mode.

    From ``take`` on, of the rows of words that ``element`` and ``row_end`` tell: ``skip_y`` rows complete nothing, then
    every ``stride_y``-th does until ``out_h`` have; in those, likewise along x. ``open`` belongs to the same cycle as
    ``element``.
    """

    def __init__(self) -> None:
        axis = {"skip": unsigned(5), "stride": unsigned(4), "out": unsigned(13)}
        super().__init__({
            "take": In(1), "element": In(1), "row_end": In(1), "x": In(StructLayout(axis)), "y": In(StructLayout(axis)),
            "open": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        axis_x, axis_y = Signal.like(self.x), Signal.like(self.y)
        wait_x, wait_y, left_x, left_y = Signal(5), Signal(5), Signal(13), Signal(13)
        here_x, here_y = Signal(), Signal()
        m.d.comb += [here_x.eq((wait_x == 0) & (left_x != 0)), here_y.eq((wait_y == 0) & (left_y != 0)),
                     self.open.eq(here_x & here_y)]
        with m.If(self.element):
            with m.If(here_x):
                m.d.sync += [wait_x.eq(axis_x.stride - 1), left_x.eq(left_x - 1)]
            with m.Else():
                m.d.sync += wait_x.eq(wait_x - 1)
            with m.If(self.row_end):
                m.d.sync += [wait_x.eq(axis_x.skip), left_x.eq(axis_x.out)]
                with m.If(here_y):
                    m.d.sync += [wait_y.eq(axis_y.stride - 1), left_y.eq(left_y - 1)]
                with m.Else():
                    m.d.sync += wait_y.eq(wait_y - 1)
        with m.If(self.take):
            m.d.sync += [axis_x.eq(self.x), axis_y.eq(self.y), wait_x.eq(self.x.skip), left_x.eq(self.x.out),
                         wait_y.eq(self.y.skip), left_y.eq(self.y.out)]
        return m


class InnerWalk(wiring.Component):
    """Walk the words of one pass, one per cycle, without a bubble between passes.

    ``take`` (allowed when ``ready``) captures ``point``, ``loop`` and the image size; the first of ``n_x * n_y``
    addresses appears ``PASS_LATENCY`` cycles later. ``inside`` tells whether the coordinate lies in the image.
    ``element`` marks the cycle in which a word is stepped over, one cycle before it appears at the outputs, and
    ``row_end`` the last word of a row. The first row is preceded by ``lead`` words outside the image (``leading``).
    """

    def __init__(self) -> None:
        super().__init__({
            "take": In(1), "ready": Out(1), "point": In(POINT), "loop": In(LOOP), "in_h": In(13), "in_w": In(13),
            "lead": In(5), "leading": Out(1), "element": Out(1), "row_end": Out(1),
            "valid": Out(1), "addr": Out(20), "inside": Out(1), "first": Out(1), "last": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        loop = Signal(LOOP)
        in_h, in_w = Signal(13), Signal(13)
        active, head = Signal(), Signal()
        x, y = Signal(13), Signal(13)
        addr, row = Signal(20), Signal(20)
        ix, iy, x0 = Signal(signed(14)), Signal(signed(14)), Signal(signed(14))
        last_x, last = Signal(), Signal()
        next_row = Signal(20)
        lead = Signal(5)
        m.d.comb += [
            self.leading.eq(lead != 0),
            last_x.eq(~self.leading & (x + 1 == loop.n_x)), last.eq(last_x & (y + 1 == loop.n_y)),
            next_row.eq(row + loop.addr_y),
            self.ready.eq(~active | last), self.element.eq(active), self.row_end.eq(last_x),
        ]
        with m.If(self.take):
            m.d.sync += [
                active.eq(1), head.eq(1), loop.eq(self.loop), in_h.eq(self.in_h), in_w.eq(self.in_w), x.eq(0), y.eq(0),
                addr.eq(self.point.addr), row.eq(self.point.addr),
                ix.eq(self.point.x), x0.eq(self.point.x), iy.eq(self.point.y), lead.eq(self.lead),
            ]
        with m.Elif(active):
            m.d.sync += head.eq(0)
            with m.If(self.leading):
                m.d.sync += lead.eq(lead - 1)
            with m.Elif(last):
                m.d.sync += active.eq(0)
            with m.Elif(last_x):
                m.d.sync += [x.eq(0), y.eq(y + 1), ix.eq(x0), iy.eq(iy + loop.coord_y),
                             row.eq(next_row), addr.eq(next_row)]
            with m.Else():
                m.d.sync += [x.eq(x + 1), ix.eq(ix + loop.coord_x), addr.eq(addr + loop.addr_x)]
        m.d.sync += [
            self.valid.eq(active), self.first.eq(head), self.last.eq(last), self.addr.eq(addr),
            self.inside.eq((iy >= 0) & (iy < in_h) & (ix >= 0) & (ix < in_w) & ~self.leading),
        ]
        return m
