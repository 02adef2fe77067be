"""Depthwise layers in the array's filter mode: where the kernel lies, what a walk streams, how tiles are cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from systolith.host.backend.filters import filter_of, filter_tiles, filter_weights, walk
from systolith.host.backend.layers import Filter, Window
from systolith.host.backend.layout import Image, Rect
from systolith.host.compiler import compile_graph
from systolith.host.devices.golden import execute
from systolith.host.graph import Graph
from systolith.host.program import HwStep, Program
from systolith.hw.config import AcceleratorConfig
from systolith.hw.isa import INSTR_BYTES, Opcode, decode
from systolith.models.ops import out_size, same_padding
from systolith.sim.machine import Machine
from systolith.sim.races import find_races

from .graphs import act, graph, op
from .simulate import random_inputs, run
from .test_compiler import bias, quant, weights

NARROW = {rows: AcceleratorConfig(rows=rows, line_words=32, acc_depth=64) for rows in (4, 8, 16)}
# Buffers so small that tensors stream in bands and lines do not fit.
CRAMPED = {rows: replace(config, act_kib=max(1, rows * rows // 16), wgt_kib=max(1, rows * rows // 64), param_kib=1,
                         queue_depth=2) for rows, config in NARROW.items()}


@pytest.mark.parametrize(("kernel", "rows", "expected"), [
    ((3, 3), 10, Filter(3, 3, 1)), ((3, 3), 8, Filter(2, 3, 2)), ((3, 3), 4, Filter(1, 3, 3)),
    ((5, 5), 16, Filter(3, 5, 2)), ((5, 5), 10, Filter(2, 5, 3)), ((7, 1), 16, Filter(4, 3, 2)),
    ((1, 7), 10, Filter(1, 16, 1)), ((7, 7), 10, Filter(1, 16, 7)), ((16, 16), 16, Filter(1, 16, 16)),
    ((3, 5), 4, None), ((1, 3), 2, None), ((1, 1), 0, None), ((1, 17), 32, None)])
def test_how_a_kernel_lies_in_the_array(kernel, rows, expected):
    assert filter_of(*kernel, rows) == expected


def test_weights_are_the_newest_line_and_tap_first():
    kernel = filter_of(3, 3, 8)
    values = np.arange(1, 3 * 3 * 5 + 1, dtype=np.int8).reshape(3, 3, 5)
    tiles = filter_weights(kernel, values, 8)
    assert tiles.shape == (1, 2, 1, 1, 8, 8)
    assert not tiles[..., 5:].any()
    columns = tiles[0, :, 0, 0, :, 0]
    assert columns.tolist() == [[*values[1, ::-1, 0], *values[0, ::-1, 0], 0, 0],
                                [0, 0, 0, *values[2, ::-1, 0], 0, 0]]


def random_layer(rng: np.random.Generator, rows: int) -> tuple[Filter, Window, Image, Rect]:
    """Return a kernel, its window over an image, and a part of the output."""
    kh, kw = rng.integers(1, min(rows, 16 if rng.integers(4) == 0 else 7) + 1, 2).tolist()
    sy, sx = rng.integers(1, 4, 2).tolist()
    (top, bottom), (left, right) = rng.integers(0, (kh + 2, kw + 2), (2, 2)).T.tolist()
    h, w = int(rng.integers(1, 12)), int(rng.integers(1, 80 if rng.integers(2) else 12))
    oh, ow = (max(h + top + bottom, kh) - kh) // sy + 1, (max(w + left + right, kw) - kw) // sx + 1
    y0, x0 = int(rng.integers(oh)), int(rng.integers(ow))
    part = Rect(y0, int(rng.integers(y0, oh)) + 1, x0, int(rng.integers(x0, ow)) + 1)
    window = Window(kh, kw, sy, sx, 1, 1, top, left)
    kernel = filter_of(kh, kw, rows)
    assert kernel
    return kernel, window, Image(h, w, 1), part if rng.integers(2) else Rect(0, oh, 0, ow)


def streamed(kernel: Filter, window: Window, tile: Rect, image: Image, number: int) -> list[tuple[int, int] | None]:
    """Return the image coordinates of the words of a pass; None where the word is padding."""
    path, needs = walk(kernel, window, tile, image), window.needs(tile, image)
    first = tile.y0 * window.sy - window.top + number * kernel.lines
    places = [(first + y, path.x0 + x) for y in range(path.h) for x in range(path.w)]
    return [None] * path.lead + [(y, x) if 0 <= y < needs.y1 and 0 <= x < needs.x1 else None for y, x in places]


@pytest.mark.parametrize("rows", NARROW)
@pytest.mark.parametrize("seed", range(25))
def test_every_tap_meets_its_word_and_tiles_fit(seed, rows):
    config = NARROW[rows]
    kernel, window, image, rect = random_layer(np.random.default_rng([seed, rows]), rows)
    parts = filter_tiles(rect, kernel, window, image, config)
    pixels = [(y, x) for p in parts for y in range(p.y0, p.y1) for x in range(p.x0, p.x1)]
    assert sorted(pixels) == [(y, x) for y in range(rect.y0, rect.y1) for x in range(rect.x0, rect.x1)]
    for tile in parts:
        path = walk(kernel, window, tile, image)
        assert tile.pixels <= config.acc_half
        assert path.w + kernel.spacing <= config.line_words
        assert path.skip_x >= 0 and path.lead < 32
        streams = [streamed(kernel, window, tile, image, number) for number in range(kernel.passes)]
        assert all(len(stream) == path.words for stream in streams)
        for y, x, ky, kx in np.ndindex(tile.h, tile.w, window.kh, window.kw):
            iy, ix = (tile.y0 + y) * window.sy - window.top + ky, (tile.x0 + x) * window.sx - window.left + kx
            newest = path.lead + (y * window.sy + kernel.lines - 1) * path.w + path.skip_x + x * window.sx
            number, line = divmod(ky, kernel.lines)
            word = newest - (kernel.lines - 1 - line) * path.w - (window.kw - 1 - kx)
            assert word >= 0
            inside = 0 <= iy < image.h and 0 <= ix < image.w
            assert streams[number][word] == ((iy, ix) if inside else None)


def test_lines_share_their_padding():
    window = Window(3, 3, 1, 1, 1, 1, 1, 1)
    path = walk(filter_of(3, 3, 16), window, Rect(0, 8, 0, 8), Image(8, 8, 1))
    assert (path.w, path.lead, path.words) == (9, 1, 1 + 10 * 9)


def test_a_tile_of_later_columns_may_need_longer_lines_than_the_first():
    """The first tile shares its padding; the second, as wide, reaches further to the left and the right."""
    window, image = Window(1, 16, 1, 1, 1, 1, 0, 7), Image(4, 9, 1)
    kernel = filter_of(1, 16, 16)
    for tile in filter_tiles(Rect(0, 4, 0, 9), kernel, window, image, NARROW[16]):
        assert walk(kernel, window, tile, image).w + kernel.spacing <= 32


def random_depthwise(rng: np.random.Generator, rows: int, wide: bool = False) -> Graph:
    """Return x -> DEPTHWISE_CONV_2D -> y with SAME, VALID or explicit padding."""
    kernel = rng.integers(1, 8, 2).tolist()
    stride = rng.integers(1, 4, 2).tolist()
    size = [int(rng.integers(1, 16)), int(rng.integers(40, 100)) if wide else int(rng.integers(1, 16))]
    padding = rng.choice(["same", "valid", "explicit"])
    size = [max(n, k) for n, k in zip(size, kernel, strict=True)]
    pads = [same_padding(n, k, s, 1) if padding == "same" else (0, 0) if padding == "valid" else
            tuple(rng.integers(0, k + 2, 2).tolist()) for n, k, s in zip(size, kernel, stride, strict=True)]
    out = [out_size(n, k, s, 1, pad) for n, k, s, pad in zip(size, kernel, stride, pads, strict=True)]
    channels = int(rng.integers(1, 3 * rows))
    attrs = {"stride": tuple(stride), "dilation": (1, 1), "pads": tuple(pads), "activation": "NONE", "multiplier": 1}
    tensors = [act("x", 1, *size, channels, quant=quant(rng)), weights(rng, "w", 1, *kernel, channels, axis=3),
               bias(rng, channels), act("y", 1, *out, channels, quant=quant(rng))]
    return graph(tensors, [op("DEPTHWISE_CONV_2D", "x w b", "y", **attrs)])


def bodies(program: Program) -> list[dict[str, int]]:
    """Return the fields of the COMPUTE instructions."""
    decoded = [decode(program.image[at:at + INSTR_BYTES]) for step in program.steps if isinstance(step, HwStep)
               for at in range(step.code_offset, step.code_offset + step.count * INSTR_BYTES, INSTR_BYTES)]
    return [body for opcode, _, body in decoded if opcode == Opcode.COMPUTE]


def check_exact(network: Graph, config: AcceleratorConfig) -> list[dict[str, int]]:
    """Compare with the golden device in two orders, look for races, and return the COMPUTE instructions."""
    program = compile_graph(network, config)
    inputs = random_inputs(network)
    expected = execute(network, inputs)
    for order in ("program", "random"):
        found = run(program, inputs, order)
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, err_msg=f"{config}, {network.ops[0]}")
    machine = Machine(config, program.dram_bytes)
    machine.write(0, program.image)
    for step in program.steps:
        if isinstance(step, HwStep):
            steps = machine.steps(step.code_offset, step.count)
            assert not list(find_races(steps, config, program.dram_bytes // config.word_bytes))
    return bodies(program)


@pytest.mark.parametrize("rows", NARROW)
@pytest.mark.parametrize("seed", range(8))
def test_depthwise_layers_are_exact(seed, rows):
    rng = np.random.default_rng([seed, rows])
    network = random_depthwise(rng, rows)
    width = network.tensors["w"].shape[2]
    computes = check_exact(network, replace(NARROW[rows], line_words=512, acc_depth=512))
    assert all(body["fir"] == (width <= rows) for body in computes)


@pytest.mark.parametrize("rows", CRAMPED)
@pytest.mark.parametrize("seed", range(8))
def test_depthwise_layers_of_wide_images_on_small_buffers_are_exact(seed, rows):
    computes = check_exact(random_depthwise(np.random.default_rng([seed, rows, 1]), rows, wide=True), CRAMPED[rows])
    assert len(computes) > 1


def test_a_dilated_kernel_runs_as_dense_tiles():
    rng = np.random.default_rng(0)
    network = random_depthwise(rng, 8)
    x, y = act("x", 1, 9, 9, 8, quant=quant(rng)), act("y", 1, 5, 5, 8, quant=quant(rng))
    attrs = {**network.ops[0].attrs, "stride": (1, 1), "dilation": (2, 2), "pads": ((0, 0), (0, 0))}
    network = graph([x, weights(rng, "w", 1, 3, 3, 8, axis=3), bias(rng, 8), y],
                    [op("DEPTHWISE_CONV_2D", "x w b", "y", **attrs)])
    assert not any(body["fir"] for body in check_exact(network, NARROW[8]))
