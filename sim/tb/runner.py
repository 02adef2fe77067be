"""Build a component with Verilator and run a cocotb module on it; used by all testbenches."""

import hashlib
import json
import os
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from amaranth.back import verilog
from amaranth.lib.wiring import Component
from cocotb_tools.runner import get_results, get_runner
from filelock import FileLock

from ..verilator import verilator_environment

__all__ = ["BUILD_DIR", "COVERAGE_DIR", "bench_params", "build", "build_and_run"]

# Not relative to the working directory, so that every way to start the tests shares the builds.
BUILD_DIR = Path(__file__).resolve().parents[2] / "sim_build" / "tb"
# Tables of functional coverage of the last run.
COVERAGE_DIR = BUILD_DIR / "coverage"
_PARAMS = "SYSTOLITH_BENCH_PARAMS"
_SEED = "COCOTB_RANDOM_SEED"
_BUILD_ARGS = (
    "-O3",
    # Amaranth's Verilog is correct by construction; its style is not Verilator's.
    "-Wno-fatal", "-Wno-lint", "-Wno-style",
    # The C++ compiler takes minutes over one large function.
    "--output-split-cfuncs", "500",
)


def build(component: Component, name: str, modules: str = "") -> Path:
    """Compile ``component`` to a simulator with top module ``name`` and return the build folder.

    ``modules`` is the Verilog of those that it has instances of.

    The folder's name holds a hash of the Verilog, the options and the tools' versions: an unchanged design is not built
    again.
    """
    text = verilog.convert(component, name=name, emit_src=False) + modules
    versions = "".join(metadata.version(tool) for tool in ("verilator", "cocotb"))
    key = hashlib.sha256("\n".join((versions, *_BUILD_ARGS, text)).encode()).hexdigest()[:16]
    folder = BUILD_DIR / f"{name}-{key}"
    BUILD_DIR.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        built = folder / "built"
        if not built.exists():
            folder.mkdir(exist_ok=True)
            source = folder / f"{name}.v"
            source.write_text(text)
            with verilator_environment():
                get_runner("verilator").build(
                    sources=[source], hdl_toplevel=name, build_dir=folder, timescale=("1ns", "1ps"),
                    build_args=_BUILD_ARGS)
            built.touch()
    return folder


def build_and_run(component: Component, name: str, test_module: str, params: dict[str, Any] | None = None,
                  testcase: str | None = None, modules: str = "") -> None:
    """Run the cocotb tests of ``test_module`` on ``component``.

    Parameters
    ----------
    component : Component
        The design under test; its ports become those of the Verilog module ``name``.
    test_module : str
        Dotted name, such as ``systolith.sim.tb.bench_csr``.
    params : dict
        Values for the bench, which reads them with `bench_params`; they must survive JSON.
    testcase : str
        Run only this test of the module.
    modules : str
        Verilog of the modules that the component has instances of.

    Raises
    ------
    AssertionError
        When a test failed or none ran. cocotb prints the seed; set ``COCOTB_RANDOM_SEED`` to choose another than 1.
    """
    folder = build(component, name, modules)
    seed = int(os.environ.get(_SEED, "1"))
    try:
        with verilator_environment(), TemporaryDirectory(dir=folder) as run_dir:
            results = get_runner("verilator").test(
                test_module=test_module, hdl_toplevel=name, hdl_toplevel_lang="verilog", build_dir=folder,
                test_dir=run_dir, testcase=testcase, seed=seed, extra_env={_PARAMS: json.dumps(params or {})})
            total, failed = get_results(results)
    except SystemExit:
        raise AssertionError(f"tests of {test_module} failed with seed {seed}; their log is above") from None
    assert total > 0 and failed == 0, f"{test_module} must have passing tests, not {total} of which {failed} failed"


def bench_params() -> dict[str, Any]:
    """Return, inside the simulator, the ``params`` given to `build_and_run`."""
    params: dict[str, Any] = json.loads(os.environ[_PARAMS])
    return params
