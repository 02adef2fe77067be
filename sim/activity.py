"""Operands of the array's multiplications, counted by what they save in silicon.

What a cell multiplies is known from the data alone: each word of a pass meets the weight of each cell once.
The counts are those that the `rtl` device takes from the cells' registers, cycle by cycle (`sim/rtl/activity.hpp`).
"""

import enum

import numpy as np
import numpy.typing as npt

__all__ = ["MacCounts", "MacEvent", "dense_events", "filter_events"]

MacCounts = npt.NDArray[np.int64]
"""How often each event happens, int64 [..., len(MacEvent)]."""


class MacEvent(enum.IntEnum):
    """Multiplications of the cells, of a word and a weight; bytes are what the cell multiplies, zero points included.

    In filter mode row r has a word that is older than the one whose sum it adds to. Where the pass is not as long yet,
    its weight counts, but not what stands there instead of an activation.
    """

    MAC = 0              # all of them
    ZERO_WEIGHT = 1
    ZERO_ACTIVATION = 2
    ZERO = 3             # either is zero: so is the product
    UNCHANGED = 4        # the activation is that of the cycle before, of the same pass: the multiplier does not toggle
    ZERO_POINT = 5       # the activation is the zero point of its tensor, a real zero


def dense_events(words: npt.NDArray[np.int8], tiles: npt.NDArray[np.int8], fill: int) -> MacCounts:
    """Return the events of dense passes, int64 [len(MacEvent)].

    Parameters
    ----------
    words
        What streams by, int8 [groups or 1, pixels, tiles, R]: one entry when all groups read the same.
    tiles
        Weights, int8 [groups, tiles, R, C].
    fill
        Zero point of the words.
    """
    pixels, (groups, _, _, columns) = words.shape[1], tiles.shape
    shared = groups // len(words)
    zero_words = (words == 0).sum(axis=1, dtype=np.int64)
    zero_weights = (tiles == 0).sum(axis=3, dtype=np.int64)
    counts = np.zeros(len(MacEvent), np.int64)
    counts[MacEvent.MAC] = pixels * tiles.size
    counts[MacEvent.ZERO_WEIGHT] = pixels * zero_weights.sum()
    counts[MacEvent.ZERO_ACTIVATION] = shared * columns * zero_words.sum()
    counts[MacEvent.ZERO] = (pixels * zero_weights + zero_words * (columns - zero_weights)).sum()
    counts[MacEvent.UNCHANGED] = shared * columns * np.count_nonzero(words[:, 1:] == words[:, :-1])
    counts[MacEvent.ZERO_POINT] = shared * columns * np.count_nonzero(words == fill)
    return counts


def filter_events(words: npt.NDArray[np.int8], tile: npt.NDArray[np.int8], ages: npt.NDArray[np.int64],
                  fill: int) -> MacCounts:
    """Return the events of one pass in filter mode, int64 [len(MacEvent)].

    Parameters
    ----------
    words
        What streams by, int8 [W, R].
    tile
        Weights, int8 [R, C].
    ages
        By how many words the operand of each row of the filter is older than the newest, int64 [filter rows].
    fill
        Zero point of the words.
    """
    filters, zeros = len(ages), tile == 0
    counts = dense_events(words[None, :, None, filters:], tile[None, None, filters:], fill)
    met = np.maximum(len(words) - ages, 0)  # words of each row that are operands: the first so many

    def among(hits: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Return the hits among the words that each cell of the filter meets, int64 [filter rows, C]."""
        return np.concatenate([np.zeros_like(hits[:1], np.int64), hits.cumsum(axis=0)])[met]

    zero_words = among(words == 0)
    same = np.concatenate([np.zeros_like(words[:1], np.bool_), words[1:] == words[:-1]])
    counts[MacEvent.MAC] += len(words) * tile[:filters].size
    counts[MacEvent.ZERO_WEIGHT] += len(words) * np.count_nonzero(zeros[:filters])
    counts[MacEvent.ZERO_ACTIVATION] += zero_words.sum()
    counts[MacEvent.ZERO] += np.where(zeros[:filters], len(words), zero_words).sum()
    counts[MacEvent.UNCHANGED] += among(same).sum()
    counts[MacEvent.ZERO_POINT] += among(words == fill).sum()
    return counts
