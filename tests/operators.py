"""Random models of one operator, for every operator of the frontend.

`random_operator(kind, seed)` is always the same model, and `operators(kind)` is a strategy of hypothesis. Scales are of
the sizes that trained networks have; zero points and codes are any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from systolith.models.ops import out_size, same_padding
from tests.operator_case import Case, OperatorCase

SOFTMAX_SCALE = (1 / 256, -128)


def _unary(c: Case) -> OperatorCase:
    shape, scale, zero_point = c.shape(), c.scale(), c.zero_point()
    y = (c.near(scale), c.zero_point())
    options: dict[str, Any] | None = None
    if c.kind in ("LOGISTIC", "TANH", "SOFTMAX"):
        y = (1 / 128, 0) if c.kind == "TANH" else SOFTMAX_SCALE
    elif c.kind == "RELU6":  # the reference keeps the codes
        scale = c.scale(6 / 100)
        zero_point = c.pick(-128, 0)
        y = (scale, zero_point)
    elif c.kind == "LEAKY_RELU":
        options = {"alpha": float(c.choose(0.1, 0.01, 0.3, 1.7))}
    c.feed(shape, scale, zero_point)
    c.result(shape, *y)
    return c.done(options)


def _broadcast(c: Case) -> OperatorCase:
    shape = c.shape(c.choose(2, 4))
    other = c.choose(shape, tuple(1 if c.chance() else n for n in shape), shape[-1:], (1,) * len(shape))
    a, b = (c.scale(), c.zero_point()), (c.scale(), c.zero_point())
    y = (c.near({"MUL": a[0] * b[0] * 60}.get(c.kind, max(a[0], b[0]))), c.zero_point())
    options = c.activation()
    if c.kind in ("MAXIMUM", "MINIMUM"):
        b, y, options = a, a, None
    swap = other != shape and c.chance() and c.kind != "PRELU"
    for size, quant in ((other, b), (shape, a)) if swap else ((shape, a), (other, b)):
        if size == other and (c.fed or not c.operands) and c.chance():  # one of the two is an input
            c.codes(size, *quant)
        else:
            c.feed(size, *quant)
    c.result(shape, *y)
    return c.done(None if c.kind == "PRELU" else options)


def _window(c: Case, kernel: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> tuple[Any, Any, dict[str, Any]]:
    """Return the size of an image that a random window of this kernel fits, the output's size, and the options."""
    padding, stride = c.choose("SAME", "VALID"), (c.pick(1, 3), c.pick(1, 3))
    size = [c.pick(1 if padding == "SAME" else (k - 1) * d + 1, 11) if (k - 1) * d < 10 else (k - 1) * d + 1
            for k, d in zip(kernel, dilation, strict=True)]
    axes = list(zip(size, kernel, stride, dilation, strict=True))
    out = [out_size(*axis, same_padding(*axis) if padding == "SAME" else (0, 0)) for axis in axes]
    return size, out, {"padding": padding, "stride_h": stride[0], "stride_w": stride[1]}


def _weights(c: Case, x_scale: float, outputs: int, depth: int, per_channel: bool) -> tuple[Any, float]:
    w_scale = np.float32(c.scale(1e-3, 1e-1) * np.exp(c.rng.uniform(-1, 1, outputs if per_channel else 1)))
    return w_scale, c.near(float(x_scale * w_scale.max() * 73 * depth**0.5), 0.5)


def _conv(c: Case) -> OperatorCase:
    kernel, dilation = (c.pick(1, 4), c.pick(1, 4)), c.choose((1, 1), (1, 1), (c.pick(1, 3), c.pick(1, 3)))
    size, out, options = _window(c, kernel, dilation)
    depth, x = c.pick(1, 12), (c.scale(), c.zero_point())
    depthwise = c.kind == "DEPTHWISE_CONV_2D"
    groups = 1 if depthwise else c.choose(1, 1, 2, 3)
    outputs = depth * c.pick(1, 3) if depthwise else groups * c.pick(1, 12)
    taps = kernel[0] * kernel[1] * (1 if depthwise else depth)
    w_scale, y_scale = _weights(c, x[0], outputs, taps, c.choose(True, True, False))
    n = c.pick(1, 2)
    c.feed((n, *size, depth * groups), *x)
    if depthwise:
        c.codes((1, *kernel, outputs), w_scale, low=-127, axis=3)
    else:
        c.codes((outputs, *kernel, depth), w_scale, low=-127)
    if c.chance():
        c.bias(np.float32(x[0] * w_scale), outputs, 5000 * taps**0.5)
    c.result((n, *out, outputs), y_scale, c.zero_point())
    options |= {"dilation_h": dilation[0], "dilation_w": dilation[1]} | c.activation()
    return c.done(options | {"depth_multiplier": outputs // depth} if depthwise else options)


def _transpose_conv(c: Case) -> OperatorCase:
    kernel, stride, size = (c.pick(1, 5), c.pick(1, 5)), (c.pick(1, 3), c.pick(1, 3)), (c.pick(1, 7), c.pick(1, 7))
    padding, depth, outputs, x = c.choose("SAME", "VALID"), c.pick(1, 9), c.pick(1, 9), (c.scale(), c.zero_point())
    out = [size[i] * stride[i] if padding == "SAME" else (size[i] - 1) * stride[i] + max(kernel[i], stride[i])
           for i in range(2)]
    w_scale, y_scale = _weights(c, x[0], outputs, 2 * depth, c.choose(True, False))
    c.integers([1, *out, outputs])
    c.codes((outputs, *kernel, depth), w_scale, low=-127)
    c.feed((1, *size, depth), *x)
    if c.chance():
        c.bias(np.float32(x[0] * w_scale), outputs, 5000)
    c.result((1, *out, outputs), y_scale, c.zero_point())
    return c.done({"padding": padding, "stride_h": stride[0], "stride_w": stride[1]} | c.activation())


def _fully_connected(c: Case) -> OperatorCase:
    rows, depth, outputs, x = c.pick(1, 5), c.pick(1, 60), c.pick(2, 40), (c.scale(), c.zero_point())
    w_scale, y_scale = _weights(c, x[0], outputs, depth, c.choose(True, False))
    c.feed((rows, depth), *x)
    c.codes((outputs, depth), w_scale, low=-127)
    if c.chance():
        c.bias(np.float32(x[0] * w_scale), outputs, 5000 * depth**0.5)
    else:
        c.operands.append(-1)
    c.result((rows, outputs), y_scale, c.zero_point())
    return c.done(c.activation())


def _batch_matmul(c: Case) -> OperatorCase:
    batch, m, k, n = c.shape(c.pick(1, 2), 3), c.pick(1, 8), c.pick(1, 20), c.pick(1, 8)
    adj_x, adj_y = bool(c.chance()), bool(c.chance())
    a, b = (c.scale(), c.zero_point()), (c.scale(), c.zero_point())
    c.feed((*batch, *((k, m) if adj_x else (m, k))), *a)
    c.feed((*batch, *((n, k) if adj_y else (k, n))), *b)
    c.result((*batch, m, n), c.near(a[0] * b[0] * 5000 / 60 * k**0.5), c.zero_point())
    return c.done({"adj_x": adj_x, "adj_y": adj_y})


def _pool(c: Case) -> OperatorCase:
    kernel = (c.pick(1, 4), c.pick(1, 4))
    size, out, options = _window(c, kernel)
    channels, quant = c.pick(1, 20), (c.scale(), c.zero_point())
    c.feed((1, *size, channels), *quant)
    c.result((1, *out, channels), *quant)
    return c.done(options | {"filter_height": kernel[0], "filter_width": kernel[1]} | c.activation())


def _reduction(c: Case) -> OperatorCase:
    shape = c.shape(c.pick(2, 4))
    axes = [axis for axis in range(len(shape)) if c.chance()] or [c.pick(0, len(shape) - 1)]
    keep = bool(c.chance())
    out = [1 if axis in axes else n for axis, n in enumerate(shape) if keep or axis not in axes]
    if not out:
        out, keep = [1] * len(shape), True
    x = (c.scale(), c.zero_point())
    count = int(np.prod([shape[axis] for axis in axes]))
    y = x if c.kind.startswith("REDUCE") else (c.near(x[0] * (count**0.5 if c.kind == "SUM" else 1)), c.zero_point())
    c.feed(shape, *x)
    c.integers([axis - len(shape) if c.chance() else axis for axis in axes])
    c.result(out, *y)
    return c.done({"keep_dims": keep})


def _arg_max(c: Case) -> OperatorCase:
    shape = c.shape(c.pick(2, 4))
    axis = c.pick(0, len(shape) - 1)
    c.feed(shape, c.scale(), c.zero_point())
    c.integers(axis)
    c.result([n for i, n in enumerate(shape) if i != axis], 1.0, 0, "int32")
    return c.done()


def _resize(c: Case) -> OperatorCase:
    shape, quant = c.image(), (c.scale(), c.zero_point())
    size = (c.pick(1, 20), c.pick(1, 20))
    corners = bool(c.chance())
    c.feed(shape, *quant)
    c.integers(size)
    c.result((shape[0], *size, shape[3]), *quant)
    return c.done({"align_corners": corners, "half_pixel_centers": not corners and bool(c.chance())})


def _concatenation(c: Case) -> OperatorCase:
    shape, axis, quant = c.shape(c.pick(2, 4)), 0, (c.scale(), c.zero_point())
    axis = c.pick(0, len(shape) - 1)
    sizes = [c.pick(1, 9) for _ in range(c.pick(1, 4))]
    for size in sizes:
        c.feed((*shape[:axis], size, *shape[axis + 1:]), *quant)
    c.result((*shape[:axis], sum(sizes), *shape[axis + 1:]), *quant)
    return c.done({"axis": axis - len(shape) if c.chance() else axis})


def _pad(c: Case) -> OperatorCase:
    shape, quant = c.shape(4), (c.scale(), c.zero_point())
    amounts = [(c.pick(0, 3), c.pick(0, 3)) for _ in shape]
    c.feed(shape, *quant)
    c.integers(amounts)
    if c.kind == "PADV2":
        c.codes((1,), *quant)
    c.result([n + sum(pair) for n, pair in zip(shape, amounts, strict=True)], *quant)
    return c.done()


def _reshape(c: Case) -> OperatorCase:
    shape, quant = c.shape(c.pick(2, 4)), (c.scale(), c.zero_point())
    if c.kind == "EXPAND_DIMS":
        axis = c.pick(0, len(shape))
        out, extra, options = (*shape[:axis], 1, *shape[axis:]), axis, None
    elif c.kind == "SQUEEZE":
        shape = (1, *shape)
        out, extra, options = shape[1:], None, {"squeeze_dims": [0]}
    else:
        out, options = (int(np.prod(shape[:-1])), shape[-1]), None
        extra = list(out)
    c.feed(shape, *quant)
    if extra is not None:
        c.integers(extra)
    c.result(out, *quant)
    return c.done(options)


def _split(c: Case) -> OperatorCase:
    shape, quant = list(c.shape(c.pick(2, 4))), (c.scale(), c.zero_point())
    axis, count = c.pick(0, len(shape) - 1), c.pick(1, 4)
    sizes = [c.pick(1, 5)] * count if c.kind == "SPLIT" else [c.pick(1, 5) for _ in range(count)]
    shape[axis] = sum(sizes)
    if c.kind == "SPLIT":
        c.integers(axis)
        c.feed(shape, *quant)
    else:
        c.feed(shape, *quant)
        c.integers(sizes)
        c.integers(axis)
    for size in sizes:
        c.result([size if i == axis else n for i, n in enumerate(shape)], *quant)
    return c.done({"num_splits": count})


def _pack(c: Case) -> OperatorCase:
    shape, quant, count = c.shape(c.pick(1, 3)), (c.scale(), c.zero_point()), c.pick(1, 4)
    axis = c.pick(0, len(shape))
    whole = (*shape[:axis], count, *shape[axis:])
    for _ in range(count if c.kind == "PACK" else 1):
        c.feed(shape if c.kind == "PACK" else whole, *quant)
    for _ in range(1 if c.kind == "PACK" else count):
        c.result(whole if c.kind == "PACK" else shape, *quant)
    return c.done({"axis": axis, "values_count" if c.kind == "PACK" else "num": count})


def _slice(c: Case) -> OperatorCase:
    shape, quant = c.shape(c.pick(1, 4)), (c.scale(), c.zero_point())
    begin = [c.pick(0, n - 1) for n in shape]
    c.feed(shape, *quant)
    if c.kind == "SLICE":
        size = [c.pick(1, n - first) for n, first in zip(shape, begin, strict=True)]
        c.integers(begin)
        c.integers([-1 if first + n == whole else n for first, n, whole in zip(begin, size, shape, strict=True)])
        c.result(size, *quant)
        return c.done()
    strides = [c.choose(1, 2, 3, -1, -2) for _ in shape]
    ends = [c.pick(0, first - 1) if step < 0 and first > 0 else (c.pick(first + 1, n) if step > 0 else -n - 1)
            for first, n, step in zip(begin, shape, strides, strict=True)]
    masks = {"begin_mask": c.pick(0, 15), "end_mask": c.pick(0, 15), "shrink_axis_mask": c.choose(0, 0, c.pick(0, 15))}
    masks = {key: value & ((1 << len(shape)) - 1) for key, value in masks.items()}
    index: list[Any] = []
    for i, n in enumerate(shape):
        if masks["shrink_axis_mask"] >> i & 1:
            masks["begin_mask"] &= ~(1 << i)
            strides[i], ends[i] = 1, begin[i] + 1
            index.append(begin[i])
            continue
        first = None if masks["begin_mask"] >> i & 1 else begin[i]
        last = None if masks["end_mask"] >> i & 1 or ends[i] < -n else ends[i]
        index.append(slice(first, last, strides[i]))
    out = np.zeros(shape)[tuple(index)].shape
    if not out or 0 in out:
        return _slice(Case(c.kind, c.pick))
    for values in (begin, ends, strides):
        c.integers(values)
    c.result(out, *quant)
    return c.done(masks)


def _transpose(c: Case) -> OperatorCase:
    shape, quant = c.shape(c.pick(2, 5), 5), (c.scale(), c.zero_point())
    perm = c.permutation(len(shape))
    c.feed(shape, *quant)
    c.integers(perm)
    c.result([shape[axis] for axis in perm], *quant)
    return c.done()


def _blocks(c: Case) -> OperatorCase:
    n, h, w, channels = c.image(5, 8)
    block, quant = c.pick(1, 3), (c.scale(), c.zero_point())
    deep, wide = (n, h, w, channels * block**2), (n, h * block, w * block, channels)
    c.feed(wide if c.kind == "SPACE_TO_DEPTH" else deep, *quant)
    c.result(deep if c.kind == "SPACE_TO_DEPTH" else wide, *quant)
    return c.done({"block_size": block})


def _batches(c: Case) -> OperatorCase:
    n, h, w, channels = c.image(5, 8, 2)
    block, quant = (c.pick(1, 3), c.pick(1, 3)), (c.scale(), c.zero_point())
    # The reference fills the padding of SPACE_TO_BATCH_ND with a value that it never set.
    most = 1 if c.kind == "BATCH_TO_SPACE_ND" else 0
    edges = [[c.pick(0, most), c.pick(0, most)] for _ in block]
    h, w = (max(size, -(-(sum(pair) + 1) // b)) for size, b, pair in zip((h, w), block, edges, strict=True))
    many = (n * block[0] * block[1], h, w, channels)
    few = (n, h * block[0] - sum(edges[0]), w * block[1] - sum(edges[1]), channels)
    c.feed(few if c.kind == "SPACE_TO_BATCH_ND" else many, *quant)
    c.integers(block)
    c.integers(edges)
    c.result(many if c.kind == "SPACE_TO_BATCH_ND" else few, *quant)
    return c.done()


def _gather(c: Case) -> OperatorCase:
    shape, quant = c.shape(c.pick(1, 4)), (c.scale(), c.zero_point())
    axis = c.pick(0, len(shape) - 1)
    indices = [c.pick(0, shape[axis] - 1) for _ in range(c.pick(1, 6))]
    c.feed(shape, *quant)
    c.integers(indices)
    c.result((*shape[:axis], len(indices), *shape[axis + 1:]), *quant)
    return c.done({"axis": axis})


def _tile(c: Case) -> OperatorCase:
    shape, quant = c.shape(most=5), (c.scale(), c.zero_point())
    counts = [c.pick(1, 3) for _ in shape]
    c.feed(shape, *quant)
    c.integers(counts)
    c.result([count * size for count, size in zip(counts, shape, strict=True)], *quant)
    return c.done()


def _reverse(c: Case) -> OperatorCase:
    shape, quant = c.shape(), (c.scale(), c.zero_point())
    c.feed(shape, *quant)
    c.integers([axis for axis in range(len(shape)) if c.chance()] or [len(shape) - 1])
    c.result(shape, *quant)
    return c.done()


def _mirror_pad(c: Case) -> OperatorCase:
    shape, quant, mode = c.shape(c.pick(1, 4)), (c.scale(), c.zero_point()), c.pick(0, 1)
    pairs = [[c.pick(0, size - 1 + mode), c.pick(0, size - 1 + mode)] for size in shape]
    c.feed(shape, *quant)
    c.integers(pairs)
    c.result([size + sum(pair) for size, pair in zip(shape, pairs, strict=True)], *quant)
    return c.done({"mode": mode})


def _broadcast_to(c: Case) -> OperatorCase:
    shape, quant = c.shape(c.pick(1, 4)), (c.scale(), c.zero_point())
    c.feed([size if c.chance() else 1 for size in shape][c.pick(0, len(shape) - 1):], *quant)
    c.integers(list(shape))
    c.result(shape, *quant)
    return c.done()


MAKERS: dict[str, Callable[[Case], OperatorCase]] = {
    **dict.fromkeys(("ABS", "ELU", "EXP", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "QUANTIZE", "RELU", "RELU6",
                     "RELU_N1_TO_1", "SOFTMAX", "TANH"), _unary),
    **dict.fromkeys(("ADD", "MAXIMUM", "MINIMUM", "MUL", "PRELU", "SUB"), _broadcast),
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), _conv),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), _pool),
    **dict.fromkeys(("MEAN", "REDUCE_MAX", "REDUCE_MIN", "SUM"), _reduction),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _resize),
    **dict.fromkeys(("PAD", "PADV2"), _pad),
    **dict.fromkeys(("EXPAND_DIMS", "RESHAPE", "SQUEEZE"), _reshape),
    **dict.fromkeys(("SPLIT", "SPLIT_V"), _split),
    **dict.fromkeys(("PACK", "UNPACK"), _pack),
    **dict.fromkeys(("SLICE", "STRIDED_SLICE"), _slice),
    **dict.fromkeys(("DEPTH_TO_SPACE", "SPACE_TO_DEPTH"), _blocks),
    **dict.fromkeys(("BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND"), _batches),
    "ARG_MAX": _arg_max,
    "BATCH_MATMUL": _batch_matmul,
    "BROADCAST_TO": _broadcast_to,
    "CONCATENATION": _concatenation,
    "FULLY_CONNECTED": _fully_connected,
    "GATHER": _gather,
    "MIRROR_PAD": _mirror_pad,
    "REVERSE_V2": _reverse,
    "TILE": _tile,
    "TRANSPOSE": _transpose,
    "TRANSPOSE_CONV": _transpose_conv,
}


def random_operator(kind: str, seed: int) -> OperatorCase:
    """Return a random model of one operator."""
    return MAKERS[kind](Case.seeded(kind, seed))


@st.composite
def operators(draw: st.DrawFn, kind: str) -> OperatorCase:
    """Draw a random model of one operator, which shrinks to small shapes and plain options."""
    return MAKERS[kind](Case(kind, lambda low, high: draw(st.integers(low, high))))
