"""Block memory whose readers and writer keep apart."""

from typing import Any

from amaranth.lib.memory import Memory

__all__ = ["block_memory"]


def block_memory(shape: Any, depth: int) -> Memory:
    """Return a memory of ``depth`` words that are all 0 at first, of which no word is read while it is written.

    Simulated, such a read gives the old word; in an FPGA it may give anything. Synthesis would otherwise add a bypass
    around each block RAM, as large as the word, for the sake of that case. Everyone who writes and reads a memory here
    is kept apart from others by tokens or by a distance in time.
    """
    return Memory(shape=shape, depth=depth, init=[], attrs={"no_rw_check": 1})
