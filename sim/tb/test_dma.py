"""Run the benches of the load, store and fetch units."""

import pytest

from systolith.hw.config import PRESETS
from systolith.sim.tb.dut_dma import DmaTop
from systolith.sim.tb.runner import build_and_run


@pytest.mark.rtl
@pytest.mark.parametrize("bench", ["bench_dma", "bench_fetch"])
@pytest.mark.parametrize("preset", ["tiny", "edge"])
def test_dma(preset, bench):
    config = PRESETS[preset]
    build_and_run(DmaTop(config), f"dma_{preset}", f"systolith.sim.tb.{bench}", {"config": config.to_dict()})
