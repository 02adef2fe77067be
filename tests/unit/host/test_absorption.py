"""Moves of channels that convolutions absorb."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from systolith.host.backend.absorption import absorb_moves
from systolith.host.backend.layers import Clamp, ConvLayer, Layer, MoveLayer, Operand, PoolLayer, Window
from systolith.host.backend.layout import Image
from systolith.host.backend.lower_conv import own_blocks, tile_weights

R = 4
PARAMS = np.zeros((1, 9, R), np.uint8)


def operand(name: str, channels: int) -> Operand:
    return Operand(name, Image(3, 5, -(-channels // R)))


def conv(name: str, source: Operand, weights: np.ndarray) -> ConvLayer:
    tiles = tile_weights(weights, R)
    return ConvLayer(name, (source,), operand(name, len(weights)), Window(*weights.shape[1:3]), Clamp(0), tiles, PARAMS,
                     0, (0,) * len(tiles))


def move(name: str, source: Operand, channels: list[int]) -> MoveLayer:
    dense = np.zeros((len(channels), 1, 1, source.image.blocks * R), np.int8)
    dense[np.arange(len(channels)), 0, 0, channels] = 1
    sources, every, tiles = own_blocks(tile_weights(dense, R), source.image.blocks)
    return MoveLayer(name, (source,), operand(name, len(channels)), Window(), Clamp(0), tiles, PARAMS, 0, sources,
                     every, channels=np.array(channels))


def weights(outputs: int, kernel: int, inputs: int, limit: int = 128) -> np.ndarray:
    return np.random.default_rng(inputs).integers(-limit, limit, (outputs, kernel, kernel, inputs)).astype(np.int8)


def dense(layer: ConvLayer, channels: int) -> np.ndarray:
    """Return the weights OHWI of a layer whose input has so many channels."""
    blocks, kh, kw, count = layer.weights.shape[:4]
    found = np.zeros((blocks, kh, kw, -(-channels // R), R, R), np.int8)
    for block, first in enumerate(layer.sources):
        found[block, :, :, first:first + count * layer.every:layer.every] = layer.weights[block]
    return found.transpose(0, 5, 1, 2, 3, 4).reshape(blocks * R, kh, kw, -1)[..., :channels]


@pytest.mark.parametrize(("channels", "size"), [([3, 4, 5, 6, 7], 3), ([0, 8, 1, 9, 2, 10], 1), ([11, 2], 1)])
def test_a_convolution_has_its_weights_in_the_order_of_what_is_moved(channels, size):
    source, kernel = operand("x", 12), weights(3, size, len(channels))
    moved = move("m", source, channels)
    (found,) = absorb_moves([moved, conv("y", moved.output, kernel)], set())
    assert isinstance(found, ConvLayer) and found.inputs == (source,) and len(set(found.sources)) == 1
    expected = np.zeros((3, size, size, 12), np.int8)
    expected[..., channels] = kernel
    np.testing.assert_array_equal(dense(found, 12)[:3], expected)


def test_blocks_that_nothing_is_read_of_are_left_out():
    moved = move("m", operand("x", 40), [13, 14, 15, 16])
    (found,) = absorb_moves([moved, conv("y", moved.output, weights(4, 1, 4))], set())
    assert isinstance(found, ConvLayer) and (found.sources, found.weights.shape[3]) == ((3,), 2)


def test_moves_in_a_row_are_one():
    first = move("a", operand("x", 12), [0, 1, 2, 4, 5, 6, 8, 9])
    second = move("b", first.output, [7, 0, 6, 1, 5])
    (found,) = absorb_moves([first, second], {"b"})
    assert isinstance(found, MoveLayer) and found.channels.tolist() == [9, 0, 8, 1, 6]
    np.testing.assert_array_equal(dense(found, 12)[:5].argmax(axis=3).ravel(), [9, 0, 8, 1, 6])


def test_a_channel_that_is_read_twice_is_read_once_if_its_weights_allow():
    moved = move("m", operand("x", 4), [1, 1, 3])
    (found,) = absorb_moves([moved, conv("y", moved.output, weights(2, 1, 3, limit=60))], set())
    kernel = weights(2, 1, 3, limit=60)[:, 0, 0]
    assert isinstance(found, ConvLayer)
    np.testing.assert_array_equal(dense(found, 4)[:2, 0, 0, [1, 3]].T, [kernel[:, 0] + kernel[:, 1], kernel[:, 2]])
    large = [moved, conv("y", moved.output, np.full((2, 1, 1, 3), 127, np.int8))]
    assert absorb_moves(large, set()) == large


@pytest.mark.parametrize("why", ["leaving", "pooled", "filtered", "dear"])
def test_what_others_read_or_costs_more_is_moved(why):
    moved = move("m", operand("x", 80), [3] if why != "dear" else [0, 79])
    reader: Layer = conv("y", moved.output, weights(5 if why != "dear" else 40, 3, 1 if why != "dear" else 2))
    if why == "pooled":
        reader = PoolLayer("y", (moved.output,), operand("y", 1), Window(2, 2), Clamp(0), ())
    elif why == "filtered":
        reader = replace(reader, filter=object())
    layers = [moved, reader]
    assert absorb_moves(layers, {"m"} if why == "leaving" else set()) == layers


@pytest.mark.parametrize(("used", "farthest", "expected"), [
    ([{0, 4}, {0, 4}, {1, 5}], 6, ((0, 0, 1), 4, 2)), ([{0, 4}, {3, 5}], 6, ((0, 1), 2, 3)),
    ([{0, 4}, {1, 5}], 1, ((0, 1), 1, 5)), ([{0, 4}, {2}], 6, ((0, 0), 2, 3)),
    ([{1}, set(), {5}], 6, ((1, 0, 5), 1, 1))])
def test_output_blocks_read_few_input_blocks_at_equal_distances(used, farthest, expected):
    tiles = np.zeros((len(used), 1, 1, 6, R, R), np.int8)
    for block, reads in enumerate(used):
        tiles[block, 0, 0, sorted(reads)] = block + 1
    sources, every, kept = own_blocks(tiles, farthest)
    assert (sources, every, kept.shape[3]) == expected
    for block, first in enumerate(sources):
        places = first + every * np.arange(kept.shape[3])
        np.testing.assert_array_equal(kept[block], tiles[block][:, :, places])
        assert used[block] <= set(places.tolist())
