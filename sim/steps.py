"""Executable instructions: what each one touches, computes and writes.

A step is made once per instruction (`prepare`) with every word index precomputed, and then runs in two halves:
``fetch`` reads the memories and computes, ``commit`` writes the result. The halves are apart so that the scheduler can
place the reads and the writes of one instruction at different times, as overlapping hardware units do.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..hw.config import AcceleratorConfig
from ..hw.isa import Buffer, ErrorCode, Opcode
from .activity import MacCounts, dense_events
from .decode import Instruction
from .errors import MachineError
from .filter import FilterCompute
from .memories import FILL, Memories, MemoryName, Region, Words, gather, in_groups, rows_of, take
from .step import MOST_TAPS, MOST_WORDS, Broken, Step
from .vector_steps import VECTOR_STEPS

__all__ = ["Broken", "Step", "prepare"]

# Products of int8 are at most 2^14, and float32 adds integers exactly up to 2^24, in whatever order BLAS likes.
_EXACT_DEPTH = 1 << 24 - 14
_BUS_SPACE = 1 << 32


class Transfer(Step):
    """LOAD and STORE: copy runs of words between DRAM and a buffer, or gather windows of their bytes."""

    def __init__(self, config: AcceleratorConfig, instruction: Instruction, base: int, dram_words: int):
        super().__init__(config, instruction)
        f = instruction.fields
        load = instruction.opcode == Opcode.LOAD
        self.require_positive("rows", "row_words")
        if load and f["buffer"] > max(Buffer):
            raise self.fail(ErrorCode.FIELD, f"buffer must be at most {max(Buffer)}, not {f['buffer']}")
        self.require_length("rows * row_words", f["rows"] * f["row_words"], MOST_WORDS)
        buffer = Buffer(f["buffer"]) if load else Buffer.ACT
        self.pitch = f["pitch"] if load else 0
        if self.pitch:
            self._require_windows(buffer)
        length = f["windows"] if self.pitch else f["row_words"]
        names: dict[Buffer, MemoryName] = {Buffer.ACT: "act", Buffer.WGT: "wgt", Buffer.PARAM: "param"}
        count = np.arange(f["rows"])
        self.require_end(names[buffer], f["local"] + (f["rows"] - 1) * f["local_stride"] + length)
        local = Region(names[buffer], rows_of(f["local"] + f["local_stride"] * count, length))
        dram = Region("dram", self._dram(base, dram_words, count))
        self.source, self.target = (dram, local) if load else (local, dram)
        self.reads, self.writes = [self.source], [self.target]
        self.dram_words = f["rows"] * f["row_words"]

    def _require_windows(self, buffer: Buffer) -> None:
        """Raise FIELD unless the windows of a run lie in its bytes, and their words in the activation buffer."""
        f, word = self.instruction.fields, self.config.word_bytes
        self.require_positive("windows")
        self.require_length("rows * windows", f["rows"] * f["windows"], MOST_WORDS)
        if buffer != Buffer.ACT:
            raise self.fail(ErrorCode.FIELD, f"buffer must be {Buffer.ACT} with a pitch, not {buffer}")
        if self.pitch > word:
            raise self.fail(ErrorCode.FIELD, f"pitch must be at most {word}, not {self.pitch}")
        end = (f["windows"] - 1) * self.pitch + word
        if end > f["row_words"] * word:
            raise self.fail(ErrorCode.FIELD, f"windows must end within the {f['row_words'] * word} bytes of a run, "
                                             f"not at {end}")

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
        words = take(getattr(m, self.source.memory), self.source.words)
        if not self.pitch:
            return words
        f, word = self.instruction.fields, self.config.word_bytes
        first = self.pitch * np.arange(f["windows"])[:, None]
        return words.reshape(f["rows"], -1)[:, first + np.arange(word)].reshape(-1, word)

    def commit(self, m: Memories, value: npt.NDArray[Any]) -> None:
        memory = getattr(m, self.target.memory)
        memory[self.target.words] = value.view(memory.dtype)


class Windowed(Step):
    """Reading windows of an image, with padding."""

    def windows(self, blocks: int, dil_y: int, dil_x: int) -> npt.NDArray[np.int32]:
        """Return the words of each output pixel's taps, int32 [pixels, taps]; padding is ``FILL``."""
        f = self.instruction.fields
        taps = f["out_h"] * f["out_w"] * f["kh"] * f["kw"] * blocks
        self.require_length("out_h * out_w * kh * kw * blocks", taps, MOST_TAPS)
        words = gather(f, blocks, dil_y, dil_x)
        self.require_end("act", int(words.max()) + 1)
        self.padded = bool((words == FILL).any())
        return words

    def read_windows(self, m: Memories, words: npt.NDArray[np.int32]) -> npt.NDArray[np.int8]:
        """Return the int8 words, shape of ``words`` + [R]."""
        if self.padded:
            m.act[FILL] = self.instruction.fields["fill"]
        return m.act.take(words, axis=0)


class Compute(Windowed):
    """COMPUTE: an output tile of a convolution or matrix product, in one or more groups, accumulated in int32."""

    def __init__(self, config: AcceleratorConfig, instruction: Instruction):
        super().__init__(config, instruction)
        f = instruction.fields
        self.require_positive("out_h", "out_w", "kh", "kw", "blocks")
        tiles = f["kh"] * f["kw"] * f["blocks"]
        if f["tiles"] != tiles:
            raise self.fail(ErrorCode.FIELD, f"tiles must be kh * kw * blocks = {tiles}, not {f['tiles']}")
        self.acc = self.acc_range()
        end = f["wgt"] + f["groups"] * tiles * config.rows
        self.require_end("wgt", end)
        self.wgt = slice(f["wgt"], end)
        self.pixel_words = f["groups"] * tiles * f["out_h"] * f["out_w"]
        self.require_length("words streamed", self.pixel_words, MOST_TAPS)
        self.words = in_groups(self.windows(f["blocks"], f["dil_y"], f["dil_x"]), f["groups"], f["step_group"])
        self.require_end("act", int(self.words.max()) + 1)
        self.reads = [Region("act", self.words), Region("wgt", self.wgt)]
        self.writes = [Region("acc", self.acc)]
        if f["accumulate"]:
            self.reads.append(Region("acc", self.acc))

    def fetch(self, m: Memories) -> npt.NDArray[Any]:
        f, rows = self.instruction.fields, self.config.rows
        inputs, pixels, tiles = self.words.shape
        weights = m.wgt[self.wgt].reshape(f["groups"], tiles * rows, rows)
        chunk = max(1, _EXACT_DEPTH // rows)
        total = m.acc[self.acc] if f["accumulate"] else np.zeros((f["groups"] * pixels, rows), np.int32)
        for t in range(0, tiles, chunk):
            taps = self.read_windows(m, self.words[..., t:t + chunk]).reshape(inputs, pixels, -1).astype(np.float32)
            part = taps @ weights[:, t * rows:(t + chunk) * rows].astype(np.float32)
            total = total + part.reshape(-1, rows).astype(np.int32)  # wraps, as the accumulators do
        return total

    def mac_events(self, m: Memories) -> MacCounts:
        f, rows = self.instruction.fields, self.config.rows
        weights = m.wgt[self.wgt].reshape(f["groups"], -1, rows, rows)
        chunk = max(1, _EXACT_DEPTH // rows)
        return np.sum([dense_events(self.read_windows(m, self.words[..., t:t + chunk]), weights[:, t:t + chunk],
                                    f["fill"]) for t in range(0, self.words.shape[2], chunk)], axis=0)

    def commit(self, m: Memories, value: npt.NDArray[Any]) -> None:
        m.acc[self.acc] = value


def prepare(config: AcceleratorConfig, instruction: Instruction, base: int, dram_words: int) -> Step:
    """Return the executable form of an instruction; a `Broken` step when its fields or addresses are wrong."""
    try:
        step: Step
        if instruction.opcode == Opcode.COMPUTE and instruction.fields["fir"]:
            step = FilterCompute(config, instruction)
        elif instruction.opcode == Opcode.COMPUTE:
            step = Compute(config, instruction)
        elif instruction.opcode in VECTOR_STEPS:
            step = VECTOR_STEPS[instruction.opcode](config, instruction)
        else:
            step = Transfer(config, instruction, base, dram_words)
        step.check_banks()
    except MachineError as error:
        return Broken(error, instruction)
    return step
