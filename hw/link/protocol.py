"""What both ends of the host link agree on: bytes on the line, frames, requests and answers; docs/host-link.md.

Gateware, driver and testbenches import it. Nothing here depends on an accelerator's configuration.
"""

import enum
import zlib
from collections.abc import Iterator

from amaranth import unsigned
from amaranth.lib.data import StructLayout

from ..csr import CSR_ADDR_BITS

__all__ = ["BAUD", "COUNT_BITS", "CRC_BYTES", "CRC_POLYNOMIAL", "CRC_RESIDUE", "END", "ESC", "ESC_END", "ESC_ESC",
           "HEADER", "IDENTITY", "MAGIC", "MAX_READ", "NUMBER_BITS", "NUMBER_OFFSET", "OP", "VERSION", "Space",
           "Status", "Unframer", "frame", "next_number", "request"]

# SLIP (RFC 1055): END closes a frame, and the two special bytes are replaced by pairs.
END, ESC, ESC_END, ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD

# CRC-32 of IEEE 802.3, least significant bit first, little endian behind what it protects.
CRC_BYTES = 4
CRC_POLYNOMIAL = 0xEDB8_8320
# The register, not inverted, after a frame and its own CRC.
CRC_RESIDUE = zlib.crc32(bytes(CRC_BYTES)) ^ 0xFFFF_FFFF

# Default bits per second.
BAUD = 1_000_000

VERSION = 1
MAGIC = int.from_bytes(b"SYL", "little")


class Space(enum.IntEnum):
    """What an address counts bytes of."""

    LINK = 0     # `IDENTITY`; only `number` can be written
    MEMORY = 1   # DRAM of the accelerator; written in whole words
    CSR = 2      # registers of the accelerator: bits 11:0 of the address, and the link's `number` above them


class Status(enum.IntEnum):
    """Last byte of an answer; what is not OK may have been done in part."""

    OK = 0
    OP = 1        # there is no such operation
    FORMAT = 2    # not aligned, or of another length than its operation asks for
    NUMBER = 3    # the address does not carry the link's `number`; nothing was done
    BUS = 4       # AXI answered with an error


# Second byte of a request, after its tag.
OP = StructLayout({"write": unsigned(1), "space": unsigned(2), "reserved": unsigned(5)})
# What a request begins with; a read goes on with its number of bytes less 1, a write with the bytes.
HEADER = StructLayout({"tag": unsigned(8), "op": OP, "address": unsigned(32)})
MAX_READ = 256

# `number` guards registers: it is 0 after a reset and set at random by who opens the link. Its low COUNT_BITS count the
# writes to registers that were done.
NUMBER_BITS, COUNT_BITS = 32 - CSR_ADDR_BITS, 8
# Contents of `Space.LINK`.
IDENTITY = StructLayout({
    "magic": unsigned(24), "version": unsigned(8),
    "number": unsigned(NUMBER_BITS), "reserved": unsigned(32 - NUMBER_BITS),
    "build_id": unsigned(64), "config_hash": unsigned(64),
    "memory_bytes": unsigned(32), "clock_hz": unsigned(32),
})
NUMBER_OFFSET = IDENTITY["number"].offset // 8


def next_number(number: int) -> int:
    """Return what `number` is after one more write to registers."""
    count = (1 << COUNT_BITS) - 1
    return number & ~count | number + 1 & count


def request(tag: int, space: Space, address: int, *, read: int = 0, data: bytes = b"") -> bytes:
    """Return a request to read ``read`` bytes, or to write ``data``."""
    op = {"write": int(not read), "space": space}
    header = HEADER.const({"tag": tag, "op": op, "address": address}).as_value().value
    return int(header).to_bytes(HEADER.size // 8, "little") + (bytes([read - 1]) if read else data)


def frame(contents: bytes) -> bytes:
    """Return the bytes on the line for a request or an answer.

    END comes first, too, so that what the line picked up before does not spoil the frame.
    """
    data = contents + zlib.crc32(contents).to_bytes(CRC_BYTES, "little")
    data = data.replace(bytes([ESC]), bytes([ESC, ESC_ESC])).replace(bytes([END]), bytes([ESC, ESC_END]))
    return bytes([END]) + data + bytes([END])


class Unframer:
    """Finds frames in a stream of bytes."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes from the line and yield the contents of each whole frame among them; others are dropped."""
        *whole, self._rest = (self._rest + data).split(bytes([END]))
        for part in whole:
            part = part.replace(bytes([ESC, ESC_END]), bytes([END])).replace(bytes([ESC, ESC_ESC]), bytes([ESC]))
            if len(part) > CRC_BYTES and zlib.crc32(part) ^ 0xFFFF_FFFF == CRC_RESIDUE:
                yield part[:-CRC_BYTES]
