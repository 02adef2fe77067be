"""Golden operators: NHWC int8 arrays and explicit integer parameters in, int8 arrays out.

They define what every device of the project must answer, and equal TFLite Micro's reference kernels byte for byte.
Scales enter as (M, s) pairs from `quantise.quantize_multiplier`; `act_min` and `act_max` come from
`quantise.activation_range`. Unary functions are tables (`ops_unary`); what runs on float32 is in `ops_real`.
"""

from .ops_conv import batch_matmul, conv2d, depthwise_conv2d, fully_connected, transpose_conv2d
from .ops_elementwise import (
    AddParams,
    add,
    dequantize,
    maximum,
    minimum,
    mul,
    prelu,
    quantize,
    requantize_tensor,
    sub,
)
from .ops_geometry import out_size, same_padding
from .ops_move import batch_to_space, concatenate, gather, pad, reshape, slice_, space_to_batch, transpose
from .ops_reduce import arg_max, average_pool2d, fold_mean, max_pool2d, mean, reduce_max, reduce_min, sum_
from .ops_resize import nearest_indices, resize_bilinear, resize_nearest
from .ops_unary import (
    abs_table,
    hard_swish_table,
    leaky_relu_table,
    logistic_table,
    lookup,
    real_table,
    relu_table,
    tanh_table,
)
from .softmax import softmax

__all__ = [
    "AddParams",
    "abs_table",
    "add",
    "arg_max",
    "average_pool2d",
    "batch_matmul",
    "batch_to_space",
    "concatenate",
    "conv2d",
    "depthwise_conv2d",
    "dequantize",
    "fold_mean",
    "fully_connected",
    "gather",
    "hard_swish_table",
    "leaky_relu_table",
    "logistic_table",
    "lookup",
    "max_pool2d",
    "maximum",
    "mean",
    "minimum",
    "mul",
    "nearest_indices",
    "out_size",
    "pad",
    "prelu",
    "quantize",
    "real_table",
    "reduce_max",
    "reduce_min",
    "relu_table",
    "requantize_tensor",
    "reshape",
    "resize_bilinear",
    "resize_nearest",
    "same_padding",
    "slice_",
    "softmax",
    "space_to_batch",
    "sub",
    "sum_",
    "tanh_table",
    "transpose",
    "transpose_conv2d",
]
