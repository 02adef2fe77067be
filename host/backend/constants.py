"""Constants in DRAM: weights and parameters, laid out in the order in which the program loads them."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

from ...hw.compute import pass_cycles
from ...hw.config import AcceleratorConfig
from ...hw.isa import PARAM_WORDS
from .layers import ConvLayer
from .limits import MAX_KERNEL_PART

# Longest run of words that one load can fetch.
MAX_RUN = (1 << 16) - 1
# Pixels, in all, and cycles of the array that one instruction may take for the sake of fewer instructions.
_GROUP_PIXELS = 32
_GROUP_CYCLES = 512
# Output blocks that a REQUANT may cover when its COMPUTEs cover fewer: it is done before the next COMPUTE.
_REQUANT_BLOCKS = 8
# Weights of several output blocks share a load up to this many words: fewer instructions, yet an early start.
_GROUP_WORDS = 256
# The DMA splits bursts at blocks of this many words.
BURST_WORDS = 16


class ConstantPool:
    """Grows the initialised part of DRAM."""

    def __init__(self, word_bytes: int) -> None:
        self.data = bytearray()
        self._align = max(BURST_WORDS * word_bytes, 64)
        self._shared: dict[bytes, int] = {}

    def add(self, raw: bytes) -> int:
        """Append `raw`, aligned to bursts, and return its offset."""
        self.data += bytes(-len(self.data) % self._align)
        self.data += raw
        return len(self.data) - len(raw)

    def share(self, raw: bytes) -> int:
        """Return the offset of `raw`, which is added when nothing equal was shared before."""
        key = sha256(raw).digest()
        if key not in self._shared:
            self._shared[key] = self.add(raw)
        return self._shared[key]


class SubKernel(NamedTuple):
    """The part of a kernel that one COMPUTE covers: taps from (ky, kx), input blocks from `block`."""

    ky: int
    kh: int
    kx: int
    kw: int
    block: int
    blocks: int

    @property
    def tiles(self) -> int:
        return self.kh * self.kw * self.blocks


class ConvConstants:
    """Weights and parameters of a layer in loadable chunks.

    Attributes:
        group: output blocks that one COMPUTE may cover.
        joined: output blocks that one REQUANT may cover behind several COMPUTEs.
        passes: sub-kernels of each output block; more than one when its weights exceed a half or quarter of the weight
            buffer.
        weight_words: words of all weights.
        block_words: words of the weights of an output block.
        param_group: output blocks whose parameters share one load.

    Args:
        layer: the layer.
        config: configuration of the core.
        pool: where the constants go.
        pixels: of the largest tile.
        starts: nothing comes before whose compute could overlap with the first loads, which are therefore small.
        ends: nothing follows whose loads could overlap with the last compute: the last loads are small, too.
    """

    def __init__(self, layer: ConvLayer, config: AcceleratorConfig, pool: ConstantPool, pixels: int, *,
                 starts: bool = False, ends: bool = False) -> None:
        self._rows = config.rows
        blocks, kh, kw, inputs = layer.weights.shape[:4]
        # Where the array takes no longer than the loads, they must not wait until it is done with half of the buffer.
        dense = pixels <= config.rows
        part = min(config.wgt_words // (4 if dense else 2), MAX_RUN)
        self.passes = sub_kernels(kh, kw, inputs, part // config.rows)
        self.block_words = kh * kw * inputs * config.rows
        self.weight_words = blocks * self.block_words
        most = part // self.block_words if len(self.passes) == 1 else 1
        cycles = self.passes[0].tiles * pass_cycles(config, pixels)
        self.group = max(1, min(most, _GROUP_PIXELS // pixels, _GROUP_CYCLES // cycles, blocks))
        self.joined = min(_REQUANT_BLOCKS, _GROUP_PIXELS // pixels)
        shared = _GROUP_WORDS // self.block_words // self.group * self.group
        size = self.group if starts else max(self.group, min(shared, most))
        if ends and dense:
            self._firsts = _tapered(blocks, size, self.block_words)
        else:
            self._firsts = [*range(0, blocks, size)]
        self.param_group = max(1, min(config.param_words // 2, MAX_RUN) // PARAM_WORDS)
        self.output_blocks = blocks
        self._params = pool.share(layer.params.tobytes())
        chunks = (layer.weights[b, p.ky:p.ky + p.kh, p.kx:p.kx + p.kw, p.block:p.block + p.blocks].tobytes()
                  for b in range(blocks) for p in self.passes)
        self._weights = pool.share(b"".join(chunks))

    def shared(self, block: int) -> int:
        """Return how many output blocks from `block` on share its loads."""
        return min(self._chunk(block)[1], self.param_group - block % self.param_group + block) - block

    def weights(self, block: int, number: int) -> tuple[int, int, int]:
        """Return (first output block, DRAM offset, words) of the load with sub-kernel `number` of `block`."""
        first, end = self._chunk(block)
        words = (end - first) * self.block_words
        offset = self._weights + first * self.block_words * self._rows
        if len(self.passes) > 1:
            words = self.passes[number].tiles * self._rows
            offset += sum(p.tiles for p in self.passes[:number]) * self._rows * self._rows
        return first, offset, words

    def params(self, block: int) -> tuple[int, int, int]:
        """Return (first output block, DRAM offset, words) of the load with the parameters of `block`."""
        first = block // self.param_group * self.param_group
        count = min(first + self.param_group, self.output_blocks) - first
        return first, self._params + first * PARAM_WORDS * self._rows, count * PARAM_WORDS

    def _chunk(self, block: int) -> tuple[int, int]:
        """Return the range [first, end) of output blocks whose weights share a load with those of `block`."""
        place = bisect(self._firsts, block)
        return self._firsts[place - 1], [*self._firsts, self.output_blocks][place]


def _tapered(blocks: int, size: int, block_words: int) -> list[int]:
    """Return the first of each chunk of at most `size` blocks, ever smaller ones, the last of one block.

    The array takes as long for the weights as their load does, so it stays behind the loads by the largest chunk so
    far, and catches up only while parameters are loaded. Backwards from the end, a chunk may therefore be larger by
    the parameters that follow it.
    """
    first, firsts, behind = blocks, list[int](), block_words
    while first > 0:
        count = min(size, behind // block_words, first)
        first -= count
        firsts.append(first)
        behind += count * PARAM_WORDS
    return firsts[::-1]


def sub_kernels(kh: int, kw: int, blocks: int, most: int) -> tuple[SubKernel, ...]:
    """Split a kernel into parts of at most `most` tiles, over input blocks first, then over its rows and columns."""
    ny, nx = min(kh, MAX_KERNEL_PART), min(kw, MAX_KERNEL_PART)
    nb = min(blocks, max(most // (ny * nx), 1))
    ny = min(ny, max(most // (nb * nx), 1))
    nx = min(nx, most // (nb * ny))
    return tuple(SubKernel(ky, min(ny, kh - ky), kx, min(nx, kw - kx), block, size)
                 for block, size in _balanced(blocks, nb) for ky in range(0, kh, ny) for kx in range(0, kw, nx))


def _balanced(total: int, most: int) -> Iterator[tuple[int, int]]:
    count = math.ceil(total / most)
    for i in range(count):
        start = total * i // count
        yield start, total * (i + 1) // count - start
