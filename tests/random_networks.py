"""Random networks of several layers, random cores to run them on, and the bytes that they must give.

A seed says everything: `random_network(7)` is always the same model. Scales are chosen so that activations use much of
their range, as in trained networks; otherwise a wrong byte would hide behind a clamp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from tflite_micro import runtime

from systolith.hw.config import AcceleratorConfig
from systolith.models.ops import out_size, same_padding
from systolith.models.tflite_writer import TFLiteBuilder

ARENA_BYTES = 8_000_000
# Limits that keep one network well below a second on every device but the RTL.
MAX_SIDE, MAX_CHANNELS, MAX_FEATURES, MAX_ELEMENTS, MAX_MACS = 14, 40, 64, 6_000, 1_000_000
MAX_CLASSES = 200  # of a softmax; the reference aborts where more than 256 classes are about equally likely
RMS = 60.0  # typical distance of an int8 activation from its zero point
IMAGE, PADDED = 4, 18  # dimensions of an image, and its largest side after PAD


@dataclass(frozen=True)
class Act:
    """An activation of a model under construction."""

    index: int
    shape: tuple[int, ...]
    scale: float
    zero_point: int

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


class Window(NamedTuple):
    """A window that fits an image; pairs are (y, x)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: str
    out: tuple[int, int]

    @property
    def options(self) -> dict[str, Any]:
        return {"padding": self.padding, "stride_h": self.stride[0], "stride_w": self.stride[1]}

    @property
    def dilations(self) -> dict[str, Any]:
        return {"dilation_h": self.dilation[0], "dilation_w": self.dilation[1]}


@dataclass(frozen=True)
class RandomNetwork:
    """A model, the shapes of its inputs, the number of its outputs, one line per operator, and the inputs' dtypes.

    Inputs without a dtype are int8.
    """

    seed: int
    model: bytes
    inputs: tuple[tuple[int, ...], ...]
    outputs: int
    layers: tuple[str, ...]
    dtypes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"random_network({self.seed}): " + "; ".join(self.layers)

    def samples(self, count: int) -> list[np.ndarray]:
        """Return random inputs, `count` times the batch of the model along axis 0, in the model's order."""
        rng = np.random.default_rng(self.seed)
        codes = [rng.integers(-128, 128, (count * shape[0], *shape[1:])).astype(np.int8) for shape in self.inputs]
        values: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "int8": lambda x: x, "uint8": lambda x: x.view(np.uint8), "float32": lambda x: x.astype(np.float32) / 32}
        return [values[dtype](x) for x, dtype in zip(codes, self.dtypes or ["int8"] * len(codes), strict=True)]

    def reference(self, samples: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the outputs of TFLite Micro's reference kernels, samples along axis 0, in the model's order."""
        interpreter = runtime.Interpreter.from_bytes(self.model, arena_size=ARENA_BYTES)
        batch, results = self.inputs[0][0], []
        for first in range(0, len(samples[0]), batch):
            for i, values in enumerate(samples):
                interpreter.set_input(values[first:first + batch], i)
            interpreter.invoke()
            results.append([np.array(interpreter.get_output(i)) for i in range(self.outputs)])
        return [np.concatenate(arrays) for arrays in zip(*results, strict=True)]


def random_network(seed: int) -> RandomNetwork:
    """Return a network of 2 to 9 operators, some of them in branches that meet again."""
    return Maker(seed).make()


def random_config(seed: int, rows: Sequence[int] = (2, 4, 8, 16)) -> AcceleratorConfig:
    """Return a core with buffers from generous down to the smallest that are allowed."""
    rng = np.random.default_rng(seed)
    r = int(rng.choice(rows))
    banks = int(rng.choice([2, 4, 8]))
    # The smallest buffers hold four tiles of r words of r bytes, per activation bank.
    act = max(1, 4 * r * r * banks // 1024) << int(rng.integers(0, 5))
    wgt = max(1, 4 * r * r // 1024) << int(rng.integers(0, 5))
    return AcceleratorConfig(
        rows=r, act_kib=act, act_banks=banks, wgt_kib=wgt, param_kib=int(rng.choice([1, 2])),
        acc_depth=int(rng.choice([16, 64, 256])), queue_depth=int(rng.choice([2, 4, 8])),
        outstanding=int(rng.choice([1, 2, 8])), dram_latency=int(rng.choice([1, 20, 100])),
        dram_bandwidth=int(rng.choice([1, r, 2 * r])), filter_rows=int(rng.choice([0, 3, 6, 10, 15])),
        line_words=int(rng.choice([32, 64, 512])))


@dataclass
class Maker:
    """Builds one network operator by operator; each operator method returns its output, or None if it cannot be."""

    seed: int
    layers: list[str] = field(default_factory=list)

    def make(self) -> RandomNetwork:
        self.rng, self.b = np.random.default_rng(self.seed), TFLiteBuilder()
        channels = self.pick(1, 4) if self.chance(0.4) else self.pick(1, MAX_CHANNELS)
        inputs = [self.act((1, self.pick(1, MAX_SIDE), self.pick(1, MAX_SIDE), channels))]
        if self.chance(0.15):
            inputs.append(self.act(inputs[0].shape))
        alive = list(inputs)
        used: set[int] = set()
        length = self.pick(2, 9)
        while len(self.layers) < length:
            # Mostly the newest tensor; sometimes an older one, which starts a branch.
            x = alive[-1] if self.chance(0.8) else alive[self.pick(0, len(alive) - 1)]
            y = self.operator(x, alive, used)
            if y is not None:
                alive.append(y)
                used.add(x.index)
        results = [a for a in alive if a not in inputs]
        ends = [a for a in results if a.index not in used]
        if self.chance(0.2):  # an output that is read inside the network too
            ends += [a for a in results if a.index in used][:1]
        model = self.b.build([a.index for a in inputs], [a.index for a in ends])
        return RandomNetwork(self.seed, model, tuple(a.shape for a in inputs), len(ends), tuple(self.layers))

    def operator(self, x: Act, alive: list[Act], used: set[int]) -> Act | None:
        partners = [a for a in alive if a is not x and self.meets(x, a)]
        if partners and self.chance(0.35):
            other = partners[self.pick(0, len(partners) - 1)]
            used.add(other.index)
            return self.joined(x, other)
        choices: list[tuple[float, Callable[[Act], Act | None]]] = [
            (1, self.quantize), (0.5, self.softmax), (0.7, self.reshape), (1.5, self.fully_connected),
            (2, self.unary), (1, self.shifted), (0.4, self.prelu), (0.7, self.slice), (0.7, self.part)]
        if len(x.shape) == IMAGE:
            choices += [(6, self.conv), (3, self.depthwise), (1.5, self.pool), (1, self.pad), (0.7, self.mean),
                        (0.8, self.resize), (0.8, self.transpose_conv), (0.3, self.transpose), (0.5, self.shuffle)]
        weights = np.array([weight for weight, _ in choices])
        return choices[self.rng.choice(len(choices), p=weights / weights.sum())][1](x)

    # Random values.

    def pick(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def scale(self) -> float:
        return float(np.float32(np.exp(self.rng.uniform(np.log(5e-3), np.log(0.1)))))

    def activation(self) -> str:
        return str(self.rng.choice(["NONE", "NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1"]))

    def pair(self, low: int, high: int) -> tuple[int, int]:
        return self.pick(low, high), self.pick(low, high)

    def window(self, x: Act, dilate: bool = False, large: bool = False) -> Window | None:
        """Return a window over the image `x`, or None when it does not fit."""
        padding = "SAME" if self.chance(0.6) else "VALID"
        most = 16 if large and self.chance(0.1) else 7 if self.chance(0.3) else 3
        kernel = (1, 1) if self.chance(0.25) else self.pair(1, most)
        stride = self.pair(1, 3) if self.chance(0.4) else (1, 1)
        dilation = self.pair(1, 4) if dilate and self.chance(0.25) else (1, 1)
        sizes = []
        for axis in zip(x.shape[1:3], kernel, stride, dilation, strict=True):
            if padding == "VALID" and (axis[1] - 1) * axis[3] + 1 > axis[0]:
                return None
            sizes.append(out_size(*axis, same_padding(*axis) if padding == "SAME" else (0, 0)))
        return Window(kernel, stride, dilation, padding, (sizes[0], sizes[1]))

    # Tensors.

    def act(self, shape: Sequence[int], scale: float | None = None, zero_point: int | None = None) -> Act:
        scale = self.scale() if scale is None else float(np.float32(scale))
        zero_point = self.pick(-128, 127) if zero_point is None else zero_point
        index = self.b.tensor(f"t{self.count()}", shape, "int8", scale, zero_point)
        return Act(index, tuple(int(size) for size in shape), scale, zero_point)

    def count(self) -> int:
        self._tensors = getattr(self, "_tensors", 0) + 1
        return self._tensors

    def constant(self, data: np.ndarray, scale: Any = None, axis: int = 0) -> int:
        return self.b.tensor(f"t{self.count()}", data.shape, data.dtype, scale, 0, data, axis)

    def done(self, kind: str, inputs: Sequence[int], y: Act, options: dict[str, Any] | None = None,
             x: Act | None = None) -> Act:
        self.b.op(kind, inputs, [y.index], options)
        shown = " ".join(f"{key}={value}" for key, value in (options or {}).items())
        self.layers.append(f"{kind} {x.shape if x else ''} -> {y.shape} {shown}".rstrip())
        return y

    def weighted(self, kind: str, x: Act, shape: tuple[int, ...], axis: int, depth: int, y_shape: Sequence[int],
                 options: dict[str, Any]) -> Act:
        """Append an operator with weights, whose sums have `depth` products; `axis` are the output channels."""
        weights = self.rng.integers(-127, 128, shape).astype(np.int8)
        outputs = shape[axis]
        per_channel = kind != "FULLY_CONNECTED" or self.chance(0.5)
        spread = 73 * RMS * depth**0.5  # of the sums; 73 is the standard deviation of the weights
        y = self.act(y_shape)
        scales = y.scale * 50 / spread / x.scale * np.exp(self.rng.uniform(-1, 1, outputs if per_channel else 1))
        if per_channel and outputs > 1 and self.chance(0.1):
            scales[self.pick(0, outputs - 1)] = 1e-13  # a dead channel: multiplier 0
        scales = np.float32(scales)
        inputs = [x.index, self.constant(weights, scales, axis)]
        if self.chance(0.8):
            limit = int(2**30 if self.chance(0.05) else spread)
            bias = self.rng.integers(-limit, limit + 1, outputs).astype(np.int32)
            inputs.append(self.constant(bias, np.float32(x.scale * scales)))
        elif kind != "DEPTHWISE_CONV_2D":  # the reference wants two inputs there, not an absent third
            inputs.append(-1)
        return self.done(kind, inputs, y, {**options, "activation": self.activation()}, x)

    # Operators.

    def conv(self, x: Act) -> Act | None:
        window, channels = self.window(x, dilate=True, large=True), x.shape[3]
        divisors = [g for g in range(2, channels + 1) if channels % g == 0]
        groups = int(self.rng.choice(divisors)) if divisors and self.chance(0.08) else 1
        outputs = groups * self.pick(1, max(1, MAX_CHANNELS // groups))
        if groups == 1 and self.chance(0.3):
            outputs = channels  # so that a residual branch can end in an ADD
        elif groups == 1 and self.chance(0.3):
            outputs = 16 * self.pick(1, 2)  # whole channel blocks, which joins and splits can place
        if window is None:
            return None
        shape = (1, *window.out, outputs)
        depth = int(np.prod(window.kernel)) * channels // groups
        if np.prod(shape) > MAX_ELEMENTS or np.prod(shape) * depth > MAX_MACS:
            return None
        weights = (outputs, *window.kernel, channels // groups)
        return self.weighted("CONV_2D", x, weights, 0, depth, shape, window.options | window.dilations)

    def depthwise(self, x: Act) -> Act | None:
        window = self.window(x, dilate=True)
        if window is None:
            return None
        multiplier = self.pick(2, 3) if self.chance(0.1) and x.shape[3] < MAX_CHANNELS // 3 else 1
        outputs = x.shape[3] * multiplier
        options = window.options | window.dilations | {"depth_multiplier": multiplier}
        return self.weighted("DEPTHWISE_CONV_2D", x, (1, *window.kernel, outputs), 3, int(np.prod(window.kernel)),
                             (1, *window.out, outputs), options)

    def fully_connected(self, x: Act) -> Act | None:
        features = x.size if self.chance(0.7) else x.shape[-1]
        outputs = self.pick(1, MAX_FEATURES)
        rows = x.size // features
        if features * outputs * rows > MAX_MACS or rows * outputs > MAX_ELEMENTS:
            return None
        if rows > 1:  # rows would be a batch for whatever follows: keep the dimensions
            options, shape = {"keep_num_dims": True}, (*x.shape[:-1], outputs)
        else:
            options, shape = {"keep_num_dims": False}, (1, outputs)
        return self.weighted("FULLY_CONNECTED", x, (outputs, features), 0, features, shape, options)

    def transpose_conv(self, x: Act) -> Act | None:
        kernel, stride, outputs = self.pair(1, 4), self.pair(1, 2), self.pick(1, MAX_CHANNELS)
        same = self.chance(0.6)
        out = [x.shape[1 + i] * stride[i] if same else (x.shape[1 + i] - 1) * stride[i] + max(kernel[i], stride[i])
               for i in range(2)]
        shape, depth = (1, *out, outputs), x.shape[3]
        if max(out) > PADDED or np.prod(shape) > MAX_ELEMENTS or x.size * outputs * np.prod(kernel) > MAX_MACS:
            return None
        weights = self.rng.integers(-127, 128, (outputs, *kernel, depth)).astype(np.int8)
        y = self.act(shape)
        scales = np.float32(y.scale * 50 / (73 * RMS * depth**0.5) / x.scale * np.exp(self.rng.uniform(-1, 1, outputs)))
        options = {"padding": "SAME" if same else "VALID", "stride_h": stride[0], "stride_w": stride[1]}
        size = self.constant(np.array(shape, np.int32))
        return self.done("TRANSPOSE_CONV", [size, self.constant(weights, scales), x.index], y, options, x)

    def meets(self, a: Act, b: Act) -> bool:
        """Tell whether `joined` can take these: equal shapes, one channel vector, or equal but for the channels."""
        same_image = len(a.shape) == len(b.shape) and a.shape[:-1] == b.shape[:-1]
        return same_image and a.shape[-1] + b.shape[-1] <= 2 * MAX_CHANNELS or b.shape == (1, 1, 1, a.shape[-1])

    def joined(self, a: Act, b: Act) -> Act:
        if a.shape[:-1] == b.shape[:-1] and (a.shape != b.shape or self.chance(0.3)):
            return self.concatenation(a, b)
        kind = str(self.rng.choice(["ADD", "ADD", "ADD", "MUL", "SUB"]))
        return self.binary(kind, a, b)

    def binary(self, kind: str, a: Act, b: Act) -> Act:
        scale = a.scale * b.scale * RMS if kind == "MUL" else max(a.scale, b.scale)
        y = self.act(np.broadcast_shapes(a.shape, b.shape), scale * np.exp(self.rng.uniform(-0.5, 1)))
        return self.done(kind, [a.index, b.index], y, {"activation": self.activation()}, a)

    def shifted(self, x: Act, kind: str | None = None, shape: Sequence[int] | None = None) -> Act:
        """Append an operator on `x` and a constant: one value, one per channel, or one per element."""
        kind = kind or str(self.rng.choice(["ADD", "MUL", "SUB", "MAXIMUM", "MINIMUM"]))
        shapes = [(1,), x.shape[-1:], (1,) * (len(x.shape) - 1) + x.shape[-1:], x.shape]
        data = self.rng.integers(-128, 128, shapes[self.pick(0, 3)] if shape is None else shape).astype(np.int8)
        extreme = kind in ("MAXIMUM", "MINIMUM")
        scale, zero_point = (x.scale, x.zero_point) if extreme else (self.scale(), self.pick(-128, 127))
        operands = [x.index, self.b.tensor(f"t{self.count()}", data.shape, "int8", scale, zero_point, data)]
        if kind == "SUB" and self.chance(0.5):
            operands.reverse()
        wanted = x.scale * scale * RMS if kind == "MUL" else max(x.scale, scale)
        y = self.act(x.shape, x.scale, x.zero_point) if extreme else self.act(
            x.shape, wanted * np.exp(self.rng.uniform(-0.5, 1)))
        return self.done(kind, operands, y, None if extreme else {"activation": self.activation()}, x)

    def prelu(self, x: Act) -> Act:
        """Append a PRELU with one slope per channel, or one for all."""
        channels = x.shape[-1] if self.chance(0.7) else 1
        slopes = self.rng.integers(-128, 128, (1,) * (len(x.shape) - 2) + (channels,)).astype(np.int8)
        alpha = self.b.tensor(f"t{self.count()}", slopes.shape, "int8", self.scale() / 10, self.pick(-128, 127), slopes)
        y = self.act(x.shape, x.scale * np.exp(self.rng.uniform(-0.5, 0.5)))
        return self.done("PRELU", [x.index, alpha], y, None, x)

    def silu(self, x: Act) -> Act:
        return self.binary("MUL", x, self.unary(x, "LOGISTIC"))

    def concatenation(self, a: Act, *others: Act, axis: int = -1) -> Act:
        """Append a concatenation; operands of another quantisation go through a QUANTIZE, as converters do it."""
        parts = [self.like(b, a) for b in others]
        shape = list(a.shape)
        shape[axis] += sum(b.shape[axis] for b in parts)
        y = self.act(shape, a.scale, a.zero_point)
        return self.done("CONCATENATION", [a.index, *(b.index for b in parts)], y, {"axis": axis}, a)

    def like(self, x: Act, other: Act) -> Act:
        if (x.scale, x.zero_point) == (other.scale, other.zero_point):
            return x
        return self.done("QUANTIZE", [x.index], self.act(x.shape, other.scale, other.zero_point), None, x)

    def unary(self, x: Act, kind: str | None = None) -> Act:
        kind = kind or str(self.rng.choice(["LOGISTIC", "TANH", "HARD_SWISH", "RELU", "LEAKY_RELU", "ELU", "ABS"]))
        fixed = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}
        y = self.act(x.shape, *fixed[kind]) if kind in fixed else self.act(
            x.shape, x.scale * np.exp(self.rng.uniform(-0.5, 0.5)))
        return self.done(kind, [x.index], y, {"alpha": 0.2} if kind == "LEAKY_RELU" else None, x)

    def slice(self, x: Act) -> Act:
        begin = [self.pick(0, (size - 1) // 2) for size in x.shape]
        size = [self.pick(1, whole - first) for whole, first in zip(x.shape, begin, strict=True)]
        y = self.act(size, x.scale, x.zero_point)
        operands = [x.index, self.constant(np.array(begin, np.int32)), self.constant(np.array(size, np.int32))]
        return self.done("SLICE", operands, y, None, x)

    def part(self, x: Act) -> Act:
        """Append a STRIDED_SLICE along one axis, of channels mostly at whole blocks."""
        axis = self.pick(0, len(x.shape) - 1)
        begin, stride = self.pick(0, x.shape[axis] - 1), self.pick(1, 3)
        if axis == len(x.shape) - 1 and self.chance(0.7):
            begin, stride = begin // 4 * 4, 1
        ends = [begin if i == axis else 0 for i in range(len(x.shape))], list(x.shape)
        strides = [stride if i == axis else 1 for i in range(len(x.shape))]
        shape = [len(range(*ends_and_stride)) for ends_and_stride in zip(*ends, strides, strict=True)]
        operands = [self.constant(np.array(values, np.int32)) for values in (*ends, strides)]
        return self.done("STRIDED_SLICE", [x.index, *operands], self.act(shape, x.scale, x.zero_point), {}, x)

    def shuffle(self, x: Act) -> Act | None:
        """Append a shuffle of the channels in groups."""
        *image, channels = x.shape
        groups = [g for g in range(2, channels) if channels % g == 0]
        if not groups:
            return None
        group = int(self.rng.choice(groups))
        shapes = (*image, group, channels // group), (*image, channels // group, group), x.shape
        for kind, shape, operand in (("RESHAPE", shapes[0], shapes[0]), ("TRANSPOSE", shapes[1], (0, 1, 2, 4, 3)),
                                     ("RESHAPE", shapes[2], shapes[2])):
            y = self.act(shape, x.scale, x.zero_point)
            x = self.done(kind, [x.index, self.constant(np.array(operand, np.int32))], y, None, x)
        return x

    def transpose(self, x: Act) -> Act | None:
        if max(x.shape) > MAX_CHANNELS:
            return None
        perm = [0, *(1 + self.rng.permutation(len(x.shape) - 1))]
        y = self.act([x.shape[axis] for axis in perm], x.scale, x.zero_point)
        return self.done("TRANSPOSE", [x.index, self.constant(np.array(perm, np.int32))], y, None, x)

    def resize(self, x: Act, size: tuple[int, int] | None = None) -> Act | None:
        if size is None:
            size = (2 * x.shape[1], 2 * x.shape[2]) if self.chance(0.4) else self.pair(1, PADDED)
        shape = (x.shape[0], *size, x.shape[3])
        if size[0] * size[1] * x.shape[3] > MAX_ELEMENTS:
            return None
        corners = self.chance(0.3)
        options = {"align_corners": corners, "half_pixel_centers": not corners and self.chance(0.5)}
        y = self.act(shape, x.scale, x.zero_point)
        kind = str(self.rng.choice(["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"]))
        return self.done(kind, [x.index, self.constant(np.array(size, np.int32))], y, options, x)

    def pool(self, x: Act) -> Act | None:
        window = self.window(x)
        if window is None:
            return None
        y = self.act((1, *window.out, x.shape[3]), x.scale, x.zero_point)
        options = window.options | {"filter_height": window.kernel[0], "filter_width": window.kernel[1],
                                    "activation": self.activation()}
        return self.done(str(self.rng.choice(["MAX_POOL_2D", "AVERAGE_POOL_2D"])), [x.index], y, options, x)

    def mean(self, x: Act) -> Act:
        axes = [[1], [2], [1, 2], [1, 2], [1, 2]][self.pick(0, 4)]
        keep = self.chance(0.5)
        kept = [1 if axis in axes else size for axis, size in enumerate(x.shape) if keep or axis not in axes]
        y = self.act(kept, x.scale * np.exp(self.rng.uniform(-1.5, 0.5)))
        return self.done("MEAN", [x.index, self.constant(np.array(axes, np.int32))], y, {"keep_dims": keep}, x)

    def pad(self, x: Act) -> Act | None:
        amounts = np.zeros((IMAGE, 2), np.int32)
        amounts[1:3] = self.rng.integers(0, 3, (2, 2))
        if self.chance(0.1):
            amounts[3] = self.rng.integers(0, 3, 2)
        shape = [int(size + pair.sum()) for size, pair in zip(x.shape, amounts, strict=True)]
        if max(shape[1:3]) > PADDED or shape[3] > MAX_CHANNELS + 4:
            return None
        y = self.act(shape, x.scale, x.zero_point)
        return self.done("PAD", [x.index, self.constant(amounts)], y, None, x)

    def reshape(self, x: Act) -> Act:
        rest = list(self.rng.permutation([n for n in _factors(x.size)]))
        if self.chance(0.5):
            shape = (1, x.size)
        else:  # the factors of the size, dealt to height, width and channels
            parts = [1, 1, 1]
            for factor in rest:
                parts[self.pick(0, 2)] *= int(factor)
            shape = (1, *parts) if max(parts) <= 2 * MAX_SIDE else (1, x.size)
        y = self.act(shape, x.scale, x.zero_point)
        return self.done("RESHAPE", [x.index, self.constant(np.array(shape, np.int32))], y, None, x)

    def quantize(self, x: Act) -> Act:
        y = self.act(x.shape, x.scale * np.exp(self.rng.uniform(-1, 1)))
        return self.done("QUANTIZE", [x.index], y, None, x)

    def softmax(self, x: Act) -> Act | None:
        if x.shape[-1] > MAX_CLASSES:
            return None
        y = self.act(x.shape, 1 / 256, -128)
        return self.done("SOFTMAX", [x.index], y, {"beta": float(self.rng.choice([1.0, 0.3]))}, x)


def _factors(number: int) -> list[int]:
    found, factor = [], 2
    while number > 1:
        while number % factor == 0:
            found.append(factor)
            number //= factor
        factor += 1
    return found
