"""TFLite Micro's reference kernels as the oracle of the golden operators, one operator at a time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from tflite_micro import runtime

from systolith.models.tflite_writer import TFLiteBuilder

ARENA_BYTES = 4_000_000


class OneOperator:
    """A model of one operator, built tensor by tensor and then invoked."""

    def __init__(self) -> None:
        self._builder = TFLiteBuilder()
        self._names = itertools.count()
        self._inputs: list[int] = []
        self._fed: list[int] = []
        self._values: list[np.ndarray] = []

    def feed(self, value: np.ndarray, scale: float | None = None, zero_point: int = 0) -> None:
        """Append a model input and its value."""
        index = self._tensor(value.shape, value.dtype, scale=scale, zero_point=zero_point)
        self._inputs.append(index)
        self._fed.append(index)
        self._values.append(value)

    def constant(self, value: np.ndarray | None, scale: Any = None, axis: int = 0) -> None:
        """Append a constant operand; None is an absent optional one."""
        if value is None:
            self._inputs.append(-1)
        else:
            self._inputs.append(
                self._tensor(value.shape, value.dtype, scale=scale, data=value, quantized_dimension=axis)
            )

    def invoke(
        self,
        operator: str,
        shape: tuple[int, ...],
        scale: float | None = None,
        zero_point: int = 0,
        dtype: Any = np.int8,
        options: Mapping[str, Any] | None = None,
    ) -> np.ndarray:
        """Run the operator into an output of this shape, type and quantisation."""
        y = self._tensor(shape, dtype, scale=scale, zero_point=zero_point)
        self._builder.op(operator, self._inputs, [y], options)
        interpreter = runtime.Interpreter.from_bytes(self._builder.build(self._fed, [y]), arena_size=ARENA_BYTES)
        for i, value in enumerate(self._values):
            interpreter.set_input(value, i)
        interpreter.invoke()
        return np.array(interpreter.get_output(0))

    def _tensor(self, shape: tuple[int, ...], dtype: Any, **quantisation: Any) -> int:
        return self._builder.tensor(f"t{next(self._names)}", shape, dtype, **quantisation)


def assert_equal(got: np.ndarray, want: np.ndarray) -> None:
    """Assert equal type, shape and bytes; list the first differences."""
    assert got.dtype == want.dtype and got.shape == want.shape, f"got {got.dtype}{got.shape}"
    wrong = [tuple(int(i) for i in index) for index in np.argwhere(got != want)]
    shown = "; ".join(f"{index}: expected {want[index]}, got {got[index]}" for index in wrong[:5])
    assert not wrong, f"{len(wrong)} of {want.size} differ: {shown}"
