"""Emission: from layers and their memory plan to instructions, in the order in which data is first needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from ...hw.config import AcceleratorConfig
from ...hw.isa import PARAM_WORDS, Buffer, Opcode
from .constants import MAX_RUN, ConstantPool, ConvConstants
from .filters import filter_tiles, walk
from .instruction import Instruction, Region, Space
from .layers import AddLayer, ConvLayer, Filter, Layer, PoolLayer, PoolPiece, Storage, Window
from .layout import Image, Rect, View
from .memory import LayerPlan, MemoryPlan
from .rings import Ring
from .tiling import tiles

# Pixels per compute tile: enough to hide a weight tile behind each pass, few enough for the next layer to start early.
_TILE_PIXELS = 128
# Words per vector instruction, and smallest load of an input that arrives piece by piece.
_VECTOR_WORDS = 256
_ARRIVAL_WORDS = 128
# Fewest pixels for which element-wise operators go channel block by channel block.
_LEAST_LANE = 16
_ADDRESS = (1 << 20) - 1


class Emitter:
    """Emits the instructions of one hardware step.

    Args:
        config: configuration of the core.
        storages: storages by name.
        plan: memory plan of the step's layers.
        dram: offset of each tensor that is ever in DRAM, from the start of the tensors.
        arriving: tensors that are in DRAM before the step starts.
        leaving: tensors that must be in DRAM when it ends.
        pool: where constants go.
    """

    def __init__(self, config: AcceleratorConfig, storages: Mapping[str, Storage], plan: MemoryPlan,
                 dram: Mapping[str, int], arriving: Iterable[str], leaving: Iterable[str], pool: ConstantPool) -> None:
        self.config, self._storages, self._plan, self._dram, self._pool = config, storages, plan, dram, pool
        self._arrived = {name: 0 for name in arriving if name in plan.resident}
        self._leaving = set(leaving)
        self._weights, self._params = Ring(config.wgt_words), Ring(config.param_words)
        self._half = 0
        self._layer = 0
        self._tile = min(config.acc_half, max(4 * config.rows, _TILE_PIXELS))
        self.instructions: list[Instruction] = []

    def emit(self, number: int, layer: Layer, plan: LayerPlan) -> None:
        """Append the instructions of `layer`, whose index in the program is `number`."""
        self._layer = number
        constants = ConvConstants(layer, self.config, self._pool) if isinstance(layer, ConvLayer) else None
        for index, rect in enumerate(plan.bands.rects):
            slot = index % plan.bands.slots
            inputs = [self._input(layer, k, rect, plan, slot) for k in range(len(layer.inputs))]
            output = self._view(layer, -1, rect, plan, slot)
            if isinstance(layer, ConvLayer):
                assert constants is not None
                self._conv(layer, constants, rect, inputs[0], output)
            elif isinstance(layer, PoolLayer):
                for piece in layer.pieces:
                    self._pool_piece(layer, piece, rect, inputs[0], output)
            elif isinstance(layer, AddLayer):
                self._add(layer, rect, inputs, output)
            if -1 in plan.slots:
                self._store_band(layer, rect, plan.slots[-1][slot])
        if layer.output.storage in self._leaving and -1 not in plan.slots:
            self._store_all(layer.output.storage)

    # Operands.

    def _view(self, layer: Layer, position: int, rect: Rect, plan: LayerPlan, slot: int) -> View:
        """Return where operand `position` lies; for a streamed one `rect` are the pixels in its slot."""
        storage, image = layer.output if position < 0 else layer.inputs[position]
        if position not in plan.slots:
            return View(self._plan.resident[storage], image.row_words, image.blocks)
        row = rect.w * image.blocks
        return View(plan.slots[position][slot] - rect.y0 * row - rect.x0 * image.blocks, row, image.blocks)

    def _input(self, layer: Layer, position: int, out: Rect, plan: LayerPlan, slot: int) -> View:
        storage, image = layer.inputs[position]
        rect = layer.window.needs(out, image)
        view = self._view(layer, position, rect, plan, slot)
        if position in plan.slots and rect.pixels:
            self._transfer(Opcode.LOAD, storage, rect, image.row_words, image.blocks, plan.slots[position][slot])
        return view

    def _arrive(self, layer: Layer, out: Rect) -> None:
        """Load what `out` needs of the resident inputs that come from DRAM and are not there yet."""
        for storage, image in layer.inputs:
            if storage not in self._arrived:
                continue
            base, done, total = self._plan.resident[storage], self._arrived[storage], self._storages[storage].words
            needed = View(0, image.row_words, image.blocks).span(layer.window.needs(out, image))[1]
            while done < needed:
                count = min(max(needed - done, _ARRIVAL_WORDS), total - done, MAX_RUN)
                self._run(Opcode.LOAD, storage, done, base + done, count)
                done += count
            self._arrived[storage] = done

    def _store_band(self, layer: Layer, rect: Rect, address: int) -> None:
        image = layer.output.image
        self._transfer(Opcode.STORE, layer.output.storage, rect, image.row_words, image.blocks, address)

    def _store_all(self, storage: str) -> None:
        base, total = self._plan.resident[storage], self._storages[storage].words
        for start in range(0, total, _VECTOR_WORDS):
            self._run(Opcode.STORE, storage, start, base + start, min(_VECTOR_WORDS, total - start))

    def _run(self, opcode: Opcode, storage: str, word: int, local: int, count: int) -> None:
        self._move(opcode, self._dram[storage] + word * self.config.word_bytes, 0, local, 0, 1, count)

    def _transfer(self, opcode: Opcode, storage: str, rect: Rect, row_words: int, blocks: int, local: int) -> None:
        """Move pixels `rect` of a tensor between DRAM and consecutive words from `local` on."""
        word_bytes, count = self.config.word_bytes, rect.w * blocks
        dram = self._dram[storage] + (rect.y0 * row_words + rect.x0 * blocks) * word_bytes
        if count == row_words and rect.h * count <= MAX_RUN:
            self._move(opcode, dram, 0, local, 0, 1, rect.h * count)
        else:
            self._move(opcode, dram, row_words * word_bytes, local, count, rect.h, count)

    def _move(self, opcode: Opcode, dram: int, dram_stride: int, local: int, local_stride: int, rows: int,
              row_words: int) -> None:
        words = (rows - 1) * local_stride + row_words
        memory = Region(Space.DRAM, dram, dram + (rows - 1) * dram_stride + row_words * self.config.word_bytes)
        buffer = Region(Space.ACT, local, local + words)
        source, target = (memory, buffer) if opcode == Opcode.LOAD else (buffer, memory)
        body = {"dram": dram, "dram_stride": dram_stride, "local": local, "local_stride": local_stride, "rows": rows,
                "row_words": row_words, "buffer": Buffer.ACT}
        self.instructions.append(Instruction(opcode, body, self._layer, [source], [target], tensor_address=True))

    # Array.

    def _conv(self, layer: ConvLayer, constants: ConvConstants, rect: Rect, source: View, target: View) -> None:
        # A single pass takes no longer than its requantisation: then only long tiles hide the vector unit's start.
        single = sum(part.tiles for part in constants.passes) == 1
        parts = tiles(rect, self.config.acc_half if single else self._tile)
        if layer.filter:
            parts = filter_tiles(rect, layer.filter, layer.window, layer.inputs[0].image, self.config)
        blocks = range(constants.output_blocks)
        # All weights on chip: pixels outside, so that the next layer has complete pixels early. Else every weight is
        # loaded once per band.
        stay = constants.weight_words <= self.config.wgt_words // 2 and constants.param_group >= len(blocks)
        order: Iterable[tuple[Rect, int]] = product(parts, blocks) if stay else ((t, b) for b in blocks for t in parts)
        for tile, block in order:
            acc = self._half * self.config.acc_half
            self._half ^= 1
            for number in range(len(constants.passes)):
                self._compute(layer, constants, tile, block, number, source, acc)
            self._requant(layer, constants, tile, block, target, acc)

    def _compute(self, layer: ConvLayer, constants: ConvConstants, tile: Rect, block: int, number: int, source: View,
                 acc: int) -> None:
        part, window, image = constants.passes[number], layer.window, layer.inputs[0].image
        address = self._weight_address(constants, block, number)
        self._arrive(layer, tile)
        iy0 = tile.y0 * window.sy - window.top + part.ky * window.dy
        ix0 = tile.x0 * window.sx - window.left + part.kx * window.dx
        first = block if layer.diagonal else part.block
        body = {
            "in_base": source.address(iy0, ix0, first) & _ADDRESS,
            "step_x": window.sx * source.blocks if tile.w > 1 else 0,
            "step_y": window.sy * source.row & _ADDRESS,
            "tap_x": window.dx * source.blocks if part.kw > 1 else 0, "tap_y": window.dy * source.row & _ADDRESS,
            "iy0": iy0, "ix0": ix0, "in_h": image.h, "in_w": image.w, "stride_x": window.sx, "stride_y": window.sy,
            "fill": layer.fill, "out_h": tile.h, "out_w": tile.w, "dil_x": window.dx, "dil_y": window.dy,
            "kw": part.kw, "kh": part.kh, "blocks": part.blocks, "wgt": address, "tiles": part.tiles,
            "acc": acc, "accumulate": int(number > 0),
        }
        sums = Region(Space.ACC, acc, acc + tile.pixels)
        needs = window.needs(tile, image)
        if layer.filter:
            body |= self._filter_fields(layer.filter, window, tile, image, part.ky, source, block)
        pixels = source.lane(needs, block) if layer.diagonal else (*source.span(needs), 1)
        reads = [Region(Space.ACT, *pixels),
                 Region(Space.WGT, address, address + part.tiles * self.config.rows)]
        self.instructions.append(Instruction(Opcode.COMPUTE, body, self._layer, reads, [sums]))

    @staticmethod
    def _filter_fields(kernel: Filter, window: Window, tile: Rect, image: Image, first_pass: int, source: View,
                       block: int) -> dict[str, int]:
        path, needs = walk(kernel, window, tile, image), window.needs(tile, image)
        iy0 = tile.y0 * window.sy - window.top + first_pass * kernel.lines
        # The last pass may walk beyond the kernel, where its weights are zero; what lies there is left alone.
        return {"fir": 1, "in_base": source.address(iy0, path.x0, block) & _ADDRESS, "iy0": iy0, "ix0": path.x0,
                "in_h": max(needs.y1, 0), "in_w": max(needs.x1, 0),
                "step_x": source.blocks, "step_y": source.row & _ADDRESS,
                "tap_x": 0, "tap_y": kernel.lines * source.row & _ADDRESS, "dil_x": 0, "dil_y": kernel.lines,
                "spacing": kernel.spacing, "walk_h": path.h, "walk_w": path.w, "lead": path.lead,
                "skip_y": kernel.lines - 1, "skip_x": path.skip_x}

    def _requant(self, layer: ConvLayer, constants: ConvConstants, tile: Rect, block: int, target: View,
                 acc: int) -> None:
        param = self._param_address(constants, block)
        body = {**self._destination(layer, tile, target, block), "acc": acc, "param": param}
        reads = [Region(Space.ACC, acc, acc + tile.pixels), Region(Space.PARAM, param, param + PARAM_WORDS)]
        self._vector(Opcode.REQUANT, body, reads, target.lane(tile, block))

    def _weight_address(self, constants: ConvConstants, block: int, number: int) -> int:
        first, offset, words = constants.weights(block, number)
        local = self._constant(self._weights, Space.WGT, Buffer.WGT, (self._layer, first, number), offset, words)
        return local + (block - first) * constants.block_words

    def _param_address(self, constants: ConvConstants, block: int) -> int:
        first, offset, words = constants.params(block)
        local = self._constant(self._params, Space.PARAM, Buffer.PARAM, (self._layer, first), offset, words)
        return local + (block - first) * PARAM_WORDS

    def _constant(self, ring: Ring, space: Space, buffer: Buffer, key: tuple[int, ...], offset: int, words: int) -> int:
        """Return the address of a constant on chip, after a load when it is not there."""
        local = ring.find(key)
        if local is None:
            local = ring.claim(key, words)
            body = {"dram": offset, "local": local, "rows": 1, "row_words": words, "buffer": buffer}
            self.instructions.append(Instruction(Opcode.LOAD, body, self._layer, [],
                                                 [Region(space, local, local + words)]))
        return local

    # Vector unit.

    def _pool_piece(self, layer: PoolLayer, piece: PoolPiece, rect: Rect, source: View, target: View) -> None:
        window, image = layer.window, layer.inputs[0].image
        part = piece.rect.clip(rect)
        if not part.pixels:
            return
        for tile, block in product(tiles(part, _VECTOR_WORDS), range(image.blocks)):
            self._arrive(layer, tile)
            iy0, ix0 = tile.y0 * window.sy - window.top, tile.x0 * window.sx - window.left
            body = {
                **self._destination(layer, tile, target, block),
                "in_base": source.address(iy0, ix0, block) & _ADDRESS,
                "step_x": window.sx * source.blocks if tile.w > 1 else 0,
                "step_y": window.sy * source.row & _ADDRESS,
                "tap_x": source.blocks if window.kw > 1 else 0, "tap_y": source.row & _ADDRESS,
                "iy0": iy0, "ix0": ix0, "in_h": image.h, "in_w": image.w,
                "stride_x": window.sx, "stride_y": window.sy, "fill": piece.fill, "kw": window.kw, "kh": window.kh,
                "mode": piece.mode, "bias": piece.bias, "half": piece.half, "mult": piece.mult, "shift": piece.shift,
            }
            reads = [Region(Space.ACT, *source.lane(window.needs(tile, image), block))]
            self._vector(Opcode.POOL, body, reads, target.lane(tile, block))

    def _add(self, layer: AddLayer, rect: Rect, sources: Sequence[View], target: View) -> None:
        blocks = target.blocks
        # Compute tiles are produced channel block by channel block: follow them likewise, so that each addition waits
        # for one of them only. Where there are few pixels, take all their words at once.
        by_block = rect.pixels >= _LEAST_LANE
        parts = tiles(rect, self._tile if by_block else max(1, _VECTOR_WORDS // blocks))
        for tile, block in product(parts, range(blocks) if by_block else [None]):
            self._arrive(layer, tile)
            self._add_tile(layer, tile, block, sources, target)

    def _add_tile(self, layer: AddLayer, tile: Rect, block: int | None, sources: Sequence[View],
                  target: View) -> None:
        p, first, flat = layer.params, block or 0, block is None
        body = {**self._destination(layer, tile, target, first),
                "a_zp": p.a_zp, "a_mult": p.a_mult, "a_shift": p.a_shift,
                "b_zp": p.b_zp, "b_mult": p.b_mult, "b_shift": p.b_shift, "y_mult": p.y_mult, "y_shift": p.y_shift}
        if flat:
            body |= {"dst_step_x": 1, "out_w": tile.w * target.blocks}
        reads = []
        for name, view in zip("ab", sources, strict=True):
            body |= {name: view.address(tile.y0, tile.x0, first), f"{name}_step_x": 1 if flat else view.blocks,
                     f"{name}_step_y": view.row if tile.h > 1 else 0}
            reads.append(Region(Space.ACT, *(view.span(tile) if flat else view.lane(tile, first))))
        self._vector(Opcode.ADD, body, reads, (*target.span(tile), 1) if flat else target.lane(tile, first))

    @staticmethod
    def _destination(layer: Layer, tile: Rect, target: View, block: int) -> dict[str, int]:
        return {"dst": target.address(tile.y0, tile.x0, block), "dst_step_x": target.blocks,
                "dst_step_y": target.row if tile.h > 1 else 0, "out_h": tile.h, "out_w": tile.w,
                "zp": layer.clamp.zp, "lo": layer.clamp.lo, "hi": layer.clamp.hi}

    def _vector(self, opcode: Opcode, body: dict[str, int], reads: list[Region],
                words: tuple[int, int, int]) -> None:
        self.instructions.append(Instruction(opcode, body, self._layer, reads, [Region(Space.ACT, *words)]))
