"""What a core is made of, counted from its configuration: multipliers, memories, and whether an FPGA has enough."""

from dataclasses import dataclass

from .array import older_lines
from .config import AcceleratorConfig
from .isa import TABLE_ENTRIES

__all__ = ["PARTS", "Area", "Memory", "Part", "area", "block_rams", "memories", "shortages"]

# Multiplications of at most 18 x 18 bits in each lane of the vector unit: four partial products of the requantiser,
# and one of two centred int8. The constant factors of address arithmetic take none.
_LANE_MULTIPLIERS = 5
# Words and bits per word that one 18-Kbit block RAM of ECP5 (DP16KD) can be, with one read and one write port.
_BLOCK_RAM_SHAPES = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))


@dataclass(frozen=True)
class Area:
    """Resources of a core.

    Attributes
    ----------
    multipliers
        Multiplications of at most 18 x 18 bits, one MULT18X18D of ECP5 each.
    sram_kib
        Size of all memories with synchronous read in KiB. Queues, which are read asynchronously, do not count.
    block_rams
        Block RAMs of 18 Kbit that those memories take on ECP5; less where synthesis makes very shallow ones (16 words)
        of look-up tables.
    """

    multipliers: int
    sram_kib: float
    block_rams: int


@dataclass(frozen=True)
class Part:
    """An FPGA: its MULT18X18D and its block RAMs of 18 Kbit."""

    multipliers: int
    block_rams: int


PARTS: dict[str, Part] = {
    "lfe5u-25f": Part(28, 56),
    "lfe5u-45f": Part(72, 108),
    "lfe5u-85f": Part(156, 208),
}


@dataclass(frozen=True)
class Memory:
    """``count`` equal memories with synchronous read, one word of which is accessed at a time."""

    name: str
    count: int
    words: int
    bits: int

    @property
    def bytes(self) -> int:
        """Size of one of them."""
        return self.words * self.bits // 8


def memories(config: AcceleratorConfig) -> list[Memory]:
    """Return the memories with synchronous read."""
    word = 8 * config.word_bytes
    found = [
        Memory("activations", config.act_banks, config.bank_words, word),
        Memory("weights", 1, config.wgt_words, word),
        Memory("parameters", 1, config.param_words, word),
        Memory("accumulators", 2, config.acc_half, 32 * config.cols),
        Memory("lines", 1, config.line_words, word * older_lines(config.fir_rows)),
        Memory("tables", config.rows, TABLE_ENTRIES, 8),
    ]
    return [memory for memory in found if memory.bits]


def area(config: AcceleratorConfig) -> Area:
    """Return the resources of a core."""
    found = memories(config)
    return Area(config.rows * config.cols + _LANE_MULTIPLIERS * config.rows,
                sum(each.count * each.bytes for each in found) / 1024,
                sum(each.count * block_rams(each.words, each.bits) for each in found))


def block_rams(words: int, width: int) -> int:
    """Return the fewest block RAMs of one shape that hold ``words`` words of ``width`` bits."""
    return min(-(-words // depth) * -(-width // bits) for depth, bits in _BLOCK_RAM_SHAPES)


def shortages(need: Area, part: Part) -> str:
    """Return what a core needs beyond what ``part`` has, such as "336 of 156 multipliers"; empty when it fits."""
    pairs = ((need.multipliers, part.multipliers, "multipliers"), (need.block_rams, part.block_rams, "block RAMs"))
    return ", ".join(f"{used} of {there} {name}" for used, there, name in pairs if used > there)
