"""Networks over a serial line on the Verilated gateware of a board, and what can go wrong with that line."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from systolith.host.errors import DeviceError
from systolith.host.runtime import Session
from systolith.hw.boards import BOARDS
from systolith.hw.boards.top import BoardTop
from systolith.hw.config import PRESETS
from systolith.hw.hosted import HOSTED_LATENCY
from systolith.models.zoo import digits
from systolith.sim.twin.terminal import Terminal
from systolith.sim.twin.twin import Twin
from tests.shared_data import shared_file
from tests.system.serial_proxy import SerialProxy

pytestmark = pytest.mark.rtl

TINY = PRESETS["tiny"]
IMAGES = digits.held_out(2)[0]


@pytest.fixture(scope="module")
def board() -> Iterator[Terminal]:
    """A twin at a pseudo-terminal, all tests' own."""
    top = BoardTop(BOARDS["ulx3s-85f"], TINY, mhz=80, memory_kib=256, baud=20_000_000)
    with contextlib.closing(Twin(top)) as twin, contextlib.closing(Terminal(twin)) as terminal:
        thread = threading.Thread(target=terminal.serve)
        thread.start()
        try:
            yield terminal
        finally:
            terminal.stop()
            thread.join()


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    (outputs,) = Session(digits.model_path(), "golden").run(IMAGES).values()
    return outputs


def classify(port: object) -> np.ndarray:
    with Session(digits.model_path(), f"serial:{port}", preset="tiny") as session:
        (outputs,) = session.run(IMAGES).values()
    return outputs


def test_digits_have_the_golden_bytes_and_the_cycles_of_the_simulator(board: Terminal, expected: np.ndarray) -> None:
    settings = [f"dram_latency={HOSTED_LATENCY}", f"dram_bandwidth={2 * TINY.word_bytes}"]
    with Session(digits.model_path(), "sim", preset="tiny", settings=settings, batch=1) as session:
        session.run(IMAGES)
        simulated = session.last_report
    with Session(digits.model_path(), f"serial:{board.port}", preset="tiny") as session:
        (found,) = session.run(IMAGES).values()
        report = session.last_report

    np.testing.assert_array_equal(found, expected)
    assert report is not None and simulated is not None
    assert report.cycles == simulated.cycles
    assert report.counters == simulated.counters


@pytest.mark.parametrize("name", ["kws_dscnn", pytest.param("ic_resnet8", marks=pytest.mark.slow)])
def test_published_networks_have_the_reference_bytes(name: str, board: Terminal) -> None:
    with np.load(shared_file(f"samples/{name}.npz")) as data:
        x, wanted = data["x"][:1], data["out"][:1]
    with Session(shared_file(f"models/{name}_int8.tflite"), f"serial:{board.port}", preset="tiny") as session:
        (found,) = session.run(x).values()
    np.testing.assert_array_equal(found.reshape(wanted.shape), wanted)


@pytest.mark.parametrize(("damaged", "dropped"), [(0.01, 0), (0, 0.01)])
def test_bytes_that_are_damaged_or_lost_change_nothing(board: Terminal, expected: np.ndarray, tmp_path: Path,
                                                       damaged: float, dropped: float) -> None:
    with SerialProxy(board.port, tmp_path / "tty", damaged=damaged, dropped=dropped) as proxy:
        np.testing.assert_array_equal(classify(proxy.port), expected)


@pytest.mark.parametrize("lost_after", [5000, 17_500])
def test_a_load_is_taken_up_where_the_connection_was_lost(board: Terminal, expected: np.ndarray, tmp_path: Path,
                                                          lost_after: int) -> None:
    before = board.received
    classify(board.port)
    needed = board.received - before
    with SerialProxy(board.port, tmp_path / "tty", lost_after=lost_after) as proxy:
        before = board.received
        np.testing.assert_array_equal(classify(proxy.port), expected)
        assert proxy.losses == 1
    assert board.received - before < needed + 9000, "no more than what was in flight is sent again"


def test_a_board_that_was_reset_is_noticed(board: Terminal) -> None:
    with Session(digits.model_path(), f"serial:{board.port}", preset="tiny") as session:
        session.run(IMAGES)
        wait_until_idle(board)
        board.twin.power_up()
        with pytest.raises(DeviceError, match="was reset, or another process has used it"):
            session.run(IMAGES)


def wait_until_idle(board: Terminal) -> None:
    """Wait until the simulation stands still, so that this thread may touch it."""
    cycles = -1
    while board.cycles != cycles:
        cycles = board.cycles
        time.sleep(0.3)


def test_a_second_client_is_refused(board: Terminal, expected: np.ndarray) -> None:
    with Session(digits.model_path(), f"serial:{board.port}", preset="tiny") as session:
        with pytest.raises(DeviceError, match=f"{board.port} is in use by another process; end that first"):
            classify(board.port)
        (found,) = session.run(IMAGES).values()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("options", "preset", "message"), [
    (",build=fedcba9876543210", "tiny", "must have build fedcba9876543210, not 0{16}; load its bitstream"),
    ("", "ulx3s", r"is for configuration \w{16} \(preset ulx3s\), but the board on \S+ has \w{16} \(preset tiny\)"),
])
def test_another_board_than_wanted_is_refused(board: Terminal, options: str, preset: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        Session(digits.model_path(), f"serial:{board.port}{options}", preset=preset)


def test_the_command_serves_a_board_until_it_is_interrupted(expected: np.ndarray) -> None:
    command = [Path(sys.executable).with_name("systolith"), "twin", "--board", "ulx3s-85f", "--preset", "tiny",
               "--memory-kib", "256"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first, second = process.stdout.readline(), process.stdout.readline()
        try:
            device = second.split("--device ")[1].split()[0]
            assert first == (f"ulx3s-85f with a core of 4x4 and 256 KiB of memory is at "
                             f"{device.removeprefix('serial:')}; Ctrl-C ends it\n")
            np.testing.assert_array_equal(classify(device.removeprefix("serial:")), expected)
        finally:
            process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert "bytes received" in rest
