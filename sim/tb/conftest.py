"""Shows the functional coverage of the benches when all tests have run."""

import shutil

import pytest

from systolith.sim.tb.runner import COVERAGE_DIR


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the process that reports, not one that tests on its behalf
        shutil.rmtree(COVERAGE_DIR, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tables = sorted(COVERAGE_DIR.glob("*.txt"))
    if tables:
        terminalreporter.section("functional coverage")
    for table in tables:
        terminalreporter.write_line(table.read_text())
