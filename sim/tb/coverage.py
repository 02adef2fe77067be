"""Functional coverage: which combinations of named bins the stimuli have reached."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from pathlib import Path

__all__ = ["Coverage"]


class Coverage:
    """Crosses of named bins, counted.

    Parameters
    ----------
    bins : mapping of str to sequence
        The values that each coverpoint can take.
    crosses : sequence of tuples of str
        Combinations of coverpoints of which every combination of bins is wanted.
    """

    def __init__(self, bins: Mapping[str, Sequence[Hashable]], crosses: Sequence[tuple[str, ...]]):
        for cross in crosses:
            for name in cross:
                if name not in bins:
                    raise ValueError(f"a cross must name coverpoints ({', '.join(bins)}), not {name!r}")
        self.bins = dict(bins)
        self.crosses = tuple(crosses)
        self._hits: dict[tuple[str, ...], Counter[tuple[Hashable, ...]]] = {cross: Counter() for cross in crosses}

    def sample(self, **values: Hashable) -> None:
        """Count one stimulus. Raises ``ValueError`` for a value that is no bin of its coverpoint."""
        for name, value in values.items():
            if value not in self.bins[name]:
                raise ValueError(f"{name} must be one of {self.bins[name]}, not {value!r}")
        for cross, hits in self._hits.items():
            hits[tuple(values[name] for name in cross)] += 1

    def missing(self, cross: tuple[str, ...]) -> list[tuple[Hashable, ...]]:
        """Return the combinations of ``cross`` that no stimulus has reached."""
        return [key for key in product(*(self.bins[name] for name in cross)) if key not in self._hits[cross]]

    @property
    def percent(self) -> float:
        """Reached combinations of all crosses, in percent."""
        wanted = sum(self._size(cross) for cross in self.crosses)
        return 100 * (wanted - sum(len(self.missing(cross)) for cross in self.crosses)) / wanted

    def _size(self, cross: tuple[str, ...]) -> int:
        size = 1
        for name in cross:
            size *= len(self.bins[name])
        return size

    def save(self, folder: Path, title: str) -> None:
        """Write the table to ``folder``, from where it is shown when all tests have run."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{title}.txt").write_text(f"{title}\n{self.table()}\n")

    def table(self) -> str:
        """Return one line per cross: combinations reached, wanted, percent, and some that are missing."""
        width = max(len(" x ".join(cross)) for cross in self.crosses)
        lines = [f"{'cross':{width}}  reached  wanted  percent  missing"]
        for cross in self.crosses:
            size, missing = self._size(cross), self.missing(cross)
            reached = size - len(missing)
            some = ", ".join("/".join(map(str, key)) for key in missing[:3]) + (", ..." if len(missing) > 3 else "")
            lines.append(f"{' x '.join(cross):{width}}  {reached:7}  {size:6}  {100 * reached / size:6.1f}%  {some}")
        lines.append(f"{'all':{width}}  {'':7}  {'':6}  {self.percent:6.1f}%")
        return "\n".join(lines)
