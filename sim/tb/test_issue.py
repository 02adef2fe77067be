"""Run the benches of the issue logic and of the activation buffer whose banks it lends."""

import pytest

from systolith.hw.config import AcceleratorConfig
from systolith.hw.issue import IssueLogic
from systolith.hw.scratchpad import ActivationBuffer
from systolith.sim.tb.runner import build_and_run


@pytest.mark.rtl
@pytest.mark.parametrize("queue_depth", [2, 8])
def test_issue(queue_depth):
    config = AcceleratorConfig(queue_depth=queue_depth)
    build_and_run(IssueLogic(config), "issue", "systolith.sim.tb.bench_issue", {"config": config.to_dict()})


@pytest.mark.rtl
@pytest.mark.parametrize("banks", [2, 4])
def test_scratchpad(banks):
    config = AcceleratorConfig(rows=4, act_kib=2, act_banks=banks)
    build_and_run(ActivationBuffer(config), "scratchpad", "systolith.sim.tb.bench_scratchpad",
                  {"config": config.to_dict()})
