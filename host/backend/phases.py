"""Convolutions whose output pixels are dealt to several convolutions, each over evenly spaced pixels.

With a dilation of d, output pixels that are d apart read input pixels that are d apart: d * d convolutions without
dilation. In a transposed convolution of stride s, output pixels that are s apart are reached by the same taps: s * s
convolutions without stride, each with its part of the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from .layers import Operand, Window
from .layout import Span


class Phase(NamedTuple):
    """One of the convolutions: the pixels that it reads and makes, and the rows and columns of the kernel it has."""

    window: Window
    x: Operand
    y: Operand
    taps: tuple[range, range] = (range(0), range(0))


class _Axis(NamedTuple):
    """A phase along one axis; `before` are the pixels of padding."""

    source: Span
    target: Span
    taps: range
    stride: int
    before: int


def undilated(window: Window, x: Operand, y: Operand) -> list[Phase] | None:
    """Return the phases of a convolution with dilation; None when one of them would have no input."""
    down = _undilated(window.kh, window.sy, window.dy, window.top, x.image.h, y.image.h)
    across = _undilated(window.kw, window.sx, window.dx, window.left, x.image.w, y.image.w)
    return _phases(down, across, x, y) if all(axis.source.length > 0 for axis in (*down, *across)) else None


def transposed(kernel: tuple[int, int], stride: tuple[int, int], before: tuple[int, int], x: Operand,
               y: Operand) -> list[Phase]:
    """Return the phases of a transposed convolution, of whose output `before` rows and columns are cut off.

    The taps of a phase run backwards; where no tap reaches its pixels, there are none.
    """
    down = _transposed(kernel[0], stride[0], before[0], x.image.h, y.image.h)
    across = _transposed(kernel[1], stride[1], before[1], x.image.w, y.image.w)
    return _phases(down, across, x, y)


def _phases(down: Sequence[_Axis], across: Sequence[_Axis], x: Operand, y: Operand) -> list[Phase]:
    # Columns outside: what follows each other is equally wide.
    return [Phase(Window(len(v.taps), len(u.taps), v.stride, u.stride, top=v.before, left=u.before),
                  x.spaced(v.source, u.source), y.spaced(v.target, u.target), (v.taps, u.taps))
            for u, v in product(across, down)]


def _undilated(kernel: int, stride: int, dilation: int, before: int, size: int, count: int) -> list[_Axis]:
    common = math.gcd(dilation, stride)
    every = dilation // common
    axes = []
    for first in range(min(every, count)):
        back, start = divmod(first * stride - before, dilation)
        axes.append(_Axis(Span.of(start, dilation, size), Span.of(first, every, count), range(kernel),
                          stride // common, -back))
    return axes


def _transposed(kernel: int, stride: int, before: int, size: int, count: int) -> list[_Axis]:
    axes = []
    for first in range(min(stride, count)):
        ahead, start = divmod(first + before, stride)
        taps = range(start, kernel, stride)[::-1]
        axes.append(_Axis(Span(0, 1, size), Span.of(first, stride, count), taps, 1, len(taps) - 1 - ahead))
    return axes
