"""Networks over the host link, on a model of the board: the same bytes as on `sim`, and boards that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from systolith.host.devices import serial
from systolith.host.devices.serial import SerialAddress
from systolith.host.errors import DeviceError, UsageError
from systolith.host.runtime import Session
from systolith.hw.config import AcceleratorConfig
from systolith.hw.csr import Csr
from systolith.hw.isa import ErrorCode
from systolith.models.zoo import digits
from tests.unit.host.board_model import CoreModel, FaultyLine

TINY = AcceleratorConfig.preset("tiny")
BUILD = 0x0123456789ABCDEF


@pytest.fixture
def board() -> CoreModel:
    return CoreModel(TINY, build_id=BUILD)


@pytest.fixture(autouse=True)
def line(board: CoreModel, monkeypatch: pytest.MonkeyPatch) -> FaultyLine:
    """The line that every port is."""
    line = FaultyLine(board)
    monkeypatch.setattr(serial, "SerialLine", lambda port, baud: line)
    return line


def test_a_network_has_the_bytes_of_the_simulator() -> None:
    images = digits.held_out(3)[0]
    with Session(digits.model_path(), "sim", preset="tiny") as session:
        expected = session.run(images)
        simulated = session.last_report
    with Session(digits.model_path(), "serial:any", preset="tiny") as session:
        found = session.run(images)
        report = session.last_report

    np.testing.assert_array_equal(*(list(outputs.values()) for outputs in (found, expected)))
    assert report is not None and simulated is not None
    assert (report.device, report.cycles, report.batch) == ("serial:any", 1000, 1)
    assert report.utilisation == report.macs / (1000 * 4 * 4)
    assert report.stalls is None and report.note == "a board counts the cycles of a run, not those of each instruction"


def test_the_settings_of_the_port_are_those_asked_for() -> None:
    address = SerialAddress.parse("/dev/ttyUSB1,baud=3000000,build=0123456789abcdef")
    assert address == SerialAddress("/dev/ttyUSB1", 3_000_000, BUILD)


@pytest.mark.parametrize(("text", "message"), [
    ("", "must come with a port, such as serial:/dev/ttyUSB0"),
    ("x,speed=9", "options of device serial must be baud=N or build=ID, not 'speed=9'"),
    ("x,baud=fast", "baud of device serial must be a number, not 'fast'"),
    ("x,baud=0", "baud must be positive, not 0"),
])
def test_a_wrong_address_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Session(digits.model_path(), f"serial:{text}", preset="tiny")


@pytest.mark.parametrize(("device", "preset", "message"), [
    ("serial:p,build=1", "tiny", "the board on p must have build 0000000000000001, not 0123456789abcdef; load its bit"),
    ("serial:p", "ulx3s", r"the program is for configuration \w{16} \(preset ulx3s\), but the board on p has \w{16} "
                          r"\(preset tiny\); compile for the board's"),
])
def test_another_board_than_wanted_is_refused(line: FaultyLine, device: str, preset: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        Session(digits.model_path(), device, preset=preset)
    assert line.closed


def test_a_board_with_too_little_memory_is_refused(line: FaultyLine) -> None:
    line.board = CoreModel(TINY, 16 * 1024)
    with pytest.raises(DeviceError, match=r"the program needs \d+ KiB of memory, but the board on p has 16 KiB"):
        Session(digits.model_path(), "serial:p", preset="tiny")


def test_an_error_of_the_core_is_raised_and_the_next_run_is_right(board: CoreModel) -> None:
    image = digits.held_out(1)[0]
    with Session(digits.model_path(), "serial:p", preset="tiny") as session:
        expected = session.run(image)
        code = board.register(Csr.PROGRAM)
        board.memory[code] ^= 0xFF  # of the first instruction
        with pytest.raises(DeviceError, match="the core stopped with .*; compile the model again") as caught:
            session.run(image)
        assert caught.value.code in list(ErrorCode) and caught.value.address == code
        found = session.run(image)
    np.testing.assert_array_equal(*(list(outputs.values()) for outputs in (found, expected)))


def test_writes_need_not_be_aligned(board: CoreModel) -> None:
    device = serial.SerialAccelerator(TINY, 1024, SerialAddress("p"))
    device.write(64, bytes(range(16)))
    device.write(67, b"abcde")
    device.write(73, b"z")
    assert device.read(64, 16) == bytes([0, 1, 2]) + b"abcde" + bytes([8]) + b"z" + bytes(range(10, 16))
    assert device.read(67, 5) == b"abcde"


@pytest.mark.parametrize("damaged", [0.001, 0.01])
def test_a_noisy_line_changes_nothing(line: FaultyLine, board: CoreModel, damaged: float,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("systolith.host.transports.link._WAITS", (0.0005, 0.002))  # the model answers at once
    images = digits.held_out(3)[0]
    with Session(digits.model_path(), "sim", preset="tiny") as session:
        expected = session.run(images)
    line.damaged = damaged
    with Session(digits.model_path(), "serial:p", preset="tiny") as session:
        found = session.run(images)
    np.testing.assert_array_equal(*(list(outputs.values()) for outputs in (found, expected)))
    assert board.runs == 3, "nothing is run twice"
