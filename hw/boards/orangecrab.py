"""OrangeCrab r0.2 with an LFE5U-85F; its USB goes to the FPGA, so the serial line needs an adapter on the header."""

from .board import Board, Pin

__all__ = ["ORANGECRAB_85F"]

ORANGECRAB_85F = Board(
    name="orangecrab-85f",
    title="OrangeCrab r0.2 85F",
    source="amaranth-boards, orangecrab_r0_2.py; litex-boards, gsd_orangecrab.py (header)",
    part="lfe5u-85f", device="--85k", package="CSFBGA285", speed="8",
    clock=Pin("A9"), clock_hz=48_000_000,
    rx=Pin("N17", attributes={"IO_TYPE": "LVCMOS33", "PULLMODE": "UP"}), tx=Pin("M18"),  # header pins RX and TX
    leds=(Pin("M3", inverted=True), Pin("J3", inverted=True), Pin("K4", inverted=True)),  # green, blue, red
    reset=Pin("J17", inverted=True, attributes={"IO_TYPE": "SSTL135_I"}),
    preset="ulx3s", mhz=40, loader=("--board", "orangeCrab"),
)
