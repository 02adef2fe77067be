"""Vector unit: one word of `cols` lanes per cycle through requantisation, residual addition and pooling."""

from amaranth import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .accumulator import ACC_READ_LATENCY
from .config import AcceleratorConfig
from .isa import ADD, ENTRY, ERROR, HEADER, HEADER_BITS, PARAM_WORDS, POOL, REQUANT, ErrorCode, Opcode, PoolMode
from .pipeline import delayed
from .requant import CLAMP_LATENCY, REQUANT_LATENCY, Requantiser
from .scratchpad import ACT_READ_LATENCY, act_read_signature, act_write_signature
from .window import PASS_LATENCY, InnerWalk, OuterWalk

__all__ = ["ADD_PERIOD", "FEEDBACK_LATENCY", "ISSUE_TO_WRITE", "PARAM_READ_LATENCY", "START_LATENCY", "VectorUnit",
           "vector_latency", "vector_period"]

# An addition takes three turns through the one requantiser: operand a, the sum of the word before, operand b.
ADD_PERIOD = 3
A_PHASE, SUM_PHASE, B_PHASE = range(ADD_PERIOD)
# Cycles from the lane adder to `y`: the sum of a word enters when its operand b leaves, in the sum's turn.
FEEDBACK_LATENCY = 1 + REQUANT_LATENCY
assert (B_PHASE + FEEDBACK_LATENCY) % ADD_PERIOD == SUM_PHASE
# Cycles from a word at the lane adder to its write into the activation buffer.
ISSUE_TO_WRITE = 1 + CLAMP_LATENCY
PARAM_READ_LATENCY = 1
# Cycles from accepting an instruction to its first read, but for REQUANT, which reads its parameters first.
START_LATENCY = 2


def vector_period(opcode: Opcode, taps: int = 1) -> int:
    """Return the cycles per output word; ``taps`` is the size of a POOL's window, kh * kw."""
    return {Opcode.REQUANT: 1, Opcode.ADD: ADD_PERIOD, Opcode.POOL: taps}[opcode]


def vector_latency(opcode: Opcode, taps: int = 1) -> int:
    """Return the cycles from accepting an instruction to its first write; ``done`` comes with the last."""
    read_to_turn = {
        Opcode.REQUANT: PARAM_WORDS + ACC_READ_LATENCY,
        Opcode.ADD: B_PHASE + ACT_READ_LATENCY + FEEDBACK_LATENCY,
        Opcode.POOL: PASS_LATENCY + (taps - 1) + ACT_READ_LATENCY + 1,
    }
    return START_LATENCY + read_to_turn[opcode] + ISSUE_TO_WRITE


class VectorUnit(wiring.Component):
    """Run REQUANT, ADD and POOL instructions, one at a time and each drained before the next.

    Each lane is an adder ``p + q`` in front of the requantiser: accumulator + bias, operand - zero point, the sum of
    two requantised operands, or pool + bias. ``done`` is raised in the cycle of an instruction's last write.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        self._acc_bits = (config.acc_depth - 1).bit_length()
        super().__init__({
            "start": In(stream.Signature(ENTRY)),
            "act": Out(act_read_signature(config)),
            "out": Out(act_write_signature(config)),
            "acc_en": Out(1), "acc_address": Out(self._acc_bits),
            "acc_data": In(data.ArrayLayout(signed(32), config.cols)),
            "param_en": Out(1), "param_addr": Out(16), "param_data": In(unsigned(8 * config.word_bytes)),
            "done": Out(1), "busy": Out(1), "active": Out(1),
            "error": Out(ERROR),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, lanes = self.config, self.config.cols
        m.submodules.pixels = pixels = OuterWalk()   # POOL: output pixels; ADD: operand a
        m.submodules.taps = taps = InnerWalk()       # POOL: the window
        m.submodules.b_walk = b_walk = OuterWalk()   # ADD: operand b; otherwise unused
        m.submodules.dst = dst = OuterWalk()
        m.submodules.requant = requant = Requantiser(lanes)

        instr, index = Signal(len(self.start.payload.instr)), Signal(24)
        header = data.View(HEADER, instr[:HEADER.size])

        def body(layout):
            return data.View(layout, instr[HEADER_BITS:HEADER_BITS + layout.size])

        req, add, pool = body(REQUANT), body(ADD), body(POOL)
        is_req, is_add, is_pool = Signal(), Signal(), Signal()
        m.d.comb += [is_req.eq(header.opcode == Opcode.REQUANT), is_add.eq(header.opcode == Opcode.ADD),
                     is_pool.eq(header.opcode == Opcode.POOL)]

        # Walkers. `dst` steps with each written word; the others with each word or window issued.
        last_written = Signal()
        m.d.comb += [
            pixels.blocks.eq(1), b_walk.blocks.eq(1), dst.blocks.eq(1),
            pixels.loop.n_x.eq(req.out_w), pixels.loop.n_y.eq(req.out_h),
            pixels.loop.coord_x.eq(pool.stride_x), pixels.loop.coord_y.eq(pool.stride_y),
            pixels.origin.addr.eq(pool.in_base), pixels.origin.y.eq(pool.iy0), pixels.origin.x.eq(pool.ix0),
            pixels.loop.addr_x.eq(pool.step_x), pixels.loop.addr_y.eq(pool.step_y),
            taps.point.eq(pixels.point), taps.loop.n_x.eq(pool.kw), taps.loop.n_y.eq(pool.kh),
            taps.loop.addr_x.eq(pool.tap_x), taps.loop.addr_y.eq(pool.tap_y),
            taps.loop.coord_x.eq(1), taps.loop.coord_y.eq(1),
            taps.in_h.eq(pool.in_h), taps.in_w.eq(pool.in_w),
            b_walk.origin.addr.eq(add.b), b_walk.loop.n_x.eq(req.out_w), b_walk.loop.n_y.eq(req.out_h),
            b_walk.loop.addr_x.eq(add.b_step_x), b_walk.loop.addr_y.eq(add.b_step_y),
            dst.origin.addr.eq(req.dst), dst.loop.n_x.eq(req.out_w), dst.loop.n_y.eq(req.out_h),
            dst.loop.addr_x.eq(req.dst_step_x), dst.loop.addr_y.eq(req.dst_step_y),
        ]
        with m.If(is_add):
            m.d.comb += [pixels.origin.addr.eq(add.a), pixels.loop.addr_x.eq(add.a_step_x),
                         pixels.loop.addr_y.eq(add.a_step_y)]

        # Control: accept, (read parameters,) issue every word, drain.
        begin = Signal()
        m.d.comb += [pixels.start.eq(begin), b_walk.start.eq(begin), dst.start.eq(begin)]
        plane = Signal(range(PARAM_WORDS))
        phase = Signal(range(ADD_PERIOD))
        acc_offset = Signal(self._acc_bits)           # within the half; the top bit is the overflow
        read_acc, read_a, read_b, take = Signal(), Signal(), Signal(), Signal()
        issue_last = Signal()
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.start.ready.eq(1)
                with m.If(self.start.valid):
                    m.d.sync += [instr.eq(self.start.payload.instr), index.eq(self.start.payload.index)]
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.comb += begin.eq(1)
                m.d.sync += [plane.eq(0), phase.eq(A_PHASE), acc_offset.eq(req.acc[:self._acc_bits - 1])]
                with m.If(is_req):
                    m.next = "PARAM"
                with m.Else():
                    m.next = "ISSUE"
            with m.State("PARAM"):
                m.d.comb += self.param_en.eq(1)
                m.d.sync += plane.eq(plane + 1)
                with m.If(plane == PARAM_WORDS - 1):
                    m.next = "ISSUE"
            with m.State("ISSUE"):
                m.d.comb += [
                    read_acc.eq(is_req),
                    read_a.eq(is_add & (phase == A_PHASE)), read_b.eq(is_add & (phase == B_PHASE)),
                    take.eq(is_pool & taps.ready),
                    issue_last.eq(Mux(is_add, read_b & b_walk.last, (read_acc | take) & pixels.last)),
                ]
                m.d.sync += [acc_offset.eq(acc_offset + 1), phase.eq(Mux(phase == ADD_PERIOD - 1, 0, phase + 1))]
                with m.If(issue_last):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(last_written):
                    m.next = "IDLE"
        m.d.comb += [pixels.step.eq(read_acc | read_a | take), b_walk.step.eq(read_b), taps.take.eq(take),
                     self.active.eq(read_acc | read_a | read_b | taps.valid), self.busy.eq(~self.start.ready)]

        # Reads.
        last_pixel = Signal()
        with m.If(take):
            m.d.sync += last_pixel.eq(pixels.last)
        m.d.comb += [
            self.acc_en.eq(read_acc), self.acc_address.eq(Cat(acc_offset[:-1], req.acc[self._acc_bits - 1])),
            self.param_addr.eq(req.param + plane),
            self.act.en.eq(read_a | read_b | (taps.valid & taps.inside)),
            self.act.addr.eq(Mux(is_pool, taps.addr, Mux(read_b, b_walk.point.addr, pixels.point.addr))),
        ]
        # Per-channel parameters arrive as byte planes, the lowest first.
        param_arrives = delayed(m, self.param_en, PARAM_READ_LATENCY, "param_arrives")
        params = []
        for n in range(lanes):
            planes = Signal(8 * PARAM_WORDS, name=f"params{n}", reset_less=True)
            with m.If(param_arrives):
                m.d.sync += planes.eq(Cat(planes[8:], self.param_data[8 * n:8 * n + 8]))
            params.append((planes[:32].as_signed(), planes[32:64], planes[64:70].as_signed()))

        # Turns of the lane adder, aligned with their data.
        turn_acc = delayed(m, read_acc, ACC_READ_LATENCY, "turn_acc")
        turn_a = delayed(m, read_a, ACT_READ_LATENCY, "turn_a")
        turn_b = delayed(m, read_b, ACT_READ_LATENCY, "turn_b")
        turn_sum = delayed(m, turn_b, FEEDBACK_LATENCY, "turn_sum")
        tap_valid = delayed(m, taps.valid, ACT_READ_LATENCY, "tap_valid")
        tap_inside = delayed(m, taps.inside, ACT_READ_LATENCY, "tap_inside")
        tap_first = delayed(m, taps.first, ACT_READ_LATENCY, "tap_first")
        turn_pool = delayed(m, taps.valid & taps.last, ACT_READ_LATENCY + 1, "turn_pool")
        final = Signal()
        m.d.comb += final.eq(turn_acc | turn_sum | turn_pool)
        final_last = Signal()
        pool_last = delayed(m, delayed(m, last_pixel, 1, "pool_last") & taps.valid & taps.last, ACT_READ_LATENCY + 1,
                            "pool_last_turn")
        m.d.comb += final_last.eq(
            delayed(m, read_acc & issue_last, ACC_READ_LATENCY, "acc_last")
            | delayed(m, read_b & issue_last, ACT_READ_LATENCY + FEEDBACK_LATENCY, "sum_last") | pool_last)

        is_max, is_average = Signal(), Signal()
        m.d.comb += [is_max.eq(pool.mode == PoolMode.MAX), is_average.eq(is_pool & (pool.mode == PoolMode.AVERAGE))]
        a_zp, b_zp = Signal(signed(9)), Signal(signed(9))
        m.d.comb += [a_zp.eq(-add.a_zp), b_zp.eq(-add.b_zp)]
        pool_bias = Signal(signed(32))
        m.d.comb += pool_bias.eq(Mux(is_max, 0, pool.bias))

        # Multiplier and shift of the turn, one cycle behind the adder.
        scalar_mult, scalar_shift = Signal(32), Signal(signed(6))
        with m.If(turn_a):
            m.d.sync += [scalar_mult.eq(add.a_mult), scalar_shift.eq(add.a_shift)]
        with m.Elif(turn_b):
            m.d.sync += [scalar_mult.eq(add.b_mult), scalar_shift.eq(add.b_shift)]
        with m.Elif(is_add):
            m.d.sync += [scalar_mult.eq(add.y_mult), scalar_shift.eq(add.y_shift)]
        with m.Elif(is_max):  # the identity: 2^30 * 2^1 / 2^31
            m.d.sync += [scalar_mult.eq(1 << 30), scalar_shift.eq(1)]
        with m.Else():
            m.d.sync += [scalar_mult.eq(pool.mult), scalar_shift.eq(pool.shift)]
        per_channel = delayed(m, turn_acc, 1, "per_channel")
        m.d.comb += requant.truncate.eq(is_average)
        m.d.sync += requant.offset.eq(0)
        with m.If(delayed(m, final, REQUANT_LATENCY - 1, "final_offset")):
            m.d.sync += requant.offset.eq(req.zp)

        a_leaves = delayed(m, turn_a, FEEDBACK_LATENCY, "a_leaves")
        for n in range(lanes):
            value = Signal(signed(8), name=f"value{n}")
            m.d.comb += value.eq(self.act.data[8 * n:8 * n + 8])
            tap, reduced = Signal(signed(8), name=f"tap{n}"), Signal(signed(24), name=f"reduced{n}", reset_less=True)
            m.d.comb += tap.eq(Mux(tap_inside, value, pool.fill))
            with m.If(tap_valid):
                with m.If(tap_first):
                    m.d.sync += reduced.eq(tap)
                with m.Elif(~is_max):
                    m.d.sync += reduced.eq(reduced + tap)
                with m.Elif(tap > reduced):
                    m.d.sync += reduced.eq(tap)
            y_a = Signal(signed(32), name=f"y_a{n}", reset_less=True)
            with m.If(a_leaves):
                m.d.sync += y_a.eq(requant.y[n])
            p, q = Signal(signed(32), name=f"p{n}"), Signal(signed(32), name=f"q{n}")
            half = Mux(reduced > 0, Cat(pool.half, Const(0, 1)).as_signed(), -Cat(pool.half, Const(0, 1)).as_signed())
            with m.If(turn_a | turn_b):
                m.d.comb += [p.eq(value << 20), q.eq(Mux(turn_a, a_zp, b_zp) << 20)]
            with m.Elif(turn_sum):
                m.d.comb += [p.eq(requant.y[n]), q.eq(y_a)]
            with m.Elif(is_req):
                m.d.comb += [p.eq(self.acc_data[n]), q.eq(params[n][0])]
            with m.Else():
                m.d.comb += [p.eq(reduced), q.eq(Mux(is_average, half, pool_bias))]
            m.d.sync += requant.x[n].eq(p + q)
            m.d.comb += [
                requant.mult[n].eq(Mux(per_channel, params[n][1], scalar_mult)),
                requant.shift[n].eq(Mux(per_channel, params[n][2], scalar_shift)),
            ]

        # Writes.
        m.d.comb += [
            requant.lo.eq(req.lo), requant.hi.eq(req.hi),
            self.out.en.eq(delayed(m, final, ISSUE_TO_WRITE, "write")), self.out.addr.eq(dst.point.addr),
            self.out.data.eq(requant.out), dst.step.eq(self.out.en),
            last_written.eq(delayed(m, final_last, ISSUE_TO_WRITE, "last_write")), self.done.eq(last_written),
        ]

        # Errors.
        bad_field, code = Signal(), Signal(8)
        m.d.comb += bad_field.eq((req.out_h == 0) | (req.out_w == 0) | (is_req & (req.acc >= config.acc_depth)) | (
            is_pool & ((pool.kw == 0) | (pool.kh == 0) | (pool.mode > max(PoolMode)))))
        with m.If(begin & bad_field):
            m.d.comb += code.eq(ErrorCode.FIELD)
        with m.Elif((self.act.en & self.act.error[0]) | (self.out.en & self.out.error[0])
                    | (self.param_en & (self.param_addr >= config.param_words))
                    | (read_acc & acc_offset[-1])):
            m.d.comb += code.eq(ErrorCode.ADDRESS)
        with m.Elif((self.act.en & self.act.error[1]) | (self.out.en & self.out.error[1])):
            m.d.comb += code.eq(ErrorCode.BANK)
        m.d.comb += [self.error.valid.eq(code != 0), self.error.code.eq(code), self.error.index.eq(index)]
        return m
