"""COMPUTE in filter mode against plain loops over a depthwise convolution, and against its definition word by word."""

from dataclasses import replace

import numpy as np
import pytest

from systolith.hw.array import SPACINGS, lines_at_once, spacing_of
from systolith.hw.config import AcceleratorConfig
from systolith.hw.isa import ErrorCode, Opcode
from systolith.sim.machine import Machine, MachineError
from tests.unit.sim.reference import machine, run_one

CONFIGS = {rows: AcceleratorConfig(rows=rows, act_kib=2 * rows, wgt_kib=2 * rows, param_kib=1, line_words=64)
           for rows in (4, 8, 16)}
IN, WGT, ACC = 40, 5, 3

# rows, image, channel blocks, kernel, stride, pads ((top, bottom), (left, right))
SHAPES = {
    "3x3 same": (8, (6, 7), 1, (3, 3), (1, 1), ((1, 1), (1, 1))),
    "3x3 valid": (16, (6, 9), 2, (3, 3), (1, 1), ((0, 0), (0, 0))),
    "3x3 stride 2": (16, (9, 8), 1, (3, 3), (2, 2), ((0, 1), (0, 1))),
    "3x3 in single lines": (4, (5, 6), 3, (3, 3), (1, 1), ((1, 1), (1, 1))),
    "5x5": (16, (7, 7), 2, (5, 5), (1, 1), ((2, 2), (2, 2))),
    "5x5 stride 3": (8, (11, 9), 1, (5, 5), (3, 3), ((2, 1), (1, 2))),
    "7x1": (16, (9, 4), 1, (7, 1), (1, 2), ((3, 3), (0, 0))),
    "1x7": (16, (3, 9), 1, (1, 7), (2, 1), ((0, 0), (3, 3))),
    "2x4 uneven strides": (4, (7, 9), 1, (2, 4), (3, 2), ((1, 0), (2, 1))),
    "1x1": (4, (3, 5), 2, (1, 1), (2, 3), ((0, 0), (0, 0))),
    "10x10": (16, (11, 10), 1, (10, 10), (1, 1), ((2, 1), (3, 4))),
    "narrow": (8, (5, 1), 1, (3, 3), (1, 1), ((1, 1), (1, 1))),
}


def fields(rows: int, image, blocks: int, kernel, stride, pads, *, block: int = 0, shared: bool, fill: int = -7):
    """Return the fields of the whole image; with ``shared``, lines share the padding between them."""
    (h, w), (kh, kw), (sy, sx), ((top, bottom), (left, right)) = image, kernel, stride, pads
    out_h, out_w = (h + top + bottom - kh) // sy + 1, (w + left + right - kw) // sx + 1
    spacing = spacing_of(kw)
    lines = min(kh, lines_at_once(CONFIGS[rows].fir_rows, spacing))
    passes = -(-kh // lines)
    width = (out_w - 1) * sx + kw
    skip = left if shared else 0
    return {"in_base": (IN + block - top * w * blocks - (left - skip) * blocks) % 2**20, "iy0": -top,
            "ix0": skip - left, "in_h": h, "in_w": w, "step_x": blocks, "step_y": w * blocks,
            "tap_y": lines * w * blocks, "dil_y": lines, "stride_x": sx, "stride_y": sy, "fill": fill,
            "out_h": out_h, "out_w": out_w, "kh": passes, "kw": 1, "blocks": 1, "groups": 1, "tiles": passes,
            "wgt": WGT, "acc": ACC, "fir": 1, "spacing": spacing, "walk_h": (out_h - 1) * sy + lines, "lead": skip,
            "walk_w": max(width - skip, w + skip) if shared else width, "skip_y": lines - 1, "skip_x": kw - 1 - skip}


def set_weights(m: Machine, f: dict[str, int], kernel: np.ndarray) -> None:
    """Put a kernel [kh, kw, R] into the weight tiles: newest line first, newest tap first."""
    rows = m.config.rows
    m.wgt[f["wgt"]:f["wgt"] + f["tiles"] * rows] = 0
    lines = f["dil_y"]
    for ky, kx in np.ndindex(*kernel.shape[:2]):
        row = (lines - 1 - ky % lines) * f["spacing"] + kernel.shape[1] - 1 - kx
        m.wgt[f["wgt"] + ky // lines * rows + row] = kernel[ky, kx]


def convolve(m: Machine, f: dict[str, int], shape, kernel: np.ndarray, block: int,
             start: int = IN) -> np.ndarray:
    """Return the sums int64 [pixels, R] of a depthwise convolution, as loops over the padded image."""
    _, (h, w), blocks, (kh, kw), (sy, sx), ((top, _), (left, _)) = shape
    image = m.act[start:start + h * w * blocks].reshape(h, w, blocks, -1)[:, :, block].astype(np.int64)
    sums = np.zeros((f["out_h"], f["out_w"], m.config.rows), np.int64)
    for y, x, ky, kx in np.ndindex(f["out_h"], f["out_w"], kh, kw):
        iy, ix = y * sy + ky - top, x * sx + kx - left
        word = image[iy, ix] if 0 <= iy < h and 0 <= ix < w else f["fill"]
        sums[y, x] += word * kernel[ky, kx]
    return sums.reshape(-1, m.config.rows)


@pytest.mark.parametrize("accumulate", [0, 1])
@pytest.mark.parametrize("shared", [False, True], ids=["padded lines", "shared padding"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_a_depthwise_convolution(shape, shared, accumulate):
    rows, blocks = shape[0], shape[2]
    m = machine(config=CONFIGS[rows])
    kernel = np.random.default_rng(1).integers(-128, 128, (*shape[3], rows))
    for block in range(blocks):
        f = fields(*shape, block=block, shared=shared) | {"accumulate": accumulate}
        set_weights(m, f, kernel)
        expected = m.acc.astype(np.int64)
        tile = slice(ACC, ACC + f["out_h"] * f["out_w"])
        expected[tile] = convolve(m, f, shape, kernel, block) + (expected[tile] if accumulate else 0)
        result = run_one(m, Opcode.COMPUTE, **f)
        assert np.array_equal(m.acc, expected.astype(np.int32))
        assert result.pixel_words == f["tiles"] * (f["lead"] + f["walk_h"] * f["walk_w"])


@pytest.mark.parametrize("accumulate", [0, 1])
def test_a_depthwise_convolution_of_several_blocks(accumulate):
    """Every block of channels is a group, whose words lie in a plane of its own."""
    shape = (8, (6, 7), 1, (5, 3), (1, 1), ((2, 2), (1, 1)))
    m = machine(config=CONFIGS[8])
    f = fields(*shape, shared=True) | {"groups": 3, "step_group": 50, "accumulate": accumulate}
    kernel = np.random.default_rng(1).integers(-128, 128, (3, 5, 3, 8))
    expected = m.acc.astype(np.int64)
    sizes = f["tiles"] * 8, f["out_h"] * f["out_w"]
    for g in range(3):
        set_weights(m, f | {"wgt": WGT + g * sizes[0]}, kernel[g])
        tile = slice(ACC + g * sizes[1], ACC + (g + 1) * sizes[1])
        plane = convolve(m, f, shape, kernel[g], 0, IN + 50 * g)
        expected[tile] = plane + (expected[tile] if accumulate else 0)
    result = run_one(m, Opcode.COMPUTE, **f)
    assert np.array_equal(m.acc, expected.astype(np.int32))
    assert result.pixel_words == 3 * f["tiles"] * (f["lead"] + f["walk_h"] * f["walk_w"])


@pytest.mark.parametrize("filter_rows", [16, 10])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_each_row_meets_the_word_that_the_definition_names(spacing, filter_rows):
    """Not only convolutions: weights in every row, whose words come from lines before and their neighbours."""
    m = machine(config=replace(CONFIGS[16], filter_rows=filter_rows))
    lines = lines_at_once(filter_rows, spacing)
    f = {"in_base": 9, "in_h": 99, "in_w": 99, "step_x": 1, "step_y": 20, "tap_x": 7, "tap_y": 3, "dil_x": 1,
         "dil_y": 1, "stride_x": 3, "stride_y": 2, "out_h": 2, "out_w": 3, "kh": 2, "kw": 2, "blocks": 2,
         "step_block": 1, "groups": 1, "tiles": 8, "wgt": WGT, "acc": ACC, "fir": 1, "spacing": spacing, "lead": 5,
         "walk_h": lines + 5, "walk_w": 11, "skip_y": lines + 1, "skip_x": 2}
    expected = m.acc.astype(np.int64)
    expected[ACC:ACC + 6] = 0
    for t, (ky, kx, b) in enumerate(np.ndindex(2, 2, 2)):
        lead = [np.zeros(16, np.int64)] * 5  # fill is 0
        stream = lead + [m.act[9 + y * 20 + x + ky * 3 + kx * 7 + b].astype(np.int64)
                         for y, x in np.ndindex(f["walk_h"], 11)]
        for p, (y, x) in enumerate(np.ndindex(2, 3)):
            newest = 5 + (f["skip_y"] + 2 * y) * 11 + f["skip_x"] + 3 * x
            expected[ACC + p] += stream[newest][filter_rows:] @ m.wgt[WGT + 16 * t + filter_rows:WGT + 16 * t + 16]
            for r in range(filter_rows):
                line = min(r // spacing, lines - 1)
                word = stream[newest - 11 * line - (r - spacing * line)]
                expected[ACC + p] += word * m.wgt[WGT + 16 * t + r]
    run_one(m, Opcode.COMPUTE, **f)
    assert np.array_equal(m.acc, expected.astype(np.int32))


F, A = ErrorCode.FIELD, ErrorCode.ADDRESS
WRONG = [
    *[(F, {name: 0}, f"{name} must be positive, not 0") for name in
      ("out_h", "out_w", "kh", "kw", "blocks", "groups", "walk_h", "walk_w", "stride_x", "stride_y")],
    (F, {"tiles": 2}, "tiles must be kh * kw * blocks = 1, not 2"),
    (A, {"groups": 65}, "stay within a half of 256 words, not span 3..262"),
    (A, {"wgt": 2033, "groups": 2}, "wgt address must be below 2048 words, not 2048"),
    (A, {"groups": 2, "step_group": 2000}, "act address must be below 2048 words"),
    (F, {"spacing": 6}, "spacing must be one of (3, 5, 16), not 6"),
    (F, {"walk_w": 62}, "walk_w + spacing must be above 2 and at most 64, not 65"),
    (F, {"acc": 512}, "acc must be below 512, not 512"),
    (A, {"acc": 255}, "stay within a half of 256 words, not span 255..258"),
    (A, {"wgt": 2041}, "wgt address must be below 2048 words, not 2048"),
    (A, {"in_base": 2048}, "act address must be below 2048 words"),
    (F, {"out_h": 9}, "the walk must reach the last output; enlarge walk_h or walk_w"),
    (F, {"skip_x": 7}, "the walk must reach the last output; enlarge walk_h or walk_w"),
    (F, {"skip_x": 1}, "rows without a word at the first output must have zero weights"),
]


@pytest.mark.parametrize("change, code, message", [(change, code, message) for code, change, message in WRONG])
def test_stops_on(change, code, message):
    m = machine(config=CONFIGS[8])
    f = fields(8, (4, 4), 1, (1, 3), (1, 1), ((0, 0), (0, 0)), shared=False) | {"out_h": 2}
    set_weights(m, f, np.ones((1, 3, 8), np.int8))
    run_one(m, Opcode.COMPUTE, **f)
    with pytest.raises(MachineError) as caught:
        run_one(m, Opcode.COMPUTE, **f | change)
    assert caught.value.code == code
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_array_without_filter_mode_stops():
    m = machine(config=replace(CONFIGS[8], filter_rows=0))
    with pytest.raises(MachineError, match="fir must be 0 in an array without filter mode, not 1") as caught:
        run_one(m, Opcode.COMPUTE, **fields(8, (4, 4), 1, (1, 3), (1, 1), ((0, 0), (0, 0)), shared=False))
    assert caught.value.code == ErrorCode.FIELD


def test_banks_of_the_words_that_are_streamed_must_be_named():
    m = machine(config=CONFIGS[8])
    f = fields(8, (4, 4), 1, (1, 3), (1, 1), ((0, 0), (0, 0)), shared=False)
    set_weights(m, f, np.ones((1, 3, 8), np.int8))
    f["in_base"] = CONFIGS[8].bank_words - 8
    with pytest.raises(MachineError, match="rd_banks must include bank 1, not be 0x01") as caught:
        run_one(m, Opcode.COMPUTE, {"rd_banks": 1}, **f)
    assert caught.value.code == ErrorCode.BANK
