"""SAIF files, the switching activity that power tools such as OpenSTA read."""

import re
from collections.abc import Iterator
from pathlib import Path

from .activity import Net, Nets

__all__ = ["save_saif"]

_UNIT = 10  # times are in tenths of a cycle, so that those of the clock are whole


def save_saif(path: Path, counted: Nets) -> None:
    """Write what the nets did, bit by bit: 1 cycle is 1 ns. Raises ``OSError`` when the file cannot be written."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in _lines(counted))


def _lines(counted: Nets) -> Iterator[str]:
    yield from ("(SAIFILE", '(SAIFVERSION "2.0")', '(DIRECTION "backward")', '(PROGRAM_NAME "Systolith")',
                "(DIVIDER / )", f"(TIMESCALE {1000 // _UNIT} ps)", f"(DURATION {_UNIT * counted.cycles})")
    modules: dict[str, list[Net]] = {}
    for net in counted.nets:
        path = net.module
        while path:
            modules.setdefault(path, [])
            path = path.rpartition(".")[0]
        modules[net.module].append(net)
    depth = 0
    for path in sorted(modules, key=lambda path: path.split(".")):
        level = path.count(".")
        yield from [")"] * (depth - level)
        depth = level + 1
        yield f"(INSTANCE {_escaped(path.rpartition('.')[2])}"
        nets = [line for net in modules[path] for line in _net(net, counted.cycles)]
        yield from ("(NET", *nets, ")") if nets else ()
    yield from [")"] * (depth + 1)


def _net(net: Net, cycles: int) -> Iterator[str]:
    width = len(net.toggles)
    for place, (toggles, high) in enumerate(zip(net.toggles.tolist(), net.high.tolist(), strict=True)):
        name = _escaped(net.name) + (f"\\[{width - 1 - place}\\]" if width > 1 else "")
        yield f"({name} (T0 {_UNIT * (cycles - high)}) (T1 {_UNIT * high}) (TX 0) (TC {toggles}))"


def _escaped(name: str) -> str:
    return re.sub(r"(\W)", r"\\\1", name)
