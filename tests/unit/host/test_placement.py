"""Storages that are parts of others."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from systolith.host.backend.layers import Clamp, Layer, Operand, PoolLayer, PoolPiece, Storage, Window
from systolith.host.backend.layout import Image, View
from systolith.host.backend.placement import place_copies, within
from systolith.hw.isa import PoolMode

PART, WHOLE = Image(3, 4, 2), Image(3, 4, 5)
STORAGES = {"a": Storage("a", 3, 4, 8, PART.words), "b": Storage("b", 3, 4, 8, PART.words),
            "t": Storage("t", 3, 4, 20, WHOLE.words), "y": Storage("y", 3, 4, 8, PART.words)}


def layer(op: str, source: Operand, target: Operand) -> Layer:
    return Layer(op, (source,), target, Window())


def copy(source: Operand, target: Operand) -> PoolLayer:
    return PoolLayer("copy", (source,), target, Window(), Clamp(0), (PoolPiece(target.image.rect, PoolMode.MAX),))


def blocks_from(first: int) -> Operand:
    """Blocks of `t` from `first` on, as an image like `a`."""
    return Operand("t", PART, View(first * WHOLE.plane, WHOLE.w, WHOLE.plane))


def operands(layers: list[Layer]) -> list[tuple[str, View]]:
    return [(each.storage, each.view) for layer in layers for each in (*layer.inputs, layer.output)]


@pytest.mark.parametrize("seed", range(300))
def test_a_view_within_a_view_addresses_the_same_words(seed):
    rng = np.random.default_rng(seed)
    size = Image(*(int(n) for n in rng.integers(1, 5, 3)))
    whole = Image(*(n + int(rng.integers(0, 3)) for n in size))
    outer = View(int(rng.integers(0, 9)), whole.w * int(rng.integers(1, 3)), 2 * whole.plane, int(rng.integers(1, 3)))
    image = Image(*(int(n) for n in rng.integers(1, 5, 3)))
    steps = [int(rng.choice([1, size.w, size.plane, int(rng.integers(0, size.words))])) for _ in range(3)]
    inner = View(int(rng.integers(0, size.words)), *steps)
    words = {(y, x, b): inner.address(y, x, b) for y, x, b in product(*map(range, image))}
    if max(words.values()) >= size.words:
        return
    place = [outer.address(y, x, b) for b, y, x in product(range(size.blocks), range(size.h), range(size.w))]

    found = within(outer, size, inner, image)

    for index in product(*map(range, image)) if found else ():
        assert found.address(*index) == place[words[index]]


def test_padding_below_and_to_the_right_is_not_a_copy():
    padded = Storage("t", 4, 6, 8, 48)
    layers = [layer("p", Operand("x", PART), Operand("a", PART)),
              copy(Operand("a", PART), Operand("t", Image(4, 6, 2))),
              layer("r", Operand("t", Image(4, 6, 2)), Operand("y", PART))]
    assert place_copies(layers, STORAGES | {"t": padded}, {"x", "y"}) == layers


def test_producers_write_into_the_joined_tensor():
    layers = [layer("p", Operand("x", PART), Operand("a", PART)), layer("q", Operand("x", PART), Operand("b", PART)),
              copy(Operand("a", PART), blocks_from(0)), copy(Operand("b", PART), blocks_from(2)),
              layer("r", Operand("t", WHOLE), Operand("y", WHOLE))]
    found = place_copies(layers, STORAGES, {"x", "y"})
    assert [each.op for each in found] == ["p", "q", "r"]
    assert operands(found)[1:4:2] == [("t", View(0, 4, 12)), ("t", View(24, 4, 12))]


def test_readers_read_the_tensor_that_was_split():
    layers = [copy(blocks_from(2), Operand("a", PART)), layer("r", Operand("a", PART), Operand("y", PART))]
    (found,) = place_copies(layers, STORAGES, {"t", "y"})
    assert found.inputs[0] == Operand("t", PART, View(24, 4, 12))


def test_a_flat_image_of_a_part_is_a_flat_image_of_the_whole():
    flat = Image(1, PART.plane, PART.blocks)
    layers = [layer("p", Operand("x", flat), Operand("a", flat)), copy(Operand("a", PART), blocks_from(3))]
    (found,) = place_copies(layers, STORAGES, {"x", "t"})
    assert found.output.storage == "t" and found.output.view.address(0, 5, 1) == 36 + 5 + 12


@pytest.mark.parametrize("fixed", ["a", "y"])
def test_what_others_write_or_read_is_copied(fixed):
    joined = [layer("p", Operand("x", PART), Operand("a", PART)), copy(Operand("a", PART), blocks_from(0))]
    split = [copy(blocks_from(0), Operand("y", PART)), layer("r", Operand("y", PART), Operand("z", PART))]
    layers = joined if fixed == "a" else split
    assert place_copies(layers, STORAGES, {fixed, "x", "t", "z"}) == layers


def test_a_tensor_that_is_joined_twice_is_copied_once():
    layers = [layer("p", Operand("x", PART), Operand("a", PART)),
              copy(Operand("a", PART), blocks_from(0)), copy(Operand("a", PART), blocks_from(2))]
    first, second = place_copies(layers, STORAGES, {"x", "t"})
    assert first.output == second.inputs[0] == blocks_from(0) and second.output == blocks_from(2)


def test_columns_of_a_tensor_that_is_read_as_one_row_are_copied():
    columns = Operand("t", PART, View(1, 8, 24))
    flat = Operand("a", Image(1, PART.plane, PART.blocks))
    layers = [copy(columns, Operand("a", PART)), layer("r", flat, Operand("y", PART))]
    assert place_copies(layers, STORAGES, {"t", "y"}) == layers


def test_a_chain_of_joins_is_one_tensor():
    layers = [layer("p", Operand("x", PART), Operand("a", PART)), copy(Operand("a", PART), Operand("b", PART)),
              copy(Operand("b", PART), blocks_from(1))]
    (found,) = place_copies(layers, STORAGES, {"x", "t"})
    assert found.output == blocks_from(1)
