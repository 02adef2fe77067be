"""Element-wise instructions of the vector unit."""

from __future__ import annotations

from collections.abc import Sequence

from ...hw.isa import Buffer, Opcode
from .constants import ConstantPool
from .instruction import Instruction, Region, Space
from .layers import Element
from .layout import Rect, View
from .limits import MAX_COORDINATE
from .rings import ConstantLoader

_TABLE = Region(Space.TABLE, 0, 1)


class ElementEmitter:
    """Appends element-wise instructions to `instructions`.

    Args:
        pool: where tables go.
        loader: loads them.
        word_bytes: bytes per word.
        instructions: the program so far.
    """

    def __init__(self, pool: ConstantPool, loader: ConstantLoader, word_bytes: int,
                 instructions: list[Instruction]) -> None:
        self._pool, self._loader, self._word, self._instructions = pool, loader, word_bytes, instructions
        self._table = b""  # what the vector unit holds

    def prepare(self, layer: int, element: Element, tile: Rect, block: int, target: View, *, keeps_place: bool) -> None:
        """Make the vector unit hold the table of `element`, before it writes the pixels `tile` of `target`.

        Reading a table takes long, so it begins before the operands are there, with a look-up of one word in place:
        that word of `target` must not hold anything yet. It `keeps_place` where earlier work should come first.
        """
        if element.opcode != Opcode.TABLE or element.table == self._table:
            return
        self._table = element.table
        words = len(element.table) // self._word
        local = self._loader.address(layer, Buffer.PARAM, self._pool.share(element.table), words)
        table = Region(Space.PARAM, local, local + words)
        place = target.address(tile.y0, tile.x0, block)
        word = Region(Space.ACT, place, place + 1)
        body = {"a": place, "dst": place, "out_h": 1, "out_w": 1, "param": local, "reload": 1}
        self._instructions.append(Instruction(Opcode.TABLE, body, layer, [word, table], [word, _TABLE],
                                              keeps_place=keeps_place))

    def emit(self, layer: int, element: Element, tile: Rect, blocks: tuple[int, int], sources: Sequence[View],
             target: View) -> None:
        """Append what makes the pixels `tile` of `blocks` (first, count) of an operator of the program's `layer`.

        The vector unit must hold its table.
        """
        views = {"dst": target, **dict(zip(("a", "b"), sources, strict=False))}
        first, count = blocks
        # Where rows follow each other, a plane is one long row.
        joined = all(tile.h == 1 or view.row == tile.w * view.step for view in views.values())
        if joined and tile.pixels <= MAX_COORDINATE:
            steps = {name: (view.plane, view.step) for name, view in views.items()}
            self._instruction(layer, element, tile, blocks, views, (count, tile.pixels), steps)
            return
        steps = {name: (view.row, view.step) for name, view in views.items()}
        for block in range(first, first + count):
            self._instruction(layer, element, tile, (block, 1), views, (tile.h, tile.w), steps)

    def _instruction(self, layer: int, element: Element, tile: Rect, blocks: tuple[int, int], views: dict[str, View],
                     size: tuple[int, int], steps: dict[str, tuple[int, int]]) -> None:
        h, w = size
        body = {**element.fields, "out_h": h, "out_w": w}
        for name, view in views.items():
            step_y, step_x = steps[name]
            body |= {name: view.address(tile.y0, tile.x0, blocks[0]), f"{name}_step_x": step_x if w > 1 else 0,
                     f"{name}_step_y": step_y if h > 1 else 0}
        reads = [Region(Space.ACT, *view.words(tile, *blocks)) for name, view in views.items() if name != "dst"]
        writes = [Region(Space.ACT, *views["dst"].words(tile, *blocks))]
        if element.opcode == Opcode.TABLE:
            reads.append(_TABLE)
        self._instructions.append(Instruction(element.opcode, body, layer, reads, writes))
