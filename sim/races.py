"""Static proof that the tokens of a program are sufficient.

Units run their instructions in order and a token says how many instructions of another unit have retired, so what is
known to have happened before an instruction is one count per unit: a vector clock. Two instructions of different units
that touch the same word, at least one writing it, must be ordered by it. When all are, every order that the hardware
can take gives the bytes of program order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..hw.config import AcceleratorConfig
from ..hw.isa import ErrorCode, Unit
from .errors import MachineError
from .memories import FILL, MemoryName, Region
from .steps import Step

__all__ = ["Race", "find_races"]


@dataclass(frozen=True)
class Race:
    """Instruction ``second`` must wait for ``first``, an earlier one of another unit, because of ``memory``.

    ``word`` is one word that both touch; of the accumulators, the half.
    """

    first: int
    second: int
    unit: Unit
    memory: MemoryName
    word: int

    def __str__(self) -> str:
        place = "half" if self.memory == "acc" else "word"
        return (f"instruction {self.second} must wait for instruction {self.first} ({self.unit.name}): "
                f"both touch {self.memory} {place} {self.word}")


class _History:
    """The last instruction of each unit that read or wrote each word of one memory, as counts; 0 is none."""

    def __init__(self, words: int):
        self.read = np.zeros((len(Unit), words), np.int32)
        self.written = np.zeros((len(Unit), words), np.int32)


def find_races(steps: Sequence[Step], config: AcceleratorConfig, dram_words: int) -> Iterator[Race]:
    """Yield one race per instruction, unit and memory region that the tokens leave unordered.

    Accumulator halves count as a whole, since each has one read port. Raises ``MachineError`` for an instruction that
    could not run, or with code WATCHDOG for a token that names an instruction not earlier in the program.
    """
    sizes: dict[MemoryName, int] = {"dram": dram_words, "act": config.act_words, "wgt": config.wgt_words,
                                    "param": config.param_words, "acc": 2}
    history = {name: _History(size) for name, size in sizes.items()}
    issued: list[list[int]] = [[] for _ in Unit]  # program indices of each unit's instructions
    clocks: list[list[tuple[int, ...]]] = [[] for _ in Unit]
    for step in steps:
        unit = step.runnable_unit()
        clock = _clock(step, unit, clocks)
        clocks[unit].append(clock)
        issued[unit].append(step.index)
        for region, writes in [(r, False) for r in step.reads] + [(r, True) for r in step.writes]:
            words = _words(region, step)
            past = history[region.memory]
            for other in Unit:
                if other == unit:
                    continue
                last = past.written[other][words]
                if writes:
                    last = np.maximum(last, past.read[other][words])
                worst = int(last.argmax()) if last.size else 0
                if last.size and last[worst] > clock[other]:
                    word = words.start + worst if isinstance(words, slice) else int(words[worst])
                    yield Race(issued[other][last[worst] - 1], step.index, other, region.memory, word)
            (past.written if writes else past.read)[unit][words] = len(issued[unit])


def _clock(step: Step, unit: Unit, clocks: list[list[tuple[int, ...]]]) -> tuple[int, ...]:
    """Return how many instructions of each unit have certainly retired when ``step`` starts."""
    for other in Unit:
        if step.waits[other] > len(clocks[other]):
            raise MachineError(ErrorCode.WATCHDOG, step.unit, step.index,
                               f"wait_{other.name.lower()} must be at most {len(clocks[other])}, the {other.name} "
                               f"instructions before it, not {step.waits[other]}")
    known: list[tuple[int, ...]] = [step.waits]
    if clocks[unit]:
        known.append(clocks[unit][-1])
    # Whatever an instruction waited for has retired too once that instruction has.
    known += [clocks[other][count - 1] for other, count in enumerate(step.waits) if count]
    return tuple(max(counts) for counts in zip(*known, strict=True))


def _words(region: Region, step: Step) -> slice | npt.NDArray[np.int32]:
    if region.memory == "acc":
        assert step.acc_half is not None
        return slice(step.acc_half, step.acc_half + 1)
    if isinstance(region.words, slice):
        return region.words
    flat = region.words.reshape(-1)
    return flat[flat != FILL]
