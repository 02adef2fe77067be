"""Recordings of the RTL's signals: what is in them, the lists beside them, and the compressors that write them."""

import ctypes
import random
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
import pywellen

from systolith import Session
from systolith.hw.config import PRESETS
from systolith.hw.isa import Unit
from systolith.models.zoo import digits
from systolith.sim import rtl
from systolith.sim.rtl.signals import signal_groups
from systolith.sim.rtl.waves import Waves

FIRST, LAST = 3000, 5000
TENTHS = 10  # times are in tenths of a cycle; cycle c is settled from 10 * c on, and its clock edge is 5 later


@pytest.mark.parametrize(("text", "message"), [
    ("w.txt", "name of a wave file must end in .fst or .vcd, not 'w.txt'"),
    ("w", "name of a wave file must end in .fst or .vcd, not 'w'"),
    ("w.fst,at=3", "setting of waves must be from= or to=, not 'at=3'"),
    ("w.fst,from=x", "from must be a cycle, not 'x'"),
    ("w.fst,to=-1", "to must be a cycle, not '-1'"),
    ("w.fst,from=7,to=7", "waves must begin before they end, not at 7 and 7"),
])
def test_waves_that_mean_nothing_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        Waves.parse(text)


def test_waves_are_parsed() -> None:
    assert Waves.parse("a/w.vcd,from=3,to=9") == Waves(Path("a/w.vcd"), 3, 9)
    assert Waves.parse("w.fst,to=9") == Waves(Path("w.fst"), 0, 9)


class Recording:
    """Signals of a recording: name -> [(time, value)] of its changes."""

    def __init__(self, path: Path) -> None:
        self.variables = {variable.full_name: variable for variable in pywellen.Waveform(path=str(path)).all_vars()}

    def changes(self, name: str) -> list[tuple[int, int]]:
        return list(self.variables[name].signal)


def record(path: Path, samples: int = 1, first: int = FIRST, last: int = LAST) -> Session:
    images = np.random.default_rng(1).integers(-128, 128, (samples, 8, 8, 1), np.int8)
    with Session(digits.model_path(), "rtl", preset="tiny", waves=Waves(path, first, last)) as session:
        session.run(images)
    return session


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the same run as w.fst and w.vcd."""
    folder = tmp_path_factory.mktemp("waves")
    for suffix in ("fst", "vcd"):
        record(folder / f"w.{suffix}")
    return folder


@pytest.mark.rtl
def test_both_formats_record_the_same_changes(recorded: Path) -> None:
    fst, vcd = (Recording(recorded / f"w.{suffix}") for suffix in ("fst", "vcd"))
    names = fst.variables.keys() & vcd.variables.keys()
    assert len(names) > 2000 and len(names) > 0.95 * len(vcd.variables)  # words of memories are named differently
    different = [name for name in names if fst.changes(name) != vcd.changes(name)]
    assert not different
    assert sum(len(fst.changes(name)) for name in names) > 100_000


@pytest.mark.rtl
def test_only_the_window_is_recorded(recorded: Path) -> None:
    clock = Recording(recorded / "w.fst").changes("TOP.core.clk")
    assert clock[0] == (TENTHS * FIRST, 0)
    assert clock[-1] == (TENTHS * LAST - TENTHS // 2, 1)
    assert len(clock) == 2 * (LAST - FIRST)


@pytest.mark.rtl
def test_nanoseconds_are_the_cycles_of_the_trace_over_several_samples(tmp_path: Path) -> None:
    session = record(tmp_path / "w.fst", samples=3, first=0, last=1 << 40)
    assert session.last_report is not None and session.last_report.cycles is not None
    recording = Recording(tmp_path / "w.fst")
    issues = [time for time, value in recording.changes("TOP.core.issue") if value >> Unit.COMPUTE & 1]
    assert issues
    assert np.unique(np.diff(np.reshape(issues, (3, -1)), axis=0)) == TENTHS * session.last_report.cycles


@pytest.mark.rtl
def test_lists_name_signals_that_are_recorded(recorded: Path) -> None:
    variables = Recording(recorded / "w.fst").variables
    gtkwave = [line.split()[1] for line in (recorded / "w.gtkw").read_text().splitlines() if line.startswith("+")]
    assert len(gtkwave) > 80
    for line in gtkwave:
        name, _, bits = line.partition("[")
        assert bits == (f"{variables[name].bitwidth - 1}:0]" if variables[name].bitwidth > 1 else "")
    surfer = [line.split()[1] for line in (recorded / "w.sucl").read_text().splitlines() if "variable_add" in line]
    assert surfer == [line.partition("[")[0] for line in gtkwave]


@pytest.mark.parametrize("preset", PRESETS)
def test_lists_are_the_same_for_every_preset(preset: str) -> None:
    groups = signal_groups(PRESETS[preset])
    assert {group: len(signals) for group, signals in groups.items()} == {
        group: len(signals) for group, signals in signal_groups(PRESETS["tiny"]).items()}


@pytest.mark.rtl
def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "w.fst").mkdir()
    with pytest.raises(OSError, match=r"w\.fst"):
        record(tmp_path / "w.fst")


@pytest.fixture(scope="module")
def compressors(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("compressors")
    (folder / "both.cpp").write_text(
        '#include "lz4.h"\n#include "zlib.h"\nextern "C" {\n'
        "int lz4(const char* from, char* to, int size) {\n"
        "    return LZ4_compress_default(from, to, size, LZ4_compressBound(size)); }\n"
        "int lz4_bound(int size) { return LZ4_compressBound(size); }\n"
        "unsigned long deflated(const unsigned char* from, unsigned char* to, unsigned long size) {\n"
        "    uLongf room = compressBound(size); return compress2(to, &room, from, size, 9) == Z_OK ? room : 0; }\n"
        "unsigned long bound(unsigned long size) { return compressBound(size); }\n}\n")
    headers = Path(rtl.__file__).parent
    subprocess.run(["c++", "-std=c++17", "-shared", "-fPIC", f"-I{headers}", "both.cpp", "-o", "both.so"],
                   cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "both.so"))
    library.deflated.restype = library.bound.restype = ctypes.c_ulong
    library.deflated.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong]
    library.bound.argtypes = [ctypes.c_ulong]
    return library


def samples() -> list[bytes]:
    noise = random.Random(1)
    few = [bytes(noise.choices(b"ab", k=size)) for size in range(40)]
    return [*few, noise.randbytes(1000), b"x" * 300_000, bytes(noise.choices(b"abcd", k=200_000)),
            noise.randbytes(65_530) + b"needle in a haystack" + noise.randbytes(65_530) + b"needle in a haystack" * 2]


def lz4_decompressed(block: bytes) -> bytes:
    """Return what a block of the LZ4 format holds, by its specification; also checks how it has to end."""
    out, at = bytearray(), 0

    def length(first: int) -> int:
        nonlocal at
        total, byte = first, 255 if first == 15 else 0
        while byte == 255:
            byte = block[at]
            total, at = total + byte, at + 1
        return total

    while True:
        token = block[at]
        at += 1
        literals = length(token >> 4)
        out += block[at:at + literals]
        at += literals
        if at == len(block):
            assert literals >= min(5, len(out))
            return bytes(out)
        offset = int.from_bytes(block[at:at + 2], "little")
        at += 2
        assert 0 < offset <= len(out)
        for _ in range(length(token & 15) + 4):
            out.append(out[-offset])


@pytest.mark.parametrize("data", samples(), ids=len)
def test_lz4_blocks_hold_the_data(compressors: ctypes.CDLL, data: bytes) -> None:
    to = ctypes.create_string_buffer(compressors.lz4_bound(len(data)))
    size = compressors.lz4(data, to, len(data))
    block = to.raw[:size]
    assert lz4_decompressed(block) == data
    if len(set(data)) < 5 and len(data) > 1000:
        assert len(block) < 0.75 * len(data)


@pytest.mark.parametrize("data", samples(), ids=len)
def test_zlib_streams_hold_the_data(compressors: ctypes.CDLL, data: bytes) -> None:
    to = ctypes.create_string_buffer(compressors.bound(len(data)))
    size = compressors.deflated(data, to, len(data))
    assert zlib.decompress(to.raw[:size]) == data
