"""Emission: from layers and their memory plan to instructions, in the order in which data is first needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from ...hw.config import AcceleratorConfig
from ...hw.isa import Opcode
from .constants import ConstantPool
from .elements import ElementEmitter
from .emit_conv import ConvEmitter
from .instruction import Instruction, Region, Space
from .layers import ConvLayer, ElementLayer, Layer, PoolLayer, PoolPiece, Storage
from .layout import Rect, View
from .memory import LayerPlan, MemoryPlan
from .rings import ConstantLoader
from .tiling import Band, tiles
from .transfers import Transfers

# Pixels per tile of the element-wise operators, as many as compute tiles have, and words per vector instruction.
_TILE_PIXELS = 128
_VECTOR_WORDS = 256
_ADDRESS = (1 << 20) - 1

_Held = dict[int, tuple[tuple[Rect, int, int], int]]  # operand -> what its newest slot holds, and the slot


class Emitter:
    """Emits the instructions of one hardware step.

    Args:
        config: configuration of the core.
        storages: storages by name.
        plan: memory plan of the step's layers.
        dram: offset of each tensor that is ever in DRAM, as `Transfers` wants it.
        arriving: tensors that are in DRAM before the step starts.
        pool: where constants go.
    """

    def __init__(self, config: AcceleratorConfig, storages: Mapping[str, Storage], plan: MemoryPlan,
                 dram: Mapping[str, int], arriving: Iterable[str], pool: ConstantPool) -> None:
        self._plan = plan
        resident = {name: plan.resident[name] for name in arriving if name in plan.resident}
        self._transfers = Transfers(config, storages, dram, resident)
        self._layer = 0
        self.instructions: list[Instruction] = []
        loader = ConstantLoader(config, self.instructions)
        self._elements = ElementEmitter(pool, loader, config.word_bytes, self.instructions)
        self._convolutions = ConvEmitter(config, pool, loader, self._elements, self.instructions, self._arrive)

    def emit(self, layer: Layer, plan: LayerPlan, numbers: tuple[int, ...], *, leaves: bool) -> None:
        """Append the instructions of `layer`; `numbers` are the program's indices of its operator and of its steps.

        When it `leaves`, its output is complete and must be in DRAM.
        """
        self._layer = numbers[0]
        held: _Held = {}
        if isinstance(layer, ConvLayer):
            self._convolutions.begin(numbers, layer, plan.scratch, plan is self._plan.layers[0],
                                     plan is self._plan.layers[-1])
        for band in plan.bands.parts:
            inputs = [self._input(layer, k, band, plan, held) for k in range(len(layer.inputs))]
            output = self._view(layer, -1, band, plan, held)[0]
            if isinstance(layer, ConvLayer):
                self._convolutions.band(band, inputs, output)
            elif isinstance(layer, PoolLayer):
                for piece in layer.pieces:
                    self._pool_piece(layer, piece, band, inputs[0], output)
            elif isinstance(layer, ElementLayer):
                self._element(layer, band, inputs, output)
            if -1 in plan.slots:
                self._move(Opcode.STORE, layer, -1, band, output)
        storage = layer.output.storage
        if leaves and storage in self._plan.resident:
            self.instructions += self._transfers.store_all(numbers[0], storage, self._plan.resident[storage])

    # Operands.

    def _view(self, layer: Layer, position: int, band: Band, plan: LayerPlan, held: _Held) -> tuple[View, bool]:
        """Return where operand `position` lies for a band, and whether it must be loaded there first."""
        operand = layer.output if position < 0 else layer.inputs[position]
        if position not in plan.slots:
            view = operand.view.moved(self._plan.resident[operand.storage])
            return view.repeated(*layer.repeats(position)), False
        rect = layer.needs(position, band.rect)
        first, count = layer.blocks(position, band.first, band.blocks)
        key, (before, slot) = (rect, first, count), held.get(position, (None, -1))
        if key != before:
            slot = (slot + 1) % plan.bands.slots
            held[position] = key, slot
        base = plan.slots[position][slot] - rect.y0 * rect.w - rect.x0 - first * rect.pixels
        view = View(base, rect.w, rect.pixels).repeated(*layer.repeats(position))
        return view, key != before and rect.pixels > 0

    def _input(self, layer: Layer, position: int, band: Band, plan: LayerPlan, held: _Held) -> View:
        view, load = self._view(layer, position, band, plan, held)
        if load:
            self._move(Opcode.LOAD, layer, position, band, view)
        return view

    def _move(self, opcode: Opcode, layer: Layer, position: int, band: Band, view: View) -> None:
        operand = layer.output if position < 0 else layer.inputs[position]
        rect, blocks = layer.needs(position, band.rect), layer.blocks(position, band.first, band.blocks)
        if position and isinstance(layer, ConvLayer) and layer.steps:
            # The vector unit works on these tile by tile meanwhile, and takes turns with the transfers at their banks.
            for part, block in product(tiles(rect, _TILE_PIXELS), range(blocks[0], sum(blocks))):
                self.instructions += self._transfers.move(opcode, self._layer, operand, part, (block, 1), view)
        else:
            self.instructions += self._transfers.move(opcode, self._layer, operand, rect, blocks, view)

    def _arrive(self, layer: Layer, out: Rect) -> None:
        """Load what the output pixels `out` need of the inputs that stay on chip and are not there yet."""
        for position, operand in enumerate(layer.inputs):
            self.instructions += self._transfers.arrive(self._layer, operand, layer.needs(position, out))

    # Vector unit.

    def _pool_piece(self, layer: PoolLayer, piece: PoolPiece, band: Band, source: View, target: View) -> None:
        window, image, clamp = layer.window, layer.inputs[0].image, layer.clamp
        part = piece.rect.clip(band.rect)
        if not part.pixels:
            return
        for tile, block in product(tiles(part, _VECTOR_WORDS), range(band.first, band.first + band.blocks)):
            self._arrive(layer, tile)
            iy0, ix0 = tile.y0 * window.sy - window.top, tile.x0 * window.sx - window.left
            body = {
                "dst": target.address(tile.y0, tile.x0, block), "dst_step_x": target.step if tile.w > 1 else 0,
                "dst_step_y": target.row if tile.h > 1 else 0, "out_h": tile.h, "out_w": tile.w,
                "zp": clamp.zp, "lo": clamp.lo, "hi": clamp.hi,
                "in_base": source.address(iy0, ix0, block) & _ADDRESS,
                "step_x": window.sx * source.step if tile.w > 1 else 0,
                "step_y": window.sy * source.row & _ADDRESS,
                "tap_x": source.step if window.kw > 1 else 0, "tap_y": source.row & _ADDRESS,
                "iy0": iy0, "ix0": ix0, "in_h": image.h, "in_w": image.w,
                "stride_x": window.sx, "stride_y": window.sy, "fill": piece.fill, "kw": window.kw, "kh": window.kh,
                "mode": piece.mode, "bias": piece.bias, "half": piece.half, "mult": piece.mult, "shift": piece.shift,
            }
            reads = [Region(Space.ACT, *source.words(window.needs(tile, image), block))]
            writes = [Region(Space.ACT, *target.words(tile, block))]
            self.instructions.append(Instruction(Opcode.POOL, body, self._layer, reads, writes))

    def _element(self, layer: ElementLayer, band: Band, sources: Sequence[View], target: View) -> None:
        for tile in tiles(band.rect, _TILE_PIXELS):
            count = max(1, _VECTOR_WORDS // tile.pixels)
            for first in range(band.first, band.first + band.blocks, count):
                self._arrive(layer, tile)
                blocks = first, min(count, band.first + band.blocks - first)
                self._elements.prepare(self._layer, layer.element, tile, first, target, keeps_place=False)
                self._elements.emit(self._layer, layer.element, tile, blocks, sources, target)
