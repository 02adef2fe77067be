"""Run the bench of the whole core."""

import pytest

from systolith.hw.config import AcceleratorConfig
from systolith.hw.core import Core
from systolith.sim.tb.runner import build_and_run

CONFIGS = {
    4: AcceleratorConfig(rows=4, act_kib=2, wgt_kib=1, param_kib=1, acc_depth=32, queue_depth=4, outstanding=3),
    8: AcceleratorConfig(rows=8, act_kib=4, wgt_kib=2, param_kib=1, acc_depth=64, act_banks=2),
    16: AcceleratorConfig(rows=16, act_kib=8, wgt_kib=4, param_kib=1, acc_depth=64, queue_depth=2),
}


@pytest.mark.rtl
@pytest.mark.parametrize("rows", [4, 8, pytest.param(16, marks=pytest.mark.slow)])
def test_core(rows):
    config = CONFIGS[rows]
    build_and_run(Core(config), "core", "systolith.sim.tb.bench_core",
                  {"config": config.to_dict(), "programs": 8 if rows < 16 else 3})
