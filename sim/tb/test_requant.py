"""Run the bench of the requantiser."""

import pytest

from systolith.hw.config import AcceleratorConfig
from systolith.hw.requant import Requantiser
from systolith.sim.tb.runner import build_and_run


@pytest.mark.rtl
def test_requant():
    lanes = 4
    build_and_run(Requantiser(lanes), "requant", "systolith.sim.tb.bench_requant",
                  {"config": AcceleratorConfig().to_dict(), "lanes": lanes})
