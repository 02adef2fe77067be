"""Run the bench of the compute unit."""

import pytest

from systolith.hw.compute import ComputeUnit
from systolith.hw.config import AcceleratorConfig
from systolith.sim.tb.runner import build_and_run


@pytest.mark.rtl
@pytest.mark.parametrize(("rows", "filter_rows", "batches", "coverage"),
                         [(2, 2, 15, 70), (4, 3, 60, 97), (8, 8, 60, 97), (8, 6, 60, 97)])
def test_compute(rows, filter_rows, batches, coverage):
    config = AcceleratorConfig(rows=rows, act_kib=rows, wgt_kib=rows * rows, param_kib=1, acc_depth=max(32, 4 * rows),
                               filter_rows=filter_rows, line_words=64)
    build_and_run(ComputeUnit(config), "compute", "systolith.sim.tb.bench_compute",
                  {"config": config.to_dict(), "batches": batches, "coverage": coverage})
