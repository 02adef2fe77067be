"""Boards: their FPGAs and pins, and the system that goes on them."""

from .board import Board
from .colorlight_i9 import COLORLIGHT_I9
from .ecpix5 import ECPIX5_85F
from .orangecrab import ORANGECRAB_85F
from .ulx3s import ULX3S_45F, ULX3S_85F

__all__ = ["BOARDS"]

BOARDS: dict[str, Board] = {
    board.name: board for board in (ULX3S_85F, ULX3S_45F, ORANGECRAB_85F, ECPIX5_85F, COLORLIGHT_I9)}
