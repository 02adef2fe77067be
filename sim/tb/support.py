"""What the testbenches share: clock and reset, packed words, instruction entries, memories of fixed latency."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cocotb
import numpy as np
import numpy.typing as npt
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from ...hw.config import AcceleratorConfig
from ...hw.isa import ENTRY, ERROR, ErrorCode
from .runner import bench_params

__all__ = ["Bench", "pack", "pack_entry", "pauses", "unpack", "unpack_error"]


def pack(values: npt.ArrayLike, bits: int) -> int:
    """Return the lanes of a packed array port, lane 0 lowest, as one integer; negative values wrap."""
    mask = (1 << bits) - 1
    return sum((int(value) & mask) << bits * i for i, value in enumerate(np.ravel(np.asarray(values))))


def unpack(word: int, bits: int, lanes: int) -> npt.NDArray[np.int64]:
    """Return the signed lanes of a packed array port, int64 [lanes]."""
    sign = 1 << bits - 1
    mask = (1 << bits) - 1
    return np.array([((word >> bits * i & mask) ^ sign) - sign for i in range(lanes)], np.int64)


def pack_entry(instruction: bytes, index: int = 0) -> int:
    """Return the payload of a ``start`` stream for an encoded instruction."""
    return int(ENTRY.const({"instr": int.from_bytes(instruction, "little"), "index": index}).as_value().value)


def unpack_error(word: int) -> tuple[ErrorCode, int] | None:
    """Return (code, index of the instruction) of a unit's ``error`` port, or ``None``."""
    error = ERROR.from_bits(word)
    return (ErrorCode(error["code"]), error["index"]) if error["valid"] else None


def pauses(rng: random.Random, probability: float) -> Iterator[bool]:
    """Yield whether to pause, for ever: a pause generator of cocotbext-axi."""
    while True:
        yield rng.random() < probability


class Bench:
    """Base of the testbenches: the configuration, a seeded generator, the clock and a cycle counter.

    Inputs are 0 unless driven. After ``await self.tick()`` outputs read as they were before the edge, and what is
    assigned shows after it; ``cycle`` is the number of edges since reset.
    """

    def __init__(self, dut: Any):
        self.dut = dut
        self.rng = random.Random(cocotb.RANDOM_SEED)
        self.np_rng = np.random.default_rng(cocotb.RANDOM_SEED)
        params = bench_params()
        self.params = params
        self.config = AcceleratorConfig.from_dict(params["config"])
        self.cycle = 0
        self._every_cycle: list[Callable[[], None]] = []

    async def reset(self, **inputs: int) -> None:
        """Start the clock and reset the device; all ``inputs`` named get their value."""
        for name, value in inputs.items():
            getattr(self.dut, name).value = value
        self.dut.rst.value = 1
        Clock(self.dut.clk, 10, "ns", impl="gpi").start()
        for _ in range(3):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)
        cocotb.start_soon(self._watch())

    async def _watch(self) -> None:
        while True:
            for action in self._every_cycle:
                action()
            self.cycle += 1
            await RisingEdge(self.dut.clk)

    def every_cycle(self, action: Callable[[], None]) -> None:
        """Call ``action`` at every edge, before the signals change."""
        self._every_cycle.append(action)

    async def tick(self, cycles: int = 1) -> None:
        for _ in range(cycles):
            await RisingEdge(self.dut.clk)

    async def until(self, condition: Callable[[], bool], what: str, limit: int = 20_000) -> None:
        """Wait for ``condition`` to hold at an edge. Raises ``AssertionError`` after ``limit`` cycles."""
        for _ in range(limit):
            if condition():
                return
            await RisingEdge(self.dut.clk)
        raise AssertionError(f"{what} must happen within {limit} cycles")

    def read_port(self, en: Any, addr: Any, data: Any, latency: int, words: Sequence[int], *,
                  idle_zero: bool = False) -> None:
        """Answer a memory read port with ``words[addr]``, ``latency`` cycles after ``en``.

        In all other cycles, and beyond the end, the data is noise, so that who samples at another time is found; with
        ``idle_zero`` it is 0 instead.
        """
        bits = len(data)

        def idle() -> int:
            return 0 if idle_zero else self.rng.getrandbits(bits)

        pending = [idle()] * (latency - 1)

        def step() -> None:
            inside = int(en.value) and int(addr.value) < len(words)
            pending.append(words[int(addr.value)] if inside else idle())
            data.value = pending.pop(0)

        self.every_cycle(step)

    async def send(self, stream: str, payload: int) -> None:
        """Offer ``payload`` on an input stream until it is taken, then withdraw it."""
        valid, ready = getattr(self.dut, f"{stream}__valid"), getattr(self.dut, f"{stream}__ready")
        getattr(self.dut, f"{stream}__payload").value = payload
        valid.value = 1
        await RisingEdge(self.dut.clk)
        while not int(ready.value):
            await RisingEdge(self.dut.clk)
        valid.value = 0
