"""Where the blocks of the gateware lie on the FPGA: counted by block, and drawn."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["BLOCKS", "Placement"]

# Blocks by where their cells are in the hierarchy; the first that matches counts.
BLOCKS = {
    "array": ("system.hosted.core.compute.array.",),
    "accumulators": ("system.hosted.core.compute.acc.",),
    "front end": ("system.hosted.core.compute.",),
    "vector unit": ("system.hosted.core.vector.",),
    "buffers": ("system.hosted.core.act.", "system.hosted.core.wgt.", "system.hosted.core.param."),
    "DMA and fetch": ("system.hosted.core.load.", "system.hosted.core.store.", "system.hosted.core.fetch.",
                      "system.hosted.core.arbiter.", "system.hosted.core.axi."),
    "issue": ("system.hosted.core.issue_logic.",),
    "registers": ("system.hosted.core.csrs.",),
    "memory": ("system.hosted.memory.", "system.hosted.interconnect."),
    "host link": ("system.link.",),
    "other": ("",),
}
_KINDS = ("TRELLIS_COMB", "TRELLIS_FF", "MULT18X18D", "DP16KD")
_PLACE = re.compile(r"X(\d+)/Y(\d+)/")


@dataclass(frozen=True)
class Placement:
    """Cells of each block: their kinds and their columns and rows on the FPGA."""

    cells: dict[str, list[tuple[str, int, int]]]

    @classmethod
    def of_netlist(cls, netlist: dict[str, Any]) -> Placement:
        """Return the placement in a netlist that nextpnr wrote."""
        cells: dict[str, list[tuple[str, int, int]]] = {block: [] for block in BLOCKS}
        for name, cell in netlist["modules"]["top"]["cells"].items():
            place = _PLACE.match(cell["attributes"].get("NEXTPNR_BEL", ""))
            if cell["type"] in _KINDS and place:
                block = next(block for block, prefixes in BLOCKS.items() if name.startswith(prefixes))
                cells[block].append((cell["type"], int(place[1]), int(place[2])))
        return cls(cells)

    def count(self) -> dict[str, dict[str, int]]:
        """Return the number of cells of each kind, per block that has any."""
        counts = {block: Counter(kind for kind, _, _ in cells) for block, cells in self.cells.items()}
        return {block: {kind: found[kind] for kind in _KINDS} for block, found in counts.items() if found}

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.cells), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Placement:
        cells = json.loads(path.read_text(encoding="utf-8"))
        return cls({block: [(kind, x, y) for kind, x, y in places] for block, places in cells.items()})

    def draw(self, path: Path, title: str) -> None:
        """Draw the placement to a picture, a colour per block; block RAMs and multipliers are larger.

        Raises ``ImportError`` without matplotlib.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 6.5), layout="constrained")
        axes = figure.add_subplot()
        for i, (block, cells) in enumerate(self.cells.items()):
            for large, size in ((False, 9), (True, 30)):
                places = {(x, y) for kind, x, y in cells if (kind in ("MULT18X18D", "DP16KD")) == large}
                if places:
                    xs, ys = zip(*sorted(places), strict=True)
                    axes.scatter(xs, ys, s=size, marker="s", linewidths=0, color=f"C{i}" if i < 10 else "black")
            axes.scatter([], [], s=40, marker="s", color=f"C{i}" if i < 10 else "black", label=block)
        axes.invert_yaxis()
        axes.set(title=title, xlabel="column", ylabel="row", aspect="equal")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        figure.savefig(path, dpi=150)
