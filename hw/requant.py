"""Requantisation of int32 lanes by a Q31 multiplier and a shift, with gemmlowp's double rounding."""

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .isa import MAX_LEFT_SHIFT
from .pipeline import add_carry

__all__ = ["CLAMP_LATENCY", "REQUANT_LATENCY", "Requantiser"]

# Cycles from `x` to `y`: wrapping, partial products, two sums, two shift stages, rounding.
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
        assert MAX_LEFT_SHIFT == 7
        for n in range(self.lanes):
            x, shift = self.x[n], self.shift[n]
            # The left shift is done to the product, with the multiplexers of the right shift. Of the word it only has
            # to be known that it wraps: what will be shifted out becomes copies of the new sign.
            x1 = Signal(signed(32), name=f"x1_{n}", reset_less=True)
            sign = x[24:].bit_select(~shift[:3], 1)
            m.d.sync += x1.eq(x)
            for i in range(25, 32):
                with m.If(~shift[5] & (shift[:3] > 31 - i)):
                    m.d.sync += x1[i].eq(sign)
            mult1 = register(self.mult[n], f"mult1_{n}")

            x_low, x_high = x1[:16], x1[16:].as_signed()
            m_low, m_high = mult1[:16], mult1[16:31]
            low = register(x_low * m_low, f"low_{n}")
            mid_a = register(x_high * m_low, f"mid_a_{n}", signed(32))
            mid_b = register(x_low * m_high, f"mid_b_{n}")
            high = register(x_high * m_high, f"high_{n}", signed(31))

            # The product without its lowest 16 bits. Its unit is bit 15, bit 14 decides the first rounding.
            outer = register(Cat(low[16:], high).as_signed(), f"outer_{n}")
            middle = register(mid_a + mid_b, f"middle_{n}", signed(33))
            product = Signal(signed(47), name=f"product_{n}")
            m.d.comb += product.eq(outer + middle)
            for i in range(3):
                shift = register(shift, f"shift{i + 1}_{n}")

            # Shift right, with one bit below the point: by -shift = ~shift + 1, of which the 1 is made here; or by
            # 7 - shift = ~shift, from 7 places further down.
            right = shift[5]
            value = register(Mux(right, product[15:].as_signed(), product[7:].as_signed()), f"value_{n}")
            amount = register(Cat(~shift[:3], ~shift[3:5] & right.replicate(2)), f"amount_{n}")
            # Both roundings are one carry. Of a negative number it is set when more than half is shifted out, the bit
            # of the first rounding counting as a unit more: the bit below the point and any behind it. Of others when
            # at least half is: the same with all bits inverted, the carry too. `sticky` is that "any", and true if
            # there is no second rounding.
            positive = ~product[-1]
            sticky = register(~right | (product[14] ^ positive), f"sticky_{n}")
            positive = ~value[-1]
            for stage, levels in enumerate(((0, 1, 2), (3, 4))):
                for level in levels:
                    out = value[:1 << level]
                    sticky = sticky | (amount[level] & (out ^ positive.replicate(len(out))).any())
                    value = Mux(amount[level], value >> (1 << level), value).as_signed()
                value = register(value, f"shifted{stage}_{n}", signed(33))
                sticky = register(sticky, f"sticky{stage}_{n}")
                amount, positive = register(amount, f"amount{stage}_{n}"), ~value[-1]
            carry = Mux(truncate[-1], ~positive, ((value[0] ^ positive) & sticky) ^ positive)
            m.d.sync += self.y[n].eq(add_carry(value[1:].as_signed(), self.offset, carry))

            # Clamp: bits that say whether y is an int8, and comparisons of its lowest byte.
            y, byte = self.y[n], Signal(signed(8), name=f"byte_{n}")
            fits, below, above = (Signal(name=f"{name}_{n}") for name in ("fits", "below", "above"))
            m.d.comb += [
                byte.eq(y[:8]), fits.eq(~(y[7:31] ^ y[31].replicate(24)).any()),
                below.eq(Mux(fits, byte < self.lo, y[31])), above.eq(Mux(fits, byte > self.hi, ~y[31])),
            ]
            m.d.sync += self.out[n].eq(Mux(below, self.lo, Mux(above, self.hi, byte)))
        return m
