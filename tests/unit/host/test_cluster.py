"""Sweeps on a Ray cluster: the same rows as on processes, and nothing lost when its workers or the sweep are killed."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from systolith.host.explore import cluster
from systolith.models.zoo import digits
from tests.command_line import refusal, status

pytest.importorskip("ray", reason="a cluster comes from Ray; install the test extra")

MODEL = digits.model_path()
# A shell's background jobs inherit an ignored SIGINT; a sweep that can be interrupted does not.
INTERRUPTIBLE = ("import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
                 "from systolith.host.cli import main; main()")
POINTS = 500
SWEEP = ("explore", MODEL, "--preset", "tiny", "--dram-latency", ",".join(map(str, range(1, POINTS + 1))))
ENVIRONMENT = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16),
               "RAY_USAGE_STATS_ENABLED": "0"}


class Head:
    """A cluster of one node on this computer.

    Attributes:
        address: for `ray.init`.
    """

    def __init__(self, folder: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self._log = Path(folder, "head.log")
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [Path(sys.executable).parent / "ray", "start", "--head", "--block", "--node-ip-address", "127.0.0.1",
                 "--port", str(port), "--num-cpus", "2", "--object-store-memory", str(1 << 27),
                 "--include-dashboard=false", "--temp-dir", folder], env=ENVIRONMENT, stdout=log, stderr=log)

    def wait(self) -> None:
        """Wait until it takes tasks."""
        deadline = time.monotonic() + 60
        while "Ray runtime started" not in self._log.read_text():
            assert self._process.poll() is None and time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.1)

    def workers(self) -> list[int]:
        """Return the processes that are at a task."""
        return [process for process in _descendants(self._process.pid)
                if b"evaluate" in _read(Path(f"/proc/{process}/cmdline"))]

    def stop(self) -> None:
        processes = _descendants(self._process.pid)
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        finally:
            for process in (self._process.pid, *processes):
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    pass


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # the process has ended
        return b""


def _descendants(process: int) -> list[int]:
    parents = {int(path.parent.name): int(stat.rpartition(b")")[2].split()[1])
               for path in Path("/proc").glob("[0-9]*/stat") if (stat := _read(path))}
    found = [process]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # sockets are in it, whose paths must be short
    started = Head(folder)
    try:
        started.wait()
        yield started
    finally:
        started.stop()
        shutil.rmtree(folder, ignore_errors=True)


def start(head: Head, path: Path) -> subprocess.Popen[str]:
    """Begin the sweep on the cluster; return when it has some rows and goes on."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *SWEEP, "-o", path, "--ray",
         head.address], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while len(rows(path)) < 10:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    return process


def rows(path: Path) -> list[bytes]:
    """Return the finished rows of a results file."""
    return _read(path).splitlines(keepends=True)[1:] if path.exists() else []


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The rows that processes give."""
    path = tmp_path_factory.mktemp("local") / "s.csv"
    assert status(*SWEEP, "-o", path, "--jobs", 1) == 0
    return sorted(rows(path))


def test_killed_workers_lose_nothing(head: Head, expected: list[bytes], tmp_path: Path) -> None:
    process = start(head, tmp_path / "s.csv")
    killed = head.workers()
    assert killed, "tasks run"
    for worker in killed:
        os.kill(worker, signal.SIGKILL)
    at = len(rows(tmp_path / "s.csv"))
    out, err = process.communicate(timeout=120)
    assert at < POINTS, "the workers were killed in the middle"
    assert process.returncode == 0 and err == "" and f"{POINTS} points, {POINTS} of them run" in out
    assert sorted(rows(tmp_path / "s.csv")) == expected


@pytest.mark.parametrize("stop,code", [(signal.SIGKILL, -9), (signal.SIGINT, 130)], ids=["killed", "interrupted"])
def test_a_stopped_sweep_goes_on_where_it_was(head: Head, expected: list[bytes], stop: signal.Signals, code: int,
                                              tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    process = start(head, path)
    process.send_signal(stop)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code and err.strip() == ""
    kept = [row for row in rows(path) if row.endswith(b"\n")]
    assert 10 <= len(kept) < POINTS
    deadline = time.monotonic() + 30
    while head.workers():
        assert time.monotonic() < deadline, "the tasks must end with the sweep"
        time.sleep(0.1)
    again = start(head, path)
    out, _ = again.communicate(timeout=120)
    assert again.returncode == 0 and f"{POINTS} points, {POINTS - len(kept)} of them run" in out
    assert rows(path)[:len(kept)] == kept and sorted(rows(path)) == expected


def test_a_cluster_that_does_not_answer_is_one_line_in_bounded_time(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Invalid address format: nonsense" in refusal(
        capsys, *SWEEP, "-o", tmp_path / "s.csv", "--ray", "nonsense")
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 4.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        begin = time.monotonic()
        assert f"Ray cluster {address} must be reachable, but did not answer within 4 s" in refusal(
            capsys, *SWEEP, "-o", tmp_path / "s.csv", "--ray", address)
    assert time.monotonic() - begin < 30


def test_a_finished_sweep_needs_no_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("explore", MODEL, "--preset", "tiny", "-o", tmp_path / "s.csv")
    assert status(*command, "--jobs", 1) == status(*command, "--ray", "127.0.0.1:1") == 0
    assert "1 points, 0 of them run" in capsys.readouterr().out


def test_without_ray_the_extra_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    command = (*SWEEP, "-o", tmp_path / "s.csv", "--ray", "auto")
    assert "--ray must come without --jobs" in refusal(capsys, *command, "--jobs", 2)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "--ray needs ray; do `pip install 'systolith[ray]'`" in refusal(capsys, *command)
    assert list(tmp_path.iterdir()) == []
