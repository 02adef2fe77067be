"""Which cells of the array hold weights and multiply: the tiles of weights of each layer."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...hw.compute import pass_cycles, pass_words
from ...hw.config import AcceleratorConfig
from ...hw.isa import Buffer, Opcode
from ..devices.base import RunResult
from ..profile import IntArray, decode_code, hardware_code
from ..program import Program

MOST_TILES = 48
"""Tiles of a layer that are described one by one, at most."""

_CHUNK = 4096  # tiles whose weights are looked at together


@dataclass(frozen=True)
class LayerOccupancy:
    """The weight tiles of one layer, in the order in which they are first used; each may take several passes.

    A cell is *filled* by a tile when its weight is not 0; it is *in use* in the cycles in which a word meets it then.

    Attributes:
        layer: index of the layer.
        filter: 1 when its passes run in the filter mode of the array, else 0.
        tiles: different tiles.
        passes: passes of all tiles.
        words: words that these stream through the array.
        cycles: cycles for which these occupy the array.
        cells: cycles in which each cell is in use / `cycles`, in 1/255, uint8 [rows * cols] in base64.
        tile: numbers of the tiles described below, at most `MOST_TILES`, evenly spaced.
        tile_passes, tile_words, tile_cycles: `passes`, `words` and `cycles` of each of them.
        filled: the cells that each of them fills, one bit per cell by rows, the first in the highest bit of a byte,
            uint8 [tiles described, rows * cols / 8] in base64.
    """

    layer: int
    filter: int
    tiles: int
    passes: int
    words: int
    cycles: int
    cells: str
    tile: tuple[int, ...]
    tile_passes: tuple[int, ...]
    tile_words: tuple[int, ...]
    tile_cycles: tuple[int, ...]
    filled: str


@dataclass
class _Passes:
    """Passes of one layer: DRAM address of the weights, words and cycles of each, a list entry per instruction."""

    filter: int
    address: list[IntArray]
    words: list[int]
    cycles: list[int]


def occupancy(runs: Mapping[Program, Sequence[RunResult]], layers: Mapping[str, int]) -> tuple[LayerOccupancy, ...]:
    """Return the occupancy of each layer with work for the array, of one run of each program."""
    found = []
    for program in runs:
        image = np.frombuffer(program.image, np.int8)
        for layer, passes in _passes(program).items():
            found.append(_layer(layers[program.layers[layer].name], passes, image, program.config))
    return tuple(sorted(found, key=lambda each: each.layer))


def _passes(program: Program) -> dict[int, _Passes]:
    """Return the passes of each layer of a program, in program order, which tokens make that of the weight buffer."""
    config, found = program.config, dict[int, _Passes]()
    source = np.zeros(config.wgt_words, np.int64)  # DRAM address of what lies in each word of the weight buffer
    for code, layers in hardware_code(program):
        for i, layer in zip(decode_code(code), layers.tolist(), strict=True):
            f = i.fields
            if i.opcode == Opcode.LOAD and f["buffer"] == Buffer.WGT:
                row, word = np.arange(f["rows"])[:, None], np.arange(f["row_words"])
                source[f["local"] + f["local_stride"] * row + word] = (f["dram"] + f["dram_stride"] * row
                                                                       + config.word_bytes * word)
            elif i.opcode == Opcode.COMPUTE:
                passes = found.setdefault(layer, _Passes(f["fir"], [], [], []))
                words = pass_words(f)
                passes.address.append(source[f["wgt"] + config.rows * np.arange(f["groups"] * f["tiles"])])
                passes.words.append(words)
                passes.cycles.append(pass_cycles(config, words))
    return found


def _layer(index: int, passes: _Passes, image: npt.NDArray[np.int8], config: AcceleratorConfig) -> LayerOccupancy:
    lengths = [len(each) for each in passes.address]
    addresses, first, tile = np.unique(np.concatenate(passes.address), return_index=True, return_inverse=True)
    count = np.bincount(tile)
    words, cycles = (np.bincount(tile, np.repeat(each, lengths)).astype(np.int64)
                     for each in (passes.words, passes.cycles))
    order = np.argsort(first)
    numbers = np.unique(np.linspace(0, len(order) - 1, MOST_TILES).round().astype(np.int64))
    chosen = order[numbers]
    used = np.zeros(config.rows * config.cols)
    for at in range(0, len(addresses), _CHUNK):
        used += words[at:at + _CHUNK] @ _filled(addresses[at:at + _CHUNK], image, config)
    tile_passes, tile_words, tile_cycles = (tuple(each[chosen].tolist()) for each in (count, words, cycles))
    return LayerOccupancy(
        layer=index, filter=passes.filter, tiles=len(addresses), passes=int(count.sum()), words=int(words.sum()),
        cycles=int(cycles.sum()), cells=_base64(np.round(255 * used / cycles.sum()).astype(np.uint8)),
        tile=tuple(numbers.tolist()), tile_passes=tile_passes, tile_words=tile_words, tile_cycles=tile_cycles,
        filled=_base64(np.packbits(_filled(addresses[chosen], image, config), axis=1)))


def _filled(addresses: IntArray, image: npt.NDArray[np.int8], config: AcceleratorConfig) -> npt.NDArray[np.bool_]:
    """Return which weights of the tiles at `addresses` are not 0, bool [tiles, rows * cols].

    Tiles that the network itself computes are not known here; they count as filled.
    """
    size = config.rows * config.cols
    known = addresses + size <= len(image)
    tiles = image[np.where(known, addresses, 0)[:, None] + np.arange(size)]
    return (tiles != 0) | ~known[:, None]


def _base64(values: npt.NDArray[np.uint8]) -> str:
    return base64.b64encode(values.tobytes()).decode()
