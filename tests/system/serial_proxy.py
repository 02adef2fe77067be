"""A pseudo-terminal between a driver and a board that damages, drops, and breaks off."""

from __future__ import annotations

import os
import pty
import random
import select
import threading
import tty
from pathlib import Path


class SerialProxy:
    """Forwards bytes between the serial port `target` and `port`, a link to a pseudo-terminal.

    Args:
        target: port of the board.
        port: path of the link to make.
        damaged, dropped: probability of either for a byte, in both directions.
        lost_after: bytes towards the board after which the connection breaks off once, and comes back.
    """

    def __init__(self, target: str, port: Path, *, damaged: float = 0, dropped: float = 0,
                 lost_after: int | None = None) -> None:
        self.port = port
        self.losses = 0
        self._damaged, self._dropped, self._lost_after = damaged, dropped, lost_after
        self._rng = random.Random(1)
        self._target = os.open(target, os.O_RDWR | os.O_NOCTTY)
        self._wake_read, self._wake_write = os.pipe()
        self._plug_in()
        self._thread = threading.Thread(target=self._forward)
        self._thread.start()

    def _plug_in(self) -> None:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.port.unlink(missing_ok=True)
        self.port.symlink_to(os.ttyname(self._slave))

    def _unplug(self) -> None:
        self.port.unlink()
        os.close(self._slave)
        os.close(self._master)

    def _faults(self, data: bytes) -> bytes:
        kept = bytearray(byte for byte in data if self._rng.random() >= self._dropped)
        for i in range(len(kept)):
            if self._rng.random() < self._damaged:
                kept[i] ^= 1 << self._rng.randrange(8)
        return bytes(kept)

    def _forward(self) -> None:
        passed = 0
        while True:
            readable, _, _ = select.select([self._master, self._target, self._wake_read], [], [])
            if self._wake_read in readable:
                return
            if self._target in readable:
                os.write(self._master, self._faults(os.read(self._target, 4096)))
            if self._master in readable:
                data = os.read(self._master, 4096)
                passed += len(data)
                os.write(self._target, self._faults(data))
                if self._lost_after is not None and passed > self._lost_after:
                    self._lost_after = None
                    self.losses += 1
                    self._unplug()
                    self._wait(0.3)
                    self._plug_in()

    def _wait(self, seconds: float) -> None:
        select.select([self._wake_read], [], [], seconds)

    def __enter__(self) -> SerialProxy:
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._wake_write, b"\0")
        self._thread.join()
        self._unplug()
        for file in (self._target, self._wake_read, self._wake_write):
            os.close(file)
