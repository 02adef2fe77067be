"""Configuration files of SCALE-Sim v2 and v3, as settings of the accelerator."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path

from ...hw.config import AcceleratorConfig
from ..errors import ConfigError

_DATAFLOWS = ("os", "ws", "is")
# What is on or off, with what it is; off is what is modelled.
_SWITCHES = {"UseRamulatorTrace": "DRAM latencies of Ramulator are not modelled; --set dram=NAME is a DRAM with banks",
             "SparsitySupport": "sparse weights are not modelled; all layers are dense",
             "IfmapCustomLayout": "layouts are not modelled; the compiler lays tensors out",
             "FilterCustomLayout": "layouts are not modelled; the compiler lays tensors out"}
# What says nothing without a switch, or nothing of the cycles: names, addresses, and whether to write traces.
_SILENT = re.compile(r"run_name|(ifmap|filter|ofmap)offset|(ifmap|filter)srambank(bandwidth|num|port)|sparserep|"
                     r"optimizedmapping|blocksize|randomnumbergeneratorseed|(topology|layout)csvloc|save_?trace|bandwidth")
_RULES = {option.name: option.metadata["rule"] for option in fields(AcceleratorConfig)}


@dataclass(frozen=True)
class ScaleSimConfig:
    """What a file says.

    Attributes:
        settings: `KEY=VALUE` settings of `AcceleratorConfig`.
        notes: one line for each key that is modelled in another way, or not at all.
    """

    settings: tuple[str, ...]
    notes: tuple[str, ...]


def read_scalesim_config(path: Path) -> ScaleSimConfig:
    """Return what a configuration file of SCALE-Sim says of the array, its memories and the bandwidth.

    Raises:
        ConfigError: the file cannot be read, is malformed, or asks for a core that cannot be; the message has the line.
    """
    file = _File(path)
    settings, notes = dict[str, int](), list[str]()
    settings["rows"] = file.option("ArrayHeight", "rows", file.integer("ArrayHeight"))
    if file.integer("ArrayWidth") != settings["rows"]:
        raise file.error("ArrayWidth", f"must be ArrayHeight, {settings['rows']}, because the array is square")
    inputs, outputs, weights = map(file.integer, ("IfmapSramSzkB", "OfmapSramSzkB", "FilterSramSzkB"))
    settings["act_kib"] = _fitting("act_kib", inputs + outputs)
    notes.append(file.note("IfmapSramSzkB", f"with OfmapSramSzkB {outputs} one activation buffer of "
                                            f"{settings['act_kib']} KiB"))
    settings["wgt_kib"] = _fitting("wgt_kib", weights)
    if settings["wgt_kib"] != weights:
        notes.append(file.note("FilterSramSzkB", f"the weight buffer has {settings['wgt_kib']} KiB"))
    if file.choice("Dataflow", _DATAFLOWS) != "ws":
        notes.append(file.note("Dataflow", "modelled as ws, because the array is weight-stationary"))
    if file.choice("InterfaceBandwidth", ("user", "calc")) == "user":
        # Each operand has an interface of its own in SCALE-Sim, of one of three numbers, or of the only one.
        settings["dram_bandwidth"] = file.option("Bandwidth", "dram_bandwidth", sum(file.integers("Bandwidth")))
        notes.append(file.note("Bandwidth", f"{settings['dram_bandwidth']} bytes per cycle, which all operands share; "
                                            f"the port moves {settings['rows']}"))
    else:
        settings["dram_bandwidth"] = _RULES["dram_bandwidth"].high
        notes.append(file.note("InterfaceBandwidth", f"DRAM keeps up with the port, {settings['rows']} bytes per "
                                                     "cycle, which all operands share"))
    for switch, why in _SWITCHES.items():
        if file.on(switch):
            notes.append(file.note(switch, why))
    notes += [file.note(key, "not modelled") for key in file.unread() if not _SILENT.fullmatch(key.lower())]
    return ScaleSimConfig(tuple(f"{name}={value}" for name, value in settings.items()), tuple(notes))


def write_scalesim_config(config: AcceleratorConfig, path: Path) -> None:
    """Write a configuration for SCALE-Sim 3 with the array, memories and bandwidth of `config`.

    The activation buffer is half for inputs and half for outputs. The bandwidth is that of each operand, because
    SCALE-Sim knows no other.

    Raises:
        OSError: the file cannot be written.
    """
    half, bandwidth = max(1, config.act_kib // 2), int(config.memory_bandwidth)
    path.write_text(f"""[general]
run_name = run
[architecture_presets]
ArrayHeight = {config.rows}
ArrayWidth = {config.cols}
IfmapSramSzkB = {half}
FilterSramSzkB = {config.wgt_kib}
OfmapSramSzkB = {half}
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = ws
Bandwidth = {bandwidth}
ReadRequestBuffer = 64
WriteRequestBuffer = 64
[layout]
IfmapCustomLayout = False
FilterCustomLayout = False
IfmapSRAMBankBandwidth = {bandwidth}
IfmapSRAMBankNum = 1
IfmapSRAMBankPort = 2
FilterSRAMBankBandwidth = {bandwidth}
FilterSRAMBankNum = 1
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = False
[run_presets]
InterfaceBandwidth = USER
UseRamulatorTrace = False
""", "utf-8")


def _fitting(option: str, kib: int) -> int:
    """Return the size of a buffer, a power of two, that is closest from below, or the largest."""
    return min(1 << (kib.bit_length() - 1), _RULES[option].high)


class _File:
    """Keys and values of an INI file, with their lines; a key counts in whatever section it is, in any case.

    Args:
        path: the file.

    Raises:
        ConfigError: it cannot be read or is malformed. So do the methods for a value that is missing or wrong.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries = dict[str, tuple[int, str, str]]()
        self._read = set[str]()
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except OSError as error:
            raise ConfigError(f"cannot read '{path}' ({error.strerror or error}); give the path of a configuration of "
                              "SCALE-Sim") from error
        except UnicodeDecodeError:
            raise ConfigError(f"{path} must be a configuration of SCALE-Sim; it is another kind of file") from None
        for number, line in enumerate(map(str.strip, lines), 1):
            if not line or line[0] in "#;" or (line[0] == "[" and line[-1] == "]"):
                continue
            found = re.fullmatch(r"([\w ]+?)\s*[:=]\s*(.*)", line)
            if found is None:
                raise ConfigError(f"line {number} of {path} must be 'KEY = VALUE' or '[SECTION]', not {line[:40]!r}")
            self._entries[found[1].lower()] = number, found[1], found[2]

    def integers(self, key: str) -> list[int]:
        """Return the positive integers, separated by commas, that `key` has."""
        text = self._value(key)
        try:
            values = [int(part) for part in text.split(",")]
        except ValueError:
            values = []
        if min(values, default=0) < 1:
            raise self.error(key, f"must be a positive integer, not {text!r}")
        return values

    def integer(self, key: str) -> int:
        """Return the positive integer that `key` has."""
        value, *more = self.integers(key)
        if more:
            raise self.error(key, f"must be one integer, not {self._value(key)!r}")
        return value

    def option(self, key: str, option: str, value: int) -> int:
        """Return `value`, made from that of `key`, if it is valid for an option of `AcceleratorConfig`."""
        try:
            _RULES[option].check(option, value)
        except ValueError as error:
            raise self.error(key, str(error).removeprefix(option).strip()) from None
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """Return the value of `key`, in lower case, which must be one of `choices`."""
        value = self._value(key)
        if value.lower() not in choices:
            raise self.error(key, f"must be one of {', '.join(choices)}, not {value!r}")
        return value.lower()

    def on(self, key: str) -> bool:
        """Say whether `key` is there and true."""
        self._read.add(key.lower())
        return key.lower() in self._entries and self._value(key).lower() in ("true", "yes", "on", "1")

    def unread(self) -> list[str]:
        """Return the keys that nobody has asked for, as they are written."""
        return [key for name, (_, key, _) in self._entries.items() if name not in self._read]

    def note(self, key: str, what: str) -> str:
        """Return a line about the value of `key`."""
        number, name, value = self._entries[key.lower()]
        return f"line {number} of {self._path}: {name} {value}: {what}"

    def error(self, key: str, problem: str) -> ConfigError:
        """Return the error that the value of `key` is wrong."""
        number, name, _ = self._entries[key.lower()]
        return ConfigError(f"line {number} of {self._path}: {name} {problem}")

    def _value(self, key: str) -> str:
        if key.lower() not in self._entries:
            raise ConfigError(f"{self._path} must have the key {key}, as every configuration of SCALE-Sim; add it")
        self._read.add(key.lower())
        return self._entries[key.lower()][2]
