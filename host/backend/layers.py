"""Layers: operators in the form in which the hardware runs them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...hw.isa import Opcode, PoolMode
from .layout import Gather, Image, Rect, Span, View, blocks_of


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
        data: its contents, packed, when it is a constant; else empty.
    """

    name: str
    h: int
    w: int
    channels: int
    words: int
    tensor: str = ""
    gather: Gather | None = None
    data: bytes = b""

    @property
    def image(self) -> Image:
        """Its pixels and channel blocks."""
        return Image(self.h, self.w, self.words // (self.h * self.w))

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
    """An input or output of a layer: a storage and the image as which the layer walks it.

    `part` says where the image lies, in words from the start of the storage; without it, it is all of the storage.
    """

    storage: str
    image: Image
    part: View | None = None

    @property
    def view(self) -> View:
        """Where the image lies, in words from the start of the storage."""
        return self.part or View(0, self.image.w, self.image.plane)

    def spaced(self, rows: Span, columns: Span) -> Operand:
        """Return the operand that consists of these rows and columns."""
        if (rows, columns) == (Span(0, 1, self.image.h), Span(0, 1, self.image.w)):
            return self
        return Operand(self.storage, Image(rows.length, columns.length, self.image.blocks),
                       self.view.part(rows.first, columns.first, rows.step, columns.step))


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
    """

    op: str
    inputs: tuple[Operand, ...]
    output: Operand
    window: Window

    @property
    def steps_of_bands(self) -> tuple[int, int]:
        """Bands begin at multiples of so many rows, and columns, of the output."""
        return 1, 1

    @property
    def by_columns(self) -> bool:
        """Whether bands are rather columns of the output than rows."""
        return False

    def needs(self, position: int, out: Rect) -> Rect:
        """Return the pixels of operand `position` (-1: the output) that the output pixels `out` read."""
        return out if position < 0 else self.window.needs(out, self.inputs[position].image)

    def repeats(self, position: int) -> tuple[bool, bool]:
        """Return whether one row, and one column, of operand `position` serves all rows, columns of the output."""
        return False, False

    def blocks(self, position: int, first: int, count: int) -> tuple[int, int]:
        """Return (first, count) of the channel blocks of an operand that these output blocks read."""
        return first, count


@dataclass(frozen=True)
class Element:
    """An element-wise instruction, less the places of its operands.

    Attributes:
        opcode: ADD, MUL or TABLE.
        fields: fields of its layout, without addresses, steps and sizes.
        table: the entries of a TABLE, one byte each.
    """

    opcode: Opcode
    fields: Mapping[str, int]
    table: bytes = b""


@dataclass(frozen=True, eq=False)
class ElementLayer(Layer):
    """Element-wise operator on the vector unit; an input of one row or column is repeated.

    Attributes:
        element: the instruction; its operands are the inputs, in their order.
    """

    element: Element

    def needs(self, position: int, out: Rect) -> Rect:
        return _part(out, self.repeats(position))

    def repeats(self, position: int) -> tuple[bool, bool]:
        return _repeats(self, position)


class Step(NamedTuple):
    """An element-wise operator fused behind a convolution, tile by tile.

    Its operands are inputs of the convolution, by position; -1 is what the convolution and the steps before have made.
    """

    op: str
    element: Element
    operands: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ConvLayer(Layer):
    """Convolution or matrix product on the array.

    Attributes:
        clamp: output zero point and bounds.
        weights: int8 [output blocks, kh, kw, input blocks, R rows, R columns].
        params: uint8 [output blocks, PARAM_WORDS, R], as REQUANT reads them.
        fill: value of padding pixels.
        sources: first of the input blocks that each output block reads, as many as the weights have.
        every: distance between these input blocks.
        filter: runs in the array's filter mode, one weight tile per pass of the filter; else None.
        gather: how the input's words are gathered, if they are, from raw rows; from raw columns, the input image is
            transposed, and the output is walked column by column.
        steps: element-wise operators that follow tile by tile.
    """

    clamp: Clamp
    weights: npt.NDArray[np.int8]
    params: npt.NDArray[np.uint8]
    fill: int
    sources: tuple[int, ...]
    every: int = 1
    filter: Filter | None = None
    gather: Gather | None = None
    steps: tuple[Step, ...] = ()

    def needs(self, position: int, out: Rect) -> Rect:
        if position != 0:
            return _part(out, self.repeats(position))
        return self.window.needs(out.transposed if self.transposed else out, self.inputs[0].image)

    def repeats(self, position: int) -> tuple[bool, bool]:
        return _repeats(self, position) if position else (False, False)

    def blocks(self, position: int, first: int, count: int) -> tuple[int, int]:
        if position != 0:
            return first, count
        low = min(self.sources[first:first + count])
        return low, max(self.sources[first:first + count]) + (self.weights.shape[3] - 1) * self.every + 1 - low

    @property
    def transposed(self) -> bool:
        return self.gather is not None and self.gather.transposed

    @property
    def steps_of_bands(self) -> tuple[int, int]:
        if self.gather is None:
            return 1, 1
        word = self.weights.shape[-1]
        step = word // math.gcd(self.gather.pitch, word)  # a load begins at a word of DRAM
        return (step, 1) if self.transposed else (1, step)

    @property
    def by_columns(self) -> bool:
        return self.transposed

    @property
    def blockwise(self) -> bool:
        """Whether output blocks read different input blocks."""
        return len(set(self.sources)) > 1


@dataclass(frozen=True, eq=False)
class MoveLayer(ConvLayer):
    """Convolution that gives each channel of its output one channel of its input.

    Attributes:
        channels: the input channel of each output channel.
    """

    channels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


class PoolPiece(NamedTuple):
    """Part of a POOL layer's output that one set of parameters serves; fields as in the instruction."""

    rect: Rect
    mode: PoolMode
    fill: int = 0
    bias: int = 0
    half: int = 0
    mult: int = 0
    shift: int = 0

    @property
    def is_copy(self) -> bool:
        """Whether it returns what it reads, where its windows are single pixels of the image."""
        return self.mode == PoolMode.MAX


@dataclass(frozen=True, eq=False)
class PoolLayer(Layer):
    """Window reduction, requantisation or copy on the vector unit.

    Attributes:
        clamp: output zero point and bounds.
        pieces: parts of the output, by their parameters.
    """

    clamp: Clamp
    pieces: tuple[PoolPiece, ...]


def _repeats(layer: Layer, position: int) -> tuple[bool, bool]:
    """Return what `Layer.repeats` does for an operand that is as large as the output or repeated."""
    image, out = (layer.output if position < 0 else layer.inputs[position]).image, layer.output.image
    return image.h < out.h, image.w < out.w


def _part(out: Rect, repeats: tuple[bool, bool]) -> Rect:
    """Return the pixels that the output pixels `out` read of such an operand."""
    y, x = repeats
    return Rect(0 if y else out.y0, 1 if y else out.y1, 0 if x else out.x0, 1 if x else out.x1)
