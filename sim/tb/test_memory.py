"""Run the benches of the on-chip memory: by itself, and under a core."""

import pytest

from systolith.hw.config import AcceleratorConfig
from systolith.hw.hosted import HostedCore
from systolith.sim.tb.dut_memory import SharedMemory
from systolith.sim.tb.runner import build_and_run

CONFIGS = {
    4: AcceleratorConfig(rows=4, act_kib=2, wgt_kib=1, param_kib=1, acc_depth=32, queue_depth=4, outstanding=3),
    8: AcceleratorConfig(rows=8, act_kib=4, wgt_kib=2, param_kib=1, acc_depth=64, act_banks=2),
}
MEMORY_BYTES = 0x1_0000


@pytest.mark.rtl
@pytest.mark.parametrize("words", [512, 3584])
def test_memory(words):
    params = {"data_bytes": 8, "words": words, "outstanding": 9}
    config = CONFIGS[8]
    build_and_run(SharedMemory(**params), f"memory_{words}", "systolith.sim.tb.bench_memory",
                  {"config": config.to_dict(), **params})


@pytest.mark.rtl
@pytest.mark.parametrize("rows", CONFIGS)
def test_hosted_core(rows):
    config = CONFIGS[rows]
    build_and_run(HostedCore(config, MEMORY_BYTES // config.word_bytes), f"hosted_{rows}",
                  "systolith.sim.tb.bench_hosted",
                  {"config": config.to_dict(), "memory_bytes": MEMORY_BYTES, "programs": 6})
