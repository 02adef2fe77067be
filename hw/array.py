"""Weight-stationary systolic array of int8 multiply-accumulate cells."""

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .pipeline import delayed

__all__ = ["MAX_LINES", "SPACINGS", "SystolicArray", "array_latency", "injections", "lines_at_once", "older_lines",
           "psum_bits", "spacing_of"]

# Filter mode: rows per image line, and lines at a time. Each place where a line can enter costs a register per column.
SPACINGS = (3, 5, 16)
MAX_LINES = 4


def psum_bits(rows: int) -> int:
    """Return the width of a column sum of ``rows`` int8 x int8 products, which it cannot overflow."""
    return 1 + (rows << 14).bit_length()


def array_latency(rows: int) -> int:
    """Return the cycles from a word at ``x`` to its sums at ``psum``: one input register, then the two diagonals."""
    return 2 * rows + 1


def lines_at_once(filter_rows: int, spacing: int) -> int:
    """Return how many image lines of ``spacing`` taps fit into the rows of the filter mode, at least 1."""
    return max(1, min(MAX_LINES, filter_rows // spacing))


def older_lines(filter_rows: int) -> int:
    """Return the image lines besides the newest that the filter mode takes at most."""
    return max(lines_at_once(filter_rows, spacing) for spacing in SPACINGS) - 1


def spacing_of(taps: int) -> int:
    """Return the rows per line for a kernel ``taps`` wide; ``ValueError`` when it is wider than any spacing."""
    for spacing in SPACINGS:
        if taps <= spacing:
            return spacing
    raise ValueError(f"a line must have at most {SPACINGS[-1]} taps, not {taps}")


def injections(filter_rows: int, row: int) -> list[tuple[int, int]]:
    """Return the (line, spacing) pairs for which ``row`` is where the line enters."""
    return [(row // spacing, spacing) for spacing in SPACINGS
            if row and row % spacing == 0 and row // spacing < lines_at_once(filter_rows, spacing)]


class SystolicArray(wiring.Component):
    """Multiply one pixel word per cycle by the live ``rows`` x ``rows`` weight tile.

    Cell (r, c) holds the weight of row r for output column c; partial sums travel down and leave together,
    ``array_latency`` cycles after their pixel word entered. Byte i of a word enters i cycles late, and column c works
    c cycles late; both skews are made and undone here.

    *Dense*: byte r of the word enters row r and travels right: column c sums over the bytes.

    *Filter* (``fir``, a static mode): byte c of the word enters column c at the top and travels down with two registers
    per cell, while sums take one (Kung's convolution array): so row r meets the word that is r words older, and the
    column is a filter over the words of one image line whose tap for the newest word is in row 0. Rows ``g * spacing``
    take the word of line g instead, ``g * spacing`` cycles later than the newest line's word of the same sum; it stands
    at ``lines[g - 1]`` one cycle before, and ``skewed`` is what a line buffer delays to make it. Only the first
    ``filter_rows`` rows take part; row r of the others multiplies byte r of the newest word, as in dense mode.

    Row r of the shadow weights is written through ``w``; a cell copies its shadow weight to its live weight when the
    word marked ``swap`` reaches it. The write of row r travels with the same skew as pixels: row r presented in cycle
    q is used by a swap presented in cycle p when ``q <= p + r - 1``, and replaces the weight of the tile before it only
    after a swap presented in cycle p when ``q >= p + r``.

    Parameters
    ----------
    rows : int
        Rows, columns and bytes per word.
    filter_rows : int
        Rows that the filter mode reaches, 0 for an array without it.
    """

    def __init__(self, rows: int, filter_rows: int):
        self.rows = rows
        self.filter_rows = filter_rows
        word = data.ArrayLayout(signed(8), rows)
        super().__init__({
            "x": In(word),
            "swap": In(1),
            "fir": In(1), "spacing": In(range(max(SPACINGS) + 1)),
            "skewed": Out(word), "lines": In(data.ArrayLayout(word, max(1, older_lines(filter_rows)))),
            "w": In(word),
            "w_row": In(range(rows)),
            "w_en": In(1),
            "psum": Out(data.ArrayLayout(signed(psum_bits(rows)), rows)),
        })

    def elaborate(self, platform: object) -> Module:
        # One flat module: half the Verilog and several times the simulation speed of a submodule per cell.
        m = Module()
        n, bits = self.rows, psum_bits(self.rows)

        def delay(value, cycles, name):
            return delayed(m, value, cycles, name, reset=False)

        row_select = Signal(n)
        m.d.comb += row_select.eq(Cat(self.w_en & (self.w_row == r) for r in range(n)))
        select, w = row_select, []
        selects = []
        for c in range(n):
            if c:
                select = delay(select, 1, f"select{c}")
            selects.append(select)
            w.append(delay(self.w[c], c, f"w{c}"))

        m.d.comb += [self.skewed[i].eq(delay(self.x[i], i, f"x{i}")) for i in range(n)]
        # In filter mode a line takes the place of the words from above. Either is held at zero while it is not wanted,
        # so that one look-up table per bit joins them with the word from the left.
        lines, entered = {}, {}
        for r in range(1, self.filter_rows):
            chosen = {line: delay(self.fir & (self.spacing == spacing), 1, f"enters{r}_{spacing}")
                      for line, spacing in injections(self.filter_rows, r)}
            if chosen:
                lines[r] = Signal(data.ArrayLayout(signed(8), n), name=f"line{r}", reset_less=True)
                entered[r] = Cat(chosen.values()).any()
                for line, enters in chosen.items():
                    with m.If(enters):
                        m.d.sync += lines[r].eq(self.lines[line - 1])
                with m.If(~entered[r]):
                    m.d.sync += lines[r].eq(0)

        chain = [self.skewed[c] for c in range(n)]  # what enters the next row from above in filter mode
        above = [None] * n
        swap_row, fir_row = self.swap, self.fir
        for r in range(n):
            left = self.skewed[r]
            if r:
                swap_row, fir_row = delay(swap_row, 1, f"swap{r}"), delay(fir_row, 1, f"fir{r}")
            swap, fir = swap_row, fir_row
            for c in range(n):
                name = f"r{r}c{c}"
                x_reg = Signal(signed(8), name=f"x_{name}", reset_less=True)
                shadow = Signal(signed(8), name=f"shadow_{name}", reset_less=True)
                live = Signal(signed(8), name=f"live_{name}", reset_less=True)
                product = Signal(signed(16), name=f"product_{name}", reset_less=True)
                psum = Signal(signed(bits), name=f"psum_{name}", reset_less=True)
                operand = Mux(fir, chain[c], left) if r < self.filter_rows else left
                m.d.sync += [x_reg.eq(operand | lines[r][c] if r in lines else operand), product.eq(x_reg * live),
                             psum.eq(product if r == 0 else above[c] + product)]
                with m.If(selects[c][r]):
                    m.d.sync += shadow.eq(w[c])
                with m.If(swap):
                    m.d.sync += live.eq(shadow)
                above[c] = psum
                left = x_reg
                if r + 1 < self.filter_rows:
                    chain[c] = Signal(signed(8), name=f"down_{name}", reset_less=True)
                    m.d.sync += chain[c].eq(Mux(entered[r + 1], 0, x_reg) if r + 1 in entered else x_reg)
                if c + 1 < n:
                    swap = delay(swap, 1, f"swap_{name}")
                    if r < self.filter_rows:
                        fir = delay(fir, 1, f"fir_{name}")
        for c in range(n):
            m.d.comb += self.psum[c].eq(delay(above[c], n - 1 - c, f"out{c}"))
        return m
