"""Well-known architectures, and one matrix product, as `layers`; each function returns the last layer.

They end with the logits. Geometry is TensorFlow's: SAME padding, whose odd pixel goes after the image.
"""

from __future__ import annotations

from .layers import (
    Layer,
    add,
    concat,
    conv,
    dense,
    depthwise,
    flatten,
    global_average,
    image,
    max_pool,
    upsample,
    vector,
)

_MOBILENET_V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
# Expansion, channels, blocks, stride of the first block, kernel.
_MOBILENET_V2 = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 32, 3, 2, 3), (6, 64, 4, 2, 3), (6, 96, 3, 1, 3),
                 (6, 160, 3, 2, 3), (6, 320, 1, 1, 3))
_EFFICIENTNET_LITE0 = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5),
                       (6, 192, 4, 2, 5), (6, 320, 1, 1, 3))
_VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions before a pooling
_RESNET50 = ((64, 3), (128, 4), (256, 6), (512, 3))  # channels inside a bottleneck, blocks


def resnet50(size: int = 224, width: float = 1.0, classes: int = 1000) -> Layer:
    """ResNet-50 v1.5, whose strides are in the 3x3 convolutions."""
    x = conv(image(size, size, 3), _scaled(64, width), 7, 2, "RELU")
    x = max_pool(x, 3, 2)
    for stage, (channels, blocks) in enumerate(_RESNET50):
        inner = _scaled(channels, width)
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            y = conv(x, inner, 1, 1, "RELU")
            y = conv(y, inner, 3, stride, "RELU")
            y = conv(y, 4 * inner)
            x = add(y, x if block else conv(x, 4 * inner, 1, stride), "RELU")
    return dense(global_average(x), classes)


def mobilenet_v1(size: int = 224, width: float = 1.0, classes: int = 1000) -> Layer:
    """MobileNetV1: depthwise-separable blocks."""
    x = conv(image(size, size, 3), _scaled(32, width), 3, 2, "RELU6")
    for channels, stride in _MOBILENET_V1:
        x = conv(depthwise(x, 3, stride, "RELU6"), _scaled(channels, width), activation="RELU6")
    return dense(global_average(x), classes)


def mobilenet_v2(size: int = 224, width: float = 1.0, classes: int = 1000) -> Layer:
    """MobileNetV2: inverted residuals."""
    return _inverted_residuals(_MOBILENET_V2, size, width, classes)


def efficientnet_lite0(size: int = 224, width: float = 1.0, classes: int = 1000) -> Layer:
    """EfficientNet-Lite0: inverted residuals, 3x3 and 5x5."""
    return _inverted_residuals(_EFFICIENTNET_LITE0, size, width, classes)


def vgg16(size: int = 224, width: float = 1.0, classes: int = 1000) -> Layer:
    """VGG-16: 3x3 convolutions, large dense layers."""
    x = image(size, size, 3)
    for channels, convolutions in _VGG16:
        for _ in range(convolutions):
            x = conv(x, _scaled(channels, width), 3, 1, "RELU")
        x = max_pool(x)
    x = flatten(x)
    for _ in range(2):
        x = dense(x, _scaled(4096, width), "RELU")
    return dense(x, classes)


def unet(size: int = 128, channels: int = 16, depth: int = 3, classes: int = 8) -> Layer:
    """U-Net: transposed convolutions, concatenated skips.

    `depth` is the number of times that the image is halved and doubled again.
    """
    if size % (1 << depth):
        raise ValueError(f"size of a U-Net of depth {depth} must be a multiple of {1 << depth}, not {size}")
    x = _double(image(size, size, 3), channels)
    skips = []
    for level in range(1, depth + 1):
        skips.append(x)
        x = _double(max_pool(x), channels << level)
    for level in reversed(range(depth)):
        # CONCATENATION copies bytes, so both its inputs have the skip's scale; it has no negative numbers, and what
        # the transposed convolution saturates there is a ReLU.
        up = upsample(x, channels << level, like=skips[level])
        x = _double(concat((skips[level], up)), channels << level)
    return conv(x, classes)


def ds_cnn(classes: int = 12) -> Layer:
    """DS-CNN of MLPerf Tiny, keyword spotting."""
    x = conv(image(49, 10, 1), 64, (10, 4), 2, "RELU")
    for _ in range(4):
        x = conv(depthwise(x, 3, 1, "RELU"), 64, activation="RELU")
    return dense(global_average(x), classes)


def resnet8(size: int = 32, classes: int = 10) -> Layer:
    """ResNet-8 of MLPerf Tiny, CIFAR-10 images."""
    x = conv(image(size, size, 3), 16, 3, 1, "RELU")
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        y = conv(conv(x, channels, 3, stride, "RELU"), channels, 3)
        x = add(y, x if stride == 1 else conv(x, channels, 1, stride), "RELU")
    return dense(global_average(x), classes)


def autoencoder() -> Layer:
    """Autoencoder of MLPerf Tiny, anomaly detection."""
    x = vector(640)
    for features in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = dense(x, features, "RELU")
    return dense(x, 640)


def gemm(n: int = 64) -> Layer:
    """Product of two n x n matrices.

    A 1x1 convolution of n pixels with n channels into n channels.
    """
    return conv(image(1, n, n), n)


def _inverted_residuals(stages: tuple[tuple[int, int, int, int, int], ...], size: int, width: float,
                        classes: int) -> Layer:
    x = conv(image(size, size, 3), _scaled(32, width), 3, 2, "RELU6")
    for expansion, channels, blocks, first_stride, kernel in stages:
        outputs = _scaled(channels, width)
        for stride in (first_stride, *(1,) * (blocks - 1)):
            y = conv(x, x.shape[3] * expansion, activation="RELU6") if expansion > 1 else x
            y = conv(depthwise(y, kernel, stride, "RELU6"), outputs)
            x = add(y, x) if x.shape == y.shape else y
    x = conv(x, max(1280, _scaled(1280, width)), activation="RELU6")
    return dense(global_average(x), classes)


def _double(x: Layer, channels: int) -> Layer:
    return conv(conv(x, channels, 3, 1, "RELU"), channels, 3, 1, "RELU")


def _scaled(channels: int, width: float) -> int:
    """Return a number of channels times `width` as a multiple of 8, at least 90 % of it, as MobileNets round."""
    rounded = max(8, int(channels * width + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels * width else rounded + 8
