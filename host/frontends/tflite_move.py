"""Converters of TFLite operators that move data: all become RESHAPE, SLICE, TRANSPOSE, CONCATENATION, PAD, GATHER."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Literal

import numpy as np
import tflite

from ..errors import ModelError
from ..graph import Tensor
from .tflite_context import Context

# Longest axis of which a GATHER lists the elements.
MAX_INDICES = 1 << 16


def _reshape(c: Context) -> None:
    c.emit("RESHAPE", [c.x])  # to the shape that the output has; the second operand only repeats it


def _pairs(c: Context, position: int, what: str) -> tuple[tuple[int, int], ...]:
    return tuple((before, after) for before, after in c.parameter(position, what).tolist())


def _pad(c: Context) -> None:
    c.emit("PAD", [c.x], paddings=_pairs(c, 1, "paddings"))


def _pad_v2(c: Context) -> None:
    paddings, value = _pairs(c, 1, "paddings"), int(c.parameter(2, "the padding value").item())
    if c.y.quant is not None and value == c.y.zero_point:
        c.emit("PAD", [c.x], paddings=paddings)
    else:
        c.emit("PADV2", [c.x], paddings=paddings, value=value)


def _transpose(c: Context) -> None:
    perm = tuple(c.axis(axis) for axis in c.parameter(1, "the permutation").tolist())
    long = [axis for axis in perm if c.x.shape[axis] > 1]
    if sorted(perm) == list(range(len(c.x.shape))) and long == sorted(long):
        c.emit("RESHAPE", [c.x])  # only axes of size 1 move
    else:
        c.emit("TRANSPOSE", [c.x], perm=perm)


def _part(c: Context, begin: Sequence[int], size: Sequence[int], output: Tensor,
          stride: Sequence[int] | None = None) -> None:
    """Emit a SLICE of the first operand, and a RESHAPE when the output has other axes; only that for the whole."""
    if tuple(size) == c.x.shape and all(first == 0 for first in begin) and min(stride or (1,), default=1) > 0:
        c.emit("RESHAPE", [c.x], output)
        return
    attrs = {"begin": tuple(begin), "size": tuple(size), "stride": tuple(stride or (1,) * len(size))}
    if tuple(size) == output.shape:
        c.emit("SLICE", [c.x], output, **attrs)
    else:
        c.emit("RESHAPE", [c.emit("SLICE", [c.x], c.temporary(size, c.x), **attrs)], output)


def _slice(c: Context) -> None:
    begin, size = c.parameter(1, "begin").tolist(), c.parameter(2, "size").tolist()
    whole = [extent - first if count == -1 else count
             for extent, first, count in zip(c.x.shape, begin, size, strict=True)]
    _part(c, begin, whole, c.y)


def _split(c: Context, axis: int, sizes: Sequence[int]) -> None:
    if len(sizes) != len(c.outputs):
        raise ModelError(f"{c.where}: must have {len(sizes)} outputs, not {len(c.outputs)}; export the model again")
    starts = [0, *accumulate(sizes)]
    for start, size, output in zip(starts, sizes, c.outputs, strict=False):
        begin, extent = [0] * len(c.x.shape), list(c.x.shape)
        begin[axis], extent[axis] = start, size
        _part(c, begin, extent, output)


def _split_equally(c: Context) -> None:
    c.operands.reverse()  # the axis is the first operand
    count, axis = len(c.outputs), c.axis(int(c.parameter(1, "the axis").item()))
    if c.x.shape[axis] % count:
        raise ModelError(f"{c.where}: {count} outputs must divide axis {axis} of {c.x.shape}; export the model again")
    _split(c, axis, [c.x.shape[axis] // count] * count)


def _split_v(c: Context) -> None:
    axis, sizes = c.axis(int(c.parameter(2, "the axis").item())), c.parameter(1, "sizes").ravel().tolist()
    rest = c.x.shape[axis] - sum(size for size in sizes if size != -1)
    _split(c, axis, [rest if size == -1 else size for size in sizes])


def _unpack(c: Context) -> None:
    axis = c.axis(c.options(tflite.UnpackOptions).Axis())
    _split(c, axis, [1] * c.x.shape[axis])


def _pack(c: Context) -> None:
    axis = c.axis(c.options(tflite.PackOptions).Axis(), len(c.y.shape))
    parts = []
    for x in c.operands:
        shape = (*x.shape[:axis], 1, *x.shape[axis:])
        parts.append(c.emit("RESHAPE", [x], c.temporary(shape, x, c.y.quant)))  # the bytes as they are, like PACK
    c.emit("CONCATENATION", parts, axis=axis)


def _strided_slice(c: Context) -> None:
    options = c.options(tflite.StridedSliceOptions)
    if options.Offset():
        raise c.unsupported("end values relative to begin are not supported; export absolute ones")
    begins, ends, strides = (c.parameter(i, what).ravel().tolist() for i, what in ((1, "begin"), (2, "end"),
                                                                                     (3, "strides")))
    begin, size, stride = [], [], []
    axis = 0
    added = sum(options.NewAxisMask() >> i & 1 for i in range(len(begins)))
    for i in range(len(begins)):
        if options.NewAxisMask() >> i & 1 and not options.EllipsisMask() >> i & 1:
            continue  # an axis of size 1 in the output, which a RESHAPE makes
        if options.EllipsisMask() >> i & 1:
            for _ in range(len(c.x.shape) - (len(begins) - 1 - added)):
                begin.append(0)
                size.append(c.x.shape[axis])
                stride.append(1)
                axis += 1
            continue
        extent = c.x.shape[axis]
        first, last, step = begins[i], ends[i], strides[i]
        if options.ShrinkAxisMask() >> i & 1:
            first, count, step = c.axis(first, extent), 1, 1
        else:
            picked = range(extent)[slice(None if options.BeginMask() >> i & 1 else first,
                                         None if options.EndMask() >> i & 1 else last, step)]
            first, count, step = picked.start, len(picked), picked.step
        if count < 1:
            raise ModelError(f"{c.where}: takes nothing of axis {axis} of {c.x.shape}; export the model again")
        begin.append(first)
        size.append(count)
        stride.append(step)
        axis += 1
    for extent in c.x.shape[axis:]:
        begin.append(0)
        size.append(extent)
        stride.append(1)
    _part(c, begin, size, c.y, stride)


def _shape(c: Context) -> None:
    c.constant(c.y, np.array(c.x.shape, c.y.dtype).reshape(c.y.shape))


def _gather(c: Context) -> None:
    options = c.options(tflite.GatherOptions)
    _short(c.y.shape)
    if options.BatchDims():
        raise c.unsupported("batch dimensions are not supported; export without them")
    axis, indices = c.axis(options.Axis()), c.parameter(1, "indices")
    picked = tuple(indices.ravel().tolist())
    shape = (*c.x.shape[:axis], len(picked), *c.x.shape[axis + 1:])
    if shape == c.y.shape:
        c.emit("GATHER", [c.x], axis=axis, indices=picked)
    else:
        c.emit("RESHAPE", [c.emit("GATHER", [c.x], c.temporary(shape, c.y), axis=axis, indices=picked)])


def _gather_axes(c: Context, x: Tensor, indices: Sequence[np.ndarray]) -> None:
    """Emit a GATHER of x along each axis whose `indices` are not its own."""
    axes = [axis for axis, picked in enumerate(indices) if picked.tolist() != list(range(x.shape[axis]))]
    for axis in axes:
        shape = (*x.shape[:axis], len(indices[axis]), *x.shape[axis + 1:])
        output = c.y if axis == axes[-1] else c.temporary(shape, x)
        x = c.emit("GATHER", [x], output, axis=axis, indices=tuple(indices[axis].tolist()))
    if not axes:
        c.emit("RESHAPE", [x])


def _short(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape whose axes may be listed element by element."""
    if max(shape, default=1) > MAX_INDICES:
        raise ValueError(f"shape {shape}")
    return shape


def _mirror_pad(c: Context) -> None:
    mode: Literal["reflect", "symmetric"] = "symmetric" if c.options(tflite.MirrorPadOptions).Mode() else "reflect"
    pairs = _pairs(c, 1, "paddings")
    for size, pair in zip(c.x.shape, pairs, strict=True):
        if not 0 <= min(pair) <= max(pair) <= size - (mode == "reflect"):
            raise ModelError(f"{c.where}: paddings {pairs} must not exceed the image {c.x.shape}; export it again")
    indices = [np.pad(np.arange(size), pair, mode=mode) for size, pair in zip(c.x.shape, pairs, strict=True)]
    _gather_axes(c, c.x, indices)


def _tile(c: Context) -> None:
    counts = c.parameter(1, "multiples").ravel().tolist()
    if tuple(count * size for count, size in zip(counts, c.x.shape, strict=True)) != _short(c.y.shape):
        raise ValueError(f"multiples {counts}")
    _gather_axes(c, c.x, [np.arange(count * size) % size for count, size in zip(counts, c.x.shape, strict=True)])


def _broadcast_to(c: Context) -> None:
    shape = (*(1,) * (len(c.y.shape) - len(c.x.shape)), *c.x.shape)
    if np.broadcast_shapes(shape, _short(c.y.shape)) != c.y.shape:
        raise ModelError(f"{c.where}: {c.x.shape} must broadcast to {c.y.shape}; export the model again")
    x = c.x if shape == c.x.shape else c.emit("RESHAPE", [c.x], c.temporary(shape, c.x))
    _gather_axes(c, x, [np.arange(size) if size == whole else np.zeros(whole, np.int64)
                        for size, whole in zip(shape, c.y.shape, strict=True)])


def _reverse(c: Context) -> None:
    axes = {c.axis(axis) for axis in c.parameter(1, "axes").ravel().tolist()}
    _part(c, [size - 1 if axis in axes else 0 for axis, size in enumerate(c.x.shape)], c.x.shape, c.y,
          [-1 if axis in axes else 1 for axis in range(len(c.x.shape))])


def _interleave(c: Context, split: Sequence[int], perm: Sequence[int]) -> None:
    """Emit RESHAPE, TRANSPOSE, RESHAPE."""
    parts = c.emit("RESHAPE", [c.x], c.temporary(split, c.x))
    moved = c.emit("TRANSPOSE", [parts], c.temporary([split[axis] for axis in perm], c.x), perm=tuple(perm))
    c.emit("RESHAPE", [moved])


def _space_to_depth(c: Context) -> None:
    n, h, w, channels = c.x.shape
    block = c.options(tflite.SpaceToDepthOptions).BlockSize()
    _interleave(c, (n, h // block, block, w // block, block, channels), (0, 1, 3, 2, 4, 5))


def _depth_to_space(c: Context) -> None:
    n, h, w, channels = c.x.shape
    block = c.options(tflite.DepthToSpaceOptions).BlockSize()
    _interleave(c, (n, h, w, block, block, channels // block**2), (0, 1, 3, 2, 4, 5))


def _images(kind: str, edges: str) -> Callable[[Context], Any]:
    """Return the converter of SPACE_TO_BATCH_ND or BATCH_TO_SPACE_ND."""
    def convert(c: Context) -> None:
        block = c.parameter(1, "the block").ravel().tolist()
        pairs = _pairs(c, 2, edges)
        if len(c.x.shape) != 4 or len(block) != 2:
            raise c.unsupported("it must be of height and width of 4-dimensional images; export it so")
        attrs: dict[str, Any] = {"block": tuple(block), edges: pairs}
        c.emit(kind, [c.x], **attrs)
    return convert


CONVERTERS: dict[str, Callable[[Context], Any]] = {
    "BATCH_TO_SPACE_ND": _images("BATCH_TO_SPACE_ND", "crops"),
    "BROADCAST_TO": _broadcast_to,
    "DEPTH_TO_SPACE": _depth_to_space,
    "EXPAND_DIMS": _reshape,
    "GATHER": _gather,
    "MIRROR_PAD": _mirror_pad,
    "PACK": _pack,
    "PAD": _pad,
    "PADV2": _pad_v2,
    "RESHAPE": _reshape,
    "REVERSE_V2": _reverse,
    "SHAPE": _shape,
    "SLICE": _slice,
    "SPACE_TO_BATCH_ND": _images("SPACE_TO_BATCH_ND", "paddings"),
    "SPACE_TO_DEPTH": _space_to_depth,
    "SPLIT": _split_equally,
    "SPLIT_V": _split_v,
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "TILE": _tile,
    "TRANSPOSE": _transpose,
    "UNPACK": _unpack,
}
