"""Post-training quantisation: a float32 model and calibration samples become an int8 .tflite model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import GraphError, ModelError, UnsupportedOperatorError, UsageError
from ..frontends import is_onnx
from ..frontends.tflite import read_tflite, read_tflite_real
from ..graph import Graph
from ..verify import verify
from .calibrate import Arrays, annotate, assign, observe
from .export import to_tflite
from .flatten import absorb_transposes
from .fuse import fuse
from .integer import to_integer
from .observers import observer_factory

Progress = Callable[[int, int], None]
"""Called with the samples that are done and the samples in all."""


@dataclass(frozen=True)
class Quantised:
    """A quantised network.

    Attributes:
        real: the float graph after fusion; its tensors have the names of those of `graph`.
        graph: the integer graph, read back from `model`.
        model: bytes of the .tflite file.
    """

    real: Graph
    graph: Graph
    model: bytes


def read_real(path: str | Path) -> Graph:
    """Return the float graph of an ONNX or TFLite model.

    Raises:
        ModelError, UsageError, UnsupportedOperatorError: as for `read_model`; or the model is quantised already.
    """
    if is_onnx(path):
        from ..frontends.onnx import read_onnx_real
        graph = read_onnx_real(path)
    else:
        graph = read_tflite_real(path)
    if any(tensor.quant is not None for tensor in graph.tensors.values()):
        raise ModelError(f"{graph.name}: the model must be float32, but it is quantised already; "
                         "compile or run it as it is")
    for name in graph.inputs:
        if graph.tensors[name].dtype != "float32":
            raise ModelError(f"{graph.name}: input '{name}' must be float32, not {graph.tensors[name].dtype}")
    return graph


def quantise(graph: Graph, samples: Sequence[Arrays], observer: str = "minmax", percentile: float = 99.99,
             progress: Progress | None = None) -> Quantised:
    """Quantise a float graph to int8: weights per channel and symmetric, activations per tensor and asymmetric.

    Args:
        graph: what `read_real` returned.
        samples: per sample one float32 array for each input, of exactly its shape.
        observer: "minmax" or "percentile".
        percentile: share of the values that the percentile observer covers, in percent, on either side.
        progress: called after each sample.

    Raises:
        UsageError: there are no samples, values are not finite, or the observer does not exist.
        UnsupportedOperatorError: an operator has no int8 form.
    """
    if not samples:
        raise UsageError("calibration must have at least one sample")
    make = observer_factory(observer, percentile)

    def counted() -> Iterator[Arrays]:
        for done, sample in enumerate(samples, 1):
            yield sample
            if progress:
                progress(done, len(samples))

    try:
        real = fuse(graph)
        integer = absorb_transposes(to_integer(annotate(real, assign(real, observe(real, counted(), make)))))
    except (IndexError, ValueError) as error:  # NumPy's: the float graph was not verified
        raise ModelError(f"{graph.name}: the model contradicts itself: {error}; export it again") from error
    try:
        verify(integer)
    except GraphError as error:
        raise UnsupportedOperatorError(f"{graph.name}: the model cannot be quantised: {error}") from error
    model = to_tflite(integer)
    return Quantised(real, read_tflite(model), model)
