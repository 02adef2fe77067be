"""Run the register bench."""

import pytest

from systolith.hw.config import PRESETS
from systolith.hw.csr import CsrBlock
from systolith.sim.tb.runner import build_and_run


@pytest.mark.rtl
def test_registers():
    config = PRESETS["edge"]
    build_and_run(CsrBlock(config), "csr", "systolith.sim.tb.bench_csr", {"config": config.to_dict()})
