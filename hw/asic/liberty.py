"""What a Liberty file says about its cells, as far as a netlist's area and its buffers need it."""

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..synthesis import ToolError

__all__ = ["LIBERTY", "Bits", "Cell", "Function", "Library", "function_of", "read_library"]

LIBERTY = Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib")
"""OSU's cells for a 180 nm process, of Debian's `qflow-tech-osu018`."""

_OPERATORS = {ast.BitAnd: np.logical_and, ast.BitOr: np.logical_or, ast.BitXor: np.logical_xor}
_NUMBER = r"\s*:\s*\"?([\d.eE+-]+)"

Bits = npt.NDArray[np.bool_]
Function = Callable[[Mapping[str, Bits]], Bits]


@dataclass(frozen=True)
class Cell:
    """A cell. ``area``: um2. ``inputs``: pins. ``outputs``: function by pin, as Liberty writes it. ``load``: the
    largest capacitance that an output may drive, and ``capacitance`` that of an input, in the library's unit."""

    name: str
    area: float
    sequential: bool
    inputs: tuple[str, ...]
    outputs: Mapping[str, str]
    capacitance: float
    load: float


@dataclass(frozen=True)
class Library:
    """Cells by name. ``text``: the file. ``volts``: nominal supply. ``load_unit``: of capacitances, "1,pf"."""

    name: str
    text: str
    cells: Mapping[str, Cell]
    volts: float
    load_unit: str

    @property
    def nand2(self) -> Cell:
        """The smallest NAND of two inputs, whose area is one gate equivalent."""
        return self._smallest(2, [True, True, True, False], "a NAND of two inputs")

    def buffer(self, fanout: int) -> Cell:
        """Return the smallest buffer that may drive ``fanout`` inputs with as much again for wires, or the largest."""
        found = self._with_function(1, [False, True])
        if not found:
            raise ToolError("liberty file must have a buffer, which is missing")
        strong = [cell for cell in found if cell.load >= 2 * fanout * self.nand2.capacitance]
        return min(strong, key=_area) if strong else max(found, key=_area)

    def _smallest(self, inputs: int, table: list[bool], what: str) -> Cell:
        found = self._with_function(inputs, table)
        if not found:
            raise ToolError(f"liberty file must have {what}, which is missing")
        return min(found, key=_area)

    def _with_function(self, inputs: int, table: list[bool]) -> list[Cell]:
        """Return the cells of one output with this truth table, for inputs 0, 1, ... with the first as bit 0."""
        values = [np.array([bool(row >> bit & 1) for row in range(1 << inputs)]) for bit in range(inputs)]
        return [cell for cell in self.cells.values()
                if len(cell.inputs) == inputs and len(cell.outputs) == 1 and not cell.sequential
                and function_of(*cell.outputs.values())(dict(zip(cell.inputs, values, strict=True))).tolist() == table]


def _area(cell: Cell) -> float:
    return cell.area


def read_library(path: Path) -> Library:
    """Return the library in a Liberty file. Raises ``ToolError`` when it cannot be read or holds no cells."""
    if path == LIBERTY and not path.is_file():
        raise ToolError(f"{path} cannot be found; do `apt-get install qflow-tech-osu018`, or give --liberty FILE")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ToolError(f"liberty file {path} must be readable: {error.strerror}") from None
    cells = {cell.name: cell for cell in _cells(re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))}
    volts = re.search(rf"\bnom_voltage{_NUMBER}", text)
    load = re.search(r"\bcapacitive_load_unit\s*\(([^)]*)\)", text)
    if not cells or volts is None or load is None:
        raise ToolError(f"{path} must be a Liberty library of cells with areas, not {text[:20].strip()!r}...")
    return Library(path.stem, text, cells, float(volts[1]), load[1].replace('"', ""))


def _cells(text: str) -> list[Cell]:
    found = []
    parts = re.split(r"^\s*cell\s*\(\s*\"?([\w$]+)\"?\s*\)\s*\{", text, flags=re.MULTILINE)
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        area = re.search(rf"\barea{_NUMBER}", body)
        pins = re.split(r"\bpin\s*\(\s*\"?(\w+)\"?\s*\)\s*\{", body)
        by_pin = dict(zip(pins[1::2], pins[2::2], strict=True))
        inputs = {pin: text for pin, text in by_pin.items() if re.search(r"\bdirection\s*:\s*\"?input", text)}
        outputs = {pin: match[1] for pin, text in by_pin.items() if (match := re.search(
            r"\bfunction\s*:\s*\"([^\"]*)\"", text))}
        if area and inputs:
            found.append(Cell(
                name, float(area[1]), bool(re.search(r"^\s*(ff|latch)\w*\s*\(", body, re.MULTILINE)), tuple(inputs),
                outputs, max(map(partial(_value_of, "capacitance"), inputs.values())),
                max((_value_of("max_capacitance", by_pin[pin]) for pin in outputs), default=0.0)))
    return found


def _value_of(attribute: str, text: str) -> float:
    match = re.search(rf"\b{attribute}{_NUMBER}", text)
    return float(match[1]) if match else 0.0


def function_of(text: str) -> Function:
    """Return the Boolean function of pins that Liberty writes with ! or ', + or |, ^, and & or * or nothing."""
    python = re.sub(r"(\w+)'", r"!\1", text)
    python = re.sub(r"(?<=[\w)])\s+(?=[\w(!])", " & ", python)
    python = python.replace("!", "~").replace("+", "|").replace("*", "&").strip()
    return partial(_value, ast.parse(python, mode="eval").body)


def _value(node: ast.expr, pins: Mapping[str, Bits]) -> Any:
    match node:
        case ast.Name():
            return pins[node.id]
        case ast.UnaryOp(op=ast.Invert()):
            return ~_value(node.operand, pins)
        case ast.BinOp():
            return _OPERATORS[type(node.op)](_value(node.left, pins), _value(node.right, pins))
    raise ToolError(f"functions of cells must consist of !, +, ^ and products, not {ast.unparse(node)!r}")
