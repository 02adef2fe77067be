"""Parts of the compiler's backend: dependencies, order, tiling, memory, rings, layout."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from systolith.host.backend.constants import ConstantPool, ConvConstants, sub_kernels
from systolith.host.backend.cost import Cut
from systolith.host.backend.dependencies import DRAM_GRANULE, Tracker, bank_mask, tokens
from systolith.host.backend.fusion import fuse_elements
from systolith.host.backend.gather import gathered
from systolith.host.backend.instruction import Instruction, Region, Space
from systolith.host.backend.layers import (
    Clamp,
    ConvLayer,
    Element,
    ElementLayer,
    Layer,
    Operand,
    Storage,
    Window,
)
from systolith.host.backend.layout import Gather, Image, Rect, View, pack, unpack
from systolith.host.backend.memory import Unplaceable, plan_memory
from systolith.host.backend.rings import Ring
from systolith.host.backend.schedule import advance, order_layers
from systolith.host.backend.tiling import plan_bands, split, tiles
from systolith.host.backend.transfers import Transfers
from systolith.hw.config import AcceleratorConfig
from systolith.hw.isa import Opcode

TINY = AcceleratorConfig.preset("tiny")
SIZES = {Space.ACT: 64, Space.WGT: 64, Space.PARAM: 64, Space.ACC: 64, Space.DRAM: 4096}


def instruction(opcode: Opcode, reads=(), writes=()) -> Instruction:
    """An instruction that touches activation words, given as (low, high[, step])."""
    regions = [[Region(Space.ACT, *words) for words in group] for group in (reads, writes)]
    return Instruction(opcode, {}, 0, *regions)


def waits(*instructions: Instruction) -> list[list[int]]:
    return tokens(instructions, Tracker(SIZES))


def test_a_reader_waits_for_the_writer():
    assert waits(instruction(Opcode.LOAD, writes=[(0, 8)]), instruction(Opcode.LOAD, writes=[(8, 16)]),
                 instruction(Opcode.COMPUTE, reads=[(4, 6)]))[2] == [1, 0, 0, 0]


def test_a_writer_waits_for_readers_and_the_writer():
    assert waits(instruction(Opcode.LOAD, writes=[(0, 8)]), instruction(Opcode.COMPUTE, reads=[(0, 8)]),
                 instruction(Opcode.STORE, reads=[(2, 3)]), instruction(Opcode.ADD, writes=[(2, 4)]))[3] == [1, 1, 0, 1]


def test_readers_do_not_wait_for_each_other():
    assert waits(instruction(Opcode.COMPUTE, reads=[(0, 8)]), instruction(Opcode.STORE, reads=[(0, 8)]))[1] == [0] * 4


def test_a_unit_never_waits_for_itself():
    assert waits(instruction(Opcode.ADD, writes=[(0, 8)]), instruction(Opcode.POOL, reads=[(0, 8)]))[1] == [0] * 4


def test_what_an_earlier_instruction_of_the_unit_waited_for_is_not_repeated():
    load = instruction(Opcode.LOAD, writes=[(0, 8)])
    compute = instruction(Opcode.COMPUTE, reads=[(0, 8)])
    assert waits(load, compute, compute)[1:] == [[1, 0, 0, 0], [0, 0, 0, 0]]


def test_interleaved_channel_blocks_do_not_touch_each_other():
    even, odd = (0, 15, 2), (1, 16, 2)
    assert waits(instruction(Opcode.REQUANT, writes=[even]), instruction(Opcode.COMPUTE, reads=[odd]),
                 instruction(Opcode.STORE, reads=[even]))[1:] == [[0] * 4, [0, 0, 1, 0]]


def test_dram_is_tracked_in_whole_granules():
    store = Instruction(Opcode.STORE, {}, 0, [], [Region(Space.DRAM, 10, 20)])
    near, far = (Instruction(Opcode.LOAD, {}, 0, [Region(Space.DRAM, low, low + 1)], [])
                 for low in (DRAM_GRANULE - 1, DRAM_GRANULE))
    assert waits(store, far, near)[1:] == [[0] * 4, [0, 0, 0, 1]]


def test_a_region_outside_its_memory_is_a_bug_that_is_reported():
    with pytest.raises(ValueError, match="within ACT, not be 60..65"):
        waits(instruction(Opcode.LOAD, writes=[(60, 65)]))


def test_bank_masks_cover_every_bank_of_a_region():
    regions = [Region(Space.ACT, 15, 17), Region(Space.ACT, 48, 49), Region(Space.WGT, 0, 64), Region(Space.ACT, 0, 0)]
    assert bank_mask(regions, 16) == 0b1011


def touched(instruction_: Instruction) -> tuple[set[int], set[int]]:
    reads, writes = ({word for r in group for word in range(r.low, r.high, r.step)}
                     for group in (instruction_.reads, instruction_.writes))
    return reads, writes


@pytest.mark.parametrize("seed", range(20))
def test_advancing_keeps_the_order_of_everything_that_conflicts(seed):
    rng = random.Random(seed)

    def words():
        low = rng.randrange(60)
        return low, rng.randrange(low, 64), rng.choice((1, 1, 2, 3))

    opcodes = [Opcode.LOAD, Opcode.COMPUTE, Opcode.REQUANT, Opcode.ADD, Opcode.POOL, Opcode.STORE]
    program = [instruction(rng.choice(opcodes), [words()], [words()]) for _ in range(60)]
    moved = advance(program, Tracker(SIZES), ahead=3)
    place = {id(each): index for index, each in enumerate(moved)}
    assert sorted(place) == sorted(map(id, program))
    for i, first in enumerate(program):
        for second in program[i + 1:]:
            (reads, writes), (later_reads, later_writes) = touched(first), touched(second)
            if writes & (later_reads | later_writes) or reads & later_writes:
                assert place[id(first)] < place[id(second)], f"seed {seed}"


def test_loads_come_early_but_only_a_few_of_them():
    loads = [instruction(Opcode.LOAD, writes=[(i, i + 1)]) for i in range(4)]
    computes = [instruction(Opcode.COMPUTE, reads=[(i, i + 1)]) for i in range(4)]
    program = [each for pair in zip(loads, computes, strict=True) for each in pair]
    found = advance(program, Tracker(SIZES), ahead=2)
    assert [each.unit.name[0] for each in found] == list("LLLCLCCC")


def test_what_keeps_its_place_is_not_moved():
    program = [instruction(Opcode.COMPUTE, reads=[(0, 1)]), instruction(Opcode.TABLE, writes=[(8, 9)]),
               replace(instruction(Opcode.TABLE, writes=[(9, 10)]), keeps_place=True)]
    assert advance(program, Tracker(SIZES), ahead=2) == [program[1], program[0], program[2]]


POINTWISE, SMALL = Window(), Image(4, 4, 1)


def layer(name: str, inputs: str, image: Image = SMALL, window: Window = POINTWISE) -> Layer:
    return Layer(name, tuple(Operand(x, image) for x in inputs), Operand(name, image), window)


def test_a_branch_fills_the_gap_between_dependent_layers():
    ordered = order_layers([layer("a", "x"), layer("b", "a"), layer("c", "x"), layer("d", "bc")])
    assert [each.op for each in ordered] == ["a", "c", "b", "d"]


@pytest.mark.parametrize(("low", "high", "most", "expected"), [
    (0, 10, 4, [(0, 3), (3, 6), (6, 10)]), (2, 5, 8, [(2, 5)]), (0, 4, 1, [(0, 1), (1, 2), (2, 3), (3, 4)])])
def test_splits_are_balanced(low, high, most, expected):
    assert split(low, high, most) == expected


@pytest.mark.parametrize(("size", "most", "step", "expected"), [
    (20, 7, 4, [(0, 4), (4, 12), (12, 20)]), (10, 3, 4, [(0, 4), (4, 10)]), (3, 1, 4, [(0, 3)])])
def test_splits_with_a_step_begin_at_its_multiples(size, most, step, expected):
    assert split(0, size, most, step) == expected


@pytest.mark.parametrize("rect", [Rect(1, 9, 2, 7), Rect(0, 1, 0, 30), Rect(3, 5, 0, 17)])
def test_tiles_cover_a_rectangle_once_and_are_small_enough(rect):
    parts = tiles(rect, 16)
    pixels = [(y, x) for p in parts for y in range(p.y0, p.y1) for x in range(p.x0, p.x1)]
    assert all(p.pixels <= 16 for p in parts)
    assert sorted(pixels) == [(y, x) for y in range(rect.y0, rect.y1) for x in range(rect.x0, rect.x1)]


@pytest.mark.parametrize("most", [1, 2, 5, 9, 12, 100])
def test_sub_kernels_cover_every_tile_once(most):
    parts = sub_kernels(3, 4, 5, most)
    covered = sorted((ky, kx, b) for p in parts for ky in range(p.ky, p.ky + p.kh) for kx in range(p.kx, p.kx + p.kw)
                     for b in range(p.block, p.block + p.blocks))
    assert covered == sorted((ky, kx, b) for ky in range(3) for kx in range(4) for b in range(5))
    assert all(p.tiles <= most for p in parts)


@pytest.mark.parametrize("wgt_kib", [1, 2, 4, 64])
@pytest.mark.parametrize("taps", [1, 3, 5])
@pytest.mark.parametrize(("pixels", "parts"), [(17, 2), (16, 4)])
def test_a_load_of_weights_takes_half_the_buffer_or_a_quarter_where_loads_are_all(wgt_kib, taps, pixels, parts):
    config = replace(AcceleratorConfig.preset("edge"), wgt_kib=wgt_kib)
    rows, outputs, image = config.rows, 7, Image(4, 4, 1)
    wide = ConvLayer("y", (Operand("x", image),), Operand("y", Image(4, 4, outputs)), Window(1, taps), Clamp(0),
                     np.zeros((outputs, 1, taps, 1, rows, rows), np.int8), np.zeros((outputs, 9, rows), np.uint8),
                     fill=0, sources=(0,) * outputs)
    constants = ConvConstants(wide, config, ConstantPool(rows), pixels=pixels)
    loads = [constants.weights(block, number)[2] for block in range(outputs) for number in range(len(constants.passes))]
    assert max(loads) <= config.wgt_words // parts


@pytest.mark.parametrize("ends", [False, True])
def test_the_last_weights_of_a_step_come_in_small_chunks(ends):
    config, outputs, image = AcceleratorConfig.preset("edge"), 40, Image(1, 1, 8)
    rows = config.rows
    dense = ConvLayer("y", (Operand("x", image),), Operand("y", Image(1, 1, outputs)), POINTWISE, Clamp(0),
                      np.zeros((outputs, 1, 1, 8, rows, rows), np.int8), np.zeros((outputs, 9, rows), np.uint8),
                      fill=0, sources=(0,) * outputs)
    constants = ConvConstants(dense, config, ConstantPool(rows), pixels=1, ends=ends)
    blocks = [constants.shared(block) for block in range(outputs)]
    loads = {constants.weights(block, 0) for block in range(outputs)}
    assert sum(words for _, _, words in loads) == outputs * constants.block_words
    sizes = [blocks[first] for first in sorted({first for first, _, _ in loads})]
    assert sizes[1:] == sorted(sizes[1:], reverse=True) and 1 < max(sizes) <= constants.group
    assert (sizes[-4:] == [1] * 4) == ends


@pytest.mark.parametrize("budget", [20, 100, 200, 400, 800])
def test_bands_stay_within_their_budget_and_cover_the_output(budget):
    wide = layer("y", "x", Image(9, 20, 2), Window(3, 3, 1, 1, 1, 1, 1, 1))
    bands = plan_bands(wide, [0, -1], budget, TINY)
    if bands is None:
        assert budget < 50
        return
    assert bands.slots * sum(words for _, words in bands.words) <= budget
    for position, most in bands.words:
        assert most == max(wide.needs(position, part.rect).pixels * part.blocks for part in bands.parts)
    words = sorted((y, x, b) for rect, first, count in bands.parts for y in range(rect.y0, rect.y1)
                   for x in range(rect.x0, rect.x1) for b in range(first, first + count))
    assert words == sorted((y, x, b) for y in range(9) for x in range(20) for b in range(2))


def moved(layer, bands) -> int:
    """Return the words of streamed operands that the bands move; a band keeps what it shares with the one before."""
    total = 0
    for position, _ in bands.words:
        keys = [(layer.needs(position, part.rect), layer.blocks(position, part.first, part.blocks))
                for part in bands.parts]
        total += sum(rect.pixels * count for (rect, (_, count)), before in zip(keys, [None, *keys], strict=False)
                     if (rect, (_, count)) != before)
    return total


@pytest.mark.parametrize("budget", [40, 100, 200, 400, 800])
def test_estimated_transfers_are_those_of_the_bands(budget):
    wide = layer("y", "x", Image(9, 20, 2), Window(3, 3, 1, 1, 1, 1, 1, 1))
    slow = replace(TINY, dram_bandwidth=1)  # four cycles per word, more than any work
    bands = plan_bands(wide, [0, -1], budget, slow)
    rows, columns = (sorted({(part.rect[i], part.rect[i + 1]) for part in bands.parts}) for i in (0, 2))
    blocks = sorted({(part.first, part.first + part.blocks) for part in bands.parts})
    cut = Cut(wide, rows, columns, [0, -1], slow)
    assert len(bands.parts) == cut.rects * len(blocks)
    outside = len(bands.parts) > 1 and bands.parts[0].first == bands.parts[1].first
    faster = replace(TINY, dram_bandwidth=2)
    apart = cut.cycles(blocks, outside, 1) - Cut(wide, rows, columns, [0, -1], faster).cycles(blocks, outside, 1)
    assert apart == (4 - 2) * moved(wide, bands)


def convolution(image: Image, outputs: int, rows: int) -> ConvLayer:
    weights = np.zeros((outputs, 3, 3, image.blocks, rows, rows), np.int8)
    return ConvLayer("y", (Operand("x", image),), Operand("y", image._replace(blocks=outputs)),
                     Window(3, 3, top=1, left=1), Clamp(0), weights, np.zeros((outputs, 9, rows), np.uint8), fill=0,
                     sources=(0,) * outputs)


def test_weights_that_do_not_fit_are_loaded_once_and_the_image_again():
    conv = convolution(Image(16, 16, 4), 64, 4)  # 9,216 words of weights; the weight buffer of `tiny` has 4,096
    bands = plan_bands(conv, [0], 512, TINY)
    firsts = [part.first for part in bands.parts]
    assert len({part.rect for part in bands.parts}) > 1 and firsts == sorted(firsts) and len(set(firsts)) > 1


def test_weights_that_fit_stay_and_the_image_is_loaded_once():
    conv = convolution(Image(32, 32, 4), 4, 4)
    bands = plan_bands(conv, [0], 1024, TINY)
    rects = [part.rect for part in bands.parts]
    assert len(set(rects)) == len(rects) and {part.blocks for part in bands.parts} == {4}


def test_transfers_are_hidden_behind_work_where_two_slots_fit():
    assert plan_bands(convolution(Image(16, 16, 2), 2, 4), [0, -1], 512, TINY).slots == 2


def storages(layers: list[Layer], words: int) -> dict[str, Storage]:
    names = {operand.storage for each in layers for operand in (*each.inputs, each.output)}
    return {name: Storage(name, words, 1, 4, words) for name in names}


def test_live_tensors_never_overlap():
    names = "abcdefgh"
    image = Image(16, 64, 1)
    layers = [layer(y, x, image) for x, y in zip(names, names[1:], strict=False)]
    plan = plan_memory(layers, storages(layers, image.words), TINY)
    for each in layers:
        x, y = plan.resident[each.inputs[0].storage], plan.resident[each.output.storage]
        assert abs(x - y) >= image.words


def test_an_output_keeps_away_from_the_banks_of_its_inputs():
    image = Image(16, 64, 1)
    layers = [layer("y", "ab", image)]
    plan = plan_memory(layers, storages(layers, image.words), TINY)
    banks = {name: plan.resident[name] // TINY.bank_words for name in "aby"}
    assert len(set(banks.values())) == 3


@pytest.mark.parametrize("banks", [2, 4])
def test_between_steps_a_tile_lies_in_a_bank_that_the_array_does_not_read(banks):
    image, config = Image(16, 64, 1), replace(TINY, act_banks=banks)
    layers = fuse_elements([conv("a", "x", image), replace(element(Opcode.TABLE, "t", "a", b"1"), inputs=(
        Operand("a", image),), output=Operand("t", image)), conv("y", "t", image)], set())
    plan = plan_memory(layers, storages(layers, image.words), config)
    scratch = plan.layers[0].scratch
    if banks == 2:  # in place, as input and output take one each
        assert scratch is None
    else:
        assert scratch is not None and plan.layers[1].scratch is None
        assert scratch // config.bank_words not in {plan.resident[name] // config.bank_words for name in "xt"}


def test_streamed_operands_of_array_and_vector_unit_lie_in_banks_of_their_own():
    image = Image(64, 300, 1)  # too large to stay
    base = layer("y", "ab", image)
    add = ElementLayer("y", base.inputs, base.output, POINTWISE, Element(Opcode.ADD, {}))
    layers = fuse_elements([conv("a", "x", image), add], set())
    (plan,) = plan_memory(layers, storages(layers, image.words), TINY).layers
    banks = {position: {address // TINY.bank_words for address in addresses}
             for position, addresses in plan.slots.items()}
    assert banks.keys() == {0, 1, -1} and plan.scratch is not None
    assert banks[0].isdisjoint(banks[1] | banks[-1]) and banks[1].isdisjoint(banks[-1])
    assert plan.scratch // TINY.bank_words not in banks[0] | banks[1] | banks[-1]


@pytest.mark.parametrize(("share", "stays"), [(7 / 8, False), (1 / 4, True)])
def test_an_input_streams_where_it_would_crowd_fused_steps_into_one_bank(share, stays):
    image = Image(1, int(TINY.act_words * share), 1)
    wide = image._replace(blocks=8)  # too large to stay
    conv = ConvLayer("a", (Operand("x", image),), Operand("a", wide), POINTWISE, Clamp(0),
                     np.zeros((8, 1, 1, 1, 4, 4), np.int8), np.zeros((8, 9, 4), np.uint8), fill=0, sources=(0,) * 8)
    base = layer("y", "ab", wide)
    add = ElementLayer("y", base.inputs, base.output, POINTWISE, Element(Opcode.ADD, {}))
    stored = storages([add], wide.words) | storages([layer("x", "x", image)], image.words)
    plan = plan_memory(fuse_elements([conv, add], set()), stored, TINY)
    assert ("x" in plan.resident) == stays


def test_the_largest_tensor_streams_when_not_all_fit():
    small, large = Image(16, 64, 1), Image(64, 300, 1)
    layers = [Layer("b", (Operand("a", small),), Operand("b", large), Window()),
              Layer("c", (Operand("b", large),), Operand("c", small), Window())]
    sizes = {"a": small.words, "b": large.words, "c": small.words}
    plan = plan_memory(layers, {name: Storage(name, n, 1, 4, n) for name, n in sizes.items()}, TINY)
    assert set(plan.resident) == {"a", "c"} and len(plan.layers[0].bands.parts) > 1


def test_a_band_that_can_never_fit_names_the_operator():
    image = Image(TINY.act_words + 1, 1, 1)
    wide = replace(layer("y", "x", image), window=Window(kh=TINY.act_words + 1))
    with pytest.raises(Unplaceable, match="smallest band needs more than the 64 KiB") as caught:
        plan_memory([replace(wide, output=Operand("y", SMALL))], storages([wide], image.words), TINY)
    assert caught.value.op == "y"


def test_a_ring_evicts_what_it_overwrites():
    ring = Ring(10)
    assert (ring.claim("a", 4), ring.claim("b", 4), ring.claim("c", 3)) == (0, 4, 0)
    assert (ring.find("a"), ring.find("b"), ring.find("c")) == (None, 4, 0)


@pytest.mark.parametrize("words", [0, 11])
def test_a_ring_refuses_what_it_cannot_hold(words):
    with pytest.raises(ValueError, match=f"between 1 and 10, not {words}"):
        Ring(10).claim("a", words)


@pytest.mark.parametrize("channels", [1, 3, 4, 6, 8])
def test_packing_round_trips(channels):
    array = np.random.default_rng(channels).integers(-128, 128, (1, 3, 5, channels)).astype(np.int8)
    packed = pack(array, channels, 4)
    assert len(packed) == 15 * -(-channels // 4) * 4
    assert np.array_equal(unpack(packed, array.shape, channels, 4), array)


def test_a_packed_tensor_is_one_plane_after_the_other():
    array = np.arange(2 * 3 * 8, dtype=np.int8).reshape(1, 2, 3, 8)
    assert pack(array, 8, 4) == array[..., :4].tobytes() + array[..., 4:].tobytes()


@pytest.mark.parametrize("transposed", [False, True])
def test_a_gathered_image_holds_windows_of_each_row_at_equal_distances(transposed):
    array = np.random.default_rng(0).integers(-128, 128, (1, 5, 6, 3)).astype(np.int8)
    raw = np.frombuffer(Gather(24, before=3, pitch=6, fill=7, transposed=transposed).pack(array), np.int8)
    lines = raw.reshape(-1, 24)
    image = array[0].swapaxes(0, 1) if transposed else array[0]
    assert len(lines) == len(image) and (lines[:, :3] == 7).all()
    for y, window in np.ndindex(len(lines), 2):
        assert np.array_equal(lines[y, 6 + 6 * window:12 + 6 * window], image[y, 1 + 2 * window:3 + 2 * window].ravel())


@pytest.mark.parametrize(("gather", "runs"), [(None, [5]), (Gather(200, 0, 2, 0, transposed=False), [40])])
def test_an_image_of_one_row_arrives_in_parts_unless_it_is_gathered(gather, runs):
    storage, image = Storage("x", 1, 40, 400, 4000, "x", gather), Image(1, 40, 100)
    transfers = Transfers(TINY, {"x": storage}, {"x": 0}, {"x": 0})
    loads = [*transfers.arrive(0, Operand("x", image), Rect(0, 1, 0, 5))]
    assert {load.body.get("windows", load.body["row_words"]) for load in loads} == {*runs}
    assert sum(load.body["rows"] for load in loads) == 100


def test_packing_refuses_other_types_and_sizes():
    with pytest.raises(ValueError, match="must be int8"):
        pack(np.zeros((2, 3), np.uint8), 3, 4)
    with pytest.raises(ValueError, match="1 planes of 1 words, not 7 bytes"):
        unpack(bytes(7), (1, 3), 3, 4)


def test_a_view_of_a_band_addresses_pixels_by_their_place_in_the_image():
    view = View(base=100 - 2 * 10, row=10, plane=40)  # rows from 2 on lie at word 100
    assert view.address(2, 0) == 100 and view.address(3, 1, 1) == 151
    assert view.words(Rect(2, 4, 0, 10), 0) == (100, 120, 1, 1, 40)
    assert view.words(Rect(2, 4, 0, 10), 1, 2) == (140, 160, 1, 2, 40)
    assert view.words(Rect(2, 4, 3, 4), 0) == (103, 114, 10, 1, 40)


def test_planes_of_a_region_are_tracked_apart():
    planes = Instruction(Opcode.LOAD, {}, 0, [], [Region(Space.ACT, 0, 4, 1, 3, 16)])
    between, within = (instruction(Opcode.COMPUTE, reads=[words]) for words in ((4, 16), (34, 35)))
    assert waits(planes, between, within)[1:] == [[0] * 4, [1, 0, 0, 0]]


def conv(name: str, source: str, image: Image = SMALL) -> ConvLayer:
    base = layer(name, source, image)
    return ConvLayer(name, base.inputs, base.output, POINTWISE, Clamp(0), np.zeros((1, 1, 1, 1, 4, 4), np.int8),
                     np.zeros((1, 9, 4), np.uint8), fill=0, sources=(0,))


def element(opcode: Opcode, name: str, inputs: str, table: bytes = b"", second: Image = SMALL) -> ElementLayer:
    operands = tuple(Operand(x, image) for x, image in zip(inputs, (SMALL, second), strict=False))
    return ElementLayer(name, operands, Operand(name, SMALL), POINTWISE, Element(opcode, {}, table))


@pytest.mark.parametrize(("inputs", "operands"), [("ab", (1, -1)), ("ba", (-1, 1))])
def test_an_element_wise_operator_follows_the_later_of_two_convolutions(inputs, operands):
    layers = [conv("a", "x"), conv("b", "x"), element(Opcode.ADD, "s", inputs)]
    first, second = fuse_elements(layers, set())
    assert first is layers[0] and isinstance(second, ConvLayer)
    assert [each.storage for each in second.inputs] == ["x", "a"] and second.output.storage == "s"
    assert [(step.op, step.operands) for step in second.steps] == [("s", operands)]
    assert fuse_elements(layers, {"b"}) == layers


def test_a_chain_follows_a_convolution():
    layers = [conv("a", "x"), conv("b", "x"), element(Opcode.TABLE, "t", "b", b"1"), element(Opcode.MUL, "m", "ta"),
              element(Opcode.TABLE, "u", "m", b"1")]
    _, second = fuse_elements(layers, set())
    assert isinstance(second, ConvLayer) and second.output.storage == "u"
    assert [(step.op, step.operands) for step in second.steps] == [("t", (-1,)), ("m", (-1, 1)), ("u", (-1,))]


def test_a_second_table_does_not_follow_a_convolution():
    layers = [conv("a", "x"), element(Opcode.TABLE, "t", "a", b"1"), element(Opcode.TABLE, "u", "t", b"2")]
    assert [each.op for each in fuse_elements(layers, set())] == ["a", "u"]


def test_an_operand_of_single_channels_may_follow_but_not_one_of_rows():
    layers = [conv("a", "x"), element(Opcode.MUL, "m", "ag", second=Image(1, 1, 1))]
    (fused,) = fuse_elements(layers, set())
    assert fused.repeats(1) == (True, True) and fused.needs(1, Rect(1, 3, 0, 4)) == Rect(0, 1, 0, 1)
    layers = [conv("a", "x"), element(Opcode.MUL, "m", "ag", second=Image(1, 4, 1))]
    assert fuse_elements(layers, set()) == layers


def test_what_two_operators_read_is_not_fused():
    layers = [conv("a", "x"), element(Opcode.TABLE, "t", "a", b"1"), element(Opcode.MUL, "m", "ta")]
    assert fuse_elements(layers, set()) == layers


@pytest.mark.parametrize(("shape", "stride", "expected"), [
    ((4, 3, 3, 3), 2, (3, 1, False)),      # an image stem: a kernel row per pass
    ((4, 10, 4, 1), 2, (4, 1, True)),      # long columns of one channel: a kernel column per pass
    ((4, 3, 3, 3), 8, None),               # windows farther apart than a word
    ((4, 1, 1, 3), 1, None)])              # nothing to gather
def test_few_channels_are_gathered_along_the_longer_side(shape, stride, expected):
    x = Storage("x", 50, 40, shape[3], 2000, "x")
    window, weights = Window(shape[1], shape[2], stride, stride), np.ones(shape, np.int8)
    found = gathered("y", x, window, Image(20, 15, 1), weights, 0, 16)
    assert (found and (found.window.kh, found.window.kw, found.storage.gather.transposed)) == expected
