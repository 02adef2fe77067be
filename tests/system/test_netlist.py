"""What synthesis for ECP5 makes of the core runs a whole network like the RTL."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from systolith.host.devices import rtl
from systolith.host.errors import DeviceError
from systolith.host.report import Report
from systolith.host.runtime import Session
from systolith.hw.config import AcceleratorConfig
from systolith.models.zoo import digits
from systolith.sim.netlist import cell_models, netlist
from systolith.sim.rtl.build import TOP, build_verilog, core_verilog

SAMPLES = 3

pytestmark = [pytest.mark.rtl, pytest.mark.timeout(3000)]


def run(device: str) -> tuple[np.ndarray, Report | None]:
    with Session(digits.model_path(), device, preset="tiny") as session:
        (found,) = session.run(digits.held_out(SAMPLES)[0]).values()
        return found, session.last_report


def test_digits_on_the_netlist_have_the_bytes_of_golden_and_the_cycles_of_the_rtl() -> None:
    found, report = run("netlist")
    _, expected = run("rtl")

    np.testing.assert_array_equal(found, run("golden")[0])
    assert report is not None and expected is not None and report.counters == expected.counters


def with_a_wrong_look_up_table(text: str) -> str:
    """Return a netlist in which one of the accumulators' look-up tables gives 1 for inputs of 0."""
    table = re.search(r"LUT4 #\(\s*\.INIT\(16'h(\w{4})\)\s*\) \S+\s+\([^;]*\.Z\(\\compute\.acc\.[^;]*;", text)
    assert table is not None and int(table[1], 16) & 1 == 0
    return f"{text[:table.start(1)]}{int(table[1], 16) | 1:04x}{text[table.end(1):]}"


@pytest.mark.slow
def test_one_wrong_bit_of_the_netlist_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(config: AcceleratorConfig, **_: object) -> Path:
        wrong = with_a_wrong_look_up_table(netlist(core_verilog(config), TOP))
        return build_verilog(wrong + cell_models(), config.word_bytes)

    monkeypatch.setattr(rtl, "build_netlist", build)
    with pytest.raises((AssertionError, DeviceError), match="Arrays are not equal|the core stopped with"):
        np.testing.assert_array_equal(run("netlist")[0], run("golden")[0])
