"""Ring buffers for weights and parameters: the compiler's knowledge of what is in them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class Ring:
    """Contents of a buffer that is filled round and round; the oldest contents give way.

    Args:
        words: size of the buffer.
    """

    def __init__(self, words: int) -> None:
        self.words = words
        self._head = 0
        self._held: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()

    def find(self, key: Hashable) -> int | None:
        """Return the address of what was claimed under `key`, or None when it is not there any more."""
        return self._held[key][0] if key in self._held else None

    def claim(self, key: Hashable, words: int) -> int:
        """Return the address of `words` consecutive words for `key`, evicting what they overlap.

        Raises `ValueError` when they do not fit into the buffer at all.
        """
        if not 0 < words <= self.words:
            raise ValueError(f"words must be between 1 and {self.words}, not {words}")
        low = self._head if self._head + words <= self.words else 0
        high = low + words
        overlapped = [k for k, (start, end) in self._held.items() if start < high and end > low]
        for k in overlapped:
            del self._held[k]
        self._held[key] = (low, high)
        self._head = high
        return low
