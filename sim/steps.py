"""Executable instructions: what each one touches, computes and writes.

A step is made once per instruction (`prepare`) with every word index precomputed, and then runs in two halves:
``fetch`` reads the memories and computes, ``commit`` writes the result. The halves are apart so that the scheduler can
place the reads and the writes of one instruction at different times, as overlapping hardware units do.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..hw.array import SPACINGS, lines_at_once
from ..hw.config import AcceleratorConfig
from ..hw.isa import MAX_LEFT_SHIFT, PARAM_WORDS, Buffer, ErrorCode, Opcode, PoolMode, Unit
from ..hw.lines import LINE_READ_LATENCY
from ..models.quantise import requantize
from .decode import Instruction
from .errors import MachineError
from .memories import ADDRESS_SPACE, FILL, Memories, MemoryName, Region, Words, extent, gather, grid, rows_of, take

__all__ = ["Broken", "Step", "prepare"]

# Products of int8 are at most 2^14, and float32 adds integers exactly up to 2^24, in whatever order BLAS likes.
_EXACT_DEPTH = 1 << 24 - 14
_BUS_SPACE = 1 << 32
# Longest instruction that is simulated, in taps or words: far beyond what is of use, yet a few seconds and gigabytes.
_MOST_TAPS = 1 << 25
_MOST_WORDS = ADDRESS_SPACE  # more would come past the same buffer word again


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
        """Return the accumulators of the tile; they must lie in one ping-pong half."""
        f, half = self.instruction.fields, self.config.acc_half
        if f["acc"] >= self.config.acc_depth:
            raise self.fail(ErrorCode.FIELD, f"acc must be below {self.config.acc_depth}, not {f['acc']}")
        end = f["acc"] + f["out_h"] * f["out_w"]
        if (end - 1) // half != f["acc"] // half:
            raise self.fail(ErrorCode.ADDRESS, f"accumulators must stay within a half of {half} words, "
                                               f"not span {f['acc']}..{end - 1}")
        self.acc_half = f["acc"] // half
        return slice(f["acc"], end)

    def image(self, name: str) -> Words:
        """Return the words of an out_h x out_w image in the activation buffer, row by row."""
        f = self.instruction.fields
        self.require_length("out_h * out_w", f["out_h"] * f["out_w"], _MOST_WORDS)
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


class Transfer(Step):
    """LOAD and STORE: copy runs of words between DRAM and a buffer."""

    def __init__(self, config: AcceleratorConfig, instruction: Instruction, base: int, dram_words: int):
        super().__init__(config, instruction)
        f = instruction.fields
        load = instruction.opcode == Opcode.LOAD
        self.require_positive("rows", "row_words")
        if load and f["buffer"] > max(Buffer):
            raise self.fail(ErrorCode.FIELD, f"buffer must be at most {max(Buffer)}, not {f['buffer']}")
        self.require_length("rows * row_words", f["rows"] * f["row_words"], _MOST_WORDS)
        buffer = Buffer(f["buffer"]) if load else Buffer.ACT
        names: dict[Buffer, MemoryName] = {Buffer.ACT: "act", Buffer.WGT: "wgt", Buffer.PARAM: "param"}
        count = np.arange(f["rows"])
        self.require_end(names[buffer], f["local"] + (f["rows"] - 1) * f["local_stride"] + f["row_words"])
        local = Region(names[buffer], rows_of(f["local"] + f["local_stride"] * count, f["row_words"]))
        dram = Region("dram", self._dram(base, dram_words, count))
        self.source, self.target = (dram, local) if load else (local, dram)
        self.reads, self.writes = [self.source], [self.target]
        self.dram_words = f["rows"] * f["row_words"]

    def _dram(self, base: int, dram_words: int, count: npt.NDArray[np.int64]) -> Words:
        f, word = self.instruction.fields, self.config.word_bytes
        starts = (base + f["dram"] + f["dram_stride"] * count) % _BUS_SPACE
        misaligned = starts[starts % word != 0]
        if misaligned.size:
            raise self.fail(ErrorCode.ADDRESS, f"DRAM address must be a multiple of {word}, not {misaligned[0]:#x}")
        starts //= word
        end = int(starts.max()) + f["row_words"]
        if end > dram_words:
            # The core cannot know the size of its memory: the bus answers with an error.
            code = ErrorCode.AXI_READ if self.instruction.opcode == Opcode.LOAD else ErrorCode.AXI_WRITE
            raise self.fail(code, f"DRAM address must be below {dram_words * word:#x}, not {(end - 1) * word:#x}")
        return rows_of(starts, f["row_words"])

    def fetch(self, m: Memories) -> npt.NDArray[Any]:
        return take(getattr(m, self.source.memory), self.source.words)

    def commit(self, m: Memories, value: npt.NDArray[Any]) -> None:
        memory = getattr(m, self.target.memory)
        memory[self.target.words] = value.view(memory.dtype)


class Windowed(Step):
    """What COMPUTE and POOL share: reading windows of an image, with padding."""

    def windows(self, blocks: int, dil_y: int, dil_x: int) -> npt.NDArray[np.int32]:
        """Return the words of each output pixel's taps, int32 [pixels, taps]; padding is ``FILL``."""
        f = self.instruction.fields
        taps = f["out_h"] * f["out_w"] * f["kh"] * f["kw"] * blocks
        self.require_length("out_h * out_w * kh * kw * blocks", taps, _MOST_TAPS)
        words = gather(f, blocks, dil_y, dil_x)
        self.require_end("act", int(words.max()) + 1)
        self.padded = bool((words == FILL).any())
        return words

    def read_windows(self, m: Memories, words: npt.NDArray[np.int32]) -> npt.NDArray[np.int8]:
        """Return int8 [pixels, taps, R]."""
        if self.padded:
            m.act[FILL] = self.instruction.fields["fill"]
        return m.act.take(words, axis=0)


class Compute(Windowed):
    """COMPUTE: one output tile of a convolution or matrix product, accumulated in int32."""

    def __init__(self, config: AcceleratorConfig, instruction: Instruction):
        super().__init__(config, instruction)
        f = instruction.fields
        self.require_positive("out_h", "out_w", "kh", "kw", "blocks")
        tiles = f["kh"] * f["kw"] * f["blocks"]
        if f["tiles"] != tiles:
            raise self.fail(ErrorCode.FIELD, f"tiles must be kh * kw * blocks = {tiles}, not {f['tiles']}")
        self.acc = self.acc_range()
        self.require_end("wgt", f["wgt"] + tiles * config.rows)
        self.words = self.windows(f["blocks"], f["dil_y"], f["dil_x"])
        self.wgt = slice(f["wgt"], f["wgt"] + tiles * config.rows)
        self.pixel_words = self.words.size
        self.reads = [Region("act", self.words), Region("wgt", self.wgt)]
        self.writes = [Region("acc", self.acc)]
        if f["accumulate"]:
            self.reads.append(Region("acc", self.acc))

    def fetch(self, m: Memories) -> npt.NDArray[Any]:
        pixels, tiles = self.words.shape
        weights = m.wgt[self.wgt]
        rows = self.config.rows
        chunk = max(1, _EXACT_DEPTH // rows)
        total: npt.NDArray[np.int32] | None = m.acc[self.acc] if self.instruction.fields["accumulate"] else None
        for t in range(0, tiles, chunk):
            taps = self.read_windows(m, self.words[:, t:t + chunk]).reshape(pixels, -1).astype(np.float32)
            part = (taps @ weights[t * rows:(t + chunk) * rows].astype(np.float32)).astype(np.int32)
            total = part if total is None else total + part  # int32 wraps, as the accumulators do
        assert total is not None
        return total

    def commit(self, m: Memories, value: npt.NDArray[Any]) -> None:
        m.acc[self.acc] = value


class FilterCompute(Step):
    """COMPUTE in filter mode: each column of the array filters one channel of the words that stream by."""

    def __init__(self, config: AcceleratorConfig, instruction: Instruction):
        super().__init__(config, instruction)
        f = instruction.fields
        self.require_positive("out_h", "out_w", "kh", "kw", "blocks", "walk_h", "walk_w", "stride_x", "stride_y")
        passes = f["kh"] * f["kw"] * f["blocks"]
        if f["tiles"] != passes:
            raise self.fail(ErrorCode.FIELD, f"tiles must be kh * kw * blocks = {passes}, not {f['tiles']}")
        if f["spacing"] not in SPACINGS:
            raise self.fail(ErrorCode.FIELD, f"spacing must be one of {SPACINGS}, not {f['spacing']}")
        delay = f["walk_w"] + f["spacing"]
        if not LINE_READ_LATENCY < delay <= config.line_words:
            raise self.fail(ErrorCode.FIELD, f"walk_w + spacing must be above {LINE_READ_LATENCY} and at most "
                                             f"{config.line_words}, not {delay}")
        self.acc = self.acc_range()
        self.require_end("wgt", f["wgt"] + passes * config.rows)
        self.wgt = slice(f["wgt"], f["wgt"] + passes * config.rows)
        self.require_length("words walked", passes * (f["lead"] + f["walk_h"] * f["walk_w"]), _MOST_TAPS)
        self.streams = self._streams()
        self.require_end("act", int(self.streams.max()) + 1)
        self.taps, self.outside = self._taps()
        self.pixel_words = self.streams.size
        self.reads = [Region("act", self.streams), Region("wgt", self.wgt)]
        self.writes = [Region("acc", self.acc)]
        if f["accumulate"]:
            self.reads.append(Region("acc", self.acc))

    def _streams(self) -> npt.NDArray[np.int32]:
        """Return the words that each pass streams, int32 [passes, words]; padding is ``FILL``."""
        f = dict(self.instruction.fields)
        lines = {**f, "out_h": f["walk_h"], "out_w": f["walk_w"], "stride_y": 1, "stride_x": 1}
        words = gather(lines, f["blocks"], f["dil_y"], f["dil_x"]).T
        lead = np.full((len(words), f["lead"]), FILL, np.int32)
        return np.concatenate([lead, words], axis=1)

    def _taps(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return which word of a stream each array row meets for each output, [pixels, rows], and whether none."""
        f, rows = self.instruction.fields, np.arange(self.config.rows)
        y = f["skip_y"] + f["stride_y"] * np.arange(f["out_h"])
        x = f["skip_x"] + f["stride_x"] * np.arange(f["out_w"])
        if y[-1] >= f["walk_h"] or x[-1] >= f["walk_w"]:
            raise self.fail(ErrorCode.FIELD, "the walk must reach the last output; enlarge walk_h or walk_w")
        newest = (f["lead"] + y[:, None] * f["walk_w"] + x).reshape(-1, 1)
        line = np.minimum(rows // f["spacing"], lines_at_once(self.config.rows, f["spacing"]) - 1)
        taps = newest - line * f["walk_w"] - (rows - line * f["spacing"])
        return np.maximum(taps, 0), taps < 0

    def fetch(self, m: Memories) -> npt.NDArray[Any]:
        m.act[FILL] = self.instruction.fields["fill"]
        rows = self.config.rows
        weights = m.wgt[self.wgt].reshape(-1, rows, rows).astype(np.int32)
        if (self.outside[None, :, :, None] & (weights != 0)[:, None]).any():
            raise self.fail(ErrorCode.FIELD, "rows without a word at the first output must have zero weights")
        total = m.acc[self.acc].copy() if self.instruction.fields["accumulate"] else np.int32(0)
        for stream, tile in zip(self.streams, weights, strict=True):
            words = m.act.take(stream, axis=0).astype(np.int32)
            total = total + np.einsum("prc,rc->pc", words[self.taps], tile)
        return total

    def commit(self, m: Memories, value: npt.NDArray[Any]) -> None:
        m.acc[self.acc] = value


class VectorStep(Step):
    """Base of the VECTOR instructions: requantised words clamped and written to the activation buffer."""

    def __init__(self, config: AcceleratorConfig, instruction: Instruction):
        super().__init__(config, instruction)
        self.require_positive("out_h", "out_w")
        self.dst = self.image("dst")
        self.writes = [Region("act", self.dst)]

    def finish(self, y: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
        f = self.instruction.fields
        return np.minimum(np.maximum(y.astype(np.int64) + f["zp"], f["lo"]), f["hi"]).astype(np.int8)

    def commit(self, m: Memories, value: npt.NDArray[Any]) -> None:
        m.act[self.dst] = value


class Requant(VectorStep):
    """REQUANT: accumulators plus bias, requantised per channel."""

    def __init__(self, config: AcceleratorConfig, instruction: Instruction):
        super().__init__(config, instruction)
        f = instruction.fields
        self.acc = self.acc_range()
        self.require_end("param", f["param"] + PARAM_WORDS)
        self.param = slice(f["param"], f["param"] + PARAM_WORDS)
        self.reads = [Region("acc", self.acc), Region("param", self.param)]

    def fetch(self, m: Memories) -> npt.NDArray[Any]:
        planes = m.param[self.param]
        bias, mult = np.ascontiguousarray(planes[:8].T).view("<i4").T
        shift = planes[8].view(np.int8)
        self.require_scale(mult.view(np.uint32), shift)
        return self.finish(requantize(m.acc[self.acc] + bias, mult, shift))


class Add(VectorStep):
    """ADD: two images of different scales."""

    def __init__(self, config: AcceleratorConfig, instruction: Instruction):
        super().__init__(config, instruction)
        f = instruction.fields
        for name in ("a_", "b_", "y_"):
            self.require_scale(f[f"{name}mult"], f[f"{name}shift"], name)
        self.a, self.b = self.image("a"), self.image("b")
        self.reads = [Region("act", self.a), Region("act", self.b)]

    def fetch(self, m: Memories) -> npt.NDArray[Any]:
        f = self.instruction.fields
        a = (take(m.act, self.a).astype(np.int32) - f["a_zp"]) << 20
        b = (take(m.act, self.b).astype(np.int32) - f["b_zp"]) << 20
        total = requantize(a, f["a_mult"], f["a_shift"]) + requantize(b, f["b_mult"], f["b_shift"])
        return self.finish(requantize(total, f["y_mult"], f["y_shift"]))


class Pool(Windowed, VectorStep):
    """POOL: maximum, requantised sum or average over windows."""

    def __init__(self, config: AcceleratorConfig, instruction: Instruction):
        super().__init__(config, instruction)
        f = instruction.fields
        self.require_positive("kh", "kw")
        if f["mode"] > max(PoolMode):
            raise self.fail(ErrorCode.FIELD, f"mode must be at most {max(PoolMode)}, not {f['mode']}")
        self.mode = PoolMode(f["mode"])
        if self.mode != PoolMode.MAX:
            self.require_scale(f["mult"], f["shift"])
        if self.mode == PoolMode.AVERAGE and f["shift"]:
            raise self.fail(ErrorCode.FIELD, f"shift of an average must be 0, not {f['shift']}")
        self.words = self.windows(1, 1, 1)
        self.reads = [Region("act", self.words)]

    def fetch(self, m: Memories) -> npt.NDArray[Any]:
        f = self.instruction.fields
        taps = self.read_windows(m, self.words)
        if self.mode == PoolMode.MAX:
            return self.finish(taps.max(axis=1))
        total = taps.sum(axis=1, dtype=np.int32)
        if self.mode == PoolMode.SUM:
            return self.finish(requantize(total + np.int32(f["bias"]), f["mult"], f["shift"]))
        rounded = np.where(total > 0, total + f["half"], total - f["half"]).astype(np.int64)
        return self.finish((rounded * f["mult"] >> 31) + (rounded < 0))


_STEPS: dict[Opcode, type[Compute] | type[Requant] | type[Add] | type[Pool]] = {
    Opcode.COMPUTE: Compute, Opcode.REQUANT: Requant, Opcode.ADD: Add, Opcode.POOL: Pool,
}


def prepare(config: AcceleratorConfig, instruction: Instruction, base: int, dram_words: int) -> Step:
    """Return the executable form of an instruction; a `Broken` step when its fields or addresses are wrong."""
    try:
        step: Step
        if instruction.opcode == Opcode.COMPUTE and instruction.fields["fir"]:
            step = FilterCompute(config, instruction)
        elif instruction.opcode in _STEPS:
            step = _STEPS[instruction.opcode](config, instruction)
        else:
            step = Transfer(config, instruction, base, dram_words)
        step.check_banks()
    except MachineError as error:
        return Broken(error, instruction)
    return step
