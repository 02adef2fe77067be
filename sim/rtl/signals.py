"""The signals that an engineer wants first, as lists for the wave viewers GTKWave and Surfer."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from ...hw.config import AcceleratorConfig
from ...hw.isa import Unit
from .build import core_verilog
from .waves import Waves

__all__ = ["Signal", "save_signal_lists", "signal_groups"]

SCOPE = "TOP"  # under which Verilator's harness puts the module `core`
BIT, BITS, HEX, UNSIGNED = "bit", "bits", "hex", "unsigned"

_UNITS = [unit.name.lower() for unit in Unit]
# Group: signals as `module:name`, in the radix that follows.
_GROUPS: dict[str, list[tuple[str, str]]] = {
    "clock": [("core:clk", BIT), ("core:rst", BIT), ("core:busy", BIT), ("core:irq", BIT),
              ("core:issue", BITS), ("core:retire", BITS)],
    "AXI read": [(f"core:bus__{name}", radix) for name, radix in (
        ("arvalid", BIT), ("arready", BIT), ("araddr", HEX), ("arlen", UNSIGNED), ("rvalid", BIT), ("rready", BIT),
        ("rlast", BIT), ("rdata", HEX), ("rresp", BITS))],
    "AXI write": [(f"core:bus__{name}", radix) for name, radix in (
        ("awvalid", BIT), ("awready", BIT), ("awaddr", HEX), ("awlen", UNSIGNED), ("wvalid", BIT), ("wready", BIT),
        ("wlast", BIT), ("wdata", HEX), ("bvalid", BIT), ("bready", BIT), ("bresp", BITS))],
    "fetch and issue queues": [
        ("core.fetch:busy", BIT), ("core.fetch:o__valid", BIT), ("core.fetch:o__ready", BIT),
        *((f"core.issue_logic.queue_{unit}:level", UNSIGNED) for unit in _UNITS),
        *((f"core.issue_logic:{name}_{unit}", UNSIGNED) for name in ("started", "retired") for unit in _UNITS)],
    "tokens": [*((f"core.issue_logic:tokens_{unit}", BITS) for unit in _UNITS),
               *((f"core.issue_logic:blocked_{why}", BIT) for why in ("load", "vector", "store", "bank")),
               ("core.issue_logic:held_read", HEX), ("core.issue_logic:held_write", HEX)],
    "load": [("core.load:busy", BIT), ("core.load:write__en", BIT), ("core.load:write__buffer", UNSIGNED),
             ("core.load:write__addr", HEX), ("core.load:write__data", HEX), ("core.load:done", BIT)],
    "array": [("core.compute:busy", BIT), ("core.compute:active", BIT), ("core.compute:starved", BIT),
              ("core.compute:take", BIT), ("core.compute:act__en", BIT), ("core.compute:act__addr", HEX),
              ("core.compute:wgt_en", BIT), ("core.compute:wgt_addr", HEX), ("core.compute.array:x", HEX),
              ("core.compute.array:swap", BIT), ("core.compute.array:psum", HEX), ("core.compute.acc:en", BIT),
              ("core.compute.acc:overwrite", BIT), ("core.compute.acc:address", HEX), ("core.compute:done", BIT)],
    "vector": [("core.vector:busy", BIT), ("core.vector:active", BIT), ("core.vector:acc_en", BIT),
               ("core.vector:acc_address", HEX), ("core.vector:acc_data", HEX), ("core.vector:act__en", BIT),
               ("core.vector:act__addr", HEX), ("core.vector:out__en", BIT), ("core.vector:out__addr", HEX),
               ("core.vector:out__data", HEX), ("core.vector:done", BIT)],
    "store": [("core.store:busy", BIT), ("core.store:read__en", BIT), ("core.store:read__addr", HEX),
              ("core.store:read_data", HEX), ("core.store:done", BIT)],
    "counters": [("core.csrs.counters:events", BITS), ("core.csrs.counters:visited", UNSIGNED),
                 ("core.csrs.counters:value", UNSIGNED)],
}


class Signal(NamedTuple):
    """A signal by its whole name in a recording, its bits, and the radix to show it in."""

    name: str
    width: int
    radix: str


def signal_groups(config: AcceleratorConfig) -> dict[str, list[Signal]]:
    """Return the signals by group, in order; every one is in each recording of a core of ``config``."""
    widths = _widths(core_verilog(config))
    return {group: [Signal(f"{SCOPE}.{name.replace(':', '.')}", widths[name], radix) for name, radix in names]
            for group, names in _GROUPS.items()}


def save_signal_lists(waves: Waves, config: AcceleratorConfig) -> None:
    """Write the list of ``signal_groups`` beside ``waves``: for GTKWave to .gtkw, for Surfer to .sucl."""
    groups = signal_groups(config)
    for suffix, lines in ((".gtkw", _gtkwave(waves, groups)), (".sucl", _surfer(groups))):
        waves.path.with_suffix(suffix).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


# Flags of a trace in GTKWave: right-justified, and its radix.
_FLAGS = {BIT: "@28", BITS: "@28", HEX: "@22", UNSIGNED: "@24"}
# Flags of the begin and the end of a group that is open, and of one that is closed.
_OPEN, _CLOSED = ("@800200", "@1000200"), ("@c00200", "@1401200")
_CLOSED_GROUPS = ("AXI read", "AXI write", "tokens", "counters")
_ZOOM = -16.0  # some 400 cycles at first


def _gtkwave(waves: Waves, groups: dict[str, list[Signal]]) -> Iterator[str]:
    yield f'[dumpfile] "{waves.path.absolute()}"'
    yield f"[timestart] {1000 * waves.first}"  # in ps
    yield "[size] 1400 1000"
    yield f"*{_ZOOM}" + " -1" * 27  # no markers
    yield "[signals_width] 340"
    for group, signals in groups.items():
        begin, end = _CLOSED if group in _CLOSED_GROUPS else _OPEN
        yield from (begin, f"-{group}")
        for signal in signals:
            bits = f"[{signal.width - 1}:0]" if signal.width > 1 else ""
            label = "/".join(signal.name.split(".")[-2:])
            yield from (_FLAGS[signal.radix], f"+{{{label}}} {signal.name}{bits}")
        yield from (end, f"-{group}")


def _surfer(groups: dict[str, list[Signal]]) -> Iterator[str]:
    for group, signals in groups.items():
        yield f"divider_add {group}"
        for signal in signals:
            yield f"variable_add {signal.name}"
    yield "zoom_fit"


def _widths(verilog: str) -> dict[str, int]:
    """Return the bits of each signal of each module, by `module:name`; Amaranth names a module by its path."""
    widths: dict[str, int] = {}
    module = ""
    for line in verilog.splitlines():
        if found := _MODULE.match(line):
            module = found[1]
        elif found := _DECLARATION.match(line):
            widths[f"{module}:{found[2]}"] = int(found[1] or 0) + 1
    return widths


_MODULE = re.compile(r"module \\?([\w.]+) ?\(")
_DECLARATION = re.compile(r"  (?:input|output|wire|reg) (?:signed )?(?:\[(\d+):0\] )?\\?(\w+) ?(?:= .*)?;")
