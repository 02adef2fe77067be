"""Shared objects compiled from C++ once, and kept under the user's cache directory.

An object is filed under a digest of all that shapes it. It is written beside its final name and renamed, so that a
reader never sees half a file, and processes that want the same one at the same time compile it once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import platformdirs

__all__ = ["Progress", "cache_dir", "digest", "require_tools", "run_compiler", "shared_object"]

_LOG_TAIL_LINES = 15

Progress = Callable[[str], None]


def cache_dir() -> Path:
    """Return the directory of compiled files: ``$SYSTOLITH_CACHE`` or the platform's user cache directory."""
    override = os.environ.get("SYSTOLITH_CACHE")
    return Path(override) if override else Path(platformdirs.user_cache_dir("systolith"))


def digest(parts: Iterable[str]) -> str:
    """Return the name under which what ``parts`` determine is kept."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def require_tools(tools: Iterable[str], purpose: str, remedy: str) -> None:
    """Raise ``RuntimeError`` for the first of ``tools`` that is not on PATH."""
    for tool in tools:
        if not shutil.which(tool):
            raise RuntimeError(f"{tool} must be installed to {purpose}, but is not on PATH; {remedy}")


def shared_object(target: Path, library: str, compile_in: Callable[[Path, Path], Path],
                  prepare: Callable[[], None]) -> Path:
    """Return the file ``library`` in the folder ``target``, compiled when it is not there.

    Parameters
    ----------
    target
        Folder named by a `digest`.
    compile_in
        Given an empty folder to work in and the log to write, returns the file that it compiled.
    prepare
        Called before anything is compiled; may raise ``RuntimeError``.
    """
    path = target / library
    if path.exists():
        return path
    prepare()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target.with_suffix(".lock")):
        if not path.exists():  # unless another process built it while this one waited
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}.") as work:
                made = compile_in(Path(work), target.with_suffix(".log"))
                target.mkdir(exist_ok=True)
                os.replace(made, path)
    return path


def run_compiler(command: Sequence[str], work: Path, log: Path, what: str,
                 environment: Mapping[str, str] | None = None) -> None:
    """Run ``command`` in the folder ``work``.

    Raises ``RuntimeError`` that begins with ``what`` and ends with the path of ``log``, which holds what it printed.
    """
    with log.open("w") as output:
        status = subprocess.run(command, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                                stderr=subprocess.STDOUT, check=False).returncode
    if status != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])
        raise RuntimeError(f"{what} (exit status {status}):\n{tail}\nfull log: {log}")
    log.unlink()


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    # The kernel drops the lock with the process, so a killed builder blocks nobody.
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
