"""cocotb testbenches: `bench_*` run inside the simulator, `test_*` build the design and start them from pytest."""
