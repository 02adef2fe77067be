"""The one configuration object shared by RTL, compiler, simulator and driver."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from .dram import DRAMS

__all__ = ["FIXED_DRAM", "ISA_VERSION", "PRESETS", "AcceleratorConfig"]

# Part of the configuration hash: a program for another instruction set must be refused.
ISA_VERSION = 2
# The DRAM that is no device of `DRAMS`.
FIXED_DRAM = "fixed"


@dataclass(frozen=True)
class _Integer:
    """The legal values of an option that is an integer."""

    low: int
    high: int
    power_of_two: bool = False

    @property
    def range(self) -> str:
        return f"{'power of two, ' if self.power_of_two else ''}{self.low} to {self.high}"

    def parse(self, name: str, text: str) -> int:
        try:
            return int(text, 0)
        except ValueError:
            raise ValueError(f"{name} must be an integer, not {text!r}") from None

    def check(self, name: str, value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{name} must be an integer, not {value!r}")
        is_power = value > 0 and value & (value - 1) == 0
        if not self.low <= value <= self.high or (self.power_of_two and not is_power):
            kind = "a power of two" if self.power_of_two else "an integer"
            raise ValueError(f"{name} must be {kind} between {self.low} and {self.high}, not {value}")


@dataclass(frozen=True)
class _Choice:
    """The legal values of an option that is a name."""

    names: tuple[str, ...]

    @property
    def range(self) -> str:
        return ", ".join(f"`{name}`" for name in self.names)

    def parse(self, name: str, text: str) -> str:
        return text

    def check(self, name: str, value: object) -> None:
        if value not in self.names:
            raise ValueError(f"{name} must be one of {', '.join(self.names)}, not {value!r}")


def _option(default: int, doc: str, low: int, high: int, *, power_of_two: bool = False, gateware: bool = True) -> Any:
    """Declare one integer option: its default, documentation and legal range in one place."""
    return field(default=default, metadata={"doc": doc, "rule": _Integer(low, high, power_of_two),
                                            "gateware": gateware})


def _environment(default: str, doc: str, names: Iterable[str]) -> Any:
    """Declare one option of the environment that is one of ``names``."""
    return field(default=default, metadata={"doc": doc, "rule": _Choice(tuple(names)), "gateware": False})


@dataclass(frozen=True)
class AcceleratorConfig:
    """Parameters of one accelerator core and of the memory it is attached to.

    A *word* is ``rows`` bytes: one pixel of ``rows`` int8 channels, the unit of every buffer and of the AXI data bus.
    Options marked ``gateware=False`` describe the environment; they do not change the RTL or the hash.

    Raises
    ------
    ValueError
        If an option is outside its range; the message names the option, the rule and the value.
    """

    rows: int = _option(16, "array rows = columns = bytes per word", 2, 64, power_of_two=True)
    act_kib: int = _option(256, "activation buffer, KiB", 1, 4096, power_of_two=True)
    act_banks: int = _option(4, "activation buffer banks, each with one read and one write port", 2, 8,
                             power_of_two=True)
    wgt_kib: int = _option(64, "weight buffer, KiB", 1, 4096, power_of_two=True)
    param_kib: int = _option(8, "bias, multiplier and shift buffer, KiB", 1, 256, power_of_two=True)
    acc_depth: int = _option(512, "accumulator words (of `cols` int32), two ping-pong halves", 16, 4096,
                             power_of_two=True)
    filter_rows: int = _option(10, "array rows that the filter mode (depthwise) uses at most, 0 for none", 0, 64)
    line_words: int = _option(512, "words per delayed image line of the filter mode", 32, 4096, power_of_two=True)
    queue_depth: int = _option(8, "instructions waiting in front of each unit", 2, 64, power_of_two=True)
    outstanding: int = _option(8, "AXI bursts in flight per direction", 1, 32)
    watchdog: int = _option(1 << 16, "cycles without progress before the core stops with an error", 64, (1 << 32) - 1,
                            gateware=False)
    dram: str = _environment(FIXED_DRAM, "DRAM behind the AXI port: a fixed latency and bandwidth, or a device with "
                             "banks", (FIXED_DRAM, *DRAMS))
    dram_latency: int = _option(20, "of the `fixed` DRAM: cycles from an accepted read burst to its first beat", 1,
                                10_000, gateware=False)
    dram_bandwidth: int = _option(16, "of the `fixed` DRAM: bytes per cycle, reads and writes together", 1, 4096,
                                  gateware=False)
    clock_mhz: int = _option(0, "clock of the core, MHz, 0 for unknown; a DRAM with banks must know it", 0, 4000,
                             gateware=False)

    def __post_init__(self) -> None:
        for option in fields(self):
            option.metadata["rule"].check(option.name, getattr(self, option.name))
        if self.dram != FIXED_DRAM and not self.clock_mhz:
            raise ValueError(f"clock_mhz must be set with dram={self.dram}, whose times are not in cycles")
        if self.act_words // self.act_banks < 4 * self.rows:
            raise ValueError(f"act_kib must give each of the {self.act_banks} banks at least {4 * self.rows} words of "
                             f"{self.rows} bytes, not {self.act_words // self.act_banks}")
        if self.act_words > 1 << 20:
            raise ValueError(f"act_kib must give at most {1 << 20} words of {self.rows} bytes, not {self.act_words}")
        if self.wgt_words < 4 * self.rows or self.wgt_words > 1 << 20:
            raise ValueError(f"wgt_kib must give between {4 * self.rows} and {1 << 20} words of {self.rows} bytes, "
                             f"not {self.wgt_words}")
        if self.param_words > 1 << 16:
            raise ValueError(f"param_kib must give at most {1 << 16} words of {self.rows} bytes, "
                             f"not {self.param_words}")

    @property
    def cols(self) -> int:
        """Array columns; equal to ``rows`` so that an output word is again an input word."""
        return self.rows

    @property
    def word_bytes(self) -> int:
        """Bytes in one buffer word and one AXI beat."""
        return self.rows

    @property
    def fir_rows(self) -> int:
        """Array rows that the filter mode uses."""
        return min(self.filter_rows, self.rows)

    @property
    def act_words(self) -> int:
        return self.act_kib * 1024 // self.word_bytes

    @property
    def bank_words(self) -> int:
        """Words in one activation bank; banks are selected by the high address bits."""
        return self.act_words // self.act_banks

    @property
    def wgt_words(self) -> int:
        return self.wgt_kib * 1024 // self.word_bytes

    @property
    def param_words(self) -> int:
        return self.param_kib * 1024 // self.word_bytes

    @property
    def acc_half(self) -> int:
        """Pixels one compute instruction can accumulate: one ping-pong half of the accumulator buffer."""
        return self.acc_depth // 2

    @property
    def memory_latency(self) -> int:
        """Estimated cycles from a read burst to its first beat; of a DRAM with banks: when it misses the open row."""
        if self.dram == FIXED_DRAM:
            return self.dram_latency
        return -(-DRAMS[self.dram].row_miss * self.clock_mhz // 1_000_000)

    @property
    def memory_bandwidth(self) -> float:
        """Most bytes per cycle that DRAM can move, reads and writes together."""
        if self.dram == FIXED_DRAM:
            return self.dram_bandwidth
        device = DRAMS[self.dram]
        return device.burst_bytes * 1_000_000 / (device.burst_time * self.clock_mhz)

    def hash(self) -> int:
        """Return the 64-bit identity of everything that shapes the gateware and its programs."""
        shape = {f.name: getattr(self, f.name) for f in fields(self) if f.metadata["gateware"]}
        text = json.dumps({"isa": ISA_VERSION, **shape}, sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")

    def to_dict(self) -> dict[str, int | str]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "AcceleratorConfig":
        names = {f.name for f in fields(cls)}
        for name in values:
            if name not in names:
                raise ValueError(f"{name!r} must be one of {', '.join(sorted(names))}")
        return cls(**values)

    @classmethod
    def preset(cls, name: str, settings: Iterable[str] = ()) -> "AcceleratorConfig":
        """Return the preset ``name`` with ``KEY=VALUE`` settings applied.

        Raises ``ValueError`` for an unknown preset, key or value.
        """
        if name not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, not {name!r}")
        changes: dict[str, Any] = {}
        rules = {f.name: f.metadata["rule"] for f in fields(cls)}
        for setting in settings:
            key, separator, text = setting.partition("=")
            if not separator:
                raise ValueError(f"setting must be KEY=VALUE, not {setting!r}")
            if key not in rules:
                raise ValueError(f"setting {key!r} must be one of {', '.join(sorted(rules))}")
            changes[key] = rules[key].parse(key, text)
        return replace(PRESETS[name], **changes)


PRESETS: dict[str, AcceleratorConfig] = {
    "tiny": AcceleratorConfig(rows=4, act_kib=64, wgt_kib=16, param_kib=1, acc_depth=128, line_words=128,
                              queue_depth=4),
    "ulx3s": AcceleratorConfig(rows=8, act_kib=64, wgt_kib=32, param_kib=4, acc_depth=256, filter_rows=5),
    "edge": AcceleratorConfig(),
    "server": AcceleratorConfig(rows=32, act_kib=512, wgt_kib=256, param_kib=32, acc_depth=1024, filter_rows=15,
                                dram_bandwidth=32),
}
