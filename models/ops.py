"""Golden operators: NHWC int8 arrays and explicit integer parameters in, int8 arrays out.

They define what every device of the project must answer, and equal TFLite Micro's reference kernels byte for byte.
Scales enter as (M, s) pairs from `quantise.quantize_multiplier`; `act_min` and `act_max` come from
`quantise.activation_range`.
"""

from .ops_conv import conv2d, depthwise_conv2d, fully_connected
from .ops_elementwise import AddParams, add, dequantize, pad, quantize, requantize_tensor, reshape
from .ops_geometry import out_size, same_padding
from .ops_reduce import average_pool2d, fold_mean, max_pool2d, mean
from .softmax import softmax

__all__ = [
    "AddParams",
    "add",
    "average_pool2d",
    "conv2d",
    "depthwise_conv2d",
    "dequantize",
    "fold_mean",
    "fully_connected",
    "max_pool2d",
    "mean",
    "out_size",
    "pad",
    "quantize",
    "requantize_tensor",
    "reshape",
    "same_padding",
    "softmax",
]
