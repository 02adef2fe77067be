"""Boards: pins, constraints, and the dividers of the clock."""

import re
from dataclasses import replace

import pytest

from systolith.hw.area import PARTS
from systolith.hw.boards import BOARDS
from systolith.hw.boards.pll import Ecp5Pll
from systolith.hw.boards.top import BoardTop
from systolith.hw.config import PRESETS


def top(board):
    design = BoardTop(board, PRESETS["tiny"], mhz=board.mhz, memory_kib=16, baud=1_000_000)
    for part in (design, design.system):
        part._MustUse__silence = True  # that it is not elaborated
    return design


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
class TestBoard:
    def test_has_a_known_part_and_preset(self, board):
        assert board.part in PARTS and board.preset in PRESETS and 1 <= len(board.leds) <= 4

    def test_uses_no_pin_twice(self, board):
        sites = re.findall(r'SITE "(\w+)"', top(board).constraints())
        assert len(sites) == len(set(sites))

    def test_places_every_port(self, board):
        design = top(board)
        located = re.findall(r'LOCATE COMP "(\w+)"', design.constraints())
        assert sorted(located) == sorted(design.signature.members)

    def test_gets_the_clock_that_it_asks_for(self, board):
        assert top(board).pll.mhz == pytest.approx(board.mhz)


def test_the_constraints_of_a_board():
    lines = top(BOARDS["ulx3s-85f"]).constraints().splitlines()
    assert lines[:2] == ['LOCATE COMP "clock" SITE "G2";', 'IOBUF PORT "clock" IO_TYPE=LVCMOS33;']
    assert 'IOBUF PORT "button" IO_TYPE=LVCMOS33 PULLMODE=DOWN;' in lines
    assert lines[-1] == 'FREQUENCY PORT "clock" 25 MHZ;'


def test_a_board_with_fewer_lights_keeps_the_first():
    board = replace(BOARDS["ulx3s-85f"], leds=BOARDS["ulx3s-85f"].leds[:2])
    assert [name for name in top(board).signature.members if name.startswith("led")] == ["led_heartbeat", "led_link"]


# Dividers of Project Trellis' ecppll.
@pytest.mark.parametrize(("input_mhz", "mhz", "expected"), [
    (25, 80, Ecp5Pll(25, 5, 16, 7)), (25, 100, Ecp5Pll(25, 1, 4, 6)), (48, 96, Ecp5Pll(48, 1, 2, 6))])
def test_dividers_are_those_of_ecppll(input_mhz, mhz, expected):
    assert Ecp5Pll.nearest(input_mhz, mhz) == expected


@pytest.mark.parametrize("mhz", [33.3, 62.5, 77.7, 99.9, 123.45, 400])
@pytest.mark.parametrize("input_mhz", [25, 27, 48, 100])
def test_frequencies_stay_in_range_and_below_what_was_asked(input_mhz, mhz):
    found = Ecp5Pll.nearest(input_mhz, mhz)
    assert 0.9 * mhz < found.mhz <= mhz * (1 + 1e-9)
    assert 400 <= found.oscillator_mhz <= 800 and input_mhz / found.reference >= 3.125
    assert all(1 <= divider <= 128 for divider in (found.reference, found.feedback, found.output))


@pytest.mark.parametrize(("input_mhz", "mhz", "message"), [
    (25, 500, "clock must be between 3.125 and 400 MHz, not 500"),
    (5, 80, "input clock must be between 8 and 400 MHz, not 5"),
    (27, 3.2, "clock must be one that a PLL can make of 27 MHz, not 3.2 MHz")])
def test_frequencies_out_of_range_are_refused(input_mhz, mhz, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Ecp5Pll.nearest(input_mhz, mhz)
