"""Run the bench of the host link."""

from dataclasses import replace

import pytest

from systolith.hw.config import PRESETS
from systolith.hw.link import HostLink
from systolith.sim.tb.bench_link import MEMORY_BYTES
from systolith.sim.tb.runner import build_and_run

BUILD_ID = 0xC0DB_DCDD_0123_4567  # bytes that SLIP replaces
CLOCK_HZ = 25_000_000


@pytest.mark.rtl
@pytest.mark.parametrize(("rows", "divisor", "deviation"),
                         [(4, 4, 0.0), (8, 4, 0.02), (8, 4, -0.02),
                          *(pytest.param(rows, 9, deviation, marks=pytest.mark.slow)
                            for rows in (2, 16) for deviation in (0.03, -0.03))])
def test_link(rows, divisor, deviation):
    config = replace(PRESETS["tiny"], rows=rows)
    build_and_run(HostLink(config, divisor=divisor, build_id=BUILD_ID, memory_bytes=MEMORY_BYTES, clock_hz=CLOCK_HZ),
                  "link", "systolith.sim.tb.bench_link",
                  {"config": config.to_dict(), "divisor": divisor, "deviation": deviation, "build_id": BUILD_ID,
                   "clock_hz": CLOCK_HZ})
