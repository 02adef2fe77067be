"""Layers: operators in the form in which the hardware runs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...hw.isa import PoolMode
from ...models.ops import AddParams
from .layout import Gather, Image, Rect, blocks_of


class Unfit(Exception):
    """The hardware cannot run an operator; the message says why, in one line."""


@dataclass(frozen=True)
class Storage:
    """Memory of a tensor, and of all tensors that are the same bytes in another shape.

    Attributes:
        name: the tensor that is stored.
        h, w, channels: its shape as `layout.split_shape` says.
        words: size on chip.
        tensor: the tensor of the graph, where the storage is a second form of it.
        gather: how it lies in DRAM when that is not as on chip.
    """

    name: str
    h: int
    w: int
    channels: int
    words: int
    tensor: str = ""
    gather: Gather | None = None

    def dram_bytes(self, word_bytes: int) -> int:
        """Return the bytes that it takes in DRAM."""
        return self.h * self.gather.row_bytes if self.gather else self.words * word_bytes

    @classmethod
    def of(cls, name: str, size: tuple[int, int, int], word_bytes: int) -> Storage:
        """Return the storage of a tensor of (height, width, channels)."""
        h, w, channels = size
        return cls(name, h, w, channels, h * w * blocks_of(channels, word_bytes), name)


class Window(NamedTuple):
    """Which input pixels an output pixel needs: (y, x) reads rows y * sy - top + ky * dy, columns alike."""

    kh: int = 1
    kw: int = 1
    sy: int = 1
    sx: int = 1
    dy: int = 1
    dx: int = 1
    top: int = 0
    left: int = 0

    @property
    def is_pointwise(self) -> bool:
        return self == Window()

    def needs(self, out: Rect, image: Image) -> Rect:
        """Return the pixels of the input `image` that the output pixels `out` read."""
        y, x = out.y0 * self.sy - self.top, out.x0 * self.sx - self.left
        return Rect(y, y + (out.h - 1) * self.sy + (self.kh - 1) * self.dy + 1,
                    x, x + (out.w - 1) * self.sx + (self.kw - 1) * self.dx + 1).clip(image.rect)


class Operand(NamedTuple):
    """An input or output of a layer: a storage and the image as which the layer walks it."""

    storage: str
    image: Image


class Filter(NamedTuple):
    """How a depthwise kernel lies in the array: `lines` image lines at a time, `spacing` rows each, in `passes`."""

    lines: int
    spacing: int
    passes: int


class Clamp(NamedTuple):
    """Output zero point and bounds."""

    zp: int
    lo: int = -128
    hi: int = 127


@dataclass(frozen=True, eq=False)
class Layer:
    """Base of all layers.

    Attributes:
        op: name of the operator.
        inputs: operands; all have the shape that `window` expects.
        output: result.
        window: input pixels of an output pixel.
        clamp: output zero point and bounds.
    """

    op: str
    inputs: tuple[Operand, ...]
    output: Operand
    window: Window
    clamp: Clamp

    @property
    def splits_rows(self) -> bool:
        """Whether bands may be parts of the rows of the output."""
        return True

    @property
    def splits_columns(self) -> bool:
        """Whether bands may be parts of the columns of the output."""
        return True

    def needs(self, position: int, out: Rect) -> Rect:
        """Return the pixels of operand `position` (-1: the output) that the output pixels `out` read."""
        return out if position < 0 else self.window.needs(out, self.inputs[position].image)

    def blocks(self, position: int, first: int, count: int) -> tuple[int, int]:
        """Return (first, count) of the channel blocks of an operand that these output blocks read."""
        return first, count


class Sum(NamedTuple):
    """An addition fused behind a convolution: its second operand is the convolution's last input."""

    op: str
    params: AddParams
    conv_is_a: bool
    clamp: Clamp


@dataclass(frozen=True, eq=False)
class ConvLayer(Layer):
    """Convolution or matrix product on the array.

    Attributes:
        weights: int8 [output blocks, kh, kw, input blocks, R rows, R columns].
        params: uint8 [output blocks, PARAM_WORDS, R], as REQUANT reads them.
        fill: value of padding pixels.
        sources: first of the input blocks that each output block reads, as many as the weights have.
        filter: runs in the array's filter mode, one weight tile per pass of the filter; else None.
        gathered: the input's words are gathered from raw rows, which loads do not split.
        transposed: the input image is transposed, and the output is walked column by column.
        sum: an addition that follows at once.
    """

    weights: npt.NDArray[np.int8]
    params: npt.NDArray[np.uint8]
    fill: int
    sources: tuple[int, ...]
    filter: Filter | None = None
    gathered: bool = False
    transposed: bool = False
    sum: Sum | None = None

    def needs(self, position: int, out: Rect) -> Rect:
        if position != 0:
            return out
        return self.window.needs(out.transposed if self.transposed else out, self.inputs[0].image)

    def blocks(self, position: int, first: int, count: int) -> tuple[int, int]:
        if position != 0:
            return first, count
        low = min(self.sources[first:first + count])
        return low, max(self.sources[first:first + count]) + self.weights.shape[3] - low

    @property
    def splits_rows(self) -> bool:
        return not self.transposed

    @property
    def splits_columns(self) -> bool:
        return not self.gathered or self.transposed

    @property
    def blockwise(self) -> bool:
        """Whether output blocks read different input blocks."""
        return len(set(self.sources)) > 1


class PoolPiece(NamedTuple):
    """Part of a POOL layer's output that one set of parameters serves; fields as in the instruction."""

    rect: Rect
    mode: PoolMode
    fill: int = 0
    bias: int = 0
    half: int = 0
    mult: int = 0
    shift: int = 0


@dataclass(frozen=True, eq=False)
class PoolLayer(Layer):
    """Window reduction, requantisation or copy on the vector unit."""

    pieces: tuple[PoolPiece, ...]


@dataclass(frozen=True, eq=False)
class AddLayer(Layer):
    """Addition of two tensors on the vector unit."""

    params: AddParams
