"""Lowering of element-wise operators to the vector unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ...hw.isa import Opcode, PoolMode
from ...models.ops_unary import CODES
from ..graph import Graph, Op
from ..quantparams import act_range, add_params, product
from .layers import Clamp, Element, ElementLayer, Operand, PoolLayer, PoolPiece, Window
from .limits import check_shift, check_size

_HALF = (1 << 30, 0)  # the multiplier and shift of 1/2


def lower_table(op: Op, x: Operand, y: Operand, table: npt.NDArray[np.int8]) -> ElementLayer | PoolLayer:
    """Lower an operator that is a function of one int8. Raises `Unfit` when the hardware cannot run it."""
    lo, hi = int(table.min()), int(table.max())
    if np.array_equal(table, np.clip(CODES, lo, hi)):  # a copy that clamps needs no table
        check_size(y.image)
        piece = PoolPiece(y.image.rect, PoolMode.MAX)
        return PoolLayer(op.name, (x,), y, Window(), Clamp(0, lo, hi), (piece,))
    return _layer(op, [x], y, Element(Opcode.TABLE, {}, table.tobytes()))


def lower_sum(graph: Graph, op: Op, operands: Sequence[Operand], y: Operand) -> ElementLayer:
    """Lower ADD or SUB. Raises `Unfit` when the hardware cannot run it."""
    p, negate = add_params(graph, op), int(op.kind == "SUB")
    for shift in (p.a_shift, p.b_shift, p.y_shift):
        check_shift(shift)
    # The instruction wants the larger scale first.
    first, second = (p.a_zp, p.a_mult, p.a_shift, 0), (p.b_zp, p.b_mult, p.b_shift, negate)
    if first[1:3] != _HALF:
        operands, first, second = operands[::-1], second, first
    (a_zp, _, _, a_negate), (b_zp, b_mult, b_shift, b_negate) = first, second
    fields = {**Clamp(p.y_zp, p.act_min, p.act_max)._asdict(), "a_zp": a_zp, "a_negate": a_negate, "b_zp": b_zp,
              "b_mult": b_mult, "b_shift": b_shift, "b_negate": b_negate, "y_mult": p.y_mult, "y_shift": p.y_shift}
    return _layer(op, operands, y, Element(Opcode.ADD, fields))


def lower_product(graph: Graph, op: Op, operands: Sequence[Operand], y: Operand) -> ElementLayer:
    """Lower MUL. Raises `Unfit` when the hardware cannot run it."""
    (a, b), (mult, shift) = graph.operands(op), product(graph, op)
    check_shift(shift)
    fields = {**Clamp(graph.result(op).zero_point, *act_range(graph, op))._asdict(), "a_zp": a.zero_point,
              "b_zp": b.zero_point, "y_mult": mult, "y_shift": shift}
    return _layer(op, operands, y, Element(Opcode.MUL, fields))


PAIRS: dict[str, Callable[[Graph, Op, Sequence[Operand], Operand], ElementLayer]] = {
    "ADD": lower_sum, "MUL": lower_product, "SUB": lower_sum,
}
"""Operators of two operands that have an instruction."""


def _layer(op: Op, operands: Sequence[Operand], y: Operand, element: Element) -> ElementLayer:
    check_size(y.image)
    return ElementLayer(op.name, tuple(operands), y, Window(), element)
