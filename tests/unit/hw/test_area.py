"""The resources counted from a configuration are those of the RTL, and of its netlist."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from amaranth.back import rtlil

from systolith.hw.area import PARTS, Area, Part, area, block_rams, memories, shortages
from systolith.hw.config import PRESETS, AcceleratorConfig
from systolith.hw.core import Core
from systolith.hw.synthesis import synthesise

CONFIGS = [PRESETS["tiny"],
           AcceleratorConfig(rows=8, act_kib=8, act_banks=2, wgt_kib=4, param_kib=1, acc_depth=32, filter_rows=8,
                             line_words=64)]


@pytest.mark.parametrize("config", CONFIGS, ids=["4 rows", "8 rows"])
def test_multipliers_and_memories_are_those_of_the_rtl(config: AcceleratorConfig) -> None:
    multipliers, found = 0, Counter[tuple[int, int]]()
    for module in re.split(r"^module ", rtlil.convert(Core(config), name="top", emit_src=False), flags=re.MULTILINE):
        clocked = set(re.findall(r'cell \$memrd_v2 [^\n]*\n\s*parameter \\MEMID "(\S+)"(?:\n\s*parameter [^\n]*)*?'
                                 r"\n\s*parameter \\CLK_ENABLE 1\n", module))
        for width, words, name in re.findall(r"memory width (\d+) size (\d+) (\S+)", module):
            if name.replace("\\", "\\\\") in clocked:
                found[int(words), int(width)] += 1
        for factors in re.findall(r"cell \$mul [^\n]*((?:\n\s+(?:parameter|connect) [^\n]*)+)", module):
            constant = re.search(r"connect \\[AB] \d+'", factors)
            widths = [int(width) for width in re.findall(r"\\[AB]_WIDTH (\d+)", factors)]
            multipliers += not constant and min(widths) >= 8  # narrower ones become look-up tables
    assert multipliers == area(config).multipliers
    expected = Counter[tuple[int, int]]()
    for memory in memories(config):
        expected[memory.words, memory.bits] += memory.count
    assert found == expected


@pytest.mark.slow
def test_multipliers_and_block_rams_are_those_of_the_netlist() -> None:
    cells, counted = synthesise(Core(PRESETS["tiny"])), area(PRESETS["tiny"])
    assert (cells.multipliers, cells.block_rams) == (counted.multipliers, counted.block_rams)


@pytest.mark.parametrize("words,width,count", [(512, 36, 1), (513, 36, 2), (2048, 9, 1), (2048, 10, 2), (64, 128, 4),
                                               (16384, 8, 8)])
def test_block_rams_have_the_best_shape(words: int, width: int, count: int) -> None:
    assert block_rams(words, width) == count


def test_a_shortage_names_what_is_missing() -> None:
    part = Part(multipliers=10, block_rams=20)
    assert shortages(Area(10, 1.0, 20), part) == ""
    assert shortages(Area(11, 1.0, 21), part) == "11 of 10 multipliers, 21 of 20 block RAMs"
    assert shortages(area(PRESETS["ulx3s"]), PARTS["lfe5u-85f"]) == ""
