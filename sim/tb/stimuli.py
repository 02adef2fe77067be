"""Random legal instructions: their body fields, drawn from a seeded generator, within given words of the buffers."""

import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...hw.array import SPACINGS, lines_at_once
from ...hw.config import AcceleratorConfig
from ...hw.isa import MAX_LEFT_SHIFT, PARAM_WORDS, TABLE_ENTRIES, PoolMode
from ...hw.lines import LINE_READ_LATENCY

__all__ = ["PADDING_KINDS", "Window", "random_add", "random_compute", "random_filter", "random_multiplier",
           "random_pair", "random_params", "random_pool", "random_requant", "random_table", "random_tile",
           "random_window", "words_back"]

PADDING_KINDS = ("none", "border", "outside")
_ADDRESS_SPACE = 1 << 20


@dataclass(frozen=True)
class Window:
    """The fields that COMPUTE and POOL share.

    ``image`` are the words that they may read, ``padding`` is its kind, ``step_block`` the words between blocks.
    """

    fields: dict[str, int]
    padding: str
    image: range
    step_block: int


def _axis(rng: random.Random, padding: str, out: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Return (image size, coordinate of the first tap) along one axis."""
    span = (out - 1) * stride + (kernel - 1) * dilation + 1
    if padding == "none":
        extra = rng.randint(0, 2)
        return span + extra, rng.randint(0, extra)
    if padding == "border":  # as SAME padding: every window overlaps the image
        before = rng.randint(0, (kernel - 1) * dilation)
        return max(1, span - before - rng.randint(0, (kernel - 1) * dilation)), -before
    size = rng.randint(1, span + 2)
    return size, rng.randint(-span - 2, size + 2)


def random_window(rng: random.Random, act: range, padding: str, out: tuple[int, int], kernel: tuple[int, int],
                  stride: tuple[int, int], dilation: tuple[int, int], blocks: int) -> Window | None:
    """Return a window over a random image inside the words ``act``; ``None`` if it does not fit."""
    in_h, iy0 = _axis(rng, padding, out[0], kernel[0], stride[0], dilation[0])
    in_w, ix0 = _axis(rng, padding, out[1], kernel[1], stride[1], dilation[1])
    channel_blocks = blocks + rng.choice((0, 0, 1))
    # Channel blocks lie side by side in every pixel, or in planes.
    width = in_w + rng.choice((0, 0, 1))
    size = in_h * width * channel_blocks
    step_x, step_block = rng.choice(((channel_blocks, 1), (1, in_h * width)))
    pitch = width * step_x
    if size > len(act):
        return None
    base = act.start + rng.randint(0, len(act) - size)
    first_block = rng.randint(0, channel_blocks - blocks)
    return Window({
        "in_base": (base + first_block * step_block + iy0 * pitch + ix0 * step_x) % _ADDRESS_SPACE,
        "step_x": stride[1] * step_x, "step_y": stride[0] * pitch,
        "tap_x": dilation[1] * step_x, "tap_y": dilation[0] * pitch,
        "iy0": iy0, "ix0": ix0, "in_h": in_h, "in_w": in_w, "stride_x": stride[1], "stride_y": stride[0],
        "fill": rng.randint(-128, 127), "out_h": out[0], "out_w": out[1], "kw": kernel[1], "kh": kernel[0],
    }, padding, range(base, base + size), step_block)


def random_groups(rng: random.Random, act: range, window: Window, groups: int) -> dict[str, int]:
    """Return the fields that repeat a COMPUTE ``groups`` times, with the same input or others inside ``act``."""
    room = (act.stop - window.image.stop) // max(1, groups - 1)
    return {"step_block": window.step_block, "groups": groups, "step_group": rng.choice((0, rng.randint(0, room)))}


def random_tile(rng: random.Random, pixels: int) -> tuple[int, int]:
    """Return (height, width) of an output tile of at most ``pixels`` pixels, often small, often full."""
    limit = rng.choice((1, rng.randint(1, 8), rng.randint(1, pixels), pixels))
    limit = min(limit, pixels)
    height = rng.randint(1, max(1, min(limit, 12)))
    width = max(1, limit // height)
    return (height, width) if rng.random() < 0.5 else (width, height)


def random_compute(rng: random.Random, config: AcceleratorConfig, act: range, wgt: range, half: int,
                   max_kernel: int = 5) -> tuple[dict[str, int], Window]:
    """Return the body of a COMPUTE that accumulates in ping-pong half ``half``, and its window."""
    while True:
        kernel = (rng.randint(1, max_kernel), rng.randint(1, max_kernel))
        blocks = rng.choice((1, 1, 2, 3, rng.randint(1, 6)))
        tiles, groups = kernel[0] * kernel[1] * blocks, rng.choice((1, 1, 2, rng.randint(1, 5)))
        if groups * tiles * config.rows > len(wgt):
            continue
        stride = (rng.choice((1, 1, 2, 3, rng.randint(1, 15))), rng.choice((1, 1, 2, 3, rng.randint(1, 15))))
        dilation = (rng.choice((1, 1, 1, 2, 3)), rng.choice((1, 1, 1, 2, 3)))
        out = random_tile(rng, config.acc_half // groups)
        window = random_window(rng, act, rng.choice(PADDING_KINDS), out, kernel, stride, dilation, blocks)
        if window is None:
            continue
        acc = half * config.acc_half + rng.choice((0, rng.randint(0, config.acc_half - groups * out[0] * out[1])))
        return {**window.fields, **random_groups(rng, act, window, groups), "dil_x": dilation[1], "dil_y": dilation[0],
                "blocks": blocks, "tiles": tiles, "acc": acc, "accumulate": rng.randint(0, 1),
                "wgt": wgt.start + rng.randint(0, len(wgt) - groups * tiles * config.rows)}, window


def words_back(filter_rows: int, spacing: int, walk_w: int, row: int) -> int:
    """Return how many words before the newest of an output the word lies that ``row`` meets in filter mode."""
    line = min(row // spacing, lines_at_once(filter_rows, spacing) - 1)
    return line * walk_w + row - line * spacing


def random_filter(rng: random.Random, config: AcceleratorConfig, act: range, wgt: range, half: int,
                  most_words: int = 400) -> tuple[dict[str, int], Window]:
    """Return the body of a COMPUTE in filter mode and its window.

    No row reaches before the stream, so that all rows may have weights; passes stream ``most_words`` at most.
    """
    while True:
        spacing = rng.choice(SPACINGS)
        stride = (rng.choice((1, 1, 2, 3, rng.randint(1, 15))), rng.choice((1, 1, 2, 3, rng.randint(1, 15))))
        groups = rng.choice((1, 1, 2, 3))
        out = random_tile(rng, config.acc_half // groups)
        skip = (rng.randint(0, lines_at_once(config.fir_rows, spacing) + 1), rng.choice((0, 2, rng.randint(0, 31))))
        lead = rng.choice((0, 1, rng.randint(0, 31)))
        walk = [skip[i] + (out[i] - 1) * stride[i] + 1 + rng.choice((0, 0, 1, 3)) for i in range(2)]
        if not LINE_READ_LATENCY < walk[1] + spacing <= config.line_words or lead + walk[0] * walk[1] > most_words:
            continue
        if lead + skip[0] * walk[1] + skip[1] < max(words_back(config.fir_rows, spacing, walk[1], row)
                                                    for row in range(config.fir_rows)):
            continue
        passes, dilation = (rng.choice((1, 1, 2, 3)), rng.choice((1, 1, 2))), (rng.randint(1, 4), rng.randint(1, 2))
        blocks = rng.choice((1, 1, 2))
        tiles = passes[0] * passes[1] * blocks
        window = random_window(rng, act, rng.choice(PADDING_KINDS), (walk[0], walk[1]), passes, (1, 1), dilation,
                               blocks)
        if window is None or groups * tiles * config.rows > len(wgt):
            continue
        acc = half * config.acc_half + rng.randint(0, config.acc_half - groups * out[0] * out[1])
        return {**window.fields, "stride_y": stride[0], "stride_x": stride[1], "out_h": out[0], "out_w": out[1],
                "dil_y": dilation[0], "dil_x": dilation[1], "blocks": blocks, "tiles": tiles,
                **random_groups(rng, act, window, groups), "acc": acc,
                "wgt": wgt.start + rng.randint(0, len(wgt) - groups * tiles * config.rows),
                "accumulate": rng.randint(0, 1), "fir": 1, "spacing": spacing, "walk_h": walk[0], "walk_w": walk[1],
                "lead": lead, "skip_y": skip[0], "skip_x": skip[1]}, window


def random_multiplier(rng: random.Random) -> int:
    """Return a Q31 multiplier: 0 rarely, else in [2^30, 2^31), its ends included."""
    return rng.choice((0, 1 << 30, (1 << 31) - 1, *(rng.randrange(1 << 30, 1 << 31) for _ in range(12))))


def random_params(rng: random.Random, config: AcceleratorConfig, shifts: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return the parameter words of one block of channels, uint8 [PARAM_WORDS, R]."""
    rows = config.rows
    bias = np.array([rng.choice((rng.randint(-1 << 14, 1 << 14), rng.randrange(-1 << 31, 1 << 31)))
                     for _ in range(rows)], "<i4")
    mult = np.array([random_multiplier(rng) for _ in range(rows)], "<u4")
    shift = np.array([rng.randint(*shifts) for _ in range(rows)], np.int8)
    planes = np.concatenate([bias.view(np.uint8).reshape(rows, 4), mult.view(np.uint8).reshape(rows, 4),
                             shift.view(np.uint8).reshape(rows, 1)], axis=1)
    return np.ascontiguousarray(planes.T)


def _output(rng: random.Random, act: range, out: tuple[int, int]) -> dict[str, int] | None:
    """Return the output fields of a vector instruction that writes inside ``act``."""
    placed = _image(rng, act, out, "dst")
    lo, hi = sorted((rng.choice((-128, rng.randint(-128, 127))), rng.choice((127, rng.randint(-128, 127)))))
    return placed and {**placed, "out_h": out[0], "out_w": out[1], "zp": rng.randint(-128, 127), "lo": lo, "hi": hi}


def _image(rng: random.Random, act: range, out: tuple[int, int], name: str) -> dict[str, int] | None:
    step_x = rng.choice((1, 1, 2, 3))
    step_y = out[1] * step_x + rng.choice((0, 0, 1))
    size = (out[0] - 1) * step_y + (out[1] - 1) * step_x + 1
    if size > len(act):
        return None
    base = act.start + rng.randint(0, len(act) - size)
    return {name: base, f"{name}_step_x": step_x, f"{name}_step_y": step_y}


def random_requant(rng: random.Random, config: AcceleratorConfig, dst: range, param: range,
                   half: int) -> dict[str, int]:
    """Return the body of a REQUANT from ping-pong half ``half`` to words of ``dst``."""
    while True:
        out = random_tile(rng, config.acc_half)
        pixels = out[0] * out[1]
        groups = rng.randint(1, min(config.acc_half // pixels, len(param) // PARAM_WORDS, rng.choice((1, 3, 6))))
        fields = _output(rng, dst, out)
        if not fields:
            continue
        room = dst.stop - 1 - fields["dst"] - (out[0] - 1) * fields["dst_step_y"] - (out[1] - 1) * fields["dst_step_x"]
        # Groups lie far apart, or their words lie between each other's.
        step = rng.choice((room // (groups - 1), rng.randint(0, room // (groups - 1)))) if groups > 1 else 0
        return {**fields, "param": rng.randint(param.start, param.stop - groups * PARAM_WORDS), "groups": groups,
                "dst_step_group": step,
                "acc": half * config.acc_half + rng.randint(0, config.acc_half - groups * pixels)}


def random_pair(rng: random.Random, config: AcceleratorConfig, src: range, dst: range) -> dict[str, int]:
    """Return the body of a MUL from words of ``src`` to words of ``dst``; its scale is that of real networks."""
    while True:
        out = random_tile(rng, min(len(src), len(dst), 64))
        a, b, fields = _image(rng, src, out, "a"), _image(rng, src, out, "b"), _output(rng, dst, out)
        if a and b and fields:
            return {**fields, **a, **b, "a_zp": rng.randint(-128, 127), "b_zp": rng.randint(-128, 127),
                    "y_mult": random_multiplier(rng), "y_shift": rng.randint(-9, -3)}


def random_add(rng: random.Random, config: AcceleratorConfig, src: range, dst: range) -> dict[str, int]:
    """Return the body of an ADD from words of ``src`` to words of ``dst``; its scales are those of real networks."""
    return {**random_pair(rng, config, src, dst), "b_mult": random_multiplier(rng), "b_shift": rng.randint(-6, 0),
            "y_shift": rng.randint(-22, -16), "a_negate": rng.randint(0, 1), "b_negate": rng.randint(0, 1)}


def random_table(rng: random.Random, config: AcceleratorConfig, src: range, dst: range, *,
                 reload: bool) -> dict[str, int]:
    """Return the body of a TABLE from words of ``src`` to words of ``dst``."""
    while True:
        out = random_tile(rng, min(len(src), len(dst), 64))
        a, fields = _image(rng, src, out, "a"), _output(rng, dst, out)
        if a and fields:
            return {**fields, **a, "reload": int(reload),
                    "param": rng.randint(0, config.param_words - TABLE_ENTRIES // config.rows)}



def random_pool(rng: random.Random, config: AcceleratorConfig, src: range, dst: range, mode: PoolMode,
                max_kernel: int = 4) -> tuple[dict[str, int], Window]:
    """Return the body of a POOL from words of ``src`` to words of ``dst``, and its window."""
    while True:
        size = rng.randint(1, max_kernel)
        kernel = rng.choice(((size, size), (size, rng.randint(1, max_kernel))))
        if mode == PoolMode.AVERAGE and kernel == (1, 1):
            continue
        stride = (rng.randint(1, 3), rng.randint(1, 3))
        out = random_tile(rng, min(len(dst), 40))
        window = random_window(rng, src, rng.choice(PADDING_KINDS), out, kernel, stride, (1, 1), 1)
        fields = _output(rng, dst, out)
        if window is None or fields is None:
            continue
        body = {**window.fields, **fields, "mode": mode}
        if mode == PoolMode.AVERAGE:
            taps = kernel[0] * kernel[1]
            body |= {"zp": 0, "half": taps // 2, "mult": (1 << 31) // taps + 1}
        elif mode == PoolMode.SUM:
            body |= {"bias": rng.choice((rng.randint(-4000, 4000), rng.randrange(-1 << 31, 1 << 31))),
                     "mult": random_multiplier(rng), "shift": rng.randint(-31, MAX_LEFT_SHIFT)}
        else:
            body["zp"] = 0
        return body, window
