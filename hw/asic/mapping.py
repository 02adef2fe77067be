"""Synthesis of a core to standard cells with Yosys, module by module; memories with synchronous read stay macros."""

import re
from pathlib import Path

from ..synthesis import run_yosys

__all__ = ["NETLIST", "Shape", "map_cells", "mapping_script", "memory_shapes", "sram_name"]

Shape = tuple[int, int]
"""Words and bits per word."""

NETLIST = "netlist.v"

# Every $mem_v2 with a clocked read port becomes the macro of its shape; what is read asynchronously becomes flip-flops.
_TECHMAP = """(* techmap_celltype = "$mem_v2" *)
module sram_map (RD_CLK, RD_EN, RD_ARST, RD_SRST, RD_ADDR, RD_DATA, WR_CLK, WR_EN, WR_ADDR, WR_DATA);
  parameter MEMID = "", SIZE = 0, OFFSET = 0, ABITS = 0, WIDTH = 0, INIT = 0, RD_PORTS = 0, WR_PORTS = 0;
  parameter RD_CLK_ENABLE = 0, RD_CLK_POLARITY = 0, RD_TRANSPARENCY_MASK = 0, RD_COLLISION_X_MASK = 0;
  parameter RD_WIDE_CONTINUATION = 0, RD_CE_OVER_SRST = 0, RD_ARST_VALUE = 0, RD_SRST_VALUE = 0, RD_INIT_VALUE = 0;
  parameter WR_CLK_ENABLE = 0, WR_CLK_POLARITY = 0, WR_PRIORITY_MASK = 0, WR_WIDE_CONTINUATION = 0;
  input [RD_PORTS-1:0] RD_CLK, RD_EN, RD_ARST, RD_SRST;
  input [RD_PORTS*ABITS-1:0] RD_ADDR;
  output [RD_PORTS*WIDTH-1:0] RD_DATA;
  input [WR_PORTS-1:0] WR_CLK;
  input [WR_PORTS*WIDTH-1:0] WR_EN;
  input [WR_PORTS*ABITS-1:0] WR_ADDR;
  input [WR_PORTS*WIDTH-1:0] WR_DATA;
  wire _TECHMAP_FAIL_ = RD_CLK_ENABLE !== 1'b1 || RD_PORTS != 1 || WR_PORTS != 1;
  generate
%s
  endgenerate
endmodule
"""
_BRANCH = """if (SIZE == {words} && WIDTH == {bits})
      {name} _TECHMAP_REPLACE_ (.clk(RD_CLK[0]), .r_en(RD_EN[0]), .r_addr(RD_ADDR[{top}:0]), .r_data(RD_DATA),
                                .w_en(WR_EN[0]), .w_addr(WR_ADDR[{top}:0]), .w_data(WR_DATA));"""
_BLACK_BOX = ("(* blackbox *) module {name}(input clk, r_en, w_en, input [{top}:0] r_addr, w_addr, "
              "input [{msb}:0] w_data, output [{msb}:0] r_data); endmodule")


def sram_name(shape: Shape) -> str:
    """Return the name of the macro of a shape."""
    return f"sram_{shape[0]}x{shape[1]}"


def address_bits(shape: Shape) -> int:
    """Return the width of the macro's addresses."""
    return max(1, (shape[0] - 1).bit_length())


def memory_shapes(verilog: str) -> list[Shape]:
    """Return the shapes of all memories in Verilog as Amaranth writes it, whatever their read ports."""
    return sorted({(int(last) + 1, int(msb) + 1)
                   for msb, last in re.findall(r"reg \[(\d+):0\] \S+ \[(\d+):0\];", verilog)})


def mapping_script(top: str, period_ns: float) -> str:
    """Return what Yosys does; `map_cells` says what the files are."""
    # Flip-flops of an ASIC have no initial values; the reset gives them.
    return (f"read_verilog design.v; read_verilog -lib macros.v; hierarchy -check -top {top}; proc; opt; "
            f"memory -nomap; techmap -map macros_map.v; setattr -unset init w:*; "
            f"synth -noabc -top {top}; dfflibmap -liberty cells.lib; "
            f"abc -liberty cells.lib -D {round(period_ns * 1000)}; setundef -zero; opt_clean -purge; "
            f"write_verilog -noattr -noexpr {NETLIST}")


def map_cells(verilog: str, top: str, liberty: str, period_ns: float, folder: Path) -> Path:
    """Write the netlist of a design to ``folder`` and return its path.

    Parameters
    ----------
    verilog : str
        The design, as Amaranth writes it.
    top : str
        Name of its top module.
    liberty : str
        Text of the library.
    period_ns : float
        What logic is mapped for.

    Raises ``ToolError`` when Yosys is missing or fails.
    """
    shapes = memory_shapes(verilog)
    values = [{"name": sram_name(shape), "words": shape[0], "bits": shape[1], "top": address_bits(shape) - 1,
               "msb": shape[1] - 1} for shape in shapes]
    files = {"design.v": verilog, "cells.lib": liberty,  # YoWASP sees no absolute path
             "macros.v": "\n".join(_BLACK_BOX.format(**each) for each in values),
             "macros_map.v": _TECHMAP % " else ".join(_BRANCH.format(**each) for each in values)}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    run_yosys(mapping_script(top, period_ns), folder)
    return folder / NETLIST
