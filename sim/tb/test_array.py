"""Run the bench of the systolic array."""

import pytest

from systolith.hw.array import SystolicArray
from systolith.hw.config import AcceleratorConfig
from systolith.sim.tb.runner import build_and_run


@pytest.mark.rtl
@pytest.mark.parametrize("rows", [4, 8, 16])
def test_array(rows):
    build_and_run(SystolicArray(rows, 0), "array", "systolith.sim.tb.bench_array",
                  {"config": AcceleratorConfig(rows=rows).to_dict()})
