"""LambdaConcept ECPIX-5 with an LFE5UM5G-85F."""

from .board import Board, Pin

__all__ = ["ECPIX5_85F"]

_LED = {"IO_TYPE": "LVCMOS33", "PULLMODE": "UP"}

ECPIX5_85F = Board(
    name="ecpix5-85f",
    title="LambdaConcept ECPIX-5 85F",
    source="amaranth-boards, ecpix5.py",
    part="lfe5u-85f", device="--um5g-85k", package="CABGA554", speed="8",
    clock=Pin("K23"), clock_hz=100_000_000,
    rx=Pin("R26", attributes={"IO_TYPE": "LVCMOS33", "PULLMODE": "UP"}),
    tx=Pin("R24", attributes={"IO_TYPE": "LVCMOS33", "PULLMODE": "UP"}),
    leds=(Pin("R21", inverted=True, attributes=_LED), Pin("T24", inverted=True, attributes=_LED),
          Pin("K24", inverted=True, attributes=_LED), Pin("P21", inverted=True, attributes=_LED)),
    reset=Pin("AB1", inverted=True),
    preset="ulx3s", mhz=40, loader=("--board", "ecpix5"),
)
