"""A pseudo-terminal as the serial port of a twin."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import threading
import time
import tty

from .twin import Twin

__all__ = ["Terminal"]

_CHUNK = 2000     # cycles between two looks at the terminal: an answer waits no longer than that
_IDLE = 1.0       # seconds without a byte after which the simulation stops until the next one
_BYTES = 4096


class Terminal:
    """Joins a twin to a pseudo-terminal, whose other end ``port`` is opened as a serial port.

    The simulated time runs as fast as it can while bytes travel, and stands still when none have for a second: nobody
    can tell the difference, because the line is all that can be seen of a board.

    ``received`` and ``sent`` count the board's bytes on the line, ``cycles`` those that it was simulated for; other
    threads may read them.
    """

    def __init__(self, twin: Twin) -> None:
        self.twin = twin
        self.received = self.sent = self.cycles = 0
        self._master, self._slave = pty.openpty()  # the other end stays open, so that clients may come and go
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.port = os.ttyname(self._slave)
        self._wake_read, self._wake_write = os.pipe()
        self._stopped = threading.Event()

    def serve(self) -> None:
        """Run until `stop` is called from another thread or a signal handler."""
        inbox, outbox = b"", b""
        last = 0.0
        while not self._stopped.is_set():
            active = time.monotonic() - last < _IDLE
            readable, _, _ = select.select([self._master, self._wake_read], [], [], 0 if active else None)
            if self._master in readable:
                data = os.read(self._master, _BYTES)
                self.received += len(data)
                inbox += data
            taken, data = self.twin.run(inbox, _CHUNK)
            self.cycles = self.twin.cycles
            inbox = inbox[taken:]
            outbox += data
            if outbox:
                with contextlib.suppress(BlockingIOError):  # a client that does not read must not stop the board
                    sent = os.write(self._master, outbox)
                    self.sent += sent
                    outbox = outbox[sent:]
            if taken or data or inbox:
                last = time.monotonic()

    def stop(self) -> None:
        self._stopped.set()
        os.write(self._wake_write, b"\0")

    def close(self) -> None:
        """Give the terminal back, after `serve` has returned."""
        for file in (self._master, self._slave, self._wake_read, self._wake_write):
            os.close(file)
