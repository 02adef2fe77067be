"""How close an int8 network comes to the float network that it was made from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from ...models.quantise import dequantize, quantize_float
from ..devices.golden import constants as integer_constants
from ..devices.golden import execute_op
from ..errors import UsageError
from ..graph import Graph, Tensor
from .execute import constants, execute
from .ptq import Arrays, Progress, Quantised


@dataclass(frozen=True)
class LayerAccuracy:
    """One tensor, with the errors of all layers before it.

    Attributes:
        name: tensor name.
        op: kind of the operator that computes it.
        sqnr_db: power of the float values over that of the error, in dB; None for an error of 0.
        max_error: largest difference, in reals.
        scale: real value of one step.
    """

    name: str
    op: str
    sqnr_db: float | None
    max_error: float
    scale: float


@dataclass(frozen=True)
class AccuracyReport:
    """Comparison of the int8 network with the float network.

    Attributes:
        model: name of the network.
        samples: samples compared.
        layers: tensors in execution order.
        outputs: names of the network's outputs among them.
        top1_agreement: share of the samples with the same largest output, None where the output is not one score per
            class.
        float_accuracy, int8_accuracy: share of the samples whose largest output is their label, None without labels.
    """

    model: str
    samples: int
    layers: tuple[LayerAccuracy, ...]
    outputs: tuple[str, ...]
    top1_agreement: float | None
    float_accuracy: float | None
    int8_accuracy: float | None

    def save(self, path: Path) -> None:
        """Write the report as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    def table(self) -> Table:
        """Return the layers as a table for `rich`, with the network's accuracy as caption."""
        table = Table(title=f"{self.model}: int8 against float32", title_justify="left", caption_justify="left",
                      box=SIMPLE, pad_edge=False)
        table.add_column("tensor", overflow="fold")
        table.add_column("operator")
        for name in ("SQNR", "largest error", "step"):
            table.add_column(name, justify="right")
        for layer in self.layers:
            mark = " (output)" if layer.name in self.outputs else ""
            table.add_row(layer.name + mark, layer.op, "exact" if layer.sqnr_db is None else f"{layer.sqnr_db:.1f} dB",
                          f"{layer.max_error:.4g}", f"{layer.scale:.4g}")
        lines = []
        if self.top1_agreement is not None:
            lines.append(f"same class as float32: {self.top1_agreement:.2%} of {self.samples} samples")
        if self.float_accuracy is not None and self.int8_accuracy is not None:
            lines.append(f"accuracy: float32 {self.float_accuracy:.2%}, int8 {self.int8_accuracy:.2%}")
        table.caption = "\n".join(lines) or None
        return table


class _Errors:
    """Sums over the samples for one tensor."""

    def __init__(self, tensor: Tensor, kind: str) -> None:
        self.tensor, self.kind = tensor, kind
        self.signal = self.noise = self.largest = 0.0

    def add(self, real: np.ndarray, codes: np.ndarray) -> None:
        error = real.astype(np.float64) - dequantize(codes, self.tensor.scale, self.tensor.zero_point)
        self.signal += float(np.square(real, dtype=np.float64).sum())
        self.noise += float(np.square(error).sum())
        self.largest = max(self.largest, float(np.abs(error).max()))

    def result(self) -> LayerAccuracy:
        ratio = 10 * math.log10(max(self.signal, 1e-300) / self.noise) if self.noise else None
        return LayerAccuracy(self.tensor.name, self.kind, ratio, self.largest, self.tensor.scale)


def measure(network: Quantised, samples: Sequence[Arrays], labels: np.ndarray | None = None,
            progress: Progress | None = None) -> AccuracyReport:
    """Run both networks on float32 `samples` and compare every tensor.

    Args:
        network: the networks.
        samples: per sample one float32 array for each input.
        labels: the right class of each sample, integers [samples].
        progress: called after each sample.

    Raises:
        UsageError: the labels do not fit the samples, or the network does not classify.
    """
    real, graph = network.real, network.graph
    classes = _classifies(graph)
    if labels is not None:
        if not classes:
            raise UsageError("labels need a network with one output that is a score per class; leave them out")
        if labels.shape != (len(samples),) or labels.dtype.kind not in "iu":
            raise UsageError(f"labels must be integers of shape ({len(samples)},), one per sample, not "
                             f"{labels.dtype} {labels.shape}")
    # The integer graph may have operators, such as PAD, that the float graph does not know.
    errors = {op.outputs[0]: _Errors(graph.result(op), op.kind) for op in graph.ops
              if op.outputs[0] in real.tensors and graph.result(op).dtype == "int8"}
    fixed, integer_fixed = constants(real), integer_constants(graph)
    picks: list[tuple[int, int]] = []
    for done, sample in enumerate(samples, 1):
        reals, codes = execute(real, sample, fixed), _integers(graph, sample, integer_fixed)
        for name, each in errors.items():
            each.add(reals[name], codes[name])
        if classes:
            picks.append((int(reals[graph.outputs[0]].argmax()), int(codes[graph.outputs[0]].argmax())))
        if progress:
            progress(done, len(samples))
    agreement = float_accuracy = int8_accuracy = None
    if classes:
        found = np.array(picks)
        agreement = float((found[:, 0] == found[:, 1]).mean())
        if labels is not None:
            float_accuracy, int8_accuracy = (float((found[:, i] == labels).mean()) for i in range(2))
    return AccuracyReport(real.name, len(samples), tuple(each.result() for each in errors.values()), graph.outputs,
                          agreement, float_accuracy, int8_accuracy)


def _classifies(graph: Graph) -> bool:
    if len(graph.outputs) != 1:
        return False
    tensor = graph.tensors[graph.outputs[0]]
    return tensor.dtype == "int8" and tensor.size > 1 and sum(size > 1 for size in tensor.shape) == 1


def _integers(graph: Graph, sample: Arrays, fixed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return every tensor of the integer graph for one float32 sample."""
    values: dict[str, np.ndarray] = dict(fixed)
    for name in graph.inputs:
        tensor = graph.tensors[name]
        values[name] = quantize_float(sample[name], tensor.scale, tensor.zero_point, tensor.dtype)
    for op in graph.ops:
        values.update(zip(op.outputs, execute_op(graph, op, values), strict=True))
    return values


