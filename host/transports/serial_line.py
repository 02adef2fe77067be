"""A serial port of this computer, held by one process at a time."""

from __future__ import annotations

import contextlib
import errno
import time

import serial

from ..errors import DeviceError

__all__ = ["LineLost", "SerialLine"]

_WRITE_TIMEOUT = 5.0  # seconds in which a port must take what is written


class LineLost(Exception):
    """The port is gone, or takes no more bytes."""


class SerialLine:
    """An open serial port, 8 data bits without parity.

    Args:
        port: its name, such as /dev/ttyUSB0 or COM3.
        baud: bits per second.

    Raises:
        DeviceError: the port does not exist, may not be opened, cannot run at `baud`, or another process has it.
    """

    def __init__(self, port: str, baud: int) -> None:
        self.port = port
        self.baud = baud
        self._serial = self._open()

    def reopen(self, seconds: float) -> None:
        """Open the port again, which may take until it is plugged in.

        Raises:
            DeviceError: it cannot be opened within `seconds`.
        """
        self.close()
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._serial = self._open()
                return
            except DeviceError as error:
                if time.monotonic() > deadline:
                    raise DeviceError(f"the connection was lost and did not come back within {seconds:g} s: "
                                      f"{error}") from error
            time.sleep(0.05)

    def write(self, data: bytes) -> None:
        """Send bytes. Raises `LineLost`."""
        try:
            self._serial.write(data)
        except (serial.SerialException, OSError) as error:
            raise LineLost(str(error)) from error

    def read(self, seconds: float) -> bytes:
        """Return what has arrived, after waiting for it no longer than `seconds`. Raises `LineLost`."""
        try:
            self._serial.timeout = seconds
            first: bytes = self._serial.read(1)
            return first + self._serial.read(self._serial.in_waiting) if first else b""
        except (serial.SerialException, OSError, TypeError) as error:  # TypeError: closed under its hands
            raise LineLost(str(error)) from error

    def close(self) -> None:
        with contextlib.suppress(serial.SerialException, OSError):  # it may be gone already
            self._serial.close()

    def _open(self) -> serial.Serial:
        try:
            port = serial.Serial(self.port, self.baud, write_timeout=_WRITE_TIMEOUT, exclusive=True)
        except ValueError as error:
            raise DeviceError(f"{self.port} cannot run at {self.baud} baud: {error}; give another baud=") from error
        except (serial.SerialException, OSError) as error:
            raise DeviceError(_why(self.port, error)) from error
        try:
            # Adapters of FTDI otherwise collect what they receive for 16 ms.
            with contextlib.suppress(AttributeError, NotImplementedError, ValueError, OSError):
                port.set_low_latency_mode(True)
            port.reset_input_buffer()
        except (serial.SerialException, OSError) as error:
            port.close()
            raise DeviceError(_why(self.port, error)) from error
        return port


def _why(port: str, error: OSError) -> str:
    text, number = str(error), error.errno
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in text:
        return f"{port} is in use by another process; end that first"
    if number in (errno.EACCES, errno.EPERM) or "PermissionError" in text:
        return f"{port} may not be opened; join the group that owns it (often 'dialout') and log in again"
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV) or "FileNotFoundError" in text:
        return f"{port} does not exist; plug the board in, or give the port that it has"
    return f"{port} cannot be used as a serial port ({text}); give the port of the board"
