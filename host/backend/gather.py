"""Convolutions of few input channels: words that hold neighbouring pixels instead of one.

A kernel row of kw pixels of C channels is kw * C consecutive bytes of a raw image. Where the host provides the image,
loads gather these bytes into words (`hw/dma.py`), and the array takes a whole kernel row, or more of it, per pass. The
same goes for kernel columns of a transposed image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .layers import Storage, Window
from .layout import Gather, Image, blocks_of


class Gathered(NamedTuple):
    """What replaces the image, the kernel and the weights (OHWI) of a convolution."""

    storage: Storage
    image: Image
    window: Window
    weights: npt.NDArray[np.int8]


def gathered(op: str, x: Storage, window: Window, out: Image, weights: npt.NDArray[np.int8], fill: int,
             word_bytes: int) -> Gathered | None:
    """Return the gathered form of a dense convolution with the fewest passes, or None when it would not gain."""
    kh, kw, channels = weights.shape[1:]
    lines = [
        # Taps across lines, taps along one, stride, dilation, windows, padding, and whether lines are columns.
        (kh, kw, window.sx, window.dx, out.w, window.left, False),
        (kw, kh, window.sy, window.dy, out.h, window.top, True),
    ]
    fitting = [(across * blocks_of(along * channels, word_bytes), columns)
               for across, along, stride, dilation, _, _, columns in lines
               if stride * channels <= word_bytes and (dilation == 1 or along == 1)]
    if not fitting or min(fitting)[0] >= kh * kw * blocks_of(channels, word_bytes):
        return None
    columns = min(fitting)[1]
    across, along, stride, _, count, before, _ = lines[columns]
    blocks, pitch = blocks_of(along * channels, word_bytes), stride * channels
    row_words = -(-((count - 1) * pitch + word_bytes) // word_bytes) + blocks - 1
    gather = Gather(row_words * word_bytes, before * channels, pitch, fill, columns)
    height = x.w if columns else x.h
    ordered = weights.swapaxes(1, 2) if columns else weights
    packed = np.pad(ordered.reshape(len(weights), across, 1, along * channels),
                    ((0, 0), (0, 0), (0, 0), (0, blocks * word_bytes - along * channels)))
    kept = window._replace(kw=1, sx=1, dx=1, left=0)
    if columns:
        kept = Window(kw, 1, window.sx, 1, window.dx, 1, window.left)
    storage = Storage(f"{x.name} for {op}", height, count, blocks * word_bytes, height * count * blocks, x.tensor,
                      gather)
    return Gathered(storage, Image(height, count, blocks), kept, packed)
