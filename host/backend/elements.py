"""Element-wise instructions of the vector unit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...hw.isa import Opcode
from ...models.ops import AddParams
from .instruction import Instruction, Region, Space
from .layers import Clamp
from .layout import Rect, View
from .limits import MAX_COORDINATE


class AddFields(NamedTuple):
    """Fields of an ADD, and whether the operands are swapped: the hardware wants the larger scale first."""

    body: dict[str, int]
    swapped: bool


def add_fields(p: AddParams, clamp: Clamp) -> AddFields:
    """Return the fields of an addition that do not depend on the tile."""
    swapped = (p.a_mult, p.a_shift) != (1 << 30, 0)
    zeros = (p.b_zp, p.a_zp) if swapped else (p.a_zp, p.b_zp)
    scale = (p.a_mult, p.a_shift) if swapped else (p.b_mult, p.b_shift)
    return AddFields({"zp": clamp.zp, "lo": clamp.lo, "hi": clamp.hi, "a_zp": zeros[0], "b_zp": zeros[1],
                      "b_mult": scale[0], "b_shift": scale[1], "y_mult": p.y_mult, "y_shift": p.y_shift}, swapped)


def add_instructions(layer: int, fields: AddFields, tile: Rect, blocks: tuple[int, int], sources: tuple[View, View],
                     target: View) -> Iterator[Instruction]:
    """Add the pixels `tile` of `blocks` (first, count) of two operands."""
    a, b = sources[::-1] if fields.swapped else sources
    views = {"a": a, "b": b, "dst": target}
    first, count = blocks
    joined = all(view.step == 1 and (tile.h == 1 or view.row == tile.w) for view in views.values())
    if joined and tile.pixels <= MAX_COORDINATE:  # rows follow each other: a plane is one long row
        yield _element(layer, fields.body, tile, blocks, views, (count, tile.pixels),
                       {name: (view.plane, 1) for name, view in views.items()})
        return
    for block in range(first, first + count):
        yield _element(layer, fields.body, tile, (block, 1), views, (tile.h, tile.w),
                       {name: (view.row, view.step) for name, view in views.items()})


def _element(layer: int, body: dict[str, int], tile: Rect, blocks: tuple[int, int], views: dict[str, View],
             size: tuple[int, int], steps: dict[str, tuple[int, int]]) -> Instruction:
    h, w = size
    places: dict[str, int] = {}
    for name, view in views.items():
        step_y, step_x = steps[name]
        places |= {name: view.address(tile.y0, tile.x0, blocks[0]), f"{name}_step_x": step_x if w > 1 else 0,
                   f"{name}_step_y": step_y if h > 1 else 0}
    reads = [Region(Space.ACT, *view.words(tile, *blocks)) for name, view in views.items() if name != "dst"]
    writes = [Region(Space.ACT, *views["dst"].words(tile, *blocks))]
    return Instruction(Opcode.ADD, {**body, **places, "out_h": h, "out_w": w}, layer, reads, writes)
