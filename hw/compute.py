"""Compute unit: weight loader, convolution front end, systolic array and accumulators."""

from collections.abc import Mapping

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .accumulator import ACC_READ_LATENCY, MIN_PASS, AccumulatorBuffer
from .array import SPACINGS, SystolicArray, array_latency
from .config import AcceleratorConfig
from .isa import COMPUTE, ENTRY, ERROR, HEADER_BITS, ErrorCode
from .lines import LINE_READ_LATENCY, LineBuffer
from .pipeline import delayed
from .scratchpad import ACT_READ_LATENCY, act_read_signature
from .window import PASS_LATENCY, InnerWalk, OuterWalk, OutputGate

__all__ = ["START_LATENCY", "WEIGHT_READ_LATENCY", "ComputeUnit", "array_cycles", "array_empty", "compute_latency",
           "pass_cycles", "pass_words"]

# Cycles from accepting an instruction to taking its first pass: the walker's origin, its first point, the loader.
START_LATENCY = 3
# Cycles from `wgt_en` to the weights at the array: memory, then a register. The loader's enable is delayed so that the
# weights' whole path is as long as the pixels' (`PIXEL_LATENCY`), as the array's `w` contract asks.
WEIGHT_READ_LATENCY = 2
# From taking a pass to its first word at the array: walker, buffer, and a register behind the padding multiplexer.
PIXEL_LATENCY = PASS_LATENCY + ACT_READ_LATENCY + 1


def pass_cycles(config: AcceleratorConfig, pixels: int) -> int:
    """Return the cycles one weight tile occupies the array while ``pixels`` words stream through it."""
    return max(pixels, config.rows, MIN_PASS)


def pass_words(fields: Mapping[str, int]) -> int:
    """Return the words that each pass of a COMPUTE instruction with these fields streams through the array."""
    if fields["fir"]:
        return fields["lead"] + fields["walk_h"] * fields["walk_w"]
    return fields["out_h"] * fields["out_w"]


def array_cycles(config: AcceleratorConfig, fields: Mapping[str, int]) -> int:
    """Return the cycles for which a COMPUTE instruction with these fields occupies the array, the fewest possible."""
    return fields["groups"] * fields["tiles"] * pass_cycles(config, pass_words(fields))


def compute_latency(config: AcceleratorConfig) -> int:
    """Return the cycles from taking an instruction's last pass to the one after ``done``, less its pixels."""
    return PIXEL_LATENCY + array_latency(config.rows) + 1


def array_empty(config: AcceleratorConfig) -> int:
    """Return the cycles after a word leaves the walker until the array and the line buffer have done with it."""
    return PIXEL_LATENCY + array_latency(config.rows)


class ComputeUnit(wiring.Component):
    """Run COMPUTE instructions back to back.

    The loader walks the taps and channel blocks one weight tile ahead of the streamer, which walks the pixels; so
    the weights of a tile, also of the next group's or instruction's first, load while the tile before it streams.

    ``release`` tells that the oldest instruction will read no more activations; ``done`` that its sums are written.
    ``active`` marks a pixel word on its way to the array, ``starved`` that the streamer waits for the loader.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        word = unsigned(8 * config.word_bytes)
        self._acc_bits = (config.acc_depth - 1).bit_length()
        super().__init__({
            "start": In(stream.Signature(ENTRY)),
            "act": Out(act_read_signature(config)),
            "wgt_en": Out(1), "wgt_addr": Out(20), "wgt_data": In(word),
            "acc_read_en": In(1), "acc_read_address": In(self._acc_bits),
            "acc_read_data": Out(data.ArrayLayout(signed(32), config.cols)),
            "done": Out(1), "release": Out(1), "busy": Out(1), "active": Out(1), "starved": Out(1),
            "error": Out(ERROR),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.outer = outer = OuterWalk()
        m.submodules.inner = inner = InnerWalk()
        m.submodules.gate = gate = OutputGate()
        m.submodules.array = array = SystolicArray(config.rows, config.fir_rows)
        m.submodules.line_buffer = line_buffer = LineBuffer(config)
        m.submodules.acc = acc = AccumulatorBuffer(config)

        # Loader: holds the newest instruction; `waiting` says that a pass and its weights wait for the streamer.
        body, index = Signal(COMPUTE), Signal(24)
        busy, waiting, take = Signal(), Signal(), Signal()
        period = max(config.rows, MIN_PASS)
        row = Signal(range(period))
        at_row0, row_end = Signal(), Signal()
        tile_last = Signal()
        tile, wrong_tiles = Signal(20), Signal()
        point, first, last = Signal.like(outer.point), Signal(), Signal()
        # The first pass of the instruction is still to come; it is the one that waits; the group is the last.
        fresh, newest, last_group = Signal(), Signal(), Signal()
        wgt_addr = Signal(20)
        m.d.comb += [
            outer.origin.addr.eq(body.in_base), outer.origin.y.eq(body.iy0), outer.origin.x.eq(body.ix0),
            outer.loop.n_x.eq(body.kw), outer.loop.n_y.eq(body.kh),
            outer.loop.addr_x.eq(body.tap_x), outer.loop.addr_y.eq(body.tap_y),
            outer.loop.coord_x.eq(body.dil_x), outer.loop.coord_y.eq(body.dil_y),
            outer.blocks.eq(body.blocks), outer.step_block.eq(body.step_block),
        ]
        primed = Signal()  # the outer walker holds the next pass of this group
        m.d.comb += [
            at_row0.eq(busy & primed & (row == 0) & ~waiting),
            row_end.eq(row == period - 1),
            last_group.eq(body.groups == 1),
            self.start.ready.eq(~busy & ~waiting),  # the streamer still needs `body` for a waiting pass
            outer.start.eq(busy & ~primed), outer.step.eq(at_row0),
        ]
        with m.If(self.start.valid & self.start.ready):
            payload_body = data.View(COMPUTE, self.start.payload.instr[HEADER_BITS:HEADER_BITS + COMPUTE.size])
            m.d.sync += [body.eq(payload_body), index.eq(self.start.payload.index), busy.eq(1), primed.eq(0),
                         fresh.eq(1), row.eq(0), tile.eq(1), wgt_addr.eq(payload_body.wgt)]
        with m.Elif(busy & ~primed):
            m.d.sync += primed.eq(1)
        with m.If(at_row0):
            m.d.sync += [waiting.eq(1), point.eq(outer.point), first.eq(outer.first), newest.eq(fresh), fresh.eq(0),
                         last.eq(outer.last & last_group), tile_last.eq(outer.last & last_group), tile.eq(tile + 1)]
            # The walker begins again while the other rows of this tile load.
            with m.If(outer.last & ~last_group):
                m.d.sync += [primed.eq(0), tile.eq(1), body.groups.eq(body.groups - 1),
                             body.in_base.eq(body.in_base + body.step_group)]
        with m.Elif(take):
            m.d.sync += waiting.eq(0)
        loading = Signal()
        m.d.comb += loading.eq(at_row0 | (row != 0))
        with m.If(loading):
            m.d.sync += row.eq(Mux(row_end, 0, row + 1))
            with m.If(row < config.rows):
                m.d.sync += wgt_addr.eq(wgt_addr + 1)
            with m.If(row_end & tile_last):
                m.d.sync += busy.eq(0)

        # Weight read, late enough to meet the pixels of its tile at the array.
        early = PIXEL_LATENCY - WEIGHT_READ_LATENCY
        m.d.comb += [self.wgt_en.eq(delayed(m, loading & (row < config.rows), early, "wgt_en")),
                     self.wgt_addr.eq(delayed(m, wgt_addr, early, "wgt_addr"))]
        m.d.comb += [array.w_en.eq(delayed(m, self.wgt_en, WEIGHT_READ_LATENCY, "w_en")),
                     array.w_row.eq(delayed(m, row[:max(1, (config.rows - 1).bit_length())], PIXEL_LATENCY, "w_row"))]
        m.d.sync += array.w.eq(self.wgt_data)

        # Streamer: parameters of the pass being walked.
        s_fill, s_acc, s_index = Signal(8), Signal(self._acc_bits), Signal(24)
        s_overwrite, s_last = Signal(), Signal()
        # Groups continue in the accumulators where the one before ended: `base` is where a group's pass begins.
        pixel, next_pixel, base, next_base = (Signal(self._acc_bits, name=name)
                                              for name in ("pixel", "next_pixel", "base", "next_base"))
        s_fir, completes = Signal(), Signal()  # this word completes an output
        m.d.comb += completes.eq(inner.element & (~s_fir | gate.open & ~inner.leading))
        # No accumulator may be read before its last sum is written. The loader's pace alone does not keep passes
        # MIN_PASS apart: one after a long pass comes early. And an instruction that adds to other accumulators than
        # the one before may begin where that one ended; in filter mode even one that adds to the same, as outputs
        # complete late in one pass and early in another. The groups of an instruction have nothing in common.
        settling, draining = Signal(range(MIN_PASS)), Signal(range(MIN_PASS - 1))
        settled, moved = Signal(), Signal()
        # The mode of the array, and the length of a line, may change only when no word is on its way.
        restart = Signal()
        mode, same_mode = Signal(data.StructLayout({"fir": 1, "spacing": 5, "walk_w": 13})), Signal()
        since_word, emptied = Signal(range(array_empty(config) + 1), init=array_empty(config)), Signal()
        m.d.comb += [
            same_mode.eq((mode.fir == body.fir) & (~body.fir | (
                (mode.spacing == body.spacing) & (mode.walk_w == body.walk_w)))),
            emptied.eq(since_word == array_empty(config)),
            array.fir.eq(mode.fir), array.spacing.eq(mode.spacing), array.lines.eq(line_buffer.lines),
            line_buffer.x.eq(array.skewed), line_buffer.delay.eq(mode.walk_w + mode.spacing),
            line_buffer.restart.eq(restart), line_buffer.en.eq(mode.fir & ~emptied),
        ]
        m.d.sync += restart.eq(take & ~same_mode)
        with m.If(take & ~same_mode):
            m.d.sync += [mode.fir.eq(body.fir), mode.spacing.eq(body.spacing), mode.walk_w.eq(body.walk_w)]
        with m.If(inner.element | inner.valid):
            m.d.sync += since_word.eq(0)
        with m.Elif(~emptied):
            m.d.sync += since_word.eq(since_word + 1)
        m.d.comb += [
            settled.eq((settling == 0) & ~(moved & (inner.element | (draining != 0)))),
            take.eq(waiting & inner.ready & settled & (same_mode | emptied)),
            inner.take.eq(take), inner.point.eq(point),
            inner.loop.n_x.eq(Mux(body.fir, body.walk_w, body.out_w)),
            inner.loop.n_y.eq(Mux(body.fir, body.walk_h, body.out_h)),
            inner.loop.addr_x.eq(body.step_x), inner.loop.addr_y.eq(body.step_y),
            inner.loop.coord_x.eq(Mux(body.fir, 1, body.stride_x)),
            inner.loop.coord_y.eq(Mux(body.fir, 1, body.stride_y)),
            inner.in_h.eq(body.in_h), inner.in_w.eq(body.in_w), inner.lead.eq(Mux(body.fir, body.lead, 0)),
            gate.take.eq(take), gate.element.eq(inner.element & ~inner.leading), gate.row_end.eq(inner.row_end),
            gate.x.skip.eq(body.skip_x), gate.x.stride.eq(body.stride_x), gate.x.out.eq(body.out_w),
            gate.y.skip.eq(body.skip_y), gate.y.stride.eq(body.stride_y), gate.y.out.eq(body.out_h),
            self.starved.eq(inner.ready & ~waiting & busy),
        ]
        m.d.comb += [next_pixel.eq(pixel + completes), next_base.eq(Mux(newest, 0, Mux(first, next_pixel, base)))]
        m.d.sync += pixel.eq(Mux(take, next_base, next_pixel))
        with m.If(take):
            m.d.sync += [s_fill.eq(body.fill), s_index.eq(index), s_acc.eq(body.acc), base.eq(next_base),
                         s_overwrite.eq(first & ~body.accumulate), s_last.eq(last), s_fir.eq(body.fir)]
        with m.If(take):
            m.d.sync += settling.eq(MIN_PASS - 1)
        with m.Elif(settling != 0):
            m.d.sync += settling.eq(settling - 1)
        with m.If(inner.element):
            m.d.sync += draining.eq(MIN_PASS - 2)
        with m.Elif(draining != 0):
            m.d.sync += draining.eq(draining - 1)
        with m.If(at_row0):
            m.d.sync += moved.eq(fresh & body.accumulate & (body.fir | (body.acc != s_acc)))

        # One stage behind the walker's counters, where its outputs are valid.
        fill, overwrite, acc_address, retire = Signal(8), Signal(), Signal(self._acc_bits), Signal()
        half_bits = self._acc_bits - 1
        acc_overflow = Signal()
        m.d.sync += [fill.eq(s_fill), overwrite.eq(s_overwrite), retire.eq(s_last), acc_address[-1].eq(s_acc[-1]),
                     Cat(acc_address[:half_bits], acc_overflow).eq(s_acc[:half_bits] + pixel)]
        walk_index = delayed(m, s_index, 1, "walk_index")
        completed = delayed(m, completes, 1, "completed")
        m.d.comb += [
            self.active.eq(inner.valid), self.busy.eq(busy | waiting | inner.element | inner.valid),
            self.act.en.eq(inner.valid & inner.inside), self.act.addr.eq(inner.addr),
            self.release.eq(inner.valid & inner.last & retire),
        ]
        inside = delayed(m, inner.inside, ACT_READ_LATENCY, "inside")
        pad = delayed(m, fill, ACT_READ_LATENCY, "pad")
        m.d.sync += array.x.eq(Mux(inside, self.act.data, Cat(pad for _ in range(config.word_bytes))))
        m.d.comb += array.swap.eq(delayed(m, inner.valid & inner.first, ACT_READ_LATENCY + 1, "swap"))

        to_acc = ACT_READ_LATENCY + 1 + array_latency(config.rows) - ACC_READ_LATENCY
        m.d.comb += [
            acc.en.eq(delayed(m, completed, to_acc, "acc_en")),
            acc.overwrite.eq(delayed(m, overwrite, to_acc, "acc_overwrite")),
            acc.address.eq(delayed(m, acc_address, to_acc, "acc_address")),
            acc.psum.eq(array.psum),
            acc.read_en.eq(self.acc_read_en), acc.read_address.eq(self.acc_read_address),
            self.acc_read_data.eq(acc.read_data),
            self.done.eq(delayed(m, self.release, to_acc + ACC_READ_LATENCY + 1, "done")),
        ]

        # Errors: fields that would hang or address nothing, then addresses as they are used.
        m.d.sync += wrong_tiles.eq(at_row0 & (outer.last != (tile == body.tiles)))
        bad_field = Signal()
        m.d.comb += bad_field.eq(
            (body.out_h == 0) | (body.out_w == 0) | (body.kw == 0) | (body.kh == 0) | (body.blocks == 0)
            | (body.groups == 0) | (body.acc >= config.acc_depth)
            | body.fir & ((config.fir_rows == 0) | (body.walk_h == 0) | (body.walk_w == 0)
                          | (body.stride_x == 0) | (body.stride_y == 0)
                          | (body.walk_w + body.spacing > config.line_words)
                          | (body.walk_w + body.spacing <= LINE_READ_LATENCY)
                          | ~Cat(body.spacing == spacing for spacing in SPACINGS).any()))
        weight_index = delayed(m, index, early, "weight_index")
        with m.If((busy & ~primed & bad_field) | wrong_tiles):
            m.d.comb += [self.error.valid.eq(1), self.error.code.eq(ErrorCode.FIELD), self.error.index.eq(index)]
        with m.Elif(self.act.en & self.act.error.any()):
            m.d.comb += [self.error.valid.eq(1), self.error.index.eq(walk_index), self.error.code.eq(
                Mux(self.act.error[0], ErrorCode.ADDRESS, ErrorCode.BANK))]
        with m.Elif(self.wgt_en & (self.wgt_addr >= config.wgt_words)):
            m.d.comb += [self.error.valid.eq(1), self.error.code.eq(ErrorCode.ADDRESS),
                         self.error.index.eq(weight_index)]
        with m.Elif(completed & acc_overflow):
            m.d.comb += [self.error.valid.eq(1), self.error.code.eq(ErrorCode.ADDRESS), self.error.index.eq(walk_index)]
        with m.Elif(acc.conflict):
            m.d.comb += [self.error.valid.eq(1), self.error.code.eq(ErrorCode.ACC_CONFLICT),
                         self.error.index.eq(walk_index)]
        return m
