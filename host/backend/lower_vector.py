"""Lowering of pooling, reductions, requantisation and padding to the vector unit."""

from __future__ import annotations

from itertools import groupby

from ...hw.isa import PoolMode
from ...models.ops import fold_mean
from ..graph import Graph, Op
from ..quantparams import act_range, rescale
from .layers import Clamp, Operand, PoolLayer, PoolPiece, Storage, Unfit, Window
from .layout import Image, Rect
from .limits import (
    MAX_COORDINATE,
    MAX_POOL_KERNEL,
    MAX_POOL_TAPS,
    MAX_SUM_TAPS,
    check_shift,
    check_size,
    check_window,
    without_idle_strides,
)

_LOWEST = -128


def lower_max_pool(graph: Graph, op: Op, x: Storage, x_image: Image, y: Storage, y_image: Image) -> PoolLayer:
    """Lower MAX_POOL_2D. Raises `Unfit` when the hardware cannot run it."""
    piece = PoolPiece(y_image.rect, PoolMode.MAX, fill=_LOWEST)
    return _pool(op, (x, x_image), (y, y_image), _window(op, y_image), Clamp(0, *act_range(graph, op)), (piece,))


def lower_average_pool(graph: Graph, op: Op, x: Storage, x_image: Image, y: Storage, y_image: Image) -> PoolLayer:
    """Lower AVERAGE_POOL_2D: one piece per part of the output whose windows have equally many taps in the image.

    Raises `Unfit` when the hardware cannot run it.
    """
    window = _window(op, y_image)
    if window.kh * window.kw > MAX_POOL_TAPS:
        raise Unfit(f"an average must be of at most {MAX_POOL_TAPS} values, not {window.kh * window.kw}")
    rows = _runs(window.kh, window.sy, window.top, x_image.h, y_image.h)
    columns = _runs(window.kw, window.sx, window.left, x_image.w, y_image.w)
    pieces = tuple(_average(Rect(y0, y1, x0, x1), ny * nx) for y0, y1, ny in rows for x0, x1, nx in columns)
    return _pool(op, (x, x_image), (y, y_image), window, Clamp(0, *act_range(graph, op)), pieces)


def lower_reduction(graph: Graph, op: Op, x: Storage, x_image: Image, y: Storage) -> PoolLayer:
    """Lower MEAN, SUM or REDUCE_MAX over rows, columns or both. Raises `Unfit` when the hardware cannot run it."""
    tensor, axes = graph.operands(op)[0], set(op.attrs["axes"])
    if len(tensor.shape) != 4 or not axes or axes - {0, 1, 2} or (0 in axes and tensor.shape[0] != 1):
        raise Unfit(f"it must be over height and width of images, not axes {sorted(axes)} of {tensor.shape}")
    window = Window(x_image.h if 1 in axes else 1, x_image.w if 2 in axes else 1)
    y_image = Image(1 if 1 in axes else x_image.h, 1 if 2 in axes else x_image.w, x_image.blocks)
    if op.kind == "REDUCE_MAX":
        piece, zero_point = PoolPiece(y_image.rect, PoolMode.MAX, fill=_LOWEST), 0
    else:
        count, scale, zero_point = window.kh * window.kw, rescale(graph, op), graph.result(op).zero_point
        mult, shift = fold_mean(*scale, count) if op.kind == "MEAN" else scale
        if count << max(shift, 0) > MAX_SUM_TAPS:
            raise Unfit(f"a sum must have at most {MAX_SUM_TAPS >> max(shift, 0)} values at this scale, not {count}")
        piece = _sum(y_image.rect, -count * tensor.zero_point, mult, shift)
    return _pool(op, (x, x_image), (y, y_image), window, Clamp(zero_point), (piece,))


def lower_quantize(graph: Graph, op: Op, x: Storage, y: Storage) -> PoolLayer:
    """Lower QUANTIZE of int8 to int8. Raises `Unfit` when the hardware cannot run it."""
    tensor, result = graph.operands(op)[0], graph.result(op)
    image = flat_image(x)
    piece = _sum(image.rect, -tensor.zero_point, *rescale(graph, op))
    return _pool(op, (x, image), (y, image), Window(), Clamp(result.zero_point), (piece,))


def lower_pad(graph: Graph, op: Op, x: Storage, x_image: Image, y: Storage, y_image: Image) -> PoolLayer:
    """Lower spatial PAD or PADV2 to a copy of 1x1 windows, some of which lie in the padding.

    Raises `Unfit` when the hardware cannot run it.
    """
    paddings = op.attrs["paddings"]
    if len(paddings) != 4 or any(paddings[0]) or any(paddings[3]):
        raise Unfit(f"padding must be of height and width, not {paddings}")
    piece = PoolPiece(y_image.rect, PoolMode.MAX, fill=op.attrs.get("value", graph.result(op).zero_point))
    window = Window(top=paddings[1][0], left=paddings[2][0])
    return _pool(op, (x, x_image), (y, y_image), window, Clamp(0), (piece,))


def flat_image(storage: Storage) -> Image:
    """Return an image of one-word pixels with all words of `storage`, as element-wise operators walk it.

    Raises `Unfit` when no such image fits the fields.
    """
    blocks = storage.words // (storage.h * storage.w)
    fits = storage.h * storage.w <= MAX_COORDINATE
    image = Image(blocks, storage.h * storage.w, 1) if fits else Image(blocks * storage.h, storage.w, 1)
    check_size(image)
    return image


def _pool(op: Op, source: tuple[Storage, Image], target: tuple[Storage, Image], window: Window, clamp: Clamp,
          pieces: tuple[PoolPiece, ...]) -> PoolLayer:
    (x, x_image), (y, y_image) = source, target
    for image in (x_image, y_image):
        check_size(image)
    check_window(window, x_image, y_image, MAX_POOL_KERNEL)
    return PoolLayer(op.name, (Operand(x.name, x_image),), Operand(y.name, y_image), window, clamp, pieces)


def _window(op: Op, out: Image) -> Window:
    (kh, kw), (sy, sx), ((top, _), (left, _)) = op.attrs["kernel"], op.attrs["stride"], op.attrs["pads"]
    return without_idle_strides(Window(kh, kw, sy, sx, top=top, left=left), out)


def _runs(kernel: int, stride: int, before: int, size: int, count: int) -> list[tuple[int, int, int]]:
    """Return (first, end, taps) of each run of output positions whose windows have `taps` taps in the image."""
    def taps(position: int) -> int:
        start = position * stride - before
        return min(start + kernel, size) - max(start, 0)

    runs = []
    for number, group in groupby(range(count), taps):
        members = list(group)
        runs.append((members[0], members[-1] + 1, number))
    return runs


def _average(rect: Rect, taps: int) -> PoolPiece:
    if taps == 1:  # the maximum of one tap, and of padding below all values, is that tap
        return PoolPiece(rect, PoolMode.MAX, fill=_LOWEST)
    if taps < 1:
        raise Unfit("a window lies wholly in the padding")
    return PoolPiece(rect, PoolMode.AVERAGE, half=taps // 2, mult=(1 << 31) // taps + 1)


def _sum(rect: Rect, bias: int, mult: int, shift: int) -> PoolPiece:
    check_shift(shift)
    return PoolPiece(rect, PoolMode.SUM, bias=bias, mult=mult, shift=shift)
