"""Radiona ULX3S with an LFE5U-85F or LFE5U-45F."""

from dataclasses import replace

from .board import Board, Pin

__all__ = ["ULX3S_45F", "ULX3S_85F"]

_LED = {"IO_TYPE": "LVCMOS33", "DRIVE": "4"}

ULX3S_85F = Board(
    name="ulx3s-85f",
    title="Radiona ULX3S 85F",
    source="github.com/emard/ulx3s, doc/constraints/ulx3s_v20.lpf",
    part="lfe5u-85f", device="--85k", package="CABGA381", speed="6",
    clock=Pin("G2"), clock_hz=25_000_000,
    rx=Pin("M1", attributes={"IO_TYPE": "LVCMOS33", "PULLMODE": "UP"}), tx=Pin("L4"),
    leds=tuple(Pin(site, attributes=_LED) for site in ("B2", "C2", "C1", "D2")),
    reset=Pin("R1", attributes={"IO_TYPE": "LVCMOS33", "PULLMODE": "DOWN"}),  # FIRE1
    tied_high=(Pin("L2"),),  # GPIO0 of the ESP32, which would otherwise take over the board
    preset="ulx3s", mhz=40, loader=("--board", "ulx3s"),
)
ULX3S_45F = replace(ULX3S_85F, name="ulx3s-45f", title="Radiona ULX3S 45F", part="lfe5u-45f", device="--45k",
                    preset="tiny")
