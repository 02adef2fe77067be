"""Switching activity of a run, from the files of `systolith run --activity`, as the netlist's nets are called."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ...hw.asic.activity import Activity
from ...hw.asic.netlist import plain
from ...sim.rtl.activity import BLOCKS, TOP
from ..errors import UsageError

DEFAULT_RATE = 0.1
"""Toggles per cycle of every register without a measurement."""

_INSTANCE = re.compile(r"\(INSTANCE (\S+)")
_NET = re.compile(r"\((\S+) \(T0 \d+\) \(T1 (\d+)\) \(TX \d+\) \(TC (\d+)\)\)")


def read_activity(text: str | None) -> Activity:
    """Return the activity of a file `.saif` or `.json`, or with a number, that of every register.

    Raises:
        UsageError: `text` is neither, or the file cannot be read or holds something else.
    """
    if text is None:
        return Activity(f"an assumption: {DEFAULT_RATE:g} toggles per register bit and cycle", DEFAULT_RATE)
    path = Path(text)
    if path.suffix not in (".saif", ".json"):
        try:
            rate = float(text)
        except ValueError:
            rate = -1.0
        if not 0 <= rate <= 1:
            raise UsageError(f"--activity must be a .saif or .json file of `systolith run --activity`, or toggles per "
                             f"cycle between 0 and 1, not {text!r}")
        return Activity(f"{rate:g} toggles per register bit and cycle", rate)
    try:
        content = path.read_text(encoding="utf-8")
        return _of_saif(content, path) if path.suffix == ".saif" else _of_json(content, path)
    except OSError as error:
        raise UsageError(f"activity file {path} must be readable: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"activity file {path} must be one of `systolith run --device rtl --activity`") from None


def _of_saif(text: str, path: Path) -> Activity:
    duration, unit = int(_found(r"\(DURATION (\d+)\)", text)), int(_found(r"\(TIMESCALE (\d+) ps\)", text))
    cycles = duration * unit / 1000  # a cycle is 1 ns
    nets: dict[tuple[str, str], tuple[float, float]] = {}
    place: list[str | None] = []  # instances, and None for a list of nets
    for line in text.splitlines():
        if instance := _INSTANCE.fullmatch(line):
            place.append(_unescaped(instance[1]))
        elif line == "(NET":
            place.append(None)
        elif line == ")" and place:
            place.pop()
        elif net := _NET.fullmatch(line):
            module = "/".join(plain(name) for name in place[1:] if name)
            nets[module, _net_name(_unescaped(net[1]))] = int(net[3]) / cycles, int(net[2]) * unit / 1000 / cycles
    mean = sum(rate for rate, _ in nets.values()) / len(nets)
    return Activity(f"{path.name}, {cycles:,.0f} cycles", mean, {}, nets)


def _of_json(text: str, path: Path) -> Activity:
    report = json.loads(text)
    rates = {module.removeprefix(TOP).replace(".", "/").strip("/"): float(report["blocks"][block]["register_toggles"])
             for block, modules in BLOCKS.items() if block in report["blocks"] for module in modules}
    return Activity(f"{path.name}, {report['cycles']:,} cycles, mean of each block", rates[""], rates)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(pattern)
    return match[1]


def _unescaped(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name)


def _net_name(name: str) -> str:
    base, bracket, bit = name.partition("[")
    return plain(base) + bracket + bit
