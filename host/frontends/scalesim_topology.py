"""Topology files of SCALE-Sim v2 and v3: layers as a CSV file, in its convolution form or as matrix products."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError

SUFFIX = ".csv"
"""Suffix by which a topology is known: the text has no identifier."""

DEPTHWISE = "DP"
"""What the name of a depthwise layer contains, by SCALE-Sim's convention."""

MOST_LAYERS = 10_000
# Limits that no network comes near; they bound the work that a wrong number can cause.
_MOST_VALUES = 1 << 30
_MOST_WEIGHTS = 1 << 32
_HEADER = ("Layer", "IFMAP height", "IFMAP width", "Filter height", "Filter width", "Channels", "Num filter", "Stride")
_GEMM_HEADER = ("M", "N", "K")
_RATIO = re.compile(r"\s*\d+\s*:\s*\d+\s*")


@dataclass(frozen=True)
class Layer:
    """A convolution without padding: what SCALE-Sim calls a layer.

    Attributes:
        name: name in the file.
        image: height and width of the input.
        kernel: height and width.
        channels: input channels.
        filters: output channels; of a depthwise layer those of each input channel.
        stride: in y and x.
    """

    name: str
    image: tuple[int, int]
    kernel: tuple[int, int]
    channels: int
    filters: int
    stride: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a layer must have a name")
        for what, value in (("image height", self.image[0]), ("image width", self.image[1]),
                            ("filter height", self.kernel[0]), ("filter width", self.kernel[1]),
                            ("channels", self.channels), ("filters", self.filters),
                            ("stride", self.stride[0]), ("stride", self.stride[1])):
            if value < 1:
                raise ValueError(f"{what} must be at least 1, not {value}")
        for what, kernel, image in zip(("height", "width"), self.kernel, self.image, strict=True):
            if kernel > image:
                raise ValueError(f"filter {what} must be at most that of the image, {image}, not {kernel}")
        for what, size in (("input", math.prod(self.image) * self.channels),
                           ("output", math.prod(self.output) * self.outputs),
                           ("filters", self.weights)):
            if size > _MOST_VALUES:
                raise ValueError(f"{what} must have at most {_MOST_VALUES:,} values, not {size:,}")

    @classmethod
    def product(cls, name: str, m: int, n: int, k: int) -> Layer:
        """Return the product of matrices [m, k] and [k, n] as a 1x1 convolution of m pixels.

        The image is as square as m allows, because coordinates are bounded.
        """
        height = next((h for h in range(math.isqrt(min(max(m, 1), _MOST_VALUES)), 1, -1) if m % h == 0), 1)
        return cls(name, (height, m // height), (1, 1), k, n)

    @property
    def depthwise(self) -> bool:
        return DEPTHWISE in self.name

    @property
    def outputs(self) -> int:
        """Output channels."""
        return self.filters * (self.channels if self.depthwise else 1)

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of the output: SCALE-Sim rounds up, so that a last window may reach beyond the image."""
        h, w = (-(-(size - kernel) // stride) + 1
                for size, kernel, stride in zip(self.image, self.kernel, self.stride, strict=True))
        return h, w

    @property
    def weights(self) -> int:
        return math.prod(self.kernel) * self.channels * self.filters

    @property
    def macs(self) -> int:
        return math.prod(self.output) * self.weights


def read_topology(path: Path) -> list[Layer]:
    """Return the layers of a topology file.

    Its header says of which form it is: M, N and K after the name for matrix products, anything else for convolutions.
    A sparsity ratio at the end of a line is allowed and not looked at: the layers are dense.

    Raises:
        ModelError: the file cannot be read, or is not a topology; the message has the line.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise ModelError(f"cannot read '{path}' ({error.strerror or error}); give the path of a topology") from error
    except UnicodeDecodeError:
        raise ModelError(f"{path} must be a SCALE-Sim topology in UTF-8; it is another kind of file") from None
    lines = _lines(path, text)
    number, header = next(lines, (1, []))
    # SCALE-Sim skips whatever the first line is, so a layer there is lost without a word.
    if len(header) < 4 or any(_integer(cell) is not None for cell in header[1:]):
        raise ModelError(f"line {number} of {path} must be the header of a SCALE-Sim topology, such as "
                         f"'{', '.join(_HEADER)}' or 'Layer, M, N, K'; add one")
    parse = _product if tuple(cell.upper() for cell in header[1:4]) == _GEMM_HEADER else _convolution
    layers = [_layer(path, number, cells, parse) for number, cells in lines]
    if not 0 < len(layers) <= MOST_LAYERS:
        raise ModelError(f"{path} must have between 1 and {MOST_LAYERS:,} layers, not {len(layers):,}")
    if sum(layer.weights for layer in layers) > _MOST_WEIGHTS:
        raise ModelError(f"layers of {path} must have at most {_MOST_WEIGHTS:,} weights together; split the file")
    return layers


def write_topology(layers: Iterable[Layer], path: Path) -> None:
    """Write layers in the convolution form, which must have equal strides in y and x: all that SCALE-Sim 3 reads.

    Raises:
        OSError: the file cannot be written.
    """
    lines = [_HEADER, *((each.name, *each.image, *each.kernel, each.channels, each.filters, each.stride[0])
                        for each in layers)]
    path.write_text("".join(",".join(map(str, line)) + ",\n" for line in lines), "utf-8")


def _lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of the lines that are not empty, without the empty cell after a comma at the end."""
    reader = csv.reader(text.splitlines(), skipinitialspace=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise ModelError(f"line {reader.line_num} of {path} must be values separated by commas: {error}") from None


def _layer(path: Path, number: int, cells: Sequence[str], parse: Callable[[str, Sequence[int]], Layer]) -> Layer:
    dense = cells[:-1] if _RATIO.fullmatch(cells[-1]) else cells
    values = [_integer(cell) for cell in dense[1:]]
    try:
        if None in values:
            raise ValueError(f"sizes must be integers, not {dense[1 + values.index(None)]!r}")
        return parse(dense[0], [value for value in values if value is not None])
    except ValueError as error:
        raise ModelError(f"line {number} of {path}: {error}") from None


def _convolution(name: str, values: Sequence[int]) -> Layer:
    if not 7 <= len(values) <= 8:
        raise ValueError(f"a convolution must have 7 sizes ({', '.join(_HEADER[1:])}) or a second stride, "
                         f"not {len(values)}")
    height, width, kernel_height, kernel_width, channels, filters, *strides = values
    return Layer(name, (height, width), (kernel_height, kernel_width), channels, filters, (strides[0], strides[-1]))


def _product(name: str, values: Sequence[int]) -> Layer:
    if len(values) != 3:
        raise ValueError(f"a matrix product must have 3 sizes (M, N, K), not {len(values)}")
    m, n, k = values
    return Layer.product(name, m, n, k)


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
