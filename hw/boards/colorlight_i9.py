"""Colorlight i9 v7.2 (LFE5U-45F) on its extension board, whose debug probe has the serial line."""

from .board import Board, Pin

__all__ = ["COLORLIGHT_I9"]

COLORLIGHT_I9 = Board(
    name="colorlight-i9",
    title="Colorlight i9 v7.2",
    source="github.com/wuxx/Colorlight-FPGA-Projects, colorlight_i9_r7_2.py and i5/uart_tx/top.lpf",
    part="lfe5u-45f", device="--45k", package="CABGA381", speed="6",
    clock=Pin("P3"), clock_hz=25_000_000,
    rx=Pin("H18", attributes={"IO_TYPE": "LVCMOS33", "PULLMODE": "UP"}), tx=Pin("J17"),
    leds=(Pin("L2", inverted=True, attributes={"IO_TYPE": "LVCMOS33", "DRIVE": "4"}),),
    preset="tiny", mhz=40, loader=("--board", "colorlight-i9"),
)
