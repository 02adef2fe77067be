"""Compile the cycle model to a shared object, once per word width and compiler."""

import enum
import importlib.resources
import os
from pathlib import Path

from ...hw import accumulator, axi, compute, csr, fetch, isa, issue, scratchpad, vector, window
from ...hw.csr import Counter
from ...hw.isa import Opcode, Unit
from ..native import Progress, cache_dir, digest, require_tools, run_compiler, shared_object

__all__ = ["build", "constants"]

LIBRARY = "timing.so"
COMPILER = "g++"
_SOURCES = ("timing/core.cpp", "timing/bus.hpp", "timing/engines.hpp", "timing/instruction.hpp", "timing/issue.hpp",
            "timing/streams.hpp", "timing/transfers.hpp", "rtl/port.hpp", "rtl/banks.hpp", "rtl/ring.hpp")
_FLAGS = ("-O3", "-std=c++17", "-fPIC", "-shared", "-fvisibility-inlines-hidden")

# The numbers that the model takes from the gateware, by the module that defines them.
_NUMBERS = {
    accumulator: ("ACC_READ_LATENCY", "MIN_PASS"),
    axi: ("BURST_WORDS",),
    fetch: ("FETCH_DEPTH",),
    isa: ("INSTR_BYTES", "PARAM_WORDS", "TABLE_ENTRIES"),
    issue: ("MAX_IN_FLIGHT",),
    scratchpad: ("ACT_READ_LATENCY",),
    vector: ("ADD_LAG", "CENTRE_LATENCY", "ELEMENT_PERIOD", "ISSUE_TO_WRITE", "MUL_LAG", "PARAM_READ_LATENCY",
             "PRODUCT_LATENCY", "TABLE_READ_LATENCY"),
    window: ("PASS_LATENCY",),
}
_BODIES = {"TRANSFER": isa.TRANSFER, "COMPUTE": isa.COMPUTE, "REQUANT": isa.REQUANT, "ADD": isa.ADD,
           "TABLE": isa.TABLE, "POOL": isa.POOL}


def constants() -> str:
    """Return `constants.hpp`: numbers, opcodes, units, counters and fields of the gateware, as C++."""
    numbers = {name: getattr(module, name) for module, names in _NUMBERS.items() for name in names}
    numbers |= {"CSR_START_LATENCY": csr.START_LATENCY, "COMPUTE_START_LATENCY": compute.START_LATENCY,
                "UNITS": len(Unit), "COUNTERS": len(Counter)}
    kinds: tuple[type[enum.IntEnum], ...] = (Opcode, Unit, Counter)
    numbers |= {f"{kind.__name__.upper()}_{each.name}": each.value for kind in kinds for each in kind}
    lines = [f"constexpr unsigned {name} = {value};" for name, value in numbers.items()]
    for layout_name, layout, base in (("HEADER", isa.HEADER, 0),
                                      *((name, body, isa.HEADER_BITS) for name, body in _BODIES.items())):
        lines += [f"constexpr Field {layout_name}_{str(name).upper()}{{{base + field.offset}, {field.width}}};"
                  for name, field in layout]
    unit_of = [0] * (1 << isa.HEADER["opcode"].width)
    for opcode, unit in isa.UNIT_OF.items():
        unit_of[opcode] = unit.value
    lines += [f"constexpr uint8_t UNIT_OF[] = {{{', '.join(map(str, unit_of))}}};",
              f"constexpr unsigned PRIORITY[] = {{{', '.join(str(int(unit)) for unit in issue.PRIORITY)}}};"]
    return "\n".join(lines) + "\n"


def build(word_bytes: int, progress: Progress | None = None) -> Path:
    """Return the shared object for words of ``word_bytes`` bytes, compiling it when it is not cached.

    ``progress`` is called with one line before that. Raises ``RuntimeError`` if the compiler is missing or fails.
    """
    sim = importlib.resources.files(__package__.rpartition(".")[0])
    files = {name: sim.joinpath(name).read_text() for name in _SOURCES} | {"timing/constants.hpp": constants()}
    flags = [*_FLAGS, f"-DWORD_BYTES={word_bytes}"]

    def prepare() -> None:
        require_tools((COMPILER,), "count cycles without the rtl device", "install g++ 9 or later")

    def compile_in(work: Path, log: Path) -> Path:
        if progress:
            progress("Compiling the cycle model (cached afterwards)")
        for name, content in files.items():
            path = work / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        run_compiler([COMPILER, *flags, "-o", LIBRARY, "timing/core.cpp"], work, log,
                     "g++ could not compile the cycle model")
        return work / LIBRARY

    key = digest([*files.values(), os.uname().machine, *flags])
    return shared_object(cache_dir() / "timing" / key, LIBRARY, compile_in, prepare)
