"""What the nets of a Verilated core did: the counts of `activity.hpp`, and whose nets they are."""

import ctypes
import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...hw.array import MAX_LINES
from ...hw.config import AcceleratorConfig
from ...hw.scratchpad import ACT_READ_LATENCY
from ..activity import MacCounts, MacEvent
from .build import TOP, core_verilog

__all__ = ["BLOCKS", "ActivityCounts", "BlockActivity", "Net", "Nets", "block_activity"]

# Blocks of the core, by the module paths that they begin with; the longest that fits counts.
BLOCKS: dict[str, tuple[str, ...]] = {
    "array": ("core.compute.array",),
    "line_buffer": ("core.compute.line_buffer",),
    "accumulators": ("core.compute.acc",),
    "front_end": ("core.compute",),
    "vector": ("core.vector",),
    "scratchpads": ("core.act", "core.wgt", "core.param"),
    "dma": ("core.load", "core.store", "core.arbiter", "core.axi"),
    "control": ("core",),
}
_BLOCK_OF = {path: block for block, paths in BLOCKS.items() for path in paths}


@dataclass(frozen=True)
class Net:
    """A signal of the core, by module path and name; bits from the most significant down.

    ``toggles``: how often each bit changed, int64 [bits]. ``high``: cycles in which each bit is 1, int64 [bits].
    ``changes``: cycles in which any bit changed. ``register``: whether it is one, which changes at the clock edge.
    """

    module: str
    name: str
    toggles: NDArray[np.int64]
    high: NDArray[np.int64]
    changes: int
    register: bool


@dataclass(frozen=True)
class Nets:
    """The signals that were counted, without the clock, each once, in the module that drives it.

    Inputs of the core are in the module ``core``. ``cycles``: of all runs.
    """

    cycles: int
    nets: list[Net]


@dataclass(frozen=True)
class BlockActivity:
    """What the nets of a block do; rates are per bit and cycle.

    Attributes:
        net_bits: bits of all signals, registers among them.
        net_toggles: toggles of a net bit per cycle.
        register_bits: bits of the registers.
        register_toggles: toggles of a register bit per cycle.
        register_changes: share of the cycles in which a register takes another value than it has, bit by bit of its
            width: an ideal clock gate per register would let as many clock edges pass, and save the others.
    """

    net_bits: int
    net_toggles: float
    register_bits: int
    register_toggles: float
    register_changes: float


def block_activity(counted: Nets) -> dict[str, BlockActivity]:
    """Return the activity of each block of `BLOCKS` that has nets."""
    blocks: dict[str, list[Net]] = {}
    for net in counted.nets:
        path = net.module
        while path not in _BLOCK_OF:
            path = path.rpartition(".")[0]
        blocks.setdefault(_BLOCK_OF[path], []).append(net)
    return {block: _activity(blocks[block], counted.cycles) for block in BLOCKS if block in blocks}


def _activity(nets: list[Net], cycles: int) -> BlockActivity:
    registers = [net for net in nets if net.register]

    def bits(some: list[Net]) -> int:
        return sum(net.toggles.size for net in some)

    def rate(count: int, some: list[Net]) -> float:
        return count / (bits(some) * cycles) if some and cycles else 0.0

    return BlockActivity(
        bits(nets), rate(sum(int(net.toggles.sum()) for net in nets), nets),
        bits(registers), rate(sum(int(net.toggles.sum()) for net in registers), registers),
        rate(sum(net.changes * net.toggles.size for net in registers), registers))


class ActivityCounts:
    """Reads the counts out of the shared object of a core of ``config`` that was built to trace VCD."""

    def __init__(self, library: ctypes.CDLL, config: AcceleratorConfig) -> None:
        self._lib = library
        self._config = config
        handle, u32, u64 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
        pointer = ctypes.POINTER
        for name, (result, arguments) in {
            "cycles": (u64, [handle]),
            "names": (u64, [handle]),
            "name": (ctypes.c_char_p, [handle, u64, pointer(u32)]),
            "net": (u32, [handle, u32, pointer(pointer(u64)), pointer(pointer(u64)), pointer(u64)]),
            "macs": (pointer(u64), [handle, u32]),
        }.items():
            function = getattr(library, f"systolith_activity_{name}")
            function.restype, function.argtypes = result, arguments
        # What `ArrayShape` holds: a word is at the array a register behind the activation buffer.
        self.shape = (u32 * 4)(config.rows, config.fir_rows, ACT_READ_LATENCY + 1, MAX_LINES)

    def macs(self, handle: int, count: int) -> MacCounts:
        """Return what the cells multiplied for each of the ``count`` instructions of the last run."""
        macs = np.zeros((count, len(MacEvent)), np.int64)
        for index in range(count):
            events = self._lib.systolith_activity_macs(handle, index)
            if events:
                macs[index] = events[:len(MacEvent)]
        return macs

    def nets(self, handle: int) -> Nets:
        """Return what the nets did in all runs."""
        cycles = self._lib.systolith_activity_cycles(handle)
        modules = _modules(core_verilog(self._config))
        # By number of the net, whose it is: of a port of the core or a register, else of the innermost module.
        chosen: dict[int, tuple[bool, int, str, str]] = {}
        for index in range(self._lib.systolith_activity_names(handle)):
            number = ctypes.c_uint32()
            path = self._lib.systolith_activity_name(handle, index, ctypes.byref(number)).decode()
            module, _, name = path.removeprefix("TOP.").rpartition(".")
            # Fields and elements of a signal are listed besides it; a memory's words have names of their own.
            if module not in modules or not _SIGNAL.fullmatch(name) or (module, name) == _CLOCK:
                continue
            port = module == TOP and name in modules[TOP].inputs
            if name in modules[module].inputs and not port:
                continue
            candidate = port or name in modules[module].registers, module.count("."), module, name
            chosen[number.value] = max(chosen.get(number.value, candidate), candidate)
        return Nets(cycles, [self._net(handle, number, module, name, name in modules[module].registers)
                             for number, (_, _, module, name) in sorted(chosen.items())])

    def _net(self, handle: int, number: int, module: str, name: str, register: bool) -> Net:
        toggles, high = ctypes.POINTER(ctypes.c_uint64)(), ctypes.POINTER(ctypes.c_uint64)()
        changes = ctypes.c_uint64()
        width = self._lib.systolith_activity_net(handle, number, ctypes.byref(toggles), ctypes.byref(high),
                                                 ctypes.byref(changes))
        of_toggles, of_high = (np.ctypeslib.as_array(counts, (width,)).astype(np.int64) for counts in (toggles, high))
        return Net(module, name, of_toggles, of_high, changes.value, register)


_CLOCK = (TOP, "clk")  # it was low whenever the nets were looked at
_SIGNAL = re.compile(r"[\w$]+")
_MODULE = re.compile(r"module \\?([\w.]+) ?\(")
_INPUT = re.compile(r"  input (?:signed )?(?:\[\d+:0\] )?\\?([^ ;]+) ?;")
_REGISTER = re.compile(r" +\\?([\w$]+) <= ")


@dataclass
class _Module:
    """Names of signals of a module; a register is what is assigned with ``<=``, as Yosys writes Verilog."""

    inputs: set[str] = field(default_factory=set)
    registers: set[str] = field(default_factory=set)


def _modules(verilog: str) -> dict[str, _Module]:
    """Return the modules by name, which Amaranth makes of their path."""
    modules: dict[str, _Module] = {}
    module = _Module()
    for line in verilog.splitlines():
        if found := _MODULE.match(line):
            module = modules[found[1]] = _Module()
        elif found := _INPUT.match(line):
            module.inputs.add(found[1])
        elif found := _REGISTER.match(line):
            module.registers.add(found[1])
    return modules
