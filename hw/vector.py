"""Vector unit: one word of `cols` lanes per cycle through requantisation, arithmetic, pooling and tables."""

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .accumulator import ACC_READ_LATENCY
from .block_memory import block_memory
from .config import AcceleratorConfig
from .isa import (
    ADD,
    ENTRY,
    ERROR,
    HEADER,
    HEADER_BITS,
    PARAM_WORDS,
    POOL,
    REQUANT,
    TABLE,
    TABLE_ENTRIES,
    ErrorCode,
    Opcode,
    PoolMode,
)
from .pipeline import add_carry, delayed
from .requant import CLAMP_LATENCY, REQUANT_LATENCY, Requantiser
from .scratchpad import ACT_READ_LATENCY, act_read_signature, act_write_signature
from .window import PASS_LATENCY, InnerWalk, OuterWalk

__all__ = ["ADD_LAG", "CENTRE_LATENCY", "ELEMENT_PERIOD", "FEEDBACK_LATENCY", "GROUP_PERIOD", "ISSUE_TO_WRITE",
           "MUL_LAG", "PARAM_READ_LATENCY", "PRODUCT_LATENCY", "START_LATENCY", "TABLE_READ_LATENCY", "VectorUnit",
           "vector_latency", "vector_period"]

# ADD and MUL read their two operands in turns over the one read port.
ELEMENT_PERIOD = 2
# Cycles from a word at the lane adder to its requantised value there as the other summand.
FEEDBACK_LATENCY = 1 + REQUANT_LATENCY + 1
# ADD reads operand b of a word first, and operand a this much later, when the requantised b is back.
ADD_LAG = FEEDBACK_LATENCY
# MUL reads operand a one turn after operand b.
MUL_LAG = 1
assert ADD_LAG % ELEMENT_PERIOD == MUL_LAG % ELEMENT_PERIOD == 1
# Cycles from an operand's data to its difference to the zero point.
CENTRE_LATENCY = 1
# Cycles from the difference of operand a to the product at the lane adder.
PRODUCT_LATENCY = 1
# Cycles from an operand's data to its entry of the table.
TABLE_READ_LATENCY = 1
# Cycles from a word at the lane adder to its write into the activation buffer.
ISSUE_TO_WRITE = 1 + CLAMP_LATENCY
PARAM_READ_LATENCY = 1
# Cycles from accepting an instruction to its first read, when the unit is idle; REQUANT reads its parameters first.
START_LATENCY = 2
# Cycles between the first words of two groups of REQUANT, at least: the parameters of the next are read meanwhile.
GROUP_PERIOD = PARAM_WORDS + 2


def vector_period(opcode: Opcode, taps: int = 1) -> int:
    """Return the cycles per output word; ``taps`` is the size of a POOL's window, kh * kw."""
    return {Opcode.REQUANT: 1, Opcode.ADD: ELEMENT_PERIOD, Opcode.MUL: ELEMENT_PERIOD, Opcode.POOL: taps,
            Opcode.TABLE: 1}[opcode]


def vector_latency(opcode: Opcode, taps: int = 1, reload: bool = False) -> int:
    """Return the cycles from accepting an instruction in an idle unit to its first write; ``done`` is with the last.

    ``reload`` tells that a TABLE first reads its entries.
    """
    read_to_turn = {
        Opcode.REQUANT: PARAM_WORDS - 1 + ACC_READ_LATENCY,
        Opcode.ADD: ADD_LAG + ACT_READ_LATENCY + CENTRE_LATENCY,
        Opcode.MUL: MUL_LAG + ACT_READ_LATENCY + CENTRE_LATENCY + PRODUCT_LATENCY,
        Opcode.POOL: PASS_LATENCY + (taps - 1) + ACT_READ_LATENCY + 1,
        Opcode.TABLE: (TABLE_ENTRIES + PARAM_READ_LATENCY if reload else 0) + ACT_READ_LATENCY + TABLE_READ_LATENCY,
    }
    return START_LATENCY + read_to_turn[opcode] + ISSUE_TO_WRITE


class VectorUnit(wiring.Component):
    """Run REQUANT, ADD, MUL, POOL and TABLE instructions in order.

    Each lane is an adder in front of the requantiser: accumulator + bias, operand, sum of two operands, product, or
    pool + bias. What is not wanted there is zero, and so must ``acc_data`` be in cycles for which it was not asked.
    ``done`` is raised in the cycle of an instruction's last write.

    A REQUANT follows another without a gap: it reads accumulators only, and its parameters, like those of a further
    group, are read while the one before streams. Anything else reads what earlier instructions may have written, so it
    begins when they are done.
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
        m.submodules.pixels = pixels = OuterWalk()   # POOL: output pixels; REQUANT: words; else operand a
        m.submodules.taps = taps = InnerWalk()       # POOL: the window
        m.submodules.b_walk = b_walk = OuterWalk()   # ADD, MUL: operand b
        m.submodules.dst = dst = OuterWalk()
        m.submodules.requant = requant = Requantiser(lanes)

        # Three instructions at most: `after` waits, the current one issues words, `back` writes its last ones.
        after, after_index, after_valid = Signal(len(self.start.payload.instr)), Signal(24), Signal()
        instr, index, busy = Signal.like(after), Signal(24), Signal()

        def opcode(of):
            return data.View(HEADER, of[:HEADER.size]).opcode

        def body(layout, of=instr):
            return data.View(layout, of[HEADER_BITS:HEADER_BITS + layout.size])

        req, add, pool, table = body(REQUANT), body(ADD), body(POOL), body(TABLE)
        is_req, is_add, is_mul, is_pool, is_table = (Signal(name=f"is_{name}") for name in (
            "req", "add", "mul", "pool", "table"))
        m.d.comb += [is_req.eq(opcode(instr) == Opcode.REQUANT), is_add.eq(opcode(instr) == Opcode.ADD),
                     is_mul.eq(opcode(instr) == Opcode.MUL), is_pool.eq(opcode(instr) == Opcode.POOL),
                     is_table.eq(opcode(instr) == Opcode.TABLE)]
        is_pair = is_add | is_mul
        after_req = Signal()
        m.d.comb += after_req.eq(opcode(after) == Opcode.REQUANT)

        # Parameters of REQUANT: `planes` fills while the words of the group before use `params`.
        begin, group_begin = Signal(), Signal()
        groups_to_read, param_addr, param_index = Signal(9), Signal(16), Signal(24)
        plane = Signal(range(PARAM_WORDS))
        read_params, params_ready, params_held, reloading = Signal(), Signal(), Signal(), Signal()
        m.d.comb += read_params.eq((groups_to_read != 0) & ~params_ready & ~params_held & ~reloading)
        m.d.sync += params_held.eq(group_begin)  # for the second of the two cycles in which `planes` is taken over
        with m.If(read_params):
            m.d.sync += [plane.eq(plane + 1), param_addr.eq(param_addr + 1)]
            with m.If(plane == PARAM_WORDS - 1):
                m.d.sync += [plane.eq(0), params_ready.eq(1), groups_to_read.eq(groups_to_read - 1)]
        with m.Elif(group_begin):
            m.d.sync += params_ready.eq(0)

        m.d.comb += self.start.ready.eq(~after_valid & (groups_to_read == 0))
        with m.If(self.start.valid & self.start.ready):
            m.d.sync += [after.eq(self.start.payload.instr), after_index.eq(self.start.payload.index),
                         after_valid.eq(1)]
            with m.If(opcode(self.start.payload.instr) == Opcode.REQUANT):
                arriving = body(REQUANT, self.start.payload.instr)
                m.d.sync += [groups_to_read.eq(arriving.groups), param_addr.eq(arriving.param),
                             param_index.eq(self.start.payload.index)]
        with m.Elif(begin):
            m.d.sync += after_valid.eq(0)

        # The next instruction begins: the walkers load its origins while it becomes the current one.
        unfinished = Signal(2)  # instructions that have begun and are not done
        next_req, next_add, next_pool = body(REQUANT, after), body(ADD, after), body(POOL, after)
        all_read = Signal()     # the current instruction issues its last word
        m.d.comb += [
            begin.eq(after_valid & (~busy | all_read) & Mux(
                after_req & is_req, params_ready | (unfinished == 0), unfinished == 0)),
            pixels.origin.addr.eq(next_add.a), pixels.loop.addr_x.eq(add.a_step_x), pixels.loop.addr_y.eq(add.a_step_y),
            pixels.blocks.eq(1), b_walk.blocks.eq(1), dst.blocks.eq(1),
            pixels.loop.n_x.eq(req.out_w), pixels.loop.n_y.eq(req.out_h),
            b_walk.origin.addr.eq(next_add.b), b_walk.loop.n_x.eq(req.out_w), b_walk.loop.n_y.eq(req.out_h),
            b_walk.loop.addr_x.eq(add.b_step_x), b_walk.loop.addr_y.eq(add.b_step_y),
            taps.point.eq(pixels.point), taps.loop.n_x.eq(pool.kw), taps.loop.n_y.eq(pool.kh),
            taps.loop.addr_x.eq(pool.tap_x), taps.loop.addr_y.eq(pool.tap_y),
            taps.loop.coord_x.eq(1), taps.loop.coord_y.eq(1),
            taps.in_h.eq(pool.in_h), taps.in_w.eq(pool.in_w),
        ]
        with m.If(is_pool):
            m.d.comb += [pixels.loop.addr_x.eq(pool.step_x), pixels.loop.addr_y.eq(pool.step_y),
                         pixels.loop.coord_x.eq(pool.stride_x), pixels.loop.coord_y.eq(pool.stride_y)]
        with m.If(opcode(after) == Opcode.POOL):
            m.d.comb += [pixels.origin.addr.eq(next_pool.in_base), pixels.origin.y.eq(next_pool.iy0),
                         pixels.origin.x.eq(next_pool.ix0)]

        # Issue of every word of the current instruction.
        groups_left, group_dst, word_dst = Signal(9), Signal(20), Signal(20)
        acc_offset = Signal(self._acc_bits)  # within the half; the top bit is the overflow
        in_group, last_group, b_turn, b_left, table_ready = Signal(), Signal(), Signal(), Signal(), Signal()
        entry = Signal(range(TABLE_ENTRIES + PARAM_READ_LATENCY))
        read_acc, read_a, read_b, take = Signal(), Signal(), Signal(), Signal()
        lagged = {lag: delayed(m, read_b, lag, f"b_{lag}") for lag in (MUL_LAG, ADD_LAG)}
        m.d.comb += [
            reloading.eq(busy & is_table & ~table_ready),
            read_acc.eq(busy & is_req & (in_group | params_ready)), group_begin.eq(read_acc & ~in_group),
            read_b.eq(busy & is_pair & b_turn & b_left),
            read_a.eq(Mux(is_add, lagged[ADD_LAG], is_mul & lagged[MUL_LAG]) | (busy & is_table & table_ready)),
            take.eq(busy & is_pool & taps.ready),
            last_group.eq(groups_left == 1),
            all_read.eq(pixels.last & Mux(is_req, read_acc & last_group, read_a | take)),
            pixels.step.eq(read_acc | read_a | take), b_walk.step.eq(read_b),
            taps.take.eq(take), pixels.start.eq(begin | (read_acc & pixels.last)), b_walk.start.eq(begin),
            self.active.eq(read_acc | read_a | read_b | taps.valid | reloading),
            self.busy.eq(after_valid | busy | (unfinished != 0)),
        ]
        m.d.sync += b_turn.eq(~b_turn)
        with m.If(read_b & b_walk.last):
            m.d.sync += b_left.eq(0)
        with m.If(group_begin):
            m.d.sync += [word_dst.eq(group_dst), group_dst.eq(group_dst + req.dst_step_group)]
        with m.If(read_acc):
            m.d.sync += [acc_offset.eq(acc_offset + 1), in_group.eq(~pixels.last)]
            with m.If(pixels.last):
                m.d.sync += groups_left.eq(groups_left - 1)
        with m.If(reloading):
            m.d.sync += entry.eq(entry + 1)
            with m.If(entry == TABLE_ENTRIES + PARAM_READ_LATENCY - 1):
                m.d.sync += table_ready.eq(1)
        with m.If(all_read):
            m.d.sync += busy.eq(0)
        with m.If(begin):
            m.d.sync += [
                instr.eq(after), index.eq(after_index), busy.eq(1), in_group.eq(0), b_turn.eq(1), b_left.eq(1),
                groups_left.eq(next_req.groups), group_dst.eq(next_req.dst), word_dst.eq(next_req.dst),
                acc_offset.eq(next_req.acc[:self._acc_bits - 1]), entry.eq(0),
                table_ready.eq(~body(TABLE, after).reload),
            ]
        with m.If(begin & ~self.done):
            m.d.sync += unfinished.eq(unfinished + 1)
        with m.Elif(self.done & ~begin):
            m.d.sync += unfinished.eq(unfinished - 1)

        # Reads.
        last_pixel = Signal()
        with m.If(take):
            m.d.sync += last_pixel.eq(pixels.last)
        log_rows = (config.rows - 1).bit_length()
        read_entry = Signal()
        m.d.comb += [
            self.acc_en.eq(read_acc), self.acc_address.eq(Cat(acc_offset[:-1], req.acc[self._acc_bits - 1])),
            read_entry.eq(reloading & (entry < TABLE_ENTRIES)),
            self.param_en.eq(read_params | read_entry),
            self.param_addr.eq(Mux(reloading, table.param + entry[log_rows:], param_addr)),
            self.act.en.eq(read_a | read_b | (taps.valid & taps.inside)),
            self.act.addr.eq(Mux(is_pool, taps.addr, Mux(read_b, b_walk.point.addr, pixels.point.addr))),
        ]

        # Turns of the lane adder, aligned with their data.
        operand = ACT_READ_LATENCY + CENTRE_LATENCY
        assert TABLE_READ_LATENCY == CENTRE_LATENCY
        turn_acc = delayed(m, read_acc, ACC_READ_LATENCY, "turn_acc")
        turn_b = delayed(m, read_b & is_add, operand, "turn_b")
        turn_a = delayed(m, read_a, operand, "turn_a")
        last_a = delayed(m, read_a & all_read, operand, "last_a")
        turn_mul, last_mul = (delayed(m, turn, PRODUCT_LATENCY, name)
                              for turn, name in ((turn_a & is_mul, "turn_mul"), (last_a & is_mul, "last_mul")))
        tap_valid = delayed(m, taps.valid, ACT_READ_LATENCY, "tap_valid")
        tap_inside = delayed(m, taps.inside, ACT_READ_LATENCY, "tap_inside")
        tap_first = delayed(m, taps.first, ACT_READ_LATENCY, "tap_first")
        pooled = taps.valid & taps.last
        turn_pool = delayed(m, pooled, ACT_READ_LATENCY + 1, "turn_pool")
        last_pool = delayed(m, pooled & delayed(m, last_pixel, 1, "pool_last"), ACT_READ_LATENCY + 1, "pool_last_turn")
        turn_sum, final, final_last = Signal(), Signal(), Signal()
        m.d.comb += [
            turn_sum.eq(turn_a & is_add),
            final.eq(turn_acc | (turn_a & ~is_mul) | turn_mul | turn_pool),
            final_last.eq(delayed(m, read_acc & all_read, ACC_READ_LATENCY, "acc_last") | (last_a & ~is_mul) | last_mul
                          | last_pool),
        ]

        is_max, is_average = Signal(), Signal()
        m.d.comb += [is_max.eq(pool.mode == PoolMode.MAX), is_average.eq(is_pool & (pool.mode == PoolMode.AVERAGE))]
        operand_zp = Signal(signed(8))
        m.d.comb += operand_zp.eq(Mux(delayed(m, read_b, ACT_READ_LATENCY, "b_arrives"), add.b_zp, add.a_zp))
        subtract_b = Signal()  # the requantised operand b
        m.d.comb += subtract_b.eq(turn_sum & add.b_negate)
        negate_a = Signal()
        m.d.comb += negate_a.eq(is_add & add.a_negate & ~delayed(m, read_b, ACT_READ_LATENCY, "b_is_not_negated"))

        # Multiplier and shift of the turn, one cycle behind the adder.
        scalar_mult, scalar_shift = Signal(32), Signal(signed(6))
        with m.If(turn_b):
            m.d.sync += [scalar_mult.eq(add.b_mult), scalar_shift.eq(add.b_shift)]
        with m.Elif(is_pair):
            m.d.sync += [scalar_mult.eq(add.y_mult), scalar_shift.eq(add.y_shift)]
        with m.Elif(is_table | is_max):  # the identity: 2^30 * 2^1 / 2^31
            m.d.sync += [scalar_mult.eq(1 << 30), scalar_shift.eq(1)]
        with m.Else():
            m.d.sync += [scalar_mult.eq(pool.mult), scalar_shift.eq(pool.shift)]
        per_channel = delayed(m, turn_acc, 1, "per_channel")
        # What POOL adds; like all summands zero while it is not wanted, so that the lanes join them by OR.
        pool_summand = Signal(signed(32))
        m.d.sync += pool_summand.eq(Mux(is_average, pool.half, Mux(is_pool & ~is_max, pool.bias, 0)))
        feed_back = Signal()
        m.d.comb += feed_back.eq(is_add & delayed(m, read_a, operand - 1, "feed_back"))
        m.d.comb += requant.truncate.eq(is_average)

        # The output of a REQUANT's group takes over from the one before in step with its first word.
        to_write = ACC_READ_LATENCY + ISSUE_TO_WRITE
        fresh = delayed(m, begin, 1, "fresh")
        back, back_zp, back_index, back_dst = Signal(REQUANT), Signal(signed(8)), Signal(24), Signal(20)
        take_back, take_zp = Signal(), Signal()
        m.d.comb += [
            take_back.eq((fresh & ~is_req) | delayed(m, group_begin, to_write - 2, "back")),
            take_zp.eq((fresh & ~is_req) | delayed(m, group_begin, ACC_READ_LATENCY + REQUANT_LATENCY - 2, "zp")),
            dst.origin.addr.eq(back_dst), dst.loop.n_x.eq(back.out_w), dst.loop.n_y.eq(back.out_h),
            dst.loop.addr_x.eq(back.dst_step_x), dst.loop.addr_y.eq(back.dst_step_y),
            dst.start.eq(delayed(m, take_back, 1, "dst_start")),
            requant.lo.eq(back.lo), requant.hi.eq(back.hi),
        ]
        with m.If(take_back):
            m.d.sync += [back.eq(req), back_dst.eq(word_dst), back_index.eq(index)]
            with m.If(is_table):  # its entries are results already
                m.d.sync += [back.lo.eq(-128), back.hi.eq(127)]
        with m.If(take_zp):
            m.d.sync += back_zp.eq(Mux(is_table, 0, req.zp))
        m.d.sync += requant.offset.eq(0)
        with m.If(delayed(m, final, REQUANT_LATENCY - 1, "final_offset")):
            m.d.sync += requant.offset.eq(back_zp)

        # Lanes. Parameters arrive as byte planes, the lowest first; bias and scale are used in successive cycles.
        param_arrives = delayed(m, read_params, PARAM_READ_LATENCY, "param_arrives")
        take_scale = delayed(m, params_held, 1, "take_scale")
        write_entry = delayed(m, read_entry, PARAM_READ_LATENCY, "write_entry")
        entry_behind = delayed(m, entry[:8], PARAM_READ_LATENCY, "entry_behind")
        table_value = Signal(8)
        m.d.comb += table_value.eq(self.param_data.word_select(entry_behind[:log_rows], 8))
        for n in range(lanes):
            planes = Signal(8 * PARAM_WORDS, name=f"planes{n}", reset_less=True)
            bias = Signal(signed(32), name=f"bias{n}", reset_less=True)
            mult = Signal(32, name=f"mult{n}", reset_less=True)
            shift = Signal(signed(6), name=f"shift{n}", reset_less=True)
            with m.If(param_arrives):
                m.d.sync += planes.eq(Cat(planes[8:], self.param_data[8 * n:8 * n + 8]))
            with m.If(params_held):
                m.d.sync += bias.eq(planes[:32].as_signed())
            with m.If(~is_req):
                m.d.sync += bias.eq(0)
            with m.If(take_scale):
                m.d.sync += [mult.eq(planes[32:64]), shift.eq(planes[64:70].as_signed())]

            value = Signal(signed(8), name=f"value{n}")
            m.d.comb += value.eq(self.act.data[8 * n:8 * n + 8])
            # Tables start at -128: the sign bit is inverted.
            m.submodules[f"table{n}"] = memory = block_memory(8, TABLE_ENTRIES)
            entries, look_up = memory.write_port(), memory.read_port()
            m.d.comb += [entries.en.eq(write_entry), entries.addr.eq(entry_behind), entries.data.eq(table_value),
                         look_up.en.eq(is_table), look_up.addr.eq(Cat(value[:7], ~value[7]))]

            centred = Signal(signed(9), name=f"centred{n}", reset_less=True)
            before = Signal(signed(9), name=f"before{n}", reset_less=True)
            product = Signal(signed(18), name=f"product{n}", reset_less=True)
            feedback = Signal(signed(32), name=f"feedback{n}", reset_less=True)
            m.d.sync += [centred.eq(Mux(negate_a, operand_zp, value) - Mux(negate_a, value, operand_zp)),
                         before.eq(centred), product.eq(before * centred), feedback.eq(requant.y[n])]
            with m.If(~is_mul):
                m.d.sync += product.eq(0)
            with m.If(~feed_back):
                m.d.sync += feedback.eq(0)

            tap, reduced = Signal(signed(8), name=f"tap{n}"), Signal(signed(24), name=f"reduced{n}", reset_less=True)
            m.d.comb += tap.eq(Mux(tap_inside, value, pool.fill))
            with m.If(tap_valid & (tap_first | ~is_max | (tap > reduced[:8].as_signed()))):
                m.d.sync += reduced.eq(Mux(tap_first | is_max, tap, reduced + tap))
            with m.If(~is_pool):
                m.d.sync += reduced.eq(0)

            entry_value, shifted = Signal(signed(8), name=f"entry_value{n}"), Signal(signed(32), name=f"shifted{n}")
            m.d.comb += [entry_value.eq(Mux(is_table, look_up.data, 0)),
                         shifted.eq(Mux(is_add, Mux(turn_sum, centred << 19, centred << 20), 0))]
            q = self.acc_data[n] | product | reduced | entry_value | shifted
            p = (bias | feedback | pool_summand).as_unsigned()
            subtract = Signal(name=f"subtract{n}")
            m.d.comb += subtract.eq(subtract_b | (is_average & (reduced[-1] | (reduced == 0))))
            m.d.sync += requant.x[n].eq(add_carry(q, (p ^ subtract.replicate(32)).as_signed(), subtract))
            m.d.comb += [requant.mult[n].eq(Mux(per_channel, mult, scalar_mult)),
                         requant.shift[n].eq(Mux(per_channel, shift, scalar_shift))]

        # Writes.
        m.d.comb += [
            self.out.en.eq(delayed(m, final, ISSUE_TO_WRITE, "write")), self.out.addr.eq(dst.point.addr),
            self.out.data.eq(requant.out), dst.step.eq(self.out.en),
            self.done.eq(delayed(m, final_last, ISSUE_TO_WRITE, "last_write")),
        ]

        # Errors.
        bad_field = Signal()
        m.d.comb += bad_field.eq((req.out_h == 0) | (req.out_w == 0)
                                 | (is_req & ((req.acc >= config.acc_depth) | (req.groups == 0)))
                                 | (is_pool & ((pool.kw == 0) | (pool.kh == 0) | (pool.mode > max(PoolMode)))))

        def error(code, culprit):
            return [self.error.valid.eq(1), self.error.code.eq(code), self.error.index.eq(culprit)]

        # What is furthest in the pipeline belongs to the oldest instruction.
        with m.If(self.out.en & self.out.error.any()):
            m.d.comb += error(Mux(self.out.error[0], ErrorCode.ADDRESS, ErrorCode.BANK), back_index)
        with m.Elif(fresh & bad_field):
            m.d.comb += error(ErrorCode.FIELD, index)
        with m.Elif(self.act.en & self.act.error.any()):
            m.d.comb += error(Mux(self.act.error[0], ErrorCode.ADDRESS, ErrorCode.BANK), index)
        with m.Elif(read_acc & acc_offset[-1]):
            m.d.comb += error(ErrorCode.ADDRESS, index)
        with m.Elif(self.param_en & (self.param_addr >= config.param_words)):
            m.d.comb += error(ErrorCode.ADDRESS, Mux(reloading, index, param_index))
        return m
