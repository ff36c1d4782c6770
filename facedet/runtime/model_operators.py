"""The operators of TFLite that this project's files are made of: of each, its options, and the shapes and types that it makes of its inputs'.

Numbers and options: tensorflow/compiler/mlir/lite/schema/schema.fbs. What TensorFlow 2.20's converter writes for a network's layers and for
the tail that decodes and suppresses; any other is refused.
"""

from collections.abc import Callable, Container
from typing import NamedTuple

import numpy as np

from facedet.runtime.suppression import MAX_DETECTIONS

FLOAT32, FLOAT16, INT32, UINT8, INT8 = 0, 1, 2, 3, 9
MAX_BOXES = 2**18  # that are suppressed at once: it takes time by their number times that of those kept
_MAX_WINDOW = 16  # of pooling, a side


class Operator(NamedTuple):
    """options: the type of its options, 0 for none.  counts: how many inputs it may have.

    shapes(options, shapes, values): of the inputs, values None where one is no constant -> the shapes of its outputs.
    What does not fit raises ValueError, IndexError, TypeError, AttributeError or OverflowError.
    types(number of inputs, number of outputs): the types that inputs and outputs may have, in that order.
    """

    name: str
    options: int
    counts: Container[int]
    shapes: Callable
    types: Callable


def _require(holds) -> None:
    if not holds:
        raise ValueError("it does not fit")


def _same(options, shapes, values):
    return [shapes[0]]


def _broadcast(options, shapes, values):
    return [np.broadcast_shapes(*shapes)]


def _pad(options, shapes, values):
    before, after = values[1].astype(np.int64).T
    _require(min(*before, *after) >= 0)
    return [tuple((np.asarray(shapes[0]) + before + after).tolist())]


def _axis(axis: int, rank: int) -> int:
    """Counted from the front; IndexError where there is none."""
    return range(rank)[axis]


def _concatenation(options, shapes, values):
    axis = _axis(options.axis, len(shapes[0]))
    _require(all(shape[:axis] + shape[axis + 1 :] == shapes[0][:axis] + shapes[0][axis + 1 :] for shape in shapes))
    return [(*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])]


def _convolution(options, shapes, values):
    (batch, height, width, channels), (depth, rows, columns, filters), bias = shapes
    if hasattr(options, "multiplier"):
        _require(depth == 1 and filters == channels * options.multiplier)
    else:
        depth, filters = filters, depth
        _require(depth == channels)
    _require(bias == (filters,))
    height = _steps(height, rows, options.stride_h, options.dilation_h, options.padding)
    return [(batch, height, _steps(width, columns, options.stride_w, options.dilation_w, options.padding), filters)]


def _pool(options, shapes, values):
    batch, height, width, channels = shapes[0]
    _require(1 <= options.window_h <= _MAX_WINDOW and 1 <= options.window_w <= _MAX_WINDOW)
    height = _steps(height, options.window_h, options.stride_h, 1, options.padding)
    return [(batch, height, _steps(width, options.window_w, options.stride_w, 1, options.padding), channels)]


def _steps(side: int, kernel: int, stride: int, dilation: int, padding: int) -> int:
    _require(1 <= stride <= 16 and 1 <= dilation <= 16 and padding in (0, 1))
    return -(-side // stride) if padding == 0 else -(-(side - dilation * (kernel - 1)) // stride)


def _reshape(options, shapes, values):
    _require(len(shapes[1]) == 1)
    return [_blank(shapes[0]).reshape(values[1].tolist()).shape]


def _resize(options, shapes, values):
    height, width = values[1].tolist()
    _require(not (options.align_corners and options.half_pixel_centers))
    return [(shapes[0][0], height, width, shapes[0][3])]


def _strided_slice(options, shapes, values):
    places = []
    for i, (begin, end, step) in enumerate(zip(*(v.tolist() for v in values[1:]), strict=True)):
        from_edge, to_edge, one = (mask >> i & 1 for mask in (options.begin_mask, options.end_mask, options.shrink_mask))
        _require(step >= 1 or (step == -1 and from_edge and to_edge and not one))
        _require(not one or (step == 1 and not from_edge))
        places.append(begin if one else slice(None if from_edge else begin, None if to_edge else end, step))
    _require(len(places) == len(shapes[0]))
    return [_blank(shapes[0])[tuple(places)].shape]


def _blank(shape) -> np.ndarray:
    """Of this shape, in one byte."""
    return np.broadcast_to(np.uint8(0), shape)


def _softmax(options, shapes, values):
    _require(0 < options.beta <= 100)
    return [shapes[0]]


def _transpose(options, shapes, values):
    order = values[1].tolist()
    _require(sorted(order) == list(range(len(shapes[0]))))
    return [tuple(shapes[0][i] for i in order)]


def _split(options, shapes, values):
    """Of equal parts: the axis stands first."""
    axis, whole = _axis(int(values[0].item()), len(shapes[1])), shapes[1]
    _require(1 <= options.parts <= 16 and whole[axis] % options.parts == 0)
    return [(*whole[:axis], whole[axis] // options.parts, *whole[axis + 1 :])] * options.parts


def _split_sizes(options, shapes, values):
    axis, sizes, whole = _axis(int(values[2].item()), len(shapes[0])), values[1].tolist(), shapes[0]
    _require(len(sizes) == options.parts <= 16 and min(sizes) >= 1 and sum(sizes) == whole[axis])
    return [(*whole[:axis], size, *whole[axis + 1 :]) for size in sizes]


def _pack(options, shapes, values):
    axis = _axis(options.axis, len(shapes[0]) + 1)
    _require(options.count == len(shapes) and set(shapes) == {shapes[0]})
    return [(*shapes[0][:axis], len(shapes), *shapes[0][axis:])]


def _unpack(options, shapes, values):
    axis = _axis(options.axis, len(shapes[0]))
    _require(options.count == shapes[0][axis] <= 16)
    return [shapes[0][:axis] + shapes[0][axis + 1 :]] * options.count


def _gather(options, shapes, values):
    """Where its indices come from is checked with the graph."""
    axis = _axis(options.axis, len(shapes[0]))
    _require(options.batch_dims == 0 and len(shapes[1]) == 1)
    return [(*shapes[0][:axis], *shapes[1], *shapes[0][axis + 1 :])]


def _suppression(options, shapes, values):
    """Boxes [N, 4], scores [N], and as constants the most that are kept, the threshold of overlap, that of scores."""
    (count,) = shapes[1]
    most, overlap, least = (value.item() for value in values[2:])  # AttributeError: one is no constant
    _require(shapes[0] == (count, 4) and count <= MAX_BOXES and shapes[2:] == [(), (), ()])
    _require(1 <= most <= MAX_DETECTIONS and 0 <= overlap <= 1 and 0 <= least <= 1)
    return [(most,), ()]


def _float32(inputs, outputs):
    return ((FLOAT32,) * (inputs + outputs),)


def _float32_or_int8(inputs, outputs):
    return (FLOAT32,) * (inputs + outputs), (INT8,) * (inputs + outputs)


def _with_places(*kinds):
    """The first input and the output of one of these types; what lies between says where from and where to."""
    return lambda inputs, outputs: tuple((kind, *(INT32,) * (inputs - 1), kind) for kind in kinds)


def _exactly(*types):
    return lambda inputs, outputs: types


_WEIGHTED = _exactly((FLOAT32,) * 4, (INT8, INT8, INT32, INT8))

# {its number in the schema: what it is}
OPERATORS = {
    0: Operator("ADD", 11, {2}, _broadcast, _float32_or_int8),
    1: Operator("AVERAGE_POOL_2D", 5, {1}, _pool, _float32_or_int8),
    2: Operator("CONCATENATION", 10, range(1, 17), _concatenation, _float32_or_int8),
    3: Operator("CONV_2D", 1, {3}, _convolution, _WEIGHTED),
    4: Operator("DEPTHWISE_CONV_2D", 2, {3}, _convolution, _WEIGHTED),
    6: Operator("DEQUANTIZE", 0, {1}, _same, _exactly((INT8, FLOAT32), (FLOAT16, FLOAT32))),
    14: Operator("LOGISTIC", 0, {1}, _same, _float32_or_int8),
    17: Operator("MAX_POOL_2D", 5, {1}, _pool, _float32_or_int8),
    18: Operator("MUL", 21, {2}, _broadcast, _float32_or_int8),
    19: Operator("RELU", 0, {1}, _same, _float32_or_int8),
    21: Operator("RELU6", 0, {1}, _same, _float32_or_int8),
    22: Operator("RESHAPE", 0, {2}, _reshape, _with_places(FLOAT32, INT8, INT32)),
    23: Operator("RESIZE_BILINEAR", 15, {2}, _resize, _with_places(FLOAT32, INT8)),
    25: Operator("SOFTMAX", 9, {1}, _softmax, _float32),
    34: Operator("PAD", 22, {2}, _pad, _with_places(FLOAT32, INT8)),
    36: Operator("GATHER", 23, {2}, _gather, _exactly((FLOAT32, INT32, FLOAT32))),
    39: Operator("TRANSPOSE", 0, {2}, _transpose, _with_places(FLOAT32)),
    41: Operator("SUB", 28, {2}, _broadcast, _float32_or_int8),
    42: Operator("DIV", 29, {2}, _broadcast, _float32),
    45: Operator("STRIDED_SLICE", 32, {4}, _strided_slice, _with_places(FLOAT32, INT8)),
    47: Operator("EXP", 33, {1}, _same, _float32_or_int8),
    49: Operator("SPLIT", 35, {2}, _split, lambda inputs, outputs: ((INT32, FLOAT32, *(FLOAT32,) * outputs),)),
    55: Operator("MAXIMUM", 0, {2}, _broadcast, _float32),
    57: Operator("MINIMUM", 0, {2}, _broadcast, _float32),
    73: Operator("LOG", 0, {1}, _same, _float32),
    75: Operator("SQRT", 0, {1}, _same, _float32),
    83: Operator("PACK", 59, range(1, 17), _pack, _float32),
    88: Operator("UNPACK", 64, {1}, _unpack, _float32),
    97: Operator("RESIZE_NEAREST_NEIGHBOR", 74, {2}, _resize, _with_places(FLOAT32, INT8)),
    102: Operator("SPLIT_V", 79, {3}, _split_sizes, lambda inputs, outputs: ((FLOAT32, INT32, INT32, *(FLOAT32,) * outputs),)),
    114: Operator("QUANTIZE", 0, {1}, _same, _exactly((UINT8, INT8), (FLOAT32, INT8), (INT8, INT8))),
    120: Operator("NON_MAX_SUPPRESSION_V4", 0, {5}, _suppression, _exactly((FLOAT32, FLOAT32, INT32, FLOAT32, FLOAT32, INT32, INT32))),
}  # fmt: skip
