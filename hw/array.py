"""Weight-stationary systolic array of int8 multiply-accumulate cells."""

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["SystolicArray", "array_latency", "psum_bits"]


def psum_bits(rows: int) -> int:
    """Return the width of a column sum of ``rows`` int8 x int8 products, which it cannot overflow."""
    return 16 + ceil_log2(rows)


def array_latency(rows: int) -> int:
    """Return the cycles from a word at ``x`` to its sums at ``psum``: one input register, then the two diagonals."""
    return 2 * rows + 1


class SystolicArray(wiring.Component):
    """Multiply one pixel word per cycle by the live ``rows`` x ``rows`` weight tile.

    Cell (r, c) multiplies input row r by the weight of output column c; activations travel right, partial sums travel
    down, and both are skewed and deskewed here, so that all columns of one pixel leave together, ``array_latency``
    cycles after it entered. Row r of the shadow weights is written through ``w``; a cell copies its shadow weight to
    its live weight when the word marked ``swap`` reaches it. The write of row r travels with the same skew as pixels:
    row r presented in cycle q is used by a swap presented in cycle p when ``q <= p + r - 1``, and replaces the weight
    of the tile before it only after a swap presented in cycle p when ``q >= p + r``.

    Parameters
    ----------
    rows : int
        Rows, columns and bytes per word.
    """

    def __init__(self, rows: int):
        self.rows = rows
        super().__init__({
            "x": In(data.ArrayLayout(signed(8), rows)),
            "swap": In(1),
            "w": In(data.ArrayLayout(signed(8), rows)),
            "w_row": In(range(rows)),
            "w_en": In(1),
            "psum": Out(data.ArrayLayout(signed(psum_bits(rows)), rows)),
        })

    def elaborate(self, platform: object) -> Module:
        # One flat module: half the Verilog and several times the simulation speed of a submodule per cell.
        m = Module()
        n, bits = self.rows, psum_bits(self.rows)

        def delayed(value, cycles: int, name: str):
            for i in range(cycles):
                stage = Signal.like(value, name=f"{name}_d{i + 1}", reset_less=True)
                m.d.sync += stage.eq(value)
                value = stage
            return value

        row_select = Signal(n)
        m.d.comb += row_select.eq(Cat(self.w_en & (self.w_row == r) for r in range(n)))
        select, w = row_select, []
        selects = []
        for c in range(n):
            if c:
                select = delayed(select, 1, f"select{c}")
            selects.append(select)
            w.append(delayed(self.w[c], c, f"w{c}"))

        above = [None] * n
        swap_row = self.swap
        for r in range(n):
            x = delayed(self.x[r], r, f"x{r}")
            swap_row = delayed(swap_row, 1, f"swap{r}") if r else swap_row
            swap = swap_row
            for c in range(n):
                name = f"r{r}c{c}"
                x_reg = Signal(signed(8), name=f"x_{name}", reset_less=True)
                shadow = Signal(signed(8), name=f"shadow_{name}", reset_less=True)
                live = Signal(signed(8), name=f"live_{name}", reset_less=True)
                product = Signal(signed(16), name=f"product_{name}", reset_less=True)
                psum = Signal(signed(bits), name=f"psum_{name}", reset_less=True)
                m.d.sync += [x_reg.eq(x), product.eq(x_reg * live),
                             psum.eq(product if r == 0 else above[c] + product)]
                with m.If(selects[c][r]):
                    m.d.sync += shadow.eq(w[c])
                with m.If(swap):
                    m.d.sync += live.eq(shadow)
                above[c] = psum
                x = x_reg
                if c + 1 < n:
                    swap = delayed(swap, 1, f"swap_{name}")
        for c in range(n):
            m.d.comb += self.psum[c].eq(delayed(above[c], n - 1 - c, f"out{c}"))
        return m
