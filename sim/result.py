"""What a run of the core took, measured on its RTL or by the cycle model."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..hw.isa import Unit
from .activity import MacCounts

__all__ = ["CoreResult"]


@dataclass(frozen=True)
class CoreResult:
    """What one run did.

    ``cycles``: cycles that the core ran, as it counted itself; ``counters``: all of `Counter` by name;
    ``issue`` and ``retire``: per unit, the cycle at which each instruction started and retired (uint64; cycle 0 is the
    one in which the CSR port takes the start command). ``macs``: per instruction what the array's cells multiplied,
    int64 [instructions, len(MacEvent)], where it was counted.
    """

    cycles: int
    counters: dict[str, int]
    issue: dict[Unit, NDArray[np.uint64]]
    retire: dict[Unit, NDArray[np.uint64]]
    macs: MacCounts | None = None
