"""Emission of convolutions: weights, COMPUTE, REQUANT, and element-wise operators behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product

from ...hw.config import AcceleratorConfig
from ...hw.isa import PARAM_WORDS, Buffer, Opcode
from .constants import ConstantPool, ConvConstants
from .elements import ElementEmitter
from .filters import filter_tiles, walk
from .instruction import Instruction, Region, Space
from .layers import ConvLayer, Filter, Layer, Window
from .layout import Image, Rect, View
from .rings import ConstantLoader
from .tiling import Band, tiles

# Pixels per compute tile: enough to hide a weight tile behind each pass, few enough for the next layer to start early.
_TILE_PIXELS = 128
_ADDRESS = (1 << 20) - 1

_Groups = list[tuple[int, int]]  # ranges (first, count) of output blocks, one COMPUTE each


class ConvEmitter:
    """Appends the instructions of convolutions to `instructions`.

    Args:
        config: configuration of the core.
        pool: where constants go.
        loader: loads them.
        elements: emits what is fused behind a convolution.
        instructions: the program so far.
        arrive: loads what some output pixels of a layer need of inputs that stay on chip.
    """

    def __init__(self, config: AcceleratorConfig, pool: ConstantPool, loader: ConstantLoader, elements: ElementEmitter,
                 instructions: list[Instruction], arrive: Callable[[Layer, Rect], None]) -> None:
        self._config, self._pool, self._loader, self._elements = config, pool, loader, elements
        self._instructions, self._arrive = instructions, arrive
        self._half = 0
        self._most = min(config.acc_half, max(4 * config.rows, _TILE_PIXELS))

    def begin(self, numbers: tuple[int, ...], layer: ConvLayer, scratch: int | None, starts: bool, ends: bool) -> None:
        """Start `layer`; `numbers` are the indices in the program of its operator and of its steps.

        It may be what the program's step `starts` or `ends` with. A tile between the layer's own steps is at `scratch`,
        if given, else in place.
        """
        self._number, self._numbers, self._layer, self._scratch = numbers[0], numbers, layer, scratch
        pixels = min(layer.output.image.plane, self._most)
        if starts:  # compute on the first half of a small image while the other half arrives
            pixels = min(pixels, max(2 * self._config.rows, -(-layer.output.image.plane // 2)))
        self._pixels = pixels
        self._constants = ConvConstants(layer, self._config, self._pool, pixels, starts=starts, ends=ends)

    def band(self, band: Band, inputs: Sequence[View], target: View) -> None:
        """Append the instructions of one band."""
        layer, constants = self._layer, self._constants
        # A single pass takes no longer than its requantisation: then only long tiles hide the vector unit's start.
        single = sum(part.tiles for part in constants.passes) == 1
        parts = tiles(band.rect, self._config.acc_half if single else self._pixels)
        if layer.filter:
            parts = filter_tiles(band.rect, layer.filter, layer.window, layer.inputs[0].image, self._config)
        pixels = max(tile.pixels for tile in parts)
        groups = self._joined([*self._groups(band, pixels)], pixels)
        # All weights on chip: pixels outside, so that the next layer has complete pixels early. Else every weight is
        # loaded once per band.
        stay = (constants.weight_words <= self._config.wgt_words // 2
                and constants.param_group >= layer.output.image.blocks)
        order: Iterable[tuple[Rect, _Groups]] = (
            product(parts, groups) if stay else ((tile, group) for group in groups for tile in parts))
        for tile, group in order:
            self._tile(tile, group, inputs, target)

    def _groups(self, band: Band, pixels: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges (first, count) of output blocks that one COMPUTE covers."""
        constants, sources = self._constants, self._layer.sources
        first, end = band.first, band.first + band.blocks
        while first < end:
            most = min(constants.group, self._config.acc_half // pixels, end - first, constants.shared(first))
            count, apart = 1, max(0, sources[first + 1] - sources[first]) if most > 1 else 0
            while count < most and sources[first + count] - sources[first + count - 1] == apart:
                count += 1
            yield first, count
            first += count

    def _joined(self, groups: Sequence[tuple[int, int]], pixels: int) -> list[_Groups]:
        """Return the ranges in lists that one REQUANT follows each; the last, which all wait for, stays alone."""
        joined: list[_Groups] = []
        most = min(self._constants.joined, self._config.acc_half // pixels)
        for group in groups:
            before = joined[-1] if joined else []
            if (before and group != groups[-1] and sum(count for _, count in (*before, group)) <= most
                    and self._constants.params(group[0])[0] == self._constants.params(before[0][0])[0]):
                before.append(group)
            else:
                joined.append([group])
        return joined

    def _tile(self, tile: Rect, groups: _Groups, inputs: Sequence[View], target: View) -> None:
        acc = self._half * self._config.acc_half
        self._half ^= 1
        first = groups[0][0]
        between = target
        if self._scratch is not None:
            base = self._scratch - first * tile.pixels - tile.y0 * tile.w - tile.x0
            between = View(base, tile.w, tile.pixels)
        steps = [*zip(self._numbers[1:], self._layer.steps, strict=True)]
        result, *results = [*[between] * len(steps), target]
        for number, step in steps:
            self._elements.prepare(number, step.element, tile, first, between, keeps_place=True)
        for group, number in product(groups, range(len(self._constants.passes))):
            self._compute(tile, group, number, inputs[0], acc + (group[0] - first) * tile.pixels)
        blocks = first, sum(count for _, count in groups)
        self._requant(tile, blocks, result, acc)
        for (number, step), result in zip(steps, results, strict=True):
            sources = [between if operand < 0 else inputs[operand] for operand in step.operands]
            self._elements.emit(number, step.element, tile, blocks, sources, result)

    def _compute(self, tile: Rect, blocks: tuple[int, int], number: int, source: View, acc: int) -> None:
        layer, config = self._layer, self._config
        part, window, image = self._constants.passes[number], layer.window, layer.inputs[0].image
        first, groups = blocks
        address = self._weight_address(first, number)
        self._arrive(layer, tile)
        needs = layer.needs(0, tile)
        pixels = tile.pixels
        if layer.transposed:
            tile = tile.transposed
        iy0 = tile.y0 * window.sy - window.top + part.ky * window.dy
        ix0 = tile.x0 * window.sx - window.left + part.kx * window.dx
        block = layer.sources[first] + part.block * layer.every
        apart = layer.sources[first + 1] - layer.sources[first] if groups > 1 else 0
        body = {
            "in_base": source.address(iy0, ix0, block) & _ADDRESS,
            "step_x": window.sx * source.step if tile.w > 1 else 0,
            "step_y": window.sy * source.row & _ADDRESS,
            "tap_x": window.dx * source.step if part.kw > 1 else 0, "tap_y": window.dy * source.row & _ADDRESS,
            "step_block": layer.every * source.plane if part.blocks > 1 else 0,
            "iy0": iy0, "ix0": ix0, "in_h": image.h, "in_w": image.w, "stride_x": window.sx, "stride_y": window.sy,
            "fill": layer.fill, "out_h": tile.h, "out_w": tile.w, "dil_x": window.dx, "dil_y": window.dy,
            "kw": part.kw, "kh": part.kh, "blocks": part.blocks, "wgt": address, "tiles": part.tiles,
            "acc": acc, "accumulate": int(number > 0), "groups": groups, "step_group": apart * source.plane,
        }
        if layer.filter:
            body |= _filter_fields(layer.filter, window, tile, image, part.ky, source, block)
        read = (part.blocks - 1) * layer.every + 1 + (groups - 1) * apart
        reads = [Region(Space.ACT, *source.words(needs, block, read)),
                 Region(Space.WGT, address, address + groups * part.tiles * config.rows)]
        sums = [Region(Space.ACC, acc, acc + groups * pixels)]
        self._instructions.append(Instruction(Opcode.COMPUTE, body, self._number, reads, sums))

    def _requant(self, tile: Rect, blocks: tuple[int, int], target: View, acc: int) -> None:
        first, groups = blocks
        param, clamp = self._param_address(first), self._layer.clamp
        if self._layer.transposed:
            tile, target = tile.transposed, target.transposed
        body = {"dst": target.address(tile.y0, tile.x0, first), "dst_step_x": target.step if tile.w > 1 else 0,
                "dst_step_y": target.row if tile.h > 1 else 0, "out_h": tile.h, "out_w": tile.w,
                "zp": clamp.zp, "lo": clamp.lo, "hi": clamp.hi, "acc": acc, "param": param,
                "groups": groups, "dst_step_group": target.plane if groups > 1 else 0}
        reads = [Region(Space.ACC, acc, acc + groups * tile.pixels),
                 Region(Space.PARAM, param, param + groups * PARAM_WORDS)]
        writes = [Region(Space.ACT, *target.words(tile, first, groups))]
        self._instructions.append(Instruction(Opcode.REQUANT, body, self._number, reads, writes))

    def _weight_address(self, block: int, number: int) -> int:
        first, offset, words = self._constants.weights(block, number)
        local = self._loader.address(self._number, Buffer.WGT, offset, words)
        return local + (block - first) * self._constants.block_words

    def _param_address(self, block: int) -> int:
        first, offset, words = self._constants.params(block)
        local = self._loader.address(self._number, Buffer.PARAM, offset, words)
        return local + (block - first) * PARAM_WORDS


def _filter_fields(kernel: Filter, window: Window, tile: Rect, image: Image, first_pass: int, source: View,
                   block: int) -> dict[str, int]:
    path, needs = walk(kernel, window, tile, image), window.needs(tile, image)
    iy0 = tile.y0 * window.sy - window.top + first_pass * kernel.lines
    # The last pass may walk beyond the kernel, where its weights are zero; what lies there is left alone.
    return {"fir": 1, "in_base": source.address(iy0, path.x0, block) & _ADDRESS, "iy0": iy0, "ix0": path.x0,
            "in_h": max(needs.y1, 0), "in_w": max(needs.x1, 0),
            "step_x": source.step, "step_y": source.row & _ADDRESS,
            "tap_x": 0, "tap_y": kernel.lines * source.row & _ADDRESS, "dil_x": 0, "dil_y": kernel.lines,
            "spacing": kernel.spacing, "walk_h": path.h, "walk_w": path.w, "lead": path.lead,
            "skip_y": kernel.lines - 1, "skip_x": path.skip_x}
