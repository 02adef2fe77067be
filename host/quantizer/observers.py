"""Observers: which range of reals a tensor's integers should cover, from the values that it took on samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ..errors import UsageError

BINS = 4096  # of the histogram; it spans at most twice the largest magnitude


class Observer(Protocol):
    """Sees arrays of float32 one after the other."""

    def see(self, values: np.ndarray) -> None: ...

    def range(self) -> tuple[float, float]: ...


class MinMax:
    """The smallest and the largest value."""

    def __init__(self) -> None:
        self._low, self._high = np.inf, -np.inf

    def see(self, values: np.ndarray) -> None:
        """Take the values of one sample."""
        self._low, self._high = min(self._low, float(values.min())), max(self._high, float(values.max()))

    def range(self) -> tuple[float, float]:
        """Return (lowest, highest)."""
        return self._low, self._high


class Percentile:
    """The range that leaves out the largest and the smallest values, as many percent on either side.

    Values go into a histogram that is symmetric about 0 and whose width doubles when a value lies outside, which
    joins bins in pairs.

    Args:
        percentile: 50 to 100; 99.99 leaves out one value in ten thousand on either side.
    """

    def __init__(self, percentile: float) -> None:
        self._share = percentile / 100
        self._extremes = MinMax()
        self._counts = np.zeros(BINS, np.int64)
        self._radius = 0.0

    def see(self, values: np.ndarray) -> None:
        """Take the values of one sample."""
        self._extremes.see(values)
        largest = float(np.abs(values).max())
        if largest > 0 and self._radius == 0:
            self._radius = largest
            self._counts[BINS // 2] = self._counts.sum()  # what came so far was zeros
        while largest > self._radius:
            joined = self._counts.reshape(-1, 2).sum(axis=1)
            self._counts = np.pad(joined, BINS // 4)
            self._radius *= 2
        if self._radius == 0:
            self._counts[BINS // 2] += values.size
        else:
            self._counts += np.histogram(values, BINS, (-self._radius, self._radius))[0]

    def range(self) -> tuple[float, float]:
        """Return (low, high), the edges of the bins where the shares end, within what was seen."""
        low, high = self._extremes.range()
        below = np.cumsum(self._counts)
        if below[-1] == 0 or self._radius == 0:
            return low, high
        edges = np.linspace(-self._radius, self._radius, BINS + 1)
        first = int(np.searchsorted(below, (1 - self._share) * below[-1], side="right"))
        last = int(np.searchsorted(below, self._share * below[-1]))
        return max(low, float(edges[min(first, BINS - 1)])), min(high, float(edges[min(last, BINS - 1) + 1]))


OBSERVERS = ("minmax", "percentile")


def observer_factory(name: str, percentile: float) -> Callable[[], Observer]:
    """Return what makes an observer for each tensor.

    Raises:
        UsageError: there is no such observer, or the percentile is out of range.
    """
    if name not in OBSERVERS:
        raise UsageError(f"observer must be {' or '.join(OBSERVERS)}, not {name}")
    if not 50 < percentile <= 100:
        raise UsageError(f"percentile must be above 50 and at most 100, not {percentile:g}")
    return MinMax if name == "minmax" else lambda: Percentile(percentile)
