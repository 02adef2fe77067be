"""Placement: storages that are parts of others, so that joining and splitting tensors moves no byte.

Lowering joins and splits tensors by copies. Where the source of a copy is made here, its producers can write into the
target at once; where the result of a copy is only read here, its readers can read the source. Either way one storage
becomes a part of the other, and the copy goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .layers import Clamp, Layer, Operand, PoolLayer, Storage, Window
from .layout import Image, View


def place_copies(layers: Sequence[Layer], storages: Mapping[str, Storage], fixed: set[str]) -> list[Layer]:
    """Return `layers`, in execution order, without the copies that placement saves.

    Storages that are `fixed`, because others than these layers write or read them, are not parts of others.
    """
    placed, at = list(layers), 0
    while at < len(placed):
        rest = _without(placed, at, storages, fixed) if _is_copy(placed[at]) else None
        if rest is None:
            at += 1
        else:
            placed = rest
    return placed


def _is_copy(layer: Layer) -> bool:
    # A PAD below and to the right has the window of a copy, but a result larger than its input.
    return (isinstance(layer, PoolLayer) and layer.window == Window() and layer.clamp == Clamp(0)
            and layer.inputs[0].image == layer.output.image
            and [(piece.rect, piece.is_copy) for piece in layer.pieces] == [(layer.output.image.rect, True)])


def _without(layers: Sequence[Layer], at: int, storages: Mapping[str, Storage], fixed: set[str]) -> list[Layer] | None:
    """Return the other layers, with one operand of the copy `at` placed in the other one, or None."""
    source, target = layers[at].inputs[0], layers[at].output
    if source.storage == target.storage:
        return None
    others = [layer for i, layer in enumerate(layers) if i != at]
    overwritten = any(layer.output.storage == target.storage for layer in others)
    choices = [(source, target)] if overwritten else [(source, target), (target, source)]
    for part, whole in choices:
        if part.storage not in fixed and _is_all(part, storages[part.storage]):
            rest = [moved(layer, part.storage, part.image, whole) for layer in others]
            if None not in rest:
                return [layer for layer in rest if layer]
    return None


def _is_all(operand: Operand, storage: Storage) -> bool:
    image = operand.image
    return operand.view == View(0, image.w, image.plane) and image.words == storage.words


def moved(layer: Layer, name: str, size: Image, whole: Operand) -> Layer | None:
    """Return a layer with the storage `name` of `size` as `whole`, or None when it cannot be addressed there."""
    operands = []
    for operand in (*layer.inputs, layer.output):
        if operand.storage == name:
            part = within(whole.view, size, operand.view, operand.image)
            if part is None:
                return None
            operand = Operand(whole.storage, operand.image, part)
        operands.append(operand)
    return replace(layer, inputs=tuple(operands[:-1]), output=operands[-1])


def within(outer: View, size: Image, inner: View, image: Image) -> View | None:
    """Return where `image` lies when it has the view `inner` of a tensor of `size`, which has the view `outer`.

    None when equal steps of `inner` are not equal steps then.
    """
    # Words of the tensor are numbered in digits: columns, rows, planes; some may be one digit.
    digits: list[tuple[int, int]] = []  # values of the digit, and what one is worth in `outer`
    for count, worth in ((size.w, outer.step), (size.h, outer.row), (size.blocks, outer.plane)):
        if digits and worth == digits[-1][0] * digits[-1][1]:
            digits[-1] = digits[-1][0] * count, digits[-1][1]
        elif count > 1 or not digits:
            digits.append((count, worth))

    def split(words: int) -> list[int]:
        found = []
        for count, _ in digits[:-1]:
            words, digit = divmod(words, count)
            found.append(digit)
        return [*found, words]

    def distance(words: int) -> int:
        return sum(digit * worth for digit, (_, worth) in zip(split(words), digits, strict=True))

    steps = [(step, count) for step, count in ((inner.step, image.w), (inner.row, image.h), (inner.plane, image.blocks))
             if count > 1]
    last = split(inner.base)
    for step, count in steps:
        last = [digit + (count - 1) * each for digit, each in zip(last, split(step), strict=True)]
    if any(digit >= count for digit, (count, _) in zip(last, digits, strict=True)):
        return None
    return View(outer.base + distance(inner.base), distance(inner.row), distance(inner.plane), distance(inner.step))
