"""Generated tables of the documentation: `python -m systolith.host.docs` rewrites them in docs/.

A table stands in a Markdown file between `<!-- table: NAME -->` and `<!-- end of table -->`; the text around it is
written by hand. What a table says comes from the modules that the gateware is made of.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from ..hw import (
    accumulator,
    array,
    axi,
    compute,
    csr,
    dma,
    fetch,
    hosted,
    interconnect,
    isa,
    issue,
    lines,
    memory,
    requant,
    scratchpad,
    vector,
    window,
)
from ..hw.boards import BOARDS
from ..hw.config import PRESETS, AcceleratorConfig
from ..sim.energy import DRAM_TYPES, LEVELS, TECHNOLOGIES, operating_points
from .fpga.design import Design
from .isadoc import isa_tables, markdown_table
from .report import config_hash

__all__ = ["FOLDER", "documents", "main", "refresh", "tables"]

FOLDER = Path(__file__).parents[1] / "docs"
# Modules with constants of timing, and how the names of those end; the comment above a constant is its description.
_TIMED = (csr, fetch, issue, dma, axi, scratchpad, window, lines, compute, accumulator, vector, requant,
          interconnect, memory, hosted)
_LATENCY_ENDINGS = ("_LATENCY", "_PERIOD", "_PASS", "_TO_WRITE")
_UNCOMMENTED = {"PARAM_READ_LATENCY": "Cycles from a parameter address to its data."}
_BLOCK = re.compile(r"(<!-- table: (?P<name>[a-z_]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def tables() -> dict[str, str]:
    """Return every generated table, Markdown by name."""
    return {**isa_tables(), "options": _options(), "presets": _presets(), "latencies": _latencies(),
            "shape_latencies": _shape_latencies(), "limits": _limits(),
            "boards": _boards(), "technologies": _technologies(), "operating_points": _operating_points(),
            "dram_types": _dram_types()}


def refresh(text: str) -> str:
    """Return Markdown `text` with the contents of its tables replaced.

    Raises:
        ValueError: the text asks for a table that does not exist.
    """
    known = tables()

    def block(match: re.Match[str]) -> str:
        if match["name"] not in known:
            raise ValueError(f"table must be one of {', '.join(known)}, not {match['name']!r}")
        return f"{match[1]}\n{known[match['name']]}\n\n{match[3]}"

    return _BLOCK.sub(block, text)


def documents() -> list[Path]:
    """Return the files that may hold tables."""
    return sorted(FOLDER.glob("*.md"))


def main() -> None:
    """Rewrite the tables in place; print the files that changed."""
    if not FOLDER.is_dir():
        sys.exit("docs: the docs folder must lie beside the package; run this from a clone of the repository")
    for path in documents():
        before = path.read_text(encoding="utf-8")
        after = refresh(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(f"{path.name} rewritten")


def _options() -> str:
    rows = []
    for option in fields(AcceleratorConfig):
        rule = option.metadata
        rows.append((f"`{option.name}`", option.default, rule["rule"].range, "yes" if rule["gateware"] else "no",
                     rule["doc"]))
    return markdown_table(("option", "default", "range", "in the gateware", "meaning"), rows)


def _presets() -> str:
    computed: dict[str, Callable[[AcceleratorConfig], object]] = {
        "MACs per cycle": lambda config: config.rows * config.cols,
        "words in the activation buffer": lambda config: config.act_words,
        "words in one activation bank": lambda config: config.bank_words,
        "weight tiles in the weight buffer": lambda config: config.wgt_words // config.rows,
        "accumulators in one half": lambda config: config.acc_half,
        "configuration hash": lambda config: f"`{config_hash(config)}`",
    }
    rows: list[list[object]]
    rows = [[f"`{name}`", *(config.to_dict()[name] for config in PRESETS.values())]
            for name in (option.name for option in fields(AcceleratorConfig))]
    rows += [[name, *(map(value, PRESETS.values()))] for name, value in computed.items()]
    return markdown_table(("", *PRESETS), rows)


def _latencies() -> str:
    rows = []
    for module in _TIMED:
        source, file = inspect.getsource(module), f"`hw/{module.__name__.rpartition('.')[2]}.py`"
        for name, value in vars(module).items():
            if name.endswith(_LATENCY_ENDINGS) and re.search(rf"^{name} = ", source, re.MULTILINE):
                rows.append((file, f"`{name}`", value, _comment(source, name)))
    return markdown_table(("defined in", "name", "value", "meaning"), rows)


def _comment(source: str, name: str) -> str:
    """Return the comment above the definition of `name` as one line."""
    found = re.search(rf"((?:^#[^\n]*\n)+){name} = ", source, re.MULTILINE)
    if found is None and name not in _UNCOMMENTED:
        raise ValueError(f"{name} must have a comment above it that says what it measures")
    return " ".join(line[1:].strip() for line in found[1].splitlines()) if found else _UNCOMMENTED[name]


def _shape_latencies() -> str:
    functions: list[tuple[str, str, Callable[[AcceleratorConfig], int]]] = [
        ("array_latency", "pixel word at the array to its sums", lambda config: array.array_latency(config.rows)),
        ("compute_latency", "taking the last pass to retirement, less its pixels", compute.compute_latency),
        ("pass_cycles", "a weight tile that streams 1 pixel", lambda config: compute.pass_cycles(config, 1)),
        ("pass_cycles", "a weight tile that fills half of the accumulators",
         lambda config: compute.pass_cycles(config, config.acc_half)),
        ("array_empty", "a pixel word at the walker until array and line buffer have done with it",
         compute.array_empty),
    ]
    return markdown_table(("function", "cycles of", *PRESETS), (
        (f"`{name}`", text, *map(function, PRESETS.values())) for name, text, function in functions))


def _limits() -> str:
    rows = [("`hw/axi.py`", "`BURST_WORDS`", axi.BURST_WORDS, "words in the longest burst"),
            ("`hw/fetch.py`", "`FETCH_DEPTH`", fetch.FETCH_DEPTH, "instructions fetched ahead"),
            ("`hw/issue.py`", "`MAX_IN_FLIGHT`", issue.MAX_IN_FLIGHT, "instructions of one unit that hold banks"),
            ("`hw/array.py`", "`MAX_LINES`", array.MAX_LINES, "image lines that the filter mode takes at a time"),
            ("`hw/isa.py`", "`PARAM_WORDS`", isa.PARAM_WORDS, "parameter words per block of output channels"),
            ("`hw/isa.py`", "`MAX_LEFT_SHIFT`", isa.MAX_LEFT_SHIFT, "largest left shift of a requantisation")]
    return markdown_table(("defined in", "name", "value", "what it counts"), rows)


def _boards() -> str:
    designs = [Design.of(board, PRESETS[board.preset]) for board in BOARDS.values()]
    return markdown_table(("`--board`", "board", "FPGA", "preset", "clock", "memory"), (
        (f"`{design.board.name}`", design.board.title, f"{design.board.part.upper()}-{design.board.speed}",
         f"`{design.board.preset}`", f"{design.board.mhz:g} MHz", f"{design.memory_kib} KiB") for design in designs))


def _technologies() -> str:
    def pj(joules: float) -> str:
        return f"{joules * 1e12:.3g}"

    return markdown_table(
        ("technology", "volts", "MHz", "int8 product", "int32 addition", "requantisation", "8 KiB", "1 MiB",
         "register, fJ", "leakage and area", "energies are"), (
            (f"`{name}`", f"{node.volts:g}", f"{node.mhz:g}", pj(node.costs.product), pj(node.costs.addition),
             pj(node.costs.requantisation), pj(node.costs.access(64, 8 << 10)), pj(node.costs.access(64, 1 << 20)),
             f"{node.costs.register_clock * 1e15:.3g}", "yes" if node.static else "no", node.basis)
            for name, node in TECHNOLOGIES.items()))


def _operating_points() -> str:
    return markdown_table(("technology", *(f"`{name}`" for name in LEVELS)), (
        (f"`{node.name}`", *(f"{point.volts:g} V, {point.mhz:g} MHz, {point.scale:.2f}" if point else ""
                             for point in map(operating_points(node).get, LEVELS)))
        for node in TECHNOLOGIES.values()))


def _dram_types() -> str:
    return markdown_table(("`dram=`", "pJ per bit"), (
        (f"`{name}`", f"{joules * 1e12:.3g}") for name, joules in DRAM_TYPES.items()))


if __name__ == "__main__":
    main()
