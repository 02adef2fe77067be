"""COMPUTE in the filter mode of the array."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..hw.array import SPACINGS, lines_at_once
from ..hw.config import AcceleratorConfig
from ..hw.isa import ErrorCode
from ..hw.lines import LINE_READ_LATENCY
from .activity import MacCounts, MacEvent, filter_events
from .decode import Instruction
from .memories import FILL, Memories, Region, gather, in_groups
from .step import MOST_TAPS, Step

__all__ = ["FilterCompute"]


class FilterCompute(Step):
    """COMPUTE in filter mode: each column of the array filters one channel of the words that stream by.

    Rows beyond the configuration's ``fir_rows`` go on as in dense mode, with the word that completes the output.
    """

    def __init__(self, config: AcceleratorConfig, instruction: Instruction):
        super().__init__(config, instruction)
        f = instruction.fields
        self.require_positive("out_h", "out_w", "kh", "kw", "blocks", "walk_h", "walk_w", "stride_x", "stride_y")
        passes = f["kh"] * f["kw"] * f["blocks"]
        if f["tiles"] != passes:
            raise self.fail(ErrorCode.FIELD, f"tiles must be kh * kw * blocks = {passes}, not {f['tiles']}")
        if not config.fir_rows:
            raise self.fail(ErrorCode.FIELD, "fir must be 0 in an array without filter mode, not 1")
        if f["spacing"] not in SPACINGS:
            raise self.fail(ErrorCode.FIELD, f"spacing must be one of {SPACINGS}, not {f['spacing']}")
        delay = f["walk_w"] + f["spacing"]
        if not LINE_READ_LATENCY < delay <= config.line_words:
            raise self.fail(ErrorCode.FIELD, f"walk_w + spacing must be above {LINE_READ_LATENCY} and at most "
                                             f"{config.line_words}, not {delay}")
        self.acc = self.acc_range()
        end = f["wgt"] + f["groups"] * passes * config.rows
        self.require_end("wgt", end)
        self.wgt = slice(f["wgt"], end)
        self.pixel_words = f["groups"] * passes * (f["lead"] + f["walk_h"] * f["walk_w"])
        self.require_length("words streamed", self.pixel_words, MOST_TAPS)
        self.streams = in_groups(self._streams(), f["groups"], f["step_group"])
        self.require_end("act", int(self.streams.max()) + 1)
        self.newest = self._newest()
        self.taps, self.outside = self._taps()
        self.reads = [Region("act", self.streams), Region("wgt", self.wgt)]
        self.writes = [Region("acc", self.acc)]
        if f["accumulate"]:
            self.reads.append(Region("acc", self.acc))

    def _streams(self) -> npt.NDArray[np.int32]:
        """Return the words that each pass of a group streams, int32 [passes, words]; padding is ``FILL``."""
        f = dict(self.instruction.fields)
        lines = {**f, "out_h": f["walk_h"], "out_w": f["walk_w"], "stride_y": 1, "stride_x": 1}
        words = gather(lines, f["blocks"], f["dil_y"], f["dil_x"]).T
        lead = np.full((len(words), f["lead"]), FILL, np.int32)
        return np.concatenate([lead, words], axis=1)

    def _newest(self) -> npt.NDArray[np.int64]:
        """Return which word of a stream completes each output, int64 [pixels]."""
        f = self.instruction.fields
        y = f["skip_y"] + f["stride_y"] * np.arange(f["out_h"])
        x = f["skip_x"] + f["stride_x"] * np.arange(f["out_w"])
        if y[-1] >= f["walk_h"] or x[-1] >= f["walk_w"]:
            raise self.fail(ErrorCode.FIELD, "the walk must reach the last output; enlarge walk_h or walk_w")
        return (f["lead"] + y[:, None] * f["walk_w"] + x).reshape(-1)

    @property
    def ages(self) -> npt.NDArray[np.int64]:
        """By how many words each filter row's is older than the newest, int64 [rows]."""
        f, rows = self.instruction.fields, np.arange(self.config.fir_rows)
        line = np.minimum(rows // f["spacing"], lines_at_once(self.config.fir_rows, f["spacing"]) - 1)
        return line * f["walk_w"] + (rows - line * f["spacing"])

    def _taps(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return which word of a stream each filter row meets for each output, [pixels, rows], and whether none."""
        taps = self.newest[:, None] - self.ages
        return np.maximum(taps, 0), taps < 0

    def fetch(self, m: Memories) -> npt.NDArray[Any]:
        m.act[FILL] = self.instruction.fields["fill"]
        f, rows, filters = self.instruction.fields, self.config.rows, self.config.fir_rows
        weights = m.wgt[self.wgt].reshape(f["groups"], -1, rows, rows).astype(np.int32)
        if weights[:, :, np.flatnonzero(self.outside.any(axis=0))].any():
            raise self.fail(ErrorCode.FIELD, "rows without a word at the first output must have zero weights")
        total = m.acc[self.acc].reshape(f["groups"], -1, rows) * np.int32(f["accumulate"])
        for group, tiles in enumerate(weights):
            streams = self.streams[group % len(self.streams)]  # one for all when they read the same
            for stream, tile in zip(streams, tiles, strict=True):
                words = m.act.take(stream, axis=0).astype(np.int32)
                total[group] += np.einsum("prc,rc->pc", words[self.taps], tile[:filters])
                total[group] += words[self.newest, filters:] @ tile[filters:]
        return total.reshape(-1, rows)

    def mac_events(self, m: Memories) -> MacCounts:
        f, rows = self.instruction.fields, self.config.rows
        m.act[FILL] = f["fill"]
        counts = np.zeros(len(MacEvent), np.int64)
        for group, tiles in enumerate(m.wgt[self.wgt].reshape(f["groups"], -1, rows, rows)):
            for stream, tile in zip(self.streams[group % len(self.streams)], tiles, strict=True):
                counts += filter_events(m.act.take(stream, axis=0), tile, self.ages, f["fill"])
        return counts

    def commit(self, m: Memories, value: npt.NDArray[Any]) -> None:
        m.acc[self.acc] = value
