"""Area, timing and power of a core in standard cells, block by block."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .activity import Activity, activity_commands
from .liberty import Library
from .macros import access_joules, macro_area, macro_library
from .mapping import Shape
from .netlist import Module, Netlist, plain, read_netlist
from .timing import Analysis, Point, Watts, analyse

__all__ = ["BLOCKS", "AsicReport", "Block", "BlockCorner", "Corner", "Macro", "buffered", "report"]

BLOCKS: dict[str, tuple[str, ...]] = {
    "array": ("compute/array",),
    "line buffer": ("compute/line_buffer",),
    "accumulators": ("compute/acc",),
    "front end": ("compute",),
    "requantisers": ("vector/requant",),
    "vector unit": ("vector",),
    "activation buffer": ("act",),
    "load": ("load",),
    "store": ("store",),
    "fetch": ("fetch",),
    "issue logic": ("issue_logic",),
    "registers": ("csrs",),
    "bus": ("arbiter", "axi"),
    "core": ("",),
}
"""Blocks of the core by the paths of their modules; the longest path that fits counts."""
_BLOCK_OF = {path: block for block, paths in BLOCKS.items() for path in paths}


@dataclass(frozen=True)
class Block:
    """``cells``: all of them, ``flip_flops`` among them. ``area``: um2 without macros. ``gates``: in NAND gates."""

    cells: int
    flip_flops: int
    area: float
    gates: float


@dataclass(frozen=True)
class Macro:
    """``count`` memories of ``words`` words of ``bits`` bits in ``block``; um2 and joules are of one, and modelled.

    ``reads``, ``writes``: of all of them per cycle, or None where the activity does not tell.
    """

    block: str
    words: int
    bits: int
    count: int
    area: float
    access: float
    reads: float | None
    writes: float | None


@dataclass(frozen=True)
class BlockCorner:
    """``mhz``: of the longest path that ends in the block, at ``endpoint``; None where none does. Watts."""

    mhz: float | None
    endpoint: str | None
    internal: float
    switching: float
    leakage: float


@dataclass(frozen=True)
class Corner:
    """A library: the clock that the netlist reaches, its longest path, and its blocks at the report's period."""

    library: str
    volts: float
    mhz: float
    path: tuple[Point, ...]
    blocks: Mapping[str, BlockCorner]


@dataclass(frozen=True)
class AsicReport:
    """Of the core, or of one block when ``top`` is one.

    Attributes
    ----------
    top
        "core" or the block's name.
    library
        That the netlist is mapped to.
    period_ns
        Clock that logic is mapped for and power is given at.
    activity
        Where the toggles come from.
    gate
        um2 of a NAND gate.
    """

    top: str
    library: str
    period_ns: float
    activity: str
    gate: float
    blocks: Mapping[str, Block]
    macros: Sequence[Macro]
    corners: Sequence[Corner]


def block_of(path: str) -> str:
    """Return the block that the module at a path of the core belongs to."""
    while path not in _BLOCK_OF:
        path = path.rpartition("/")[0]
    return _BLOCK_OF[path]


def buffered(text: str, top: str, library: Library) -> Netlist:
    """Return a netlist that Yosys wrote, with buffers where too much hangs on a net."""
    netlist = read_netlist(text, plain(top))
    buffer = library.buffer(16)
    (pin_out,) = buffer.outputs
    netlist.insert_buffers(buffer.name, buffer.inputs[0], pin_out,
                           {cell.name: tuple(cell.outputs) for cell in library.cells.values()})
    return netlist


def report(netlist: Netlist, libraries: Sequence[Library], period_ns: float, activity: Activity, inside: str,
           top: str, folder: Path) -> AsicReport:
    """Return the report of a netlist of the first of the libraries, with a corner for each.

    Parameters
    ----------
    netlist : Netlist
        With buffers.
    libraries : sequence of Library
        Of the same cells.
    period_ns : float
        Of the clock.
    activity : Activity
        Toggles in the core.
    inside : str
        Path from the core to the netlist's top.
    top : str
        What the report is of.
    folder : Path
        Where files may be written.

    Raises ``ToolError`` when OpenSTA is missing or fails.
    """
    library = libraries[0]
    blocks = _blocks(netlist, library, inside)
    counted = _macros(netlist, library, activity, inside)
    shapes = sorted({(each.words, each.bits) for each in counted})
    commands = activity_commands(netlist, library, activity, inside)
    text = netlist.verilog()
    corners = []
    for corner in libraries:
        found = analyse(text, netlist.top, corner.text, macro_library(shapes, corner), period_ns, commands, folder)
        corners.append(_corner(corner, found, netlist, period_ns, blocks, inside))
    return AsicReport(top, library.name, period_ns, activity.source, library.nand2.area, blocks, counted, corners)


def _joined(inside: str, path: str) -> str:
    return f"{inside}/{path}".strip("/")


def _blocks(netlist: Netlist, library: Library, inside: str) -> dict[str, Block]:
    kinds: dict[str, Counter[str]] = {}
    for path, module in netlist.paths():
        kinds.setdefault(block_of(_joined(inside, path)), Counter()).update(netlist.kinds(module))
    found = {}
    for name in BLOCKS:
        cells = [(library.cells[kind], count) for kind, count in kinds.get(name, Counter()).items()
                 if kind in library.cells]
        if cells:
            area = sum(cell.area * count for cell, count in cells)
            found[name] = Block(sum(count for _, count in cells),
                                sum(count for cell, count in cells if cell.sequential), area,
                                area / library.nand2.area)
    return found


def _macros(netlist: Netlist, library: Library, activity: Activity, inside: str) -> list[Macro]:
    accesses: dict[tuple[str, Shape], list[tuple[float | None, float | None]]] = {}
    for path, module in netlist.paths():
        place = _joined(inside, path)
        for each in module.instances:
            if each.kind.startswith("sram_") and each.kind not in library.cells:
                words, bits = map(int, each.kind.removeprefix("sram_").split("x"))
                read, write = (activity.nets.get((place, each.pins[pin]), (0.0, None))[1] for pin in ("r_en", "w_en"))
                accesses.setdefault((block_of(place), (words, bits)), []).append((read, write))
    return [Macro(block, *shape, len(found), macro_area(shape, library), access_joules(shape, library),
                  _sum(read for read, _ in found), _sum(write for _, write in found))
            for (block, shape), found in sorted(accesses.items())]


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _corner(library: Library, found: Analysis, netlist: Netlist, period_ns: float, blocks: Mapping[str, Block],
            inside: str) -> Corner:
    worst: dict[str, tuple[float, str]] = {}
    for pin, slack in found.slacks.items():
        block = block_of(_joined(inside, pin.rpartition("/")[0].rpartition("/")[0]))
        if block not in worst or slack < worst[block][0]:
            worst[block] = slack, pin
    watts: dict[str, Watts] = {}
    for name, each in found.power.items():
        block = block_of(_joined(inside, name.rpartition("/")[0]))
        watts[block] = watts.get(block, Watts()) + each
    names = {path: module for path, module in netlist.paths()}
    by_block = {}
    for block in blocks:
        power = watts.get(block, Watts())
        timing: tuple[float | None, str | None] = None, None
        if block in worst:
            slack, pin = worst[block]
            timing = 1e3 / (period_ns - slack), _readable(pin, names, library)
        by_block[block] = BlockCorner(*timing, power.internal, power.switching, power.leakage)
    longest = period_ns - min(found.slacks.values(), default=0.0)
    path = tuple(Point(_readable(point.pin, names, library), point.cell, point.delay, point.time)
                 for point in found.path)
    return Corner(library.name, library.volts, 1e3 / longest, path, by_block)


def _readable(pin: str, modules: Mapping[str, Module], library: Library) -> str:
    """Return the path of a pin with the name of the net that its cell drives, which is a register's or a signal's."""
    path, _, port = pin.rpartition("/")
    place, _, name = path.rpartition("/")
    instance = next((each for each in modules[place].instances if each.name == name), None)
    if instance is None or instance.kind not in library.cells:
        return pin
    net = next((instance.pins[out] for out in library.cells[instance.kind].outputs if out in instance.pins), name)
    return f"{place}/{net}/{port}".lstrip("/")
