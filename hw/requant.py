"""Requantisation of int32 lanes by a Q31 multiplier and a shift, with gemmlowp's double rounding."""

from amaranth import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .isa import MAX_LEFT_SHIFT

__all__ = ["CLAMP_LATENCY", "REQUANT_LATENCY", "Requantiser"]

# Cycles from `x` to `y`: left shift, partial products, two sums, two shift stages, rounding.
REQUANT_LATENCY = 7
# Cycles from `x` to `out`.
CLAMP_LATENCY = REQUANT_LATENCY + 1


class Requantiser(wiring.Component):
    """Compute ``y = round(round(x * 2^left * mult / 2^31) / 2^right) + offset`` and ``out = clamp(y, lo, hi)``.

    The first rounding is to nearest, ties up; the second to nearest, ties away from zero: together TFLite's
    ``MultiplyByQuantizedMultiplier``. With ``truncate`` the first rounds down and negative results are then raised by
    one, which is division truncating toward zero by a rounded-up reciprocal.

    ``x``, ``mult``, ``shift`` and ``truncate`` belong to the same cycle; ``offset`` is wanted ``REQUANT_LATENCY - 1``
    cycles later. ``lo`` and ``hi`` are constant while words are in flight.
    """

    def __init__(self, lanes: int):
        self.lanes = lanes
        super().__init__({
            "x": In(data.ArrayLayout(signed(32), lanes)),
            "mult": In(data.ArrayLayout(unsigned(32), lanes)),
            "shift": In(data.ArrayLayout(signed(6), lanes)),
            "truncate": In(1),
            "offset": In(signed(8)), "lo": In(signed(8)), "hi": In(signed(8)),
            "y": Out(data.ArrayLayout(signed(32), lanes)),
            "out": Out(data.ArrayLayout(signed(8), lanes)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()

        def register(value, name, shape=None):
            stage = Signal.like(value, name=name, reset_less=True) if shape is None else \
                Signal(shape, name=name, reset_less=True)
            m.d.sync += stage.eq(value)
            return stage

        truncate = [self.truncate]
        for i in range(REQUANT_LATENCY - 1):
            truncate.append(register(truncate[-1], f"truncate{i + 1}"))
        left_bits = MAX_LEFT_SHIFT.bit_length()
        for n in range(self.lanes):
            x, mult, shift = self.x[n], self.mult[n], self.shift[n]
            negative = shift[5]
            left = Signal(left_bits, name=f"left{n}")
            m.d.comb += left.eq(Mux(negative, 0, shift[:left_bits]))
            x1 = register((x << left)[:32].as_signed(), f"x1_{n}")
            mult1 = register(mult, f"mult1_{n}")
            right1 = register(Mux(negative, (-shift)[:5], 0), f"right1_{n}", unsigned(5))

            x_low, x_high = x1[:16], x1[16:].as_signed()
            m_low, m_high = mult1[:16], mult1[16:31]
            low = register(x_low * m_low, f"low_{n}")
            mid_a = register(x_high * m_low, f"mid_a_{n}", signed(33))
            mid_b = register(x_low * m_high, f"mid_b_{n}")
            high = register(x_high * m_high, f"high_{n}", signed(32))
            right2 = register(right1, f"right2_{n}")

            # Sums in units of 2^16; the rounding bit 2^30 takes a free place below `high`.
            half = Cat(Const(0, 14), ~truncate[2], Const(0, 1))
            upper = register(Cat(half, high).as_signed() + mid_a, f"upper_{n}", signed(49))
            lower = register(mid_b + low[16:], f"lower_{n}")
            right3 = register(right2, f"right3_{n}")
            total = Signal(signed(49), name=f"total_{n}")
            m.d.comb += total.eq(upper + lower)
            h = register(total[15:48].as_signed(), f"h_{n}")
            right4 = register(right3, f"right4_{n}")

            # Right shift with one guard bit below the point; what falls out further is sticky.
            value, sticky = Cat(Const(0, 1), h).as_signed(), Const(0, 1)
            right = right4
            for stage, levels in enumerate(((4, 3), (2, 1, 0))):
                for level in levels:
                    chosen = right[level]
                    sticky = sticky | (chosen & value[:1 << level].any())
                    value = Mux(chosen, value >> (1 << level), value).as_signed()
                value = register(value, f"shifted{stage}_{n}", signed(34))
                if stage == 0:
                    sticky = register(sticky, f"sticky{stage}_{n}")
                    right = register(right, f"right5_{n}")
            sticky = register(sticky, f"sticky1_{n}")
            sign = value[33]
            carry = Mux(truncate[-1], sign, value[0] & (sticky | ~sign))
            m.d.sync += self.y[n].eq(value[1:].as_signed() + self.offset + carry)
            m.d.sync += self.out[n].eq(Mux(self.y[n] < self.lo, self.lo, Mux(self.y[n] > self.hi, self.hi, self.y[n])))
        return m
