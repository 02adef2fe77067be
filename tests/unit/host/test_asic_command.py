"""`systolith asic`: the report of a small block, and what is refused."""

import json
from pathlib import Path

import pytest

from systolith.host.asic.activity import read_activity
from systolith.host.asic.flow import CHOICES
from systolith.host.asic.librelane import librelane_files
from systolith.host.errors import UsageError
from systolith.hw.area import memories
from systolith.hw.array import older_lines, psum_bits
from systolith.hw.asic.report import BLOCKS
from systolith.hw.config import PRESETS
from systolith.hw.synthesis import ToolError
from tests.cells import with_cells
from tests.command_line import refusal, status

SAIF = r"""(SAIFILE
(TIMESCALE 100 ps)
(DURATION 2000)
(INSTANCE core
(NET
(irq (T0 2000) (T1 0) (TX 0) (TC 4))
)
(INSTANCE compute
(INSTANCE array
(NET
(x\$1\[3\] (T0 500) (T1 1500) (TX 0) (TC 50))
)
)
)
)
)
"""


@with_cells
def test_a_block_of_the_core_in_cells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "asic"
    assert status("asic", "--preset", "tiny", "--block", "accumulators", "--period", "8", "-o", folder) == 0
    shown = capsys.readouterr().out
    report = json.loads((folder / "report.json").read_text())

    # 4 sums of 32 bits, the word read, and the words for the vector unit; then the pipeline of the address.
    block, (macro,), (corner,) = report["blocks"]["accumulators"], report["macros"], report["corners"]
    assert 3 * 4 * 32 < block["flip_flops"] < 3 * 4 * 32 + 64
    assert block["area"] == pytest.approx(block["gates"] * report["gate"]) and report["gate"] == 24
    assert (macro["words"], macro["bits"], macro["count"]) == (64, 128, 2)
    assert 50 < corner["mhz"] < 500 and corner["path"][-1]["time"] < 1e3 / corner["mhz"]
    power = corner["blocks"]["accumulators"]
    assert power["internal"] > power["switching"] > power["leakage"] > 0
    assert "osu018_stdcells, 1.8 V" in shown and "accumulators" in shown
    assert "module core_compute_acc " in (folder / "design.v").read_text()
    assert json.loads((folder / "config.json").read_text())["CLOCK_PERIOD"] == 8


@with_cells
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("preset", ["tiny", "edge"])
def test_a_core_in_cells_keeps_its_memories_as_macros(tmp_path: Path, preset: str) -> None:
    assert status("asic", "--preset", preset, "--json", tmp_path / "r.json") == 0
    report, config = json.loads((tmp_path / "r.json").read_text()), PRESETS[preset]

    absent = set() if older_lines(config.fir_rows) else {"line buffer"}
    assert set(report["blocks"]) == set(BLOCKS) - absent
    found = sorted((each["words"], each["bits"]) for each in report["macros"] for _ in range(each["count"]))
    assert found == sorted((each.words, each.bits) for each in memories(config) for _ in range(each.count))
    # Operand, two weights, product and sum of each cell, without what skews words.
    assert report["blocks"]["array"]["flip_flops"] > config.rows**2 * (40 + psum_bits(config.rows) - 4)
    assert report["corners"][0]["mhz"] > 50


@with_cells
def test_more_toggles_take_more_power_and_every_library_is_a_corner(tmp_path: Path) -> None:
    from systolith.hw.asic.liberty import LIBERTY

    slow = tmp_path / "slow.lib"
    slow.write_text(LIBERTY.read_text().replace("library(osu018_stdcells)", "library(slow)"))
    totals = []
    for rate in ("0.1", "0.4"):
        assert status("asic", "--preset", "tiny", "--block", "accumulators", "--period", "8", "--activity", rate,
                      "--liberty", LIBERTY, "--liberty", slow, "--json", tmp_path / "r.json") == 0
        corners = json.loads((tmp_path / "r.json").read_text())["corners"]
        assert [corner["library"] for corner in corners] == ["osu018_stdcells", "slow"]
        totals.append(corners[0]["blocks"]["accumulators"]["switching"])
    assert 2 * totals[0] < totals[1] < 5 * totals[0]


@pytest.mark.parametrize(("args", "message"), [
    (("--block", "alu"), "--block must be one of array, line-buffer, accumulators, "),
    (("--period", "0"), "--period must be between 0.01 and 1000 ns, not 0"),
    (("--activity", "2"), "toggles per cycle between 0 and 1, not '2'"),
    (("--activity", "none.saif"), "activity file none.saif must be readable: No such file"),
    (("--preset", "huge"), "huge"),
])
def test_what_cannot_be_done_is_said_in_one_line(capsys: pytest.CaptureFixture[str], args, message: str) -> None:
    assert message in refusal(capsys, "asic", *args)


def test_without_opensta_the_error_says_how_to_install_it(capsys: pytest.CaptureFixture[str],
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ToolError("sta cannot be found; do `apt-get install opensta`")

    monkeypatch.setattr("systolith.host.asic.flow.find_sta", missing)
    assert "sta cannot be found; do `apt-get install opensta`" in refusal(capsys, "asic")


@with_cells
def test_a_library_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.lib").write_text("nothing")
    assert "x.lib must be a Liberty library of cells" in refusal(capsys, "asic", "--liberty", tmp_path / "x.lib")


def test_activity_of_a_saif_file_is_that_of_each_net(tmp_path: Path) -> None:
    (tmp_path / "a.saif").write_text(SAIF)
    found = read_activity(str(tmp_path / "a.saif"))

    assert found.of("compute/array", "x_1[3]") == (0.25, 0.75) and found.of("", "irq") == (0.02, 0.0)
    assert found.of("vector", "y") == (pytest.approx(0.135), 0.5) and "200 cycles" in found.source


def test_activity_of_a_report_is_that_of_each_block(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"cycles": 10, "blocks": {
        "array": {"register_toggles": 0.3}, "front_end": {"register_toggles": 0.2},
        "control": {"register_toggles": 0.1}}}))
    found = read_activity(str(tmp_path / "a.json"))

    assert [found.of(path, "x")[0] for path in ("compute/array", "compute/outer", "csrs")] == [0.3, 0.2, 0.1]
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(UsageError, match="b.json must be one of `systolith run --device rtl --activity`"):
        read_activity(str(tmp_path / "b.json"))


def test_files_for_librelane_name_the_design_and_its_clock() -> None:
    files = librelane_files("core", 12.5)
    config = json.loads(files["config.json"])

    assert config["DESIGN_NAME"] == "core" and config["CLOCK_PERIOD"] == 12.5
    assert all(name in {"design.v", *files} for name in (
        str(value).removeprefix("dir::") for value in config.values() if str(value).startswith("dir::")))
    assert "create_clock -name clk -period 12.5" in files["constraints.sdc"]


def test_blocks_of_one_module_can_be_chosen() -> None:
    assert CHOICES["core"] == "" and CHOICES["requantisers"] == "vector/requant" and "bus" not in CHOICES
