"""The computer's end of the host link, docs/host-link.md: reads and writes on a line that loses bytes."""

from __future__ import annotations

import contextlib
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from ...hw.csr import CSR_ADDR_BITS
from ...hw.link.protocol import (
    COUNT_BITS,
    IDENTITY,
    MAGIC,
    MAX_READ,
    NUMBER_BITS,
    NUMBER_OFFSET,
    VERSION,
    Space,
    Status,
    Unframer,
    frame,
    next_number,
    request,
)
from ..errors import DeviceError
from .serial_line import LineLost

__all__ = ["Identity", "Line", "Link"]

_WINDOW = 64              # requests in flight; a quarter of the tags
_WINDOW_SECONDS = 0.05    # bytes in flight, as the time that they take on the line,
_WINDOW_BYTES = 1024, 8192  # at least and at most
_OVERHEAD = 24            # bytes of a request and its answer besides what is read or written
_SMALLEST = 16            # bytes per request, when many are lost
_STREAK = 16              # requests of one size that must arrive before larger ones are tried
_FIRST_WAIT = 0.3         # seconds that the first answer may take, before there are others to compare with
_WAITS = 0.03, 1.0        # seconds without an answer before we ask what was lost, at least and at most
_SILENCE = 10.0           # seconds without an answer before the board counts as dead,
_FIRST_SILENCE = 5.0      # and when it has never answered
_RECONNECT = 10.0         # seconds in which a lost port must come back


class Line(Protocol):
    """What a link needs of a line; see `SerialLine`."""

    port: str
    baud: int

    def write(self, data: bytes) -> None: ...
    def read(self, seconds: float) -> bytes: ...
    def reopen(self, seconds: float) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Identity:
    """What a board says about itself; the fields are those of `protocol.IDENTITY`."""

    magic: int
    version: int
    number: int
    build_id: int
    config_hash: int
    memory_bytes: int
    clock_hz: int


@dataclass(frozen=True)
class _Piece:
    """A request without its tag; `data` is None for a read."""

    space: Space
    address: int
    size: int
    data: bytes | None = None

    def encode(self, tag: int) -> bytes:
        if self.data is None:
            return request(tag, self.space, self.address, read=self.size)
        return request(tag, self.space, self.address, data=self.data)

    def split(self, size: int) -> tuple[_Piece, _Piece]:
        """Return the first `size` bytes and the rest."""
        head, tail = (None, None) if self.data is None else (self.data[:size], self.data[size:])
        return (_Piece(self.space, self.address, size, head),
                _Piece(self.space, self.address + size, self.size - size, tail))


@dataclass(frozen=True)
class _Sent:
    """A request on its way; `transfer` tells which call of `Link._transfer` waits for it."""

    piece: _Piece
    transfer: int
    time: float


class _RefusedError(DeviceError):
    """The board answered with another status than OK."""

    def __init__(self, port: str, status: int) -> None:
        if status == Status.NUMBER:
            message = _reset_message(port)
        elif status == Status.BUS:
            message = f"the board on {port} has no memory at an address, or cannot reach it; reset it and run again"
        else:
            message = (f"the board on {port} refused a request (status {status}); load a bitstream that this version "
                       "of Systolith made")
        super().__init__(message)
        self.status = status


def _reset_message(port: str) -> str:
    return (f"the board on {port} was reset, or another process has used it, so its memory cannot be trusted; run "
            "again")


_FENCE = _Piece(Space.LINK, NUMBER_OFFSET, -(-NUMBER_BITS // 8))

Answered = Callable[[_Piece, bytes], None]


class Link:
    """A board at the other end of a line.

    Requests are sent without waiting for answers. As the line keeps the order, an answer tells that everything sent
    before it is lost unless it has been answered, and what is lost is sent again: in smaller pieces, since a damaged
    byte costs a whole frame. When nothing comes back, a *fence* is sent, a request for `number`, whose answer tells
    the same.

    Args:
        line: an open line, which the link closes.
        word_bytes: bytes of a word of the memory.
        status: called with one line when something takes long.

    Raises:
        DeviceError: nothing answers, or not as a board with this protocol does.
    """

    identity: Identity

    def __init__(self, line: Line, word_bytes: int, status: Callable[[str], None] | None = None) -> None:
        self._line = line
        self._status = status or (lambda line: None)
        self._unframer = Unframer()
        self._tag = random.randrange(256)
        self._flight: dict[int, _Sent] = {}  # by tag, in the order in which they were sent
        self._transfers = 0
        self._number: int | None = None
        self._smallest = max(_SMALLEST, word_bytes)
        self._size = MAX_READ
        self._streak = 0
        self._latency = _FIRST_WAIT
        self._noise = False  # bytes have arrived
        self._known = False  # answers have
        low, high = _WINDOW_BYTES
        self._window_bytes = max(low, min(high, int(line.baud / 10 * _WINDOW_SECONDS)))
        try:
            self._open()
        except BaseException:
            line.close()
            raise

    def close(self) -> None:
        self._line.close()

    def read_memory(self, address: int, size: int) -> bytes:
        """Return `size` bytes of memory, which are those that were written: the board was not reset since `open`."""
        data = self._read(Space.MEMORY, address, size)
        self._check_number(self._read_number())
        return data

    def write_memory(self, address: int, data: bytes, progress: Callable[[int], None] | None = None) -> None:
        """Write whole, aligned words of memory; `progress` is called with the bytes that are confirmed."""
        done = 0

        def answered(piece: _Piece, _: bytes) -> None:
            nonlocal done
            done += piece.size
            if progress:
                progress(done)

        if data:
            self._transfer([_Piece(Space.MEMORY, address, len(data), data)], answered)

    def read_registers(self, offset: int, size: int) -> bytes:
        """Return up to 256 bytes of registers.

        Raises:
            DeviceError: the board was reset, or somebody else has used it, since `open`.
        """
        return self._read(Space.CSR, self._register(offset), size)

    def write_registers(self, offset: int, data: bytes) -> None:
        """Write up to 16 bytes of registers exactly once. Raises `DeviceError` as `read_registers` does."""
        assert self._number is not None
        expected = next_number(self._number)
        try:
            self._transfer([_Piece(Space.CSR, self._register(offset), len(data), data)])
        except _RefusedError as error:
            # Either it was done, and sent once more because the answer was lost, or this is not our board any more.
            if error.status != Status.NUMBER or self._read_number() != expected:
                raise
        self._number = expected

    def _open(self) -> None:
        self.identity = self._identify()
        if self.identity.magic != MAGIC:
            raise DeviceError(f"{self._line.port} must be a Systolith board, but says that it is none; give another "
                              "port")
        if self.identity.version != VERSION:
            raise DeviceError(f"the board on {self._line.port} must speak version {VERSION} of the host link, not "
                              f"{self.identity.version}; load a bitstream that this version of Systolith made")
        number = self.identity.number
        while number >> COUNT_BITS in (0, self.identity.number >> COUNT_BITS):
            number = random.SystemRandom().randrange(1 << NUMBER_BITS)
        self._transfer([_Piece(Space.LINK, NUMBER_OFFSET, _FENCE.size, number.to_bytes(_FENCE.size, "little"))])
        self._check_number(self._read_number(), number)
        self._number = number

    def _identify(self) -> Identity:
        bits = IDENTITY.from_bits(int.from_bytes(self._read(Space.LINK, 0, IDENTITY.size // 8), "little"))
        return Identity(*(bits[name] for name in Identity.__dataclass_fields__))

    def _register(self, offset: int) -> int:
        assert self._number is not None
        return self._number << CSR_ADDR_BITS | offset

    def _read_number(self) -> int:
        return int.from_bytes(self._read(_FENCE.space, _FENCE.address, _FENCE.size), "little")

    def _check_number(self, found: int, *expected: int) -> None:
        if found not in (expected or (self._number,)):
            raise DeviceError(_reset_message(self._line.port))

    def _read(self, space: Space, address: int, size: int) -> bytes:
        result = bytearray(size)

        def answered(piece: _Piece, payload: bytes) -> None:
            result[piece.address - address:piece.address - address + piece.size] = payload

        if size:
            self._transfer([_Piece(space, address, size)], answered)
        return bytes(result)

    def _transfer(self, pieces: Iterable[_Piece], answered: Answered = lambda piece, payload: None) -> None:
        """Send requests until each is answered; those to memory may be split.

        Raises:
            _RefusedError: one was answered with an error.
            DeviceError: the line or the board is dead, or the board was reset while the line was lost.
        """
        pending = deque(pieces)
        self._transfers += 1
        heard, patience = time.monotonic(), 1
        while pending or any(sent.transfer == self._transfers for sent in self._flight.values()):
            try:
                self._fill(pending)
                low, high = _WAITS
                contents = self._receive(min(high, patience * max(low, 3 * self._latency)))
                now = time.monotonic()
                if contents:
                    heard, patience = now, 1
                    self._known = True
                elif now - heard > (_SILENCE if self._known else _FIRST_SILENCE):
                    raise self._dead()
                else:
                    patience *= 2
                    self._send(_FENCE)
            except LineLost:
                lost = time.monotonic()
                if lost - heard > _SILENCE:  # it comes back, but is of no use
                    raise self._dead() from None
                self._status(f"{self._line.port} was lost; waiting for it")
                self._line.reopen(_RECONNECT)
                heard += time.monotonic() - lost
                self._unframer = Unframer()
                with contextlib.suppress(LineLost):  # the next use of the line finds out, too
                    self._send(_FENCE)
                continue
            for content in contents:
                self._take(content, pending, answered)

    def _fill(self, pending: deque[_Piece]) -> None:
        """Send what the window has room for."""
        load = sum(sent.piece.size + _OVERHEAD for sent in self._flight.values())
        while pending and len(self._flight) < _WINDOW and (load < self._window_bytes or not self._flight):
            piece = pending.popleft()
            if piece.space == Space.MEMORY and piece.size > self._size:
                piece, rest = piece.split(self._size)
                pending.appendleft(rest)
            try:
                self._send(piece)
            except LineLost:
                pending.appendleft(piece)
                raise
            load += piece.size + _OVERHEAD

    def _send(self, piece: _Piece) -> None:
        self._line.write(frame(piece.encode(self._tag)))
        self._flight[self._tag] = _Sent(piece, self._transfers, time.monotonic())
        self._tag = (self._tag + 1) % 256

    def _receive(self, seconds: float) -> list[bytes]:
        """Return the next answers, or none after `seconds` without one."""
        deadline = time.monotonic() + seconds
        while True:
            data = self._line.read(max(0.0, deadline - time.monotonic()))
            self._noise |= bool(data)
            contents = [content for content in self._unframer.feed(data) if content[0] in self._flight]
            if contents or time.monotonic() >= deadline:
                return contents

    def _take(self, content: bytes, pending: deque[_Piece], answered: Answered) -> None:
        """Take one answer, and put what it tells to be lost in front of what is to be sent."""
        tag, payload, status = content[0], content[1:-1], content[-1]
        if tag not in self._flight:
            return
        lost = []
        for earlier in list(self._flight):
            sent = self._flight.pop(earlier)
            if earlier == tag:
                break
            if sent.transfer == self._transfers and sent.piece is not _FENCE:
                lost.append(sent.piece)
            self._adapt(sent.piece, arrived=False)
        pending.extendleft(reversed(lost))
        self._latency = max(time.monotonic() - sent.time, 0.9 * self._latency)
        self._adapt(sent.piece, arrived=True)
        if sent.piece is _FENCE and self._number is not None and status == Status.OK:
            # A write to registers may be under way.
            self._check_number(int.from_bytes(payload, "little"), self._number, next_number(self._number))
        if sent.transfer != self._transfers or sent.piece is _FENCE:
            return
        if status != Status.OK:
            raise _RefusedError(self._line.port, status)
        if len(payload) != (sent.piece.size if sent.piece.data is None else 0):
            raise _RefusedError(self._line.port, Status.FORMAT)
        answered(sent.piece, payload)

    def _adapt(self, piece: _Piece, *, arrived: bool) -> None:
        """Choose the size of the next requests by what became of those of the present size."""
        if piece.space != Space.MEMORY or piece.size != self._size:
            return
        self._streak = self._streak + 1 if arrived else 0
        if not arrived:
            self._size = max(self._smallest, self._size // 2)
        elif self._streak >= _STREAK:
            self._streak = 0
            self._size = min(MAX_READ, 2 * self._size)

    def _dead(self) -> DeviceError:
        port, baud = self._line.port, self._line.baud
        if self._known:
            return DeviceError(f"the board on {port} has stopped answering; reset it and run again")
        if self._noise:
            return DeviceError(f"what answers on {port} at {baud} baud is no Systolith board; give another port, or "
                               "the baud= that the board was built with")
        return DeviceError(f"nothing answers on {port} at {baud} baud; load the board's bitstream, or give its port "
                           "and the baud= that it was built with")
