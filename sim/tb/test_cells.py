"""Our models of ECP5 cells."""

import re

import pytest
from amaranth.back import verilog

from ..netlist import cell_models, netlist
from .dut_cells import MEMORIES, NETLIST, Cells, Comparison
from .runner import build_and_run

pytestmark = pytest.mark.rtl


@pytest.fixture(scope="module")
def cells() -> str:
    return netlist(verilog.convert(Cells(), name=NETLIST, emit_src=False), NETLIST)


def compare(text: str) -> None:
    build_and_run(Comparison(), "comparison", "systolith.sim.tb.bench_cells", modules=text + cell_models())


def test_models_do_what_the_memories_and_products_do(cells: str) -> None:
    found = set(re.findall(r"DATA_WIDTH_[AB]\(32'd(\d+)\)", cells))
    assert found == {name.removeprefix("x") for name in MEMORIES}
    assert set(re.findall(r"SIGNEDA\(1'h(\d)\)", cells)) == {"0", "1"}
    compare(cells)
