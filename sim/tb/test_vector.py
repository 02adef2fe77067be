"""Run the bench of the vector unit."""

import pytest

from systolith.hw.config import AcceleratorConfig
from systolith.hw.vector import VectorUnit
from systolith.sim.tb.runner import build_and_run


@pytest.mark.rtl
@pytest.mark.parametrize(("rows", "batches", "coverage"), [(4, 40, 97), (8, 40, 97)])
def test_vector(rows, batches, coverage):
    config = AcceleratorConfig(rows=rows, act_kib=rows, wgt_kib=rows, param_kib=1, acc_depth=64)
    build_and_run(VectorUnit(config), "vector", "systolith.sim.tb.bench_vector",
                  {"config": config.to_dict(), "batches": batches, "coverage": coverage})
