"""What all executable instructions share: the two halves of a step, and the checks of its fields and addresses."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..hw.config import AcceleratorConfig
from ..hw.isa import MAX_LEFT_SHIFT, ErrorCode, Unit
from .activity import MacCounts
from .decode import Instruction
from .errors import MachineError
from .memories import ADDRESS_SPACE, FILL, Memories, MemoryName, Region, Words, extent, grid

__all__ = ["MOST_TAPS", "MOST_WORDS", "Broken", "Step"]

# Longest instruction that is simulated, in taps or words: far beyond what is of use, yet a few seconds and gigabytes.
MOST_TAPS = 1 << 25
MOST_WORDS = ADDRESS_SPACE  # more would come past the same buffer word again


class Step(ABC):
    """One instruction, ready to run.

    ``unit`` is ``None`` when the dispatcher itself refuses the instruction. ``reads`` and ``writes`` are the memory
    words touched; ``acc_half`` is the accumulator half used by COMPUTE and REQUANT, else ``None``. ``pixel_words`` and
    ``dram_words`` are words streamed into the array and words moved over the bus. A step that its unit would refuse
    cannot be made: the constructors raise ``MachineError``, fields first, then addresses, then banks.
    """

    error_of: ClassVar[dict[MemoryName, ErrorCode]] = {}
    pixel_words = 0
    dram_words = 0
    acc_half: int | None = None

    def __init__(self, config: AcceleratorConfig, instruction: Instruction):
        self.config = config
        self.instruction = instruction
        self.index = instruction.index
        self.unit: Unit | None = instruction.unit
        self.waits = instruction.waits
        self.reads: list[Region] = []
        self.writes: list[Region] = []

    @abstractmethod
    def fetch(self, m: Memories) -> npt.NDArray[Any]:
        """Read the inputs and return the words to write."""

    @abstractmethod
    def commit(self, m: Memories, value: npt.NDArray[Any]) -> None:
        """Write the words that ``fetch`` returned."""

    def mac_events(self, m: Memories) -> MacCounts | None:
        """Return what the array's cells will multiply, int64 [len(MacEvent)]; None for a step without the array."""
        return None

    def runnable_unit(self) -> Unit:
        """Return the unit that runs this step. Raises ``MachineError`` when all it can do is stop the core."""
        return self.instruction.unit

    def fail(self, code: ErrorCode, message: str) -> MachineError:
        return MachineError(code, self.unit, self.index, f"{self.instruction.opcode.name}: {message}")

    def require_positive(self, *names: str) -> None:
        for name in names:
            if not self.instruction.fields[name]:
                raise self.fail(ErrorCode.FIELD, f"{name} must be positive, not 0")

    def require_length(self, what: str, found: int, most: int) -> None:
        """Raise FIELD for an instruction of hostile length; the core itself would work on it for minutes or days."""
        if found > most:
            raise self.fail(ErrorCode.FIELD, f"{what} must be at most {most} to be simulated, not {found}")

    def require_scale(self, mult: npt.ArrayLike, shift: npt.ArrayLike, name: str = "") -> None:
        """Raise FIELD for a scale that the requantiser lacks; the core itself would drop the excess bits."""
        highest, shifts = int(np.max(mult)), np.asarray(shift)
        if highest >= 1 << 31:
            raise self.fail(ErrorCode.FIELD, f"{name}mult must be below 2^31, not {highest}")
        wrong = shifts[(shifts < -31) | (shifts > MAX_LEFT_SHIFT)]
        if wrong.size:
            raise self.fail(ErrorCode.FIELD, f"{name}shift must be between -31 and {MAX_LEFT_SHIFT}, not {wrong[0]}")

    def require_end(self, memory: MemoryName, end: int) -> None:
        """Raise ADDRESS unless words up to ``end`` exist; done before an index array of that size is made."""
        size = {"act": self.config.act_words, "wgt": self.config.wgt_words, "param": self.config.param_words}[memory]
        if end > size:
            raise self.fail(ErrorCode.ADDRESS, f"{memory} address must be below {size} words, not {end - 1}")

    def acc_range(self) -> slice:
        """Return the accumulators of the tile in all its groups; they must lie in one ping-pong half."""
        f, half = self.instruction.fields, self.config.acc_half
        self.require_positive("groups")
        if f["acc"] >= self.config.acc_depth:
            raise self.fail(ErrorCode.FIELD, f"acc must be below {self.config.acc_depth}, not {f['acc']}")
        end = f["acc"] + f["groups"] * f["out_h"] * f["out_w"]
        if (end - 1) // half != f["acc"] // half:
            raise self.fail(ErrorCode.ADDRESS, f"accumulators must stay within a half of {half} words, "
                                               f"not span {f['acc']}..{end - 1}")
        self.acc_half = f["acc"] // half
        return slice(f["acc"], end)

    def image(self, name: str) -> Words:
        """Return the words of an out_h x out_w image in the activation buffer, row by row."""
        f = self.instruction.fields
        self.require_length("out_h * out_w", f["out_h"] * f["out_w"], MOST_WORDS)
        base, step_y, step_x = f[name], f[f"{name}_step_y"], f[f"{name}_step_x"]
        end = base + (f["out_h"] - 1) * step_y + (f["out_w"] - 1) * step_x + 1
        if end <= ADDRESS_SPACE:  # nothing wraps: spare the array of a hopeless image
            self.require_end("act", end)
        words = grid(base, step_y, step_x, f["out_h"], f["out_w"])
        self.require_end("act", extent(words).end)
        return words

    def check_banks(self) -> None:
        """Raise BANK unless the header's masks cover every activation bank that is touched."""
        for regions, mask, name in ((self.reads, self.instruction.rd_banks, "rd_banks"),
                                    (self.writes, self.instruction.wr_banks, "wr_banks")):
            for region in regions:
                if region.memory == "act":
                    self._check_mask(region.words, mask, name)

    def _check_mask(self, words: Words, mask: int, name: str) -> None:
        span, size = extent(words), self.config.bank_words
        banks = range(span.first // size, -(-span.end // size))
        missing = [bank for bank in banks if not mask >> bank & 1]
        if missing and not isinstance(words, slice):  # the bounding range may hold banks that no word lies in
            touched = set(np.unique(words[words != FILL] // size).tolist())
            missing = [bank for bank in missing if bank in touched]
        if missing:
            raise self.fail(ErrorCode.BANK, f"{name} must include bank {missing[0]}, not be {mask:#04x}")


class Broken(Step):
    """An instruction that stops the core when it starts."""

    def __init__(self, error: MachineError, instruction: Instruction | None):
        self.unit = error.unit
        self.index = error.index
        self.waits = instruction.waits if instruction else (0, 0, 0, 0)
        self.reads, self.writes = [], []
        self._error = error

    def _again(self) -> MachineError:
        # A new exception each time: one that is raised again keeps the traceback of its last run.
        return MachineError(self._error.code, self._error.unit, self._error.index, self._error.message)

    def runnable_unit(self) -> Unit:
        raise self._again()

    def fetch(self, m: Memories) -> npt.NDArray[Any]:
        raise self._again()

    def commit(self, m: Memories, value: npt.NDArray[Any]) -> None:
        raise self._again()
