"""What to record of a run's signals, and where."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from .build import TraceFormat

__all__ = ["Waves"]

_FORMATS = ("fst", "vcd")
_END = (1 << 64) - 1


@dataclass(frozen=True)
class Waves:
    """A file of waves, whose suffix says its format, .fst or .vcd, and the cycles [first, last) to record.

    Raises ``ValueError`` for another suffix, or for no cycle at all.
    """

    path: Path
    first: int = 0
    last: int = _END

    def __post_init__(self) -> None:
        if self.path.suffix[1:] not in _FORMATS:
            raise ValueError(f"name of a wave file must end in .fst or .vcd, not {self.path.name!r}")
        if not 0 <= self.first < self.last <= _END:
            raise ValueError(f"waves must begin before they end, not at {self.first} and {self.last}")

    @property
    def format(self) -> TraceFormat:
        """How the file is written."""
        return cast(TraceFormat, self.path.suffix[1:])

    @classmethod
    def parse(cls, text: str) -> "Waves":
        """Return the waves of ``FILE[,from=CYCLE][,to=CYCLE]``.

        Raises ``ValueError`` with one line that says what is wrong.
        """
        name, *settings = text.split(",")
        waves = cls(Path(name))
        for setting in settings:
            key, _, value = setting.partition("=")
            if key not in ("from", "to"):
                raise ValueError(f"setting of waves must be from= or to=, not {setting!r}")
            if not (value.isascii() and value.isdigit()):
                raise ValueError(f"{key} must be a cycle, not {value!r}")
            cycle = int(value)
            waves = replace(waves, first=cycle) if key == "from" else replace(waves, last=cycle)
        return waves
