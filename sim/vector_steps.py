"""Instructions of the vector unit: requantised accumulators, arithmetic on images, pooling, tables."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..hw.config import AcceleratorConfig
from ..hw.isa import PARAM_WORDS, TABLE_ENTRIES, ErrorCode, Opcode, PoolMode
from ..models.quantise import requantize
from .decode import Instruction
from .memories import ADDRESS_SPACE, FILL, Memories, Region, gather, take
from .step import MOST_TAPS, Step

__all__ = ["VECTOR_STEPS"]


class VectorStep(Step):
    """Base of the VECTOR instructions: words clamped and written to the activation buffer."""

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
    """REQUANT: accumulators plus bias, requantised per channel, for one or more groups of channels."""

    def __init__(self, config: AcceleratorConfig, instruction: Instruction):
        super().__init__(config, instruction)
        f = instruction.fields
        self.require_positive("groups")
        self.acc = self.acc_range()
        end = f["param"] + f["groups"] * PARAM_WORDS
        self.require_end("param", end)
        self.param = slice(f["param"], end)
        self._repeat_output()
        self.reads = [Region("acc", self.acc), Region("param", self.param)]

    def _repeat_output(self) -> None:
        groups, step = self.instruction.fields["groups"], self.instruction.fields["dst_step_group"]
        if groups == 1:
            return
        first = np.arange(self.dst.start, self.dst.stop) if isinstance(self.dst, slice) else self.dst
        words = (first + step * np.arange(groups)[:, None]) % ADDRESS_SPACE
        self.require_end("act", int(words.max()) + 1)
        self.dst = words.astype(np.int32).reshape(-1)
        self.writes = [Region("act", self.dst)]

    def fetch(self, m: Memories) -> npt.NDArray[Any]:
        groups, rows = self.instruction.fields["groups"], self.config.rows
        planes = m.param[self.param].reshape(groups, PARAM_WORDS, rows)
        words = np.ascontiguousarray(planes[:, :8].transpose(0, 2, 1)).view("<i4")  # [groups, rows, bias and mult]
        bias, mult = words[:, None, :, 0], words[:, None, :, 1].view(np.uint32)
        shift = planes[:, None, 8].view(np.int8)
        self.require_scale(mult, shift)
        acc = m.acc[self.acc].reshape(groups, -1, rows)
        return self.finish(requantize(acc + bias, mult, shift)).reshape(-1, rows)


class Elementwise(VectorStep):
    """What ADD and MUL share: two images and the scale of their combination."""

    def __init__(self, config: AcceleratorConfig, instruction: Instruction):
        super().__init__(config, instruction)
        f = instruction.fields
        self.require_scale(f["y_mult"], f["y_shift"], "y_")
        self.a, self.b = self.image("a"), self.image("b")
        self.reads = [Region("act", self.a), Region("act", self.b)]

    def operands(self, m: Memories) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return both images less their zero points, int32 [pixels, R]."""
        f = self.instruction.fields
        return (take(m.act, self.a).astype(np.int32) - f["a_zp"], take(m.act, self.b).astype(np.int32) - f["b_zp"])

    def scaled(self, y: npt.NDArray[np.int32]) -> npt.NDArray[np.int8]:
        return self.finish(requantize(y, self.instruction.fields["y_mult"], self.instruction.fields["y_shift"]))


class Add(Elementwise):
    """ADD: sum or difference of two images, of which the first has the larger scale."""

    def __init__(self, config: AcceleratorConfig, instruction: Instruction):
        super().__init__(config, instruction)
        self.require_scale(instruction.fields["b_mult"], instruction.fields["b_shift"], "b_")

    def fetch(self, m: Memories) -> npt.NDArray[Any]:
        f = self.instruction.fields
        a, b = self.operands(m)
        a, b = a << 19, requantize(b << 20, f["b_mult"], f["b_shift"])
        return self.scaled((-a if f["a_negate"] else a) + (-b if f["b_negate"] else b))


class Mul(Elementwise):
    """MUL: product of two images."""

    def fetch(self, m: Memories) -> npt.NDArray[Any]:
        a, b = self.operands(m)
        return self.scaled(a * b)


class Table(VectorStep):
    """TABLE: a function of one int8, whose values the vector unit keeps."""

    def __init__(self, config: AcceleratorConfig, instruction: Instruction):
        super().__init__(config, instruction)
        f = instruction.fields
        self.a = self.image("a")
        self.reads = [Region("act", self.a)]
        self.param: slice | None = None
        if f["reload"]:
            end = f["param"] + TABLE_ENTRIES // config.rows
            self.require_end("param", end)
            self.param = slice(f["param"], end)
            self.reads.append(Region("param", self.param))

    def fetch(self, m: Memories) -> npt.NDArray[Any]:
        if self.param is not None:
            m.table[:] = m.param[self.param].reshape(-1).view(np.int8)  # no other unit sees it
        return m.table[take(m.act, self.a).astype(np.int32) + TABLE_ENTRIES // 2]


class Pool(VectorStep):
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
        self.require_length("out_h * out_w * kh * kw", f["out_h"] * f["out_w"] * f["kh"] * f["kw"], MOST_TAPS)
        self.words = gather(f, 1, 1, 1)
        self.require_end("act", int(self.words.max()) + 1)
        self.reads = [Region("act", self.words)]

    def fetch(self, m: Memories) -> npt.NDArray[Any]:
        f = self.instruction.fields
        m.act[FILL] = f["fill"]
        taps = m.act.take(self.words, axis=0)
        if self.mode == PoolMode.MAX:
            return self.finish(taps.max(axis=1))
        total = taps.sum(axis=1, dtype=np.int32)
        if self.mode == PoolMode.SUM:
            return self.finish(requantize(total + np.int32(f["bias"]), f["mult"], f["shift"]))
        rounded = np.where(total > 0, total + f["half"], total - f["half"]).astype(np.int64)
        return self.finish((rounded * f["mult"] >> 31) + (rounded < 0))


VECTOR_STEPS: dict[Opcode, type[VectorStep]] = {
    Opcode.REQUANT: Requant, Opcode.ADD: Add, Opcode.MUL: Mul, Opcode.TABLE: Table, Opcode.POOL: Pool,
}
