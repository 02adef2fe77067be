"""The DRAM model with banks, against times computed by hand, and its options."""

import ctypes
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files

import pytest

from systolith.hw.config import PRESETS, AcceleratorConfig
from systolith.hw.dram import DRAMS
from systolith.hw.isa import Unit
from systolith.sim.dram import BankTiming, bank_timing

from .test_rtl_harness import make

# With a clock of 1 MHz a unit of the model is a picosecond.
DDR3 = replace(PRESETS["tiny"], dram="ddr3_1600_x16", clock_mhz=1)
READ, WRITE = False, True
OTHER_BANK, OTHER_ROW = 2048, 8 * 2048

Access = tuple[int, int, int, bool]  # time, address, bytes, write


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("banks")
    (folder / "banks.cpp").write_text("""
        #include "banks.hpp"
        extern "C" void serve(const BankTiming* timing, const uint64_t (*a)[4], unsigned count, uint64_t* starts) {
            Banks banks(*timing);
            for (unsigned i = 0; i < count; i++) starts[i] = banks.serve(a[i][0], a[i][1], a[i][2], a[i][3]);
        }""")
    subprocess.run(["g++", "-std=c++17", "-shared", "-fPIC", "-I", str(files("systolith.sim.rtl")), "-o",
                    str(folder / "banks.so"), str(folder / "banks.cpp")], check=True)
    return ctypes.CDLL(str(folder / "banks.so"))


def starts(library: ctypes.CDLL, accesses: Sequence[Access], timing: BankTiming | None = None) -> list[int]:
    rows = [(ctypes.c_uint64 * 4)(*access) for access in accesses]
    found = (ctypes.c_uint64 * len(rows))()
    library.serve(ctypes.byref(timing or bank_timing(DDR3)), (ctypes.c_uint64 * 4 * len(rows))(*rows), len(rows), found)
    return list(found)


@pytest.mark.parametrize(("second", "expected"), [
    # The first activates at 0, has its command at tRCD = 13,750 and its 64 bytes at 27,500 to 47,500.
    pytest.param((100_000, 512, 64, READ), 100_000 + 13_750, id="hit"),
    pytest.param((0, 64, 64, READ), 47_500, id="hit behind the data before"),
    pytest.param((200_000, OTHER_ROW, 64, READ), 200_000 + 3 * 13_750, id="miss"),
    # The last of four reads has its command at 28,750, so tRTP allows the precharge at 36,250, later than tRAS.
    pytest.param((0, OTHER_ROW, 64, READ), 36_250 + 3 * 13_750, id="miss at once"),
    pytest.param((100_000, OTHER_BANK, 64, READ), 100_000 + 2 * 13_750, id="closed bank"),
    # It activates at tRRD = 7,500 and would have data at 35,000.
    pytest.param((0, OTHER_BANK, 64, READ), 47_500, id="closed bank behind the data before"),
    pytest.param((0, 64, 64, WRITE), 47_500 + 2_500, id="read to write"),
    # Due at 7,800,000: precharge of all banks, refresh, activate, command.
    pytest.param((7_800_000, 0, 64, READ), 7_800_000 + 13_750 + 260_000 + 2 * 13_750, id="refresh"),
    pytest.param((7_799_999, 0, 64, READ), 7_799_999 + 13_750, id="before the refresh"),
    pytest.param((9_000_000, 0, 64, READ), 9_000_000 + 2 * 13_750, id="closed by a refresh"),
])
def test_an_access_after_a_read(library: ctypes.CDLL, second: Access, expected: int) -> None:
    assert starts(library, [(0, 0, 64, READ), second]) == [27_500, expected]


@pytest.mark.parametrize(("second", "expected"), [
    # The first has its command at 13,750 and its data at 23,750 (CWL 8) to 43,750.
    pytest.param((0, 64, 64, WRITE), 43_750, id="write"),
    pytest.param((0, 64, 64, READ), 43_750 + 7_500 + 13_750, id="write to read"),
    pytest.param((0, OTHER_ROW, 64, READ), 43_750 + 15_000 + 3 * 13_750, id="write recovery"),
])
def test_an_access_after_a_write(library: ctypes.CDLL, second: Access, expected: int) -> None:
    assert starts(library, [(0, 0, 64, WRITE), second]) == [23_750, expected]


def test_at_most_four_activates_in_a_window(library: ctypes.CDLL) -> None:
    activates = [0, 7_500, 15_000, 22_500, 40_000, 47_500]
    assert starts(library, [(0, bank * OTHER_BANK, 16, READ) for bank in range(6)]) == [
        time + 27_500 for time in activates]


def test_bursts_used_in_part_count_in_full(library: ctypes.CDLL) -> None:
    assert starts(library, [(0, 12, 8, READ), (0, 32, 4, READ), (0, 48, 16, READ)]) == [27_500, 37_500, 42_500]


def test_a_busy_bus_does_not_hold_refreshes_off(library: ctypes.CDLL) -> None:
    reads = starts(library, [(0, 64 * k % 2048, 64, READ) for k in range(800)])  # 20 ns each
    gaps = [(k, b - a - 20_000) for k, (a, b) in enumerate(zip(reads, reads[1:], strict=False), 1) if b - a != 20_000]
    # The 389th ends at 7,807,500 and is the first to end after 7,800,000, when its bank may be precharged already.
    assert gaps[0] == (389, 7_800_000 + 13_750 + 260_000 + 2 * 13_750 - 7_807_500)
    assert len(gaps) == 2


def test_times_are_exact_at_every_clock(library: ctypes.CDLL) -> None:
    timing = bank_timing(replace(DDR3, clock_mhz=333))
    assert starts(library, [(0, 0, 64, READ)], timing) == [27_500 * 333]


@pytest.mark.rtl
@pytest.mark.parametrize(("clock", "read", "write"), [
    # 16 beats; the first is there 28,750 ps after the edge that takes the address, the last after 47,500.
    (100, 1 + 3 + 15, 17 + 3),      # a cycle is 10,000 ps: the port, with a beat per cycle, is the slower
    (1600, 1 + 76, 17 + 48)])       # a cycle is 625 ps; the write is a hit: 30,000 ps after its last beat
def test_what_the_port_sees(clock: int, read: int, write: int) -> None:
    result = make(replace(DDR3, clock_mhz=clock)).run(0, 1)
    assert result.retire[Unit.LOAD][0] - result.issue[Unit.LOAD][0] == read
    assert result.retire[Unit.STORE][0] - result.issue[Unit.STORE][0] == write


@pytest.mark.rtl
def test_a_run_does_not_depend_on_the_one_before() -> None:
    core = make(replace(DDR3, clock_mhz=100))
    runs = [core.run(64 * k, 200) for k in (0, 0, 7, 0)]
    assert runs[0].cycles == runs[1].cycles == runs[3].cycles


def test_the_timings_are_those_of_the_speed_bins() -> None:
    # In clock cycles: CL-nRCD-nRP is 11-11-11 at 1.25 ns; RL and WL are 28 and 14 at 0.625 ns.
    ddr3, lpddr4 = DRAMS["ddr3_1600_x16"], DRAMS["lpddr4_3200_x16"]
    assert [time / 1250 for time in (ddr3.read_latency, ddr3.t_rcd, ddr3.t_rp, ddr3.burst_time)] == [11, 11, 11, 4]
    assert [time / 625 for time in (lpddr4.read_latency - 3_500, lpddr4.write_latency)] == [28, 14]


def test_the_options_say_what_they_must_be() -> None:
    with pytest.raises(ValueError, match="^dram must be one of fixed, ddr3_1600_x16, lpddr4_3200_x16, not 'ddr5'$"):
        AcceleratorConfig.preset("tiny", ["dram=ddr5"])
    with pytest.raises(ValueError, match="^clock_mhz must be an integer between 0 and 4000, not -1$"):
        AcceleratorConfig.preset("tiny", ["clock_mhz=-1"])
    with pytest.raises(ValueError, match="^clock_mhz must be set with dram=ddr3_1600_x16, whose times are not in cyc"):
        AcceleratorConfig.preset("tiny", ["dram=ddr3_1600_x16"])
    with pytest.raises(ValueError, match="^clock_mhz must be an integer, not 'fast'$"):
        AcceleratorConfig.preset("tiny", ["clock_mhz=fast"])


def test_the_dram_is_no_part_of_the_hash_and_survives_a_program_file() -> None:
    config = AcceleratorConfig.preset("edge", ["dram=lpddr4_3200_x16", "clock_mhz=200"])
    assert config.hash() == PRESETS["edge"].hash()
    assert AcceleratorConfig.from_dict(config.to_dict()) == config


def test_what_the_compiler_reckons_with() -> None:
    fixed = PRESETS["edge"]
    assert (fixed.memory_latency, fixed.memory_bandwidth) == (fixed.dram_latency, fixed.dram_bandwidth)
    ddr3 = replace(fixed, dram="ddr3_1600_x16", clock_mhz=400)
    assert (ddr3.memory_latency, ddr3.memory_bandwidth) == (19, 8.0)  # 46.25 ns; 3.2 GB/s
