"""The driver's end of the host link, against a model of the board and a line with faults."""

from __future__ import annotations

import random

import pytest

from systolith.host.errors import DeviceError
from systolith.host.transports import link as link_module
from systolith.host.transports.link import Link
from tests.unit.host.board_model import BoardModel, FaultyLine

DATA = random.Random(7).randbytes(12_000)


@pytest.fixture(autouse=True)
def short_silences(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model answers at once, so that nothing needs to wait."""
    monkeypatch.setattr(link_module, "_WAITS", (0.0005, 0.002))
    monkeypatch.setattr(link_module, "_SILENCE", 0.5)
    monkeypatch.setattr(link_module, "_FIRST_SILENCE", 0.05)


@pytest.mark.parametrize(("damaged", "dropped"), [(0, 0), (0.001, 0), (0.01, 0), (0, 0.01), (0.01, 0.01)])
@pytest.mark.parametrize("seed", [1, 2])
def test_memory_is_what_was_written(damaged: float, dropped: float, seed: int) -> None:
    board = BoardModel()
    link = Link(FaultyLine(board, damaged=damaged, dropped=dropped, seed=seed), 4)

    link.write_memory(0x100, DATA)

    assert board.memory[0x100:0x100 + len(DATA)] == DATA
    assert link.read_memory(0x101, 9999) == DATA[1:10_000]


@pytest.mark.parametrize("seed", range(2))
def test_a_register_is_written_once_however_often_the_request_is_sent(seed: int) -> None:
    board = BoardModel()
    link = Link(FaultyLine(board, damaged=0.03, seed=seed), 4)

    for i in range(300):  # the count in `number` wraps
        link.write_registers(0x10, bytes([i % 256]))

    assert board.writes == [(0x10, bytes([i % 256])) for i in range(300)]
    assert link.read_registers(0x10, 1) == bytes([299 % 256])


def test_frames_shrink_when_many_are_lost_and_grow_again() -> None:
    line = FaultyLine(BoardModel(), damaged=0.01)
    link = Link(line, 4)
    link.write_memory(0, DATA)
    assert link._size < 128
    line.damaged = 0
    link.write_memory(0, DATA)
    assert link._size == 256


def test_a_clean_line_carries_little_more_than_the_data() -> None:
    line = FaultyLine(BoardModel())
    link = Link(line, 4)
    before = line.written
    link.write_memory(0, DATA)
    assert line.written - before < 1.1 * len(DATA)


@pytest.mark.parametrize("lost_after", [1, 40, 200, 3000, 15_000])
def test_a_lost_connection_is_taken_up_where_it_was(lost_after: int) -> None:
    board = BoardModel()
    line = FaultyLine(board, lost_after=lost_after)
    link = Link(line, 4)

    data = 3 * DATA
    link.write_memory(0, data)
    link.write_registers(0x10, b"\x01")

    assert line.reopened == 1
    assert board.memory[:len(data)] == data
    assert board.writes == [(0x10, b"\x01")]
    assert line.written < 1.5 * len(data), "what was confirmed is not sent again"


@pytest.mark.parametrize("executed", [True, False])
def test_a_write_whose_answer_is_lost_with_the_connection_is_done_once(executed: bool) -> None:
    board = BoardModel()
    line = FaultyLine(board)
    link = Link(line, 4)
    line.lost_after = line.written + (1000 if executed else 0)
    if executed:
        take = line.read

        def lose(seconds: float) -> bytes:
            line.is_lost, line.read = True, take
            return take(seconds)

        line.read = lose

    link.write_registers(0x10, b"\x01")

    assert (line.reopened, board.writes) == (1, [(0x10, b"\x01")])


def test_a_board_that_was_reset_while_the_connection_was_lost_is_noticed() -> None:
    board = BoardModel()
    line = FaultyLine(board, lost_after=3000, on_loss=board.reset)
    link = Link(line, 4)
    with pytest.raises(DeviceError, match="was reset, or another process has used it"):
        link.write_memory(0, DATA)


@pytest.mark.parametrize("use", [lambda link: link.write_registers(0x10, b"\x01"), lambda link: link.read_memory(0, 4),
                                 lambda link: link.read_registers(0, 4)])
@pytest.mark.parametrize("meanwhile", [BoardModel.reset, lambda board: Link(FaultyLine(board), 4)])
def test_nothing_is_done_or_believed_after_a_reset_or_use_by_another(meanwhile, use) -> None:
    board = BoardModel()
    link = Link(FaultyLine(board), 4)
    meanwhile(board)
    with pytest.raises(DeviceError, match="was reset, or another process has used it"):
        use(link)
    assert board.writes == []


def test_a_connection_that_does_not_come_back_ends_in_an_error() -> None:
    link = Link(FaultyLine(BoardModel(), lost_after=3000, comes_back=False), 4)
    with pytest.raises(DeviceError, match="did not come back"):
        link.write_memory(0, DATA)


def test_an_address_without_memory_is_an_error_and_the_link_goes_on() -> None:
    board = BoardModel(1024)
    link = Link(FaultyLine(board), 4)
    with pytest.raises(DeviceError, match="no memory at an address"):
        link.write_memory(512, bytes(1024))
    link.write_memory(0, DATA[:1024])
    assert board.memory == DATA[:1024]


class Echo:
    """Sends back what it gets, as a loop-back plug or a console would."""

    def feed(self, data: bytes) -> bytes:
        return data.replace(b"\xc0", b"\r\n")


@pytest.mark.parametrize(("board", "message"), [
    (None, "nothing answers on /dev/model at 3000000 baud; load the board's bitstream"),
    (Echo(), "what answers on /dev/model at 3000000 baud is no Systolith board"),
    (BoardModel(version=9), "must speak version 1 of the host link, not 9"),
])
def test_what_is_no_board_is_told(board, message: str) -> None:
    line = FaultyLine(board)
    with pytest.raises(DeviceError, match=message):
        Link(line, 4)
    assert line.closed


def test_a_board_that_falls_silent_ends_in_an_error() -> None:
    line = FaultyLine(BoardModel())
    link = Link(line, 4)
    line.board = None
    with pytest.raises(DeviceError, match="has stopped answering"):
        link.write_memory(0, DATA)
