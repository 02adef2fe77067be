"""The results file of a sweep: a CSV file to which every finished point is appended at once, and Parquet from it.

A row is written with one flush to the disk. What a killed run leaves is whole rows, and at most one without its end,
which the next run removes; so no finished point is lost or repeated.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from ..errors import UsageError
from .points import Row, Value

_BOOL = {"true": True, "false": False}


class Results:
    """A results file, locked against other runs while it is open.

    Args:
        path: the CSV file; made when it is not there.
        columns: the columns of a row, with the type of their values.
        key: those that tell rows apart.

    Raises:
        UsageError: another run has it open, or it is not a results file with these columns.
        OSError: it cannot be read and written.
    """

    def __init__(self, path: Path, columns: Mapping[str, type], key: Iterable[str]) -> None:
        self.path, self._columns, self._key = path, columns, tuple(key)
        self._file = path.open("a+b", buffering=0)
        try:
            self._lock()
            self._rows = self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Results:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._file.close()  # and with it goes the lock

    def find(self, identity: Mapping[str, Value]) -> Row | None:
        """Return the row with these values of the key, or None."""
        return self._rows.get(self._key_of(identity))

    def append(self, row: Row) -> None:
        """Add a row; it is on the disk when this returns."""
        self._write([_text(row[name]) for name in self._columns])
        self._rows[self._key_of(row)] = row

    def _key_of(self, row: Mapping[str, Value]) -> tuple[Value, ...]:
        return tuple(row[name] for name in self._key)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{self.path} must belong to one run at a time; wait for the other or choose another "
                             "file") from None

    def _read(self) -> dict[tuple[Value, ...], Row]:
        self._file.seek(0)
        raw = self._file.readall()
        whole = raw.rfind(b"\n") + 1
        try:
            lines = list(csv.reader(io.StringIO(raw[:whole].decode(), newline=""), strict=True))
        except (UnicodeDecodeError, csv.Error):
            raise UsageError(f"{self.path} must be a results file; choose another file") from None
        # The start of a header is what a run leaves that is killed with its first write; anything else is not ours.
        header = _line(self._columns)
        if not header.startswith(raw[:len(header)]):
            raise UsageError(f"{self.path} must be a results file with the columns of these arguments; choose another "
                             "file")
        if whole < len(raw):
            self._file.truncate(whole)
        if not lines:
            self._write(self._columns)
            _sync_folder(self.path)
        return {self._key_of(row): row for row in (self._row(n, line) for n, line in enumerate(lines[1:], 2))}

    def _row(self, number: int, line: Sequence[str]) -> Row:
        try:
            return {name: _value(text, kind)
                    for (name, kind), text in zip(self._columns.items(), line, strict=True)}
        except (KeyError, ValueError):
            raise UsageError(f"line {number} of {self.path} must be a row of results; remove it or choose another "
                             "file") from None

    def _write(self, cells: Iterable[str]) -> None:
        rest = _line(cells)
        while rest:
            rest = rest[self._file.write(rest):]
        os.fsync(self._file.fileno())


def save_parquet(path: Path, columns: Mapping[str, type], rows: Sequence[Row]) -> None:
    """Write rows as Parquet; the file is whole or not there.

    Raises:
        OSError: it cannot be written.
    """
    import pyarrow  # an extra
    import pyarrow.parquet

    kinds = {int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string(), bool: pyarrow.bool_()}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema), unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def _text(value: Value) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _value(text: str, kind: type) -> Value:
    if not text:
        return None
    return _BOOL[text] if kind is bool else kind(text)


def _sync_folder(path: Path) -> None:
    """Make the directory entry of a new file durable."""
    folder = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
