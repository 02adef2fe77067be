"""What the instruction fields can hold; beyond that an operator runs on the CPU."""

from __future__ import annotations

from ...hw.isa import COMPUTE, MAX_LEFT_SHIFT
from .layers import Unfit, Window
from .layout import Image

# Kernels of the array are split into parts of this size; those of pooling are not split.
MAX_KERNEL_PART = (1 << COMPUTE["kh"].width) - 1
MAX_POOL_KERNEL = 255
# Taps of an average whose reciprocal multiplication is exact.
MAX_POOL_TAPS = 2048
# Values of int8, less a zero point, whose sum has 31 bits.
MAX_SUM_TAPS = (1 << 31) // 255
MAX_STRIDE = 15
MAX_DILATION = 63
MAX_COORDINATE = (1 << 13) - 1
MAX_STEP = (1 << 16) - 1


def check_size(image: Image) -> None:
    """Raise `Unfit` unless coordinates and channel blocks of `image` fit their fields."""
    for what, value in (("height", image.h), ("width", image.w), ("channel blocks", image.blocks)):
        _require(what, value, MAX_COORDINATE)


def check_window(window: Window, source: Image, target: Image, most: int = MAX_COORDINATE) -> None:
    """Raise `Unfit` unless a window over `source` fits the fields; kernels may have `most` rows and columns."""
    for name, kernel, stride, dilation, before, size, count in (
            ("y", window.kh, window.sy, window.dy, window.top, source.h, target.h),
            ("x", window.kw, window.sx, window.dx, window.left, source.w, target.w)):
        _require(f"kernel {name}", kernel, most)
        _require(f"stride {name}", stride, MAX_STRIDE)
        _require(f"dilation {name}", dilation, MAX_DILATION)
        furthest = max(size, (count - 1) * stride + (kernel - 1) * dilation)
        _require(f"padded size {name}", max(before, furthest), MAX_COORDINATE)
    _require("words between pixels", max(window.sx, window.dx) * source.blocks, MAX_STEP)


def check_shift(shift: int) -> None:
    """Raise `Unfit` unless the vector unit can shift by `shift`, positive to the left."""
    if not -31 <= shift <= MAX_LEFT_SHIFT:
        raise Unfit(f"a scale must not need a shift outside -31..{MAX_LEFT_SHIFT}, not {shift}")


def without_idle_strides(window: Window, out: Image) -> Window:
    """Return `window` with stride 1 along axes of a single output pixel, where the stride means nothing."""
    return window._replace(sy=window.sy if out.h > 1 else 1, sx=window.sx if out.w > 1 else 1)


def _require(what: str, value: int, most: int) -> None:
    if value > most:
        raise Unfit(f"{what} must be at most {most}, not {value}")
