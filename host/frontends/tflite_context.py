"""What a converter of one TFLite operator sees of the model, and how it adds to the graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import tflite

from ..errors import ModelError, UnsupportedOperatorError
from ..graph import Op, QuantParams, Tensor

MAX_RANK = 8
MAX_OPERANDS = 64

_ACTIVATIONS = {value: key for key, value in vars(tflite.ActivationFunctionType).items() if isinstance(value, int)}


class Builder(Protocol):
    """Where converted tensors and operators go."""

    tensors: dict[str, Tensor]

    def add(self, tensor: Tensor) -> Tensor: ...

    def emit(self, op: Op) -> None: ...


class Context:
    """One TFLite operator: the flatbuffer table, its operands and outputs as tensors of the IR.

    Attributes:
        where: the start of an error message.
        kind: TFLite's name of the operator.
        operands: operands that are there; absent optional ones are left out.
        outputs: results.
    """

    def __init__(self, builder: Builder, model: str, kind: str, index: int, flat: Any, operands: list[Tensor],
                 outputs: list[Tensor]) -> None:
        self.where = f"{model}: {kind} at tensor '{outputs[0].name}'"
        self.kind, self.operands, self.outputs = kind, operands, outputs
        self._builder, self._index, self._flat, self._count = builder, index, flat, 0

    @property
    def x(self) -> Tensor:
        """The first operand."""
        return self.operands[0]

    @property
    def y(self) -> Tensor:
        """The first result."""
        return self.outputs[0]

    def options(self, schema: Any) -> Any:
        """Return the operator's options table read as `schema`."""
        expected = getattr(tflite.BuiltinOptions, schema.__name__)
        table = self._flat.BuiltinOptions()
        if table is None or self._flat.BuiltinOptionsType() != expected:
            raise ValueError("options are missing or of another operator")
        options = schema()
        options.Init(table.Bytes, table.Pos)
        return options

    def activation(self, options: Any) -> str:
        """Return the fused activation, refusing those that are not a clamp."""
        activation = _ACTIVATIONS[options.FusedActivationFunction()]
        if activation in ("TANH", "SIGN_BIT"):
            raise UnsupportedOperatorError(f"{self.where}: fused activation {activation} is not supported; "
                                           "supported are NONE, RELU, RELU6, RELU_N1_TO_1")
        return activation

    def parameter(self, position: int, what: str) -> np.ndarray:
        """Return constant operand `position` as integers."""
        data = self.operands[position].data
        if data is None:
            raise ModelError(f"{self.where}: {what} must be a constant; export the model with fixed shapes")
        if data.dtype.kind != "i":
            raise ValueError(f"{what} must be integers")
        return data.astype(np.int64)

    def axis(self, value: int, rank: int | None = None) -> int:
        """Return an axis of the first operand, which may be counted from the end, as one from 0 on."""
        rank = len(self.x.shape) if rank is None else rank
        if not -rank <= value < rank:
            raise ModelError(f"{self.where}: axis {value} must be within the {rank} dimensions; export the model again")
        return value % rank

    def unsupported(self, problem: str) -> UnsupportedOperatorError:
        """Return the error to raise for a variant that is not supported; `problem` says which, and what to do."""
        return UnsupportedOperatorError(f"{self.where}: {problem}")

    def temporary(self, shape: Sequence[int], like: Tensor, quant: QuantParams | None = None) -> Tensor:
        """Return a new tensor between two operators, with dtype and quantisation of `like`."""
        if len(shape) > MAX_RANK or math.prod(shape) > max(like.size, self.y.size, self.x.size) * 4:
            raise ValueError(f"intermediate shape {tuple(shape)}")
        return self._builder.add(Tensor(f"{self.y.name}#", tuple(int(n) for n in shape), like.dtype,
                                        quant or like.quant))

    def constant(self, tensor: Tensor, data: np.ndarray) -> None:
        """Make a result a constant."""
        self._builder.tensors[tensor.name] = Tensor(tensor.name, data.shape, tensor.dtype, tensor.quant, data)

    def emit(self, kind: str, inputs: Sequence[Tensor], output: Tensor | None = None, **attrs: Any) -> Tensor:
        """Append an operator of the IR and return its result, the operator's own unless another is given."""
        output = output or self.y
        name = f"{self.kind.lower()}_{self._index}" + (f"_{self._count}" if self._count else "")
        self._count += 1
        self._builder.emit(Op(kind, name, tuple(x.name for x in inputs), (output.name,), attrs))
        return self._builder.tensors[output.name]
