"""Graph IR: a network as immutable tensors and operators in execution order.

Activations are NHWC. Operator kinds carry TFLite's names; TABLE, which passes make, is a look-up. `Op.inputs` lists
data tensors only, everything else is in `Op.attrs`, normalised so that no later stage has to know about padding modes
or axis conventions:

| kind                                | inputs                  | attrs                                           |
|-------------------------------------|-------------------------|-------------------------------------------------|
| CONV_2D                             | x, weights OHWI[, bias] | stride, dilation, pads, activation, groups      |
| DEPTHWISE_CONV_2D                   | x, weights 1HWC[, bias] | stride, dilation, pads, activation, multiplier  |
| FULLY_CONNECTED                     | x, weights OI[, bias]   | activation, keep_dims                           |
| TRANSPOSE_CONV                      | x, weights OHWI[, bias] | stride, pads (cut off the output), activation   |
| BATCH_MATMUL                        | a, b                    | adj_x, adj_y                                    |
| ADD, MUL, SUB                       | a, b                    | activation                                      |
| MAXIMUM, MINIMUM                    | a, b                    |                                                 |
| PRELU                               | x, alpha                |                                                 |
| AVERAGE_POOL_2D, MAX_POOL_2D        | x                       | kernel, stride, pads, activation                |
| MEAN, REDUCE_MAX, REDUCE_MIN, SUM   | x                       | axes, keepdims                                  |
| ARG_MAX                             | x                       | axis                                            |
| LEAKY_RELU                          | x                       | alpha                                           |
| other kinds of `quantparams.UNARY`  | x                       |                                                 |
| TABLE                               | x, table int8 [256]     |                                                 |
| SOFTMAX                             | x                       | beta                                            |
| RESIZE_BILINEAR                     | x                       | align_corners, half_pixel_centers               |
| RESIZE_NEAREST_NEIGHBOR             | x                       | align_corners, half_pixel_centers               |
| PAD                                 | x                       | paddings ((before, after) per axis)             |
| PADV2                               | x                       | paddings, value (the int8 code)                 |
| CONCATENATION                       | x, ...                  | axis                                            |
| SLICE                               | x                       | begin, size, stride (per axis)                  |
| TRANSPOSE                           | x                       | perm                                            |
| GATHER                              | x                       | axis, indices                                   |
| SPACE_TO_BATCH_ND                   | x                       | block (y, x), paddings ((top, bottom), ...)     |
| BATCH_TO_SPACE_ND                   | x                       | block (y, x), crops ((top, bottom), ...)        |
| NEG, RESHAPE, QUANTIZE, DEQUANTIZE  | x                       |                                                 |

`stride`, `dilation` and `kernel` are (y, x), `pads` is ((top, bottom), (left, right)), `axes` are sorted and not
negative, `activation` is "NONE", "RELU", "RELU6" or "RELU_N1_TO_1". A SLICE with a negative stride runs backwards from
`begin`. A TRANSPOSE_CONV makes (h - 1) * stride + kernel rows before it cuts `pads` off; where bottom or right is
negative, its output goes on with what no input reaches. The operands of CONCATENATION, MAXIMUM and MINIMUM are
quantised like the result. Weights have one scale and zero point, or one scale per channel and zero point 0.

Activations are int8; only QUANTIZE and DEQUANTIZE also take and give uint8 and int16, ARG_MAX gives int32 or int64.
Element-wise and data-movement kinds and SOFTMAX also work on float32; those run on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True)
class QuantParams:
    """Affine quantisation: real = scale * (q - zero_point).

    Attributes:
        scale: one float for the tensor, or one per slice along `axis`; float32 values held exactly.
        zero_point: as many integers as scales.
        axis: the quantised dimension, or None for per-tensor.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None


@dataclass(frozen=True, eq=False)
class Tensor:
    """A named array: a constant when `data` is there, else an activation.

    `dtype` is a NumPy dtype name; `shape` has fixed sizes, the batch dimension included.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    quant: QuantParams | None = None
    data: np.ndarray | None = None

    @property
    def scale(self) -> float:
        """Scale of a per-tensor quantised tensor."""
        return self._per_tensor().scale[0]

    @property
    def zero_point(self) -> int:
        """Zero point of a per-tensor quantised tensor."""
        return self._per_tensor().zero_point[0]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Number of bytes."""
        return self.size * np.dtype(self.dtype).itemsize

    def _per_tensor(self) -> QuantParams:
        if self.quant is None or len(self.quant.scale) != 1:
            raise ValueError(f"tensor '{self.name}' must be quantised per tensor to have one scale")
        return self.quant


@dataclass(frozen=True)
class Op:
    """One operator; `name` is unique in its graph, `inputs` and `outputs` are tensor names."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Graph:
    """A network: `ops` in topological order over `tensors`, with named inputs and outputs."""

    name: str
    tensors: Mapping[str, Tensor]
    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def producer(self, tensor: str) -> Op | None:
        """Return the operator that writes `tensor`, or None for inputs and constants."""
        return self._producers.get(tensor)

    def consumers(self, tensor: str) -> tuple[Op, ...]:
        """Return the operators that read `tensor`, in execution order."""
        return self._consumers.get(tensor, ())

    def operands(self, op: Op) -> list[Tensor]:
        """Return the input tensors of `op`."""
        return [self.tensors[name] for name in op.inputs]

    def result(self, op: Op) -> Tensor:
        """Return the output tensor of `op`; every operator of the IR has exactly one."""
        (name,) = op.outputs
        return self.tensors[name]

    def macs(self, op: Op | None = None) -> int:
        """Count multiply-accumulates of `op` (of the whole graph when None), padding taps included."""
        if op is None:
            return sum(self.macs(each) for each in self.ops)
        if op.kind == "CONV_2D":
            return self.result(op).size * math.prod(self.tensors[op.inputs[1]].shape[1:])
        if op.kind == "TRANSPOSE_CONV":
            return self.tensors[op.inputs[0]].size * math.prod(self.tensors[op.inputs[1]].shape[:3])
        if op.kind == "BATCH_MATMUL":
            return self.result(op).size * self.tensors[op.inputs[0]].shape[-2 if op.attrs["adj_x"] else -1]
        if op.kind == "DEPTHWISE_CONV_2D":
            return self.result(op).size * math.prod(self.tensors[op.inputs[1]].shape[1:3])
        if op.kind == "FULLY_CONNECTED":
            return self.result(op).size * self.tensors[op.inputs[1]].shape[1]
        return 0

    def with_ops(self, ops: Iterable[Op]) -> Graph:
        """Return this graph with other operators, without the tensors that none of them uses any more."""
        ops = tuple(ops)
        used = {*self.inputs, *self.outputs, *(name for op in ops for name in (*op.inputs, *op.outputs))}
        return replace(self, ops=ops, tensors={name: t for name, t in self.tensors.items() if name in used})

    @cached_property
    def _producers(self) -> dict[str, Op]:
        return {name: op for op in self.ops for name in op.outputs}

    @cached_property
    def _consumers(self) -> dict[str, tuple[Op, ...]]:
        found: dict[str, tuple[Op, ...]] = {}
        for op in self.ops:
            for name in dict.fromkeys(op.inputs):
                found[name] = (*found.get(name, ()), op)
        return found


Pass = Callable[[Graph], Graph]
"""A pass over the graph is a pure function."""
