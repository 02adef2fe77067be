"""Frontends: read a model file into the graph IR."""

from __future__ import annotations

from pathlib import Path

from ..errors import ModelError
from ..graph import Graph
from .scalesim import read_scalesim
from .scalesim_topology import SUFFIX as TOPOLOGY
from .tflite import read_tflite

_TFLITE = b"TFL3"  # bytes 4 to 7
_ONNX = b"\x08"  # the key of `ir_version`, which writers put first; ONNX has no identifier


def read_model(path: str | Path) -> Graph:
    """Return the verified integer graph of a quantised .tflite or .onnx model, or of a SCALE-Sim topology.

    The suffix .csv says that it is a topology, and else the content which model it is.

    Raises:
        ModelError: the file cannot be read, is corrupt, or is none of these.
        UnsupportedOperatorError: the model is not quantised, or uses what is not supported.
        UsageError: it is an ONNX model, and the package `onnx` is not installed.
    """
    if Path(path).suffix == TOPOLOGY:
        return read_scalesim(path)
    if is_onnx(path):
        from .onnx import read_onnx  # the package `onnx` is optional and takes its time to load
        return read_onnx(path)
    return read_tflite(path)


def is_onnx(path: str | Path) -> bool:
    """Say whether a file looks like an ONNX model rather than a TFLite model.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise ModelError(f"cannot read '{path}' ({error.strerror or error}); give the path of a .tflite or .onnx file"
                         ) from error
    return head[4:] != _TFLITE and (head[:1] == _ONNX or Path(path).suffix == ".onnx")
