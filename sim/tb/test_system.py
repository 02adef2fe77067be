"""Run the bench of a whole system."""

from dataclasses import replace

import pytest

from systolith.hw.config import PRESETS
from systolith.hw.system import System
from systolith.sim.tb.runner import build_and_run

PARAMS = {"memory_kib": 16, "clock_hz": 400_000, "build_id": 0x0123_4567_89AB_CDEF}


@pytest.mark.rtl
def test_system():
    config = replace(PRESETS["tiny"], act_kib=2, wgt_kib=1, acc_depth=32)
    build_and_run(System(config, baud=100_000, **PARAMS), "system", "systolith.sim.tb.bench_system",
                  {"config": config.to_dict(), "divisor": 4, "deviation": 0.0, **PARAMS})


def test_a_baud_rate_beyond_the_clock_is_refused():
    with pytest.raises(ValueError, match="^baud must be a positive number of at most 100000, not 100001$"):
        System(PRESETS["tiny"], baud=100_001, **PARAMS)
