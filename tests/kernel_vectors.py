"""Operator vectors published with CMSIS-NN, and a model around each that says the same.

A vector gives multipliers and shifts, a model float32 scales. `find_scales` returns scales that become exactly the
vector's integers; where there are none, the model has other scales and the test puts the integers in place of what the
compiler makes of them. What TFLite cannot say in one operator is said in two: padding that is neither SAME nor VALID is
a PAD in front, a clamp that belongs to no fused activation a MAXIMUM and a MINIMUM behind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from systolith.models.ops import out_size, same_padding
from systolith.models.quantise import conv_scale, quantize_multipliers
from systolith.models.tflite_writer import TFLiteBuilder
from tests.shared_data import shared_file

Y_SCALE = 1 / 16
Shape = tuple[int, ...]


class Vector:
    """One published case: integers by name, arrays by name."""

    def __init__(self, name: str) -> None:
        with np.load(shared_file(name)) as data:
            self.arrays = {key: data[key] for key in data.files if key != "params"}
            self.params: dict[str, int] = json.loads(str(data["params"]))

    def __getitem__(self, key: str) -> Any:
        return self.params[key] if key in self.params else self.arrays[key]

    def get(self, key: str, default: Any = None) -> Any:
        return self.params.get(key, self.arrays.get(key, default))

    def image(self, key: str, channels: str = "IN_CH") -> np.ndarray:
        return self[key].reshape(-1, self["INPUT_H"], self["INPUT_W"], self[channels])

    def pads(self, axis: str, kernel: str, before: str, dilation: int = 1) -> tuple[int, int]:
        """Padding of an axis; that behind the image follows from the output's size."""
        reach = (self[f"OUTPUT_{axis}"] - 1) * self[f"STRIDE_{kernel[-1]}"] + (self[kernel] - 1) * dilation + 1
        return self[before], max(reach - self[f"INPUT_{axis}"] - self[before], 0)


class VectorModel(NamedTuple):
    """A model of a vector.

    Attributes:
        kind: the operator.
        model: the .tflite file.
        inputs: by name, all samples along axis 0.
        output: the published result.
        requant: multipliers and shifts that no scales give, int64 [channels] each, or None.
    """

    kind: str
    model: bytes
    inputs: dict[str, np.ndarray]
    output: np.ndarray
    requant: tuple[np.ndarray, np.ndarray] | None


def vector_model(name: str, batch: int) -> VectorModel:
    """Return the model of a vector; `batch` is what it declares, 0 for all samples of the vector."""
    vector = Vector(name)
    return MAKERS[Path(name).name.partition("__")[0]](vector, batch)


def find_scales(mult: Any, shift: Any, y_scale: float = Y_SCALE) -> tuple[float, np.ndarray, float] | None:
    """Return float32 scales (x, w [channels], y), y near `y_scale`, whose x * w / y become these integers, or None.

    The multiplier of a channel is q * m, with q = x / y and m the 24 bits of its weight scale. Every m of the first
    channel leaves an interval for q, which the other channels narrow until few candidates are left.
    """
    mult, shift = np.ravel(mult).astype(float), np.ravel(shift).astype(int)
    rng = np.random.default_rng(0)
    for first in np.arange(2**23, 2**24, dtype=float).reshape(64, -1):
        low, high = (mult[0] - 0.5) / first, (mult[0] + 0.5) / first
        for m in mult[1:]:
            middle = (low + high) / 2
            step = 2.0 ** (np.floor(np.log2(m / middle)) - 23)
            bits = np.round(m / middle / step) * step
            low, high = np.maximum(low, (m - 0.5) / bits), np.minimum(high, (m + 0.5) / bits)
            low, high = low[low < high], high[low < high]
        for q in ((low + high) / 2)[:64]:
            y = np.float32(y_scale * rng.uniform(0.999, 1.001, 1000)).astype(float)
            x = np.float32(q * y)
            best = np.argmin(np.abs(x / y / q - 1))
            w = np.float32(mult * 2.0 ** (shift - 31) * y[best] / float(x[best]))
            if all(map(np.array_equal, quantize_multipliers(conv_scale(x[best], w, y[best])), (mult, shift))):
                return float(x[best]), w, float(y[best])
    return None


class _Model:
    """A model under construction: inputs first, then `end`."""

    def __init__(self, batch: int) -> None:
        self.b, self.batch = TFLiteBuilder(), batch
        self.inputs: dict[str, np.ndarray] = {}
        self.indices: list[int] = []
        self.constants = 0
        self.requant: tuple[np.ndarray, np.ndarray] | None = None

    def scales(self, mult: Any, shift: Any, y_scale: float = Y_SCALE) -> tuple[float, np.ndarray, float]:
        """Return (x, w, y) from `find_scales`; where it finds none, about these, and remember the integers."""
        found = find_scales(mult, shift, y_scale)
        if found is None:
            self.requant = mult, shift = np.array(mult, np.int64), np.array(shift, np.int64)
            return y_scale, np.float32(mult * 2.0 ** (shift - 31)), y_scale
        return found

    def input(self, values: np.ndarray, scale: float, zero_point: int) -> int:
        name = f"x{len(self.inputs)}"
        self.inputs[name] = values
        self.indices.append(self.tensor(name, values.shape[1:], scale, zero_point))
        return self.indices[-1]

    def tensor(self, name: str, sample: Sequence[int], scale: float, zero_point: int) -> int:
        return self.b.tensor(name, (self.batch, *sample), "int8", scale, zero_point)

    def constant(self, data: Any, scale: Any = None, zero_point: int = 0, axis: int = 0, dtype: str = "int32") -> int:
        data = np.asarray(data, dtype)
        self.constants += 1
        return self.b.tensor(f"c{self.constants}", data.shape, dtype, scale, zero_point, data, axis)

    def padded(self, x: int, shape: Shape, pads: Sequence[tuple[int, int]], scale: float, zero_point: int) -> int:
        whole = [size + sum(pair) for size, pair in zip(shape, pads, strict=True)]
        y = self.tensor("padded", whole[1:], scale, zero_point)
        self.b.op("PAD", [x, self.constant(pads)], [y])
        return y

    def end(self, kind: str, operands: Sequence[int], want: np.ndarray, scale: float, zero_point: int,
            clamp: tuple[int, int] = (-128, 127), options: dict[str, Any] | None = None) -> VectorModel:
        """Append the operator with its clamp, and return the model."""
        y, sample = self.tensor("y", want.shape[1:], scale, zero_point), want.shape[1:]
        low, high = clamp
        if low == zero_point and high < 127:
            options, clamp = {**(options or {}), "activation": "RELU6"}, (-128, 127)
        self.b.op(kind, operands, [y], options)
        for bound, name, code in ((-128, "MAXIMUM", clamp[0]), (127, "MINIMUM", clamp[1])):
            if code != bound:
                clamped = self.tensor(name, sample, scale, zero_point)
                limit = self.constant([code], scale, zero_point, dtype="int8")
                self.b.op(name, [y, limit], [clamped])
                y = clamped
        return VectorModel(kind, self.b.build(self.indices, [y]), self.inputs, want, self.requant)


def _y_scale(zero_point: int, clamp: tuple[int, int]) -> float:
    """Return an output scale at which a RELU6 is the clamp, where it can be."""
    return 6 / (clamp[1] - zero_point) if clamp[0] == zero_point and clamp[1] < 127 else Y_SCALE


def _clamp(v: Vector) -> tuple[int, int]:
    return tuple(v.get(f"OUT_ACTIVATION_{end}", v.get(f"ACTIVATION_{end}")) for end in ("MIN", "MAX"))


def _padding(axes: Sequence[Shape], pads: Sequence[tuple[int, int]]) -> str | None:
    """Return which of TFLite's paddings these are, or None."""
    out = [out_size(*axis, pair) for axis, pair in zip(axes, pads, strict=True)]
    for name, found in (("VALID", [(0, 0)] * 2), ("SAME", [same_padding(*axis) for axis in axes])):
        same = [pair[0] for pair in found] == [pair[0] for pair in pads]
        if same and out == [out_size(*axis, pair) for axis, pair in zip(axes, found, strict=True)]:
            return name
    return None


def _weighted(v: Vector, batch: int, depthwise: bool) -> VectorModel:
    x, zero_point, clamp = v.image("input"), v["OUTPUT_OFFSET"], _clamp(v)
    kernel, stride, dilation = ((v[f"{name}_Y"], v[f"{name}_X"]) for name in ("FILTER", "STRIDE", "DILATION"))
    outputs = v["OUT_CH"]
    model = _Model(batch or len(x))
    x_scale, w_scale, y_scale = model.scales(v["output_mult"], v["output_shift"], _y_scale(zero_point, clamp))
    index = model.input(x, x_scale, -v["INPUT_OFFSET"])
    axes = list(zip(x.shape[1:3], kernel, stride, dilation, strict=True))
    pads = [v.pads("H", "FILTER_Y", "PAD_Y", dilation[0]), v.pads("W", "FILTER_X", "PAD_X", dilation[1])]
    padding = _padding(axes, pads)
    if padding is None:
        shape, padding = (model.batch, *x.shape[1:]), "VALID"
        index = model.padded(index, shape, [(0, 0), *pads, (0, 0)], x_scale, -v["INPUT_OFFSET"])
    shape = (1, *kernel, outputs) if depthwise else (outputs, *kernel, -1)
    operands = [index, model.constant(v["weights"].reshape(shape), w_scale, axis=3 * depthwise, dtype="int8"),
                model.constant(v["biases"], np.float32(x_scale * w_scale))]
    options = {"padding": padding, "stride_h": stride[0], "stride_w": stride[1],
               "dilation_h": dilation[0], "dilation_w": dilation[1]}
    want = v["output_ref"].reshape(len(x), v["OUTPUT_H"], v["OUTPUT_W"], outputs)
    if depthwise:
        options["depth_multiplier"] = outputs // v["IN_CH"]
    return model.end("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", operands, want, y_scale, zero_point, clamp,
                     options)


def _transpose_conv(v: Vector, batch: int) -> VectorModel:
    x, outputs = v.image("input"), v["OUT_CH"]
    model = _Model(batch or len(x))
    x_scale, w_scale, y_scale = model.scales(v["output_mult"], v["output_shift"])
    size = (model.batch, v["OUTPUT_H"], v["OUTPUT_W"], outputs)
    weights = v["weights"].reshape(outputs, v["FILTER_Y"], v["FILTER_X"], -1)
    operands = [model.constant(size), model.constant(weights, w_scale, dtype="int8"),
                model.input(x, x_scale, -v["INPUT_OFFSET"])]
    if "biases" in v.arrays:
        operands.append(model.constant(v["biases"], np.float32(x_scale * w_scale)))
    options = {"padding": "SAME" if v["PAD_X"] or v["PAD_Y"] else "VALID", "stride_h": v["STRIDE_Y"],
               "stride_w": v["STRIDE_X"]}
    return model.end("TRANSPOSE_CONV", operands, v["output_ref"].reshape(-1, *size[1:]), y_scale, v["OUTPUT_OFFSET"],
                     _clamp(v), options)


def _fully_connected(v: Vector, batch: int) -> VectorModel:
    depth, outputs = v["ACCUMULATION_DEPTH"], v["OUT_CH"]
    x = v["input"].reshape(-1, depth)
    integers = [v.get(f"output_{short}", v.get(f"OUTPUT_{name}")) for short, name in
                (("mult", "MULTIPLIER"), ("shift", "SHIFT"))]
    model = _Model(batch or len(x))
    x_scale, w_scale, y_scale = model.scales(*integers)
    operands = [model.input(x, x_scale, -v["INPUT_OFFSET"]),
                model.constant(v["weights"].reshape(outputs, depth), w_scale, -v.get("FILTER_OFFSET", 0), dtype="int8")]
    if "biases" in v.arrays:
        operands.append(model.constant(v["biases"], np.float32(x_scale * w_scale)))
    return model.end("FULLY_CONNECTED", operands, v["output_ref"].reshape(-1, outputs), y_scale, v["OUTPUT_OFFSET"],
                     _clamp(v))


def _pool(v: Vector, batch: int, kind: str) -> VectorModel:
    x, clamp = v.image("input_tensor", "INPUT_C"), _clamp(v)
    kernel, stride = (v["FILTER_H"], v["FILTER_W"]), (v["STRIDE_H"], v["STRIDE_W"])
    pads = [v.pads("H", "FILTER_H", "PADDING_H"), v.pads("W", "FILTER_W", "PADDING_W")]
    padding = _padding(list(zip(x.shape[1:3], kernel, stride, (1, 1), strict=True)), pads)
    scale = _y_scale(0, clamp)
    model = _Model(batch or len(x))
    options = {"padding": padding, "stride_h": stride[0], "stride_w": stride[1], "filter_height": kernel[0],
               "filter_width": kernel[1]}
    want = v["output"].reshape(len(x), v["OUTPUT_H"], v["OUTPUT_W"], -1)
    return model.end(kind, [model.input(x, scale, 0)], want, scale, 0, clamp, options)


def _add(v: Vector, batch: int) -> VectorModel:
    # Multipliers of 1/2 for both operands mean equal scales, that of 2^-20 behind the sum one of twice their size.
    model = _Model(1)
    operands = [model.input(v[f"input{i}"][None], Y_SCALE / 2, -v[f"INPUT{i}_OFFSET"]) for i in (1, 2)]
    return model.end("ADD", operands, v["output_ref"][None], Y_SCALE, v["OUTPUT_OFFSET"], _clamp(v))


def _mul(v: Vector, batch: int) -> VectorModel:
    model = _Model(1)
    a_scale, b_scale, y_scale = model.scales(v["OUTPUT_MULT"], v["OUTPUT_SHIFT"])
    operands = [model.input(v[f"input{i}"][None], scale, -v[f"INPUT{i}_OFFSET"])
                for i, scale in ((1, a_scale), (2, float(b_scale[0])))]
    return model.end("MUL", operands, v["output_ref"][None], y_scale, v["OUTPUT_OFFSET"], _clamp(v))


def _batch_matmul(v: Vector, batch: int) -> VectorModel:
    model, operands = _Model(1), []
    a_scale, b_scale, y_scale = model.scales(v["OUTPUT_MULTIPLIER"], v["OUTPUT_SHIFT"])
    for side, scale in (("LHS", a_scale), ("RHS", float(b_scale[0]))):
        shape = [v[f"{side}_{axis}"] for axis in ("BATCH", "HEIGHT", "ROWS", "COLS")]
        operands.append(model.input(v[f"{side.lower()}_input_tensor"].reshape(1, *shape), scale, -v[f"{side}_OFFSET"]))
    want = v["output"].reshape(1, *(v[f"OUTPUT_{axis}"] for axis in ("BATCH", "HEIGHT", "ROWS", "COLS")))
    return model.end("BATCH_MATMUL", operands, want, y_scale, v["OUTPUT_OFFSET"], _clamp(v),
                     {"adj_x": bool(v["ADJ_X"]), "adj_y": bool(v["ADJ_Y"])})


def _softmax(v: Vector, batch: int) -> VectorModel:
    x = v["input"].reshape(v["NUM_ROWS"], v["ROW_SIZE"])
    model = _Model(batch or len(x))
    scale = v["INPUT_MULT"] * 2.0 ** (v["INPUT_LEFT_SHIFT"] - 31 - 26)
    return model.end("SOFTMAX", [model.input(x, scale, 0)], v["output_ref"].reshape(x.shape), 1 / 256, -128)


def _pad(v: Vector, batch: int) -> VectorModel:
    x = v["input_tensor"].reshape(*(v[f"INPUT_{axis}"] for axis in "NHWC"))
    pads = [(v[f"PRE_PAD_{axis}"], v[f"POST_PAD_{axis}"]) for axis in "NHWC"]
    model = _Model(len(x))
    want = v["output"].reshape(*(size + sum(pair) for size, pair in zip(x.shape, pads, strict=True)))
    return model.end("PAD", [model.input(x, Y_SCALE, v["PAD_VALUE"]), model.constant(pads)], want, Y_SCALE,
                     v["PAD_VALUE"])


MAKERS: dict[str, Callable[[Vector, int], VectorModel]] = {
    "add": _add,
    "avgpool": lambda v, batch: _pool(v, batch, "AVERAGE_POOL_2D"),
    "batch_matmul": _batch_matmul,
    "convolve": lambda v, batch: _weighted(v, batch, depthwise=False),
    "depthwise": lambda v, batch: _weighted(v, batch, depthwise=True),
    "fully_connected": _fully_connected,
    "maxpool": lambda v, batch: _pool(v, batch, "MAX_POOL_2D"),
    "mul": _mul,
    "pad": _pad,
    "softmax": _softmax,
    "transpose_conv": _transpose_conv,
}
"""By the first part of a vector's file name."""
