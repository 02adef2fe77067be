"""The configurations of a sweep: all combinations of lists of option values."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

from ...hw.config import AcceleratorConfig
from ..errors import ConfigError

MOST_COMBINATIONS = 1_000_000
_SEED = 0


@dataclass(frozen=True)
class Refused:
    """Values that do not go together: those of the swept options, and the reason."""

    values: Mapping[str, int | str]
    reason: str


def combinations(base: AcceleratorConfig,
                 lists: Mapping[str, Sequence[int | str]]) -> tuple[list[AcceleratorConfig], list[Refused]]:
    """Return the valid configurations that `base` becomes with one value of each list, and those that are not valid.

    Raises:
        ConfigError: there are more than `MOST_COMBINATIONS`.
    """
    values = {name: tuple(dict.fromkeys(given)) for name, given in lists.items()}
    count = prod(map(len, values.values()))
    if count > MOST_COMBINATIONS:
        raise ConfigError(f"options must have at most {MOST_COMBINATIONS:,} combinations, not {count:,}")
    valid, refused = list[AcceleratorConfig](), list[Refused]()
    for chosen in product(*values.values()):
        changes: dict[str, Any] = dict(zip(values, chosen, strict=True))
        try:
            valid.append(replace(base, **changes))
        except ValueError as error:
            refused.append(Refused(changes, str(error)))
    return valid, refused


def sample(configs: Sequence[AcceleratorConfig], most: int | None) -> list[AcceleratorConfig]:
    """Return at most `most` of the configurations, in order: a random choice, the same every time."""
    if most is None or len(configs) <= most:
        return list(configs)
    return [configs[i] for i in sorted(random.Random(_SEED).sample(range(len(configs)), most))]
