"""NumPy files that people give and get: `.npy` for one array, `.npz` for several by tensor name."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .errors import UsageError

_CORRUPT = (ValueError, EOFError, KeyError, SyntaxError, MemoryError, OverflowError, NotImplementedError,
            zipfile.BadZipFile, zlib.error)


def load(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """Return the array of an `.npy` file or the arrays of an `.npz` file by name; the content decides which it is.

    Raises:
        UsageError: the file is missing, is not such a file, or is corrupt.
    """
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            return {name: found[name] for name in found.files}
    except OSError as error:
        raise UsageError(f"input {path} must be a readable file: {error.strerror or error}") from error
    except _CORRUPT as error:
        raise UsageError(f"input {path} must be a NumPy .npy or .npz file without Python objects; "
                         "it is another kind of file or corrupt") from error


def check_path(path: Path, names: Sequence[str]) -> None:
    """Raise `UsageError` when the outputs `names` do not fit into a file of this name."""
    if len(names) > 1 and path.suffix != ".npz":
        raise UsageError(f"output {path} must end in .npz because the network has {len(names)} outputs: "
                         f"{', '.join(names)}")


def save(path: Path, outputs: Mapping[str, np.ndarray]) -> None:
    """Write one output as `.npy`, or all by name when `path` ends in `.npz`.

    Raises:
        UsageError: there are several outputs and `path` does not end in `.npz`.
        OSError: the file cannot be written.
    """
    check_path(path, list(outputs))
    if path.suffix == ".npz":
        # Not `np.savez`: tensor names would be its keyword arguments, and some would collide with its own.
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in outputs.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array)
    else:
        with path.open("wb") as file:  # `np.save` would append a suffix to a path
            (array,) = outputs.values()
            np.save(file, array)
