"""A random model of one operator under construction, and the bytes that it must give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tflite_micro import runtime

from systolith.models.tflite_writer import TFLiteBuilder

ARENA_BYTES = 4_000_000
STEPS = 1000  # of a scale between its limits

Pick = Callable[[int, int], int]
"""Returns an integer between two limits, which belong to it."""


@dataclass(frozen=True)
class OperatorCase:
    """A model of one operator, its inputs in the model's order, and a line that says what it is."""

    model: bytes = field(repr=False)
    inputs: tuple[np.ndarray, ...] = field(repr=False)
    outputs: int = field(repr=False)
    shown: str

    def __str__(self) -> str:
        return self.shown

    def reference(self) -> list[np.ndarray]:
        """Return the outputs of TFLite Micro's reference kernels."""
        interpreter = runtime.Interpreter.from_bytes(self.model, arena_size=ARENA_BYTES)
        for i, values in enumerate(self.inputs):
            interpreter.set_input(values, i)
        interpreter.invoke()
        return [np.array(interpreter.get_output(i)) for i in range(self.outputs)]


class Case:
    """A model of one operator under construction.

    Args:
        kind: the operator.
        pick: chooses everything that a person would have to understand in a failing case; hypothesis makes it smaller.
            Weights, biases and inputs come from `rng`, whose seed is chosen as well.
    """

    def __init__(self, kind: str, pick: Pick) -> None:
        self.kind, self.pick = kind, pick
        self.rng = np.random.default_rng(pick(0, 2**32 - 1))
        self.b = TFLiteBuilder()
        self.operands: list[int] = []
        self.fed: list[int] = []
        self.values: list[np.ndarray] = []
        self.outputs: list[int] = []
        self.shown: list[str] = []
        self._names = 0

    @classmethod
    def seeded(cls, kind: str, seed: int) -> Case:
        """Return a case whose choices all come from a seed."""
        rng = np.random.default_rng([seed, sum(kind.encode())])
        return cls(kind, lambda low, high: int(rng.integers(low, high + 1)))

    # Random values.

    def choose(self, *values: Any) -> Any:
        return values[self.pick(0, len(values) - 1)]

    def chance(self) -> bool:
        return bool(self.pick(0, 1))

    def scale(self, low: float = 2e-3, high: float = 0.3) -> float:
        return float(np.float32(low * (high / low) ** (self.pick(0, STEPS) / STEPS)))

    def near(self, scale: float, spread: float = 1.5) -> float:
        return self.scale(scale * np.exp(-spread), scale * np.exp(spread))

    def zero_point(self) -> int:
        return self.pick(-128, 127) if self.chance() else int(self.choose(0, -128, 127))

    def permutation(self, count: int) -> list[int]:
        rest = list(range(count))
        return [rest.pop(self.pick(0, len(rest) - 1)) for _ in range(count)]

    def shape(self, rank: int | None = None, most: int = 7) -> tuple[int, ...]:
        return tuple(self.pick(1, most) for _ in range(rank or self.pick(1, 4)))

    def image(self, most: int = 9, channels: int = 20, batch: int = 1) -> tuple[int, int, int, int]:
        return (self.pick(1, batch), self.pick(1, most), self.pick(1, most), self.pick(1, channels))

    def activation(self) -> dict[str, str]:
        return {"activation": self.choose("NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1")}

    # Tensors.

    def tensor(self, shape: Sequence[int], dtype: Any, **quant: Any) -> int:
        self._names += 1
        return self.b.tensor(f"t{self._names}", shape, dtype, **quant)

    def feed(self, shape: Sequence[int], scale: float, zero_point: int, values: np.ndarray | None = None) -> int:
        index = self.tensor(shape, "int8", scale=scale, zero_point=zero_point)
        self.fed.append(index)
        self.operands.append(index)
        self.values.append(self.rng.integers(-128, 128, shape).astype(np.int8) if values is None else values)
        self.shown.append(f"{tuple(shape)} {scale:.4g} {zero_point}")
        return index

    def integers(self, values: Any, dtype: str = "int32") -> None:
        data = np.array(values, dtype)
        self.operands.append(self.tensor(data.shape, dtype, data=data))
        self.shown.append(str(values))

    def codes(self, shape: Sequence[int], scale: Any, zero_point: int = 0, low: int = -128, axis: int = 0) -> None:
        data = self.rng.integers(low, 128, shape).astype(np.int8)
        self.operands.append(self.tensor(shape, "int8", scale=scale, zero_point=zero_point, data=data,
                                         quantized_dimension=axis))
        self.shown.append(f"constant {tuple(shape)}")

    def bias(self, scale: Any, count: int, spread: float) -> None:
        limit = int(min(spread, 2**30)) + 1
        data = self.rng.integers(-limit, limit, count).astype(np.int32)
        self.operands.append(self.tensor((count,), "int32", scale=scale, data=data))

    def result(self, shape: Sequence[int], scale: float, zero_point: int, dtype: str = "int8") -> None:
        quant = {"scale": scale, "zero_point": zero_point} if dtype == "int8" else {}
        self.outputs.append(self.tensor(shape, dtype, **quant))
        self.shown.append(f"-> {tuple(shape)} {scale:.4g} {zero_point}")

    def done(self, options: dict[str, Any] | None = None) -> OperatorCase:
        self.b.op(self.kind, self.operands, self.outputs, options)
        shown = f"{self.kind}: {'; '.join(self.shown)} {options or ''}"
        model = self.b.build(self.fed, self.outputs)
        return OperatorCase(model, tuple(self.values), len(self.outputs), shown)
