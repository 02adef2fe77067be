"""Netlists of cells as Yosys writes them: plain names, buffers behind large fan-outs, and what is in them."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["MAX_FANOUT", "Instance", "Module", "Netlist", "plain", "read_netlist"]

# Inputs that one output drives; whatever drives more gets a tree of buffers.
MAX_FANOUT = 16

_INSTANCE = re.compile(r"  (\w+) (\w+) \(")
_ASSIGN = re.compile(r"  assign (.*) = (.*);")
_VECTOR = re.compile(r"  (?:input|output|wire) (?:signed )?\[(\d+):0\] (\w+);")
_TERM = re.compile(r"\{\s*(\d+)\{([^{}]*)\}\s*\}|(\d+)'\w+|(\w+)\s*(?:\[(\d+)(?::(\d+))?\])?")
_TIED = "tied_"
_PIN = re.compile(r"    \.(\w+)\((.*)\),?")


@dataclass(slots=True)
class Instance:
    """A cell, macro or module ``kind`` called ``name``; ``pins``: what is connected to each."""

    kind: str
    name: str
    pins: dict[str, str]


@dataclass
class Module:
    """A module. ``head``: its declarations and assignments, in Verilog."""

    name: str
    head: list[str] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)


def plain(name: str) -> str:
    """Return a name of the gateware as the netlist spells it: other characters than letters and digits are "_"."""
    name = re.sub(r"\W", "_", name)
    return f"_{name}" if name[0].isdigit() else name


@dataclass
class Netlist:
    """Modules by name; the first is ``top``."""

    top: str
    modules: dict[str, Module]

    def paths(self) -> Iterator[tuple[str, Module]]:
        """Yield each instance of a module by its path from the top, "" first."""
        waiting = [("", self.modules[self.top])]
        while waiting:
            path, module = waiting.pop()
            yield path, module
            for instance in module.instances:
                if instance.kind in self.modules:
                    waiting.append((f"{path}/{instance.name}".lstrip("/"), self.modules[instance.kind]))

    def kinds(self, module: Module) -> Counter[str]:
        """Return how many cells and macros of each kind are in a module itself."""
        return Counter(each.kind for each in module.instances if each.kind not in self.modules)

    def insert_buffers(self, buffer: str, pin_in: str, pin_out: str, outputs: Mapping[str, Iterable[str]]) -> int:
        """Drive no more than ``MAX_FANOUT`` cells from any net but the clock; return how many buffers that takes.

        ``outputs`` are the output pins of each kind of cell; only inputs of cells move behind a buffer, and those of
        modules and macros, which may be vectors, do not.
        """
        return sum(_buffered(module, buffer, pin_in, pin_out, outputs) for module in self.modules.values())

    def verilog(self) -> str:
        """Return the netlist as Verilog for OpenSTA.

        That reads no concatenation on the left and fails on constants among vectors, so assignments are made bit by
        bit, and constants become nets without a driver: no path begins there and nothing toggles.
        """
        lines = []
        for module in self.modules.values():
            widths = _widths(module.head)
            lines += [line for line in module.head if not line.startswith("  assign ")]
            lines.append(f"  wire {_TIED};")
            for line in module.head:
                if match := _ASSIGN.fullmatch(line):
                    left, right = (_bits(text, widths) for text in match.groups())
                    lines += [f"  assign {to} = {of};" for to, of in zip(left, right, strict=True) if of != _TIED]
            for each in module.instances:
                pins = ", ".join(f".{pin}({_reference(net, widths)})" for pin, net in each.pins.items())
                lines.append(f"  {each.kind} {each.name} ({pins});")
            lines.append("endmodule")
        return "\n".join(lines) + "\n"


def _widths(head: Iterable[str]) -> dict[str, int]:
    """Return the width of each vector that a module declares, whose last bit is 0."""
    found = (_VECTOR.match(line) for line in head)
    return {match[2]: int(match[1]) + 1 for match in found if match}


def _reference(net: str, widths: Mapping[str, int]) -> str:
    if "{" not in net and "'" not in net:
        return net
    bits = _bits(net, widths)
    return f"{{ {', '.join(bits)} }}" if len(bits) > 1 else bits[0]


def _bits(text: str, widths: Mapping[str, int]) -> list[str]:
    """Return the bits of an expression of nets, constants, concatenations and replications, most significant first."""
    found: list[str] = []
    for times, inner, constant, name, high, low in _TERM.findall(text):
        if times:
            found += int(times) * _bits(inner, widths)
        elif constant:
            found += int(constant) * [_TIED]
        elif high:
            found += [f"{name}[{bit}]" for bit in range(int(high), int(low or high) - 1, -1)]
        elif name in widths:
            found += [f"{name}[{bit}]" for bit in reversed(range(widths[name]))]
        else:
            found.append(name)
    return found


def _buffered(module: Module, buffer: str, pin_in: str, pin_out: str, outputs: Mapping[str, Iterable[str]]) -> int:
    sinks: dict[str, list[tuple[Instance, str]]] = {}
    for each in module.instances:
        if each.kind in outputs:
            for pin, net in each.pins.items():
                if pin not in outputs[each.kind] and net != "clk" and "'" not in net:
                    sinks.setdefault(net, []).append((each, pin))
    count = 0
    for net, driven in sinks.items():
        while len(driven) > MAX_FANOUT:
            drivers = []
            for start in range(0, len(driven), MAX_FANOUT):
                wire = f"fanout{count}_"
                count += 1
                for each, pin in driven[start:start + MAX_FANOUT]:
                    each.pins[pin] = wire
                added = Instance(buffer, f"buffer{count}_", {pin_in: net, pin_out: wire})
                module.head.append(f"  wire {wire};")
                module.instances.append(added)
                drivers.append((added, pin_in))
            driven = drivers
    return count


def read_netlist(text: str, top: str) -> Netlist:
    """Return a netlist that Yosys wrote with `-noattr -noexpr`, with `plain` names in place of escaped ones."""
    text = _plain_text(text)
    modules: dict[str, Module] = {}
    module, instance = Module(""), None
    for line in text.splitlines():
        if instance is not None:
            if pin := _PIN.fullmatch(line):
                instance.pins[pin[1]] = pin[2]
            else:
                instance = None
        elif started := _INSTANCE.fullmatch(line):
            instance = Instance(started[1], started[2], {})
            module.instances.append(instance)
        elif line.startswith("module "):
            module = Module(line.split("(")[0].split()[1], [line])
            modules[module.name] = module
        elif line and line != "endmodule" and not line.startswith("/*"):
            module.head.append(line)
    return Netlist(top, modules)


def _plain_text(text: str) -> str:
    escaped = set(re.findall(r"\\(\S+) ", text))
    taken = set(re.findall(r"[A-Za-z_]\w*", text)) if escaped else set()
    names = {}
    for name in sorted(escaped):
        chosen = plain(name)
        while chosen in taken and chosen != name:
            chosen += "_"
        taken.add(chosen)
        names[name] = chosen
    return re.sub(r"\\(\S+) ", lambda match: names[match[1]], text)
