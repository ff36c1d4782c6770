"""Checks a .tflite before LiteRT opens it, which trusts what it reads: indices, options and sizes of a hostile file kill the process.

Every offset is verified (flatbuffer_reader), then the graph: one input, the operators that this project's exports are made of, each
with the shapes that it makes of its inputs', all of them bounded; scales finite and positive; data as long as its shape says.
"""

import math
import struct

import numpy as np
from flatbuffers import flexbuffers

from facedet.runtime import flatbuffer_reader
from facedet.runtime.flatbuffer_reader import ModelFileError

MAX_SIDE = 2048  # of the input, pixels
MAX_ELEMENTS = 2**27  # of all tensors together
MAX_DETECTIONS = 10_000
_FLOAT32, _FLOAT16, _INT32, _UINT8, _INT8 = 0, 1, 2, 3, 9
_DTYPES = {_FLOAT32: np.float32, _FLOAT16: np.float16, _INT32: np.int32, _UINT8: np.uint8, _INT8: np.int8}
_SCALES = (1e-30, 1e4)  # far beyond what a network has, dead channels with it; past them LiteRT's arithmetic overflows
_MAX_RESCALE = 256.0  # of an operator's integers: XNNPACK's own limit
_CUSTOM, _NMS_NAME = 32, b"TFLite_Detection_PostProcess"
_NMS_OPTIONS = {"max_detections", "detections_per_class", "max_classes_per_detection", "num_classes", "use_regular_nms",
                "nms_score_threshold", "nms_iou_threshold", "y_scale", "x_scale", "h_scale", "w_scale"}  # fmt: skip


def check(data: bytes) -> None:
    """data: a whole .tflite. Raises ModelFileError where LiteRT might do worse than refuse it. About 14 ms of processor time for 2 MB."""
    model = flatbuffer_reader.read(data)
    _require(model.version == 3, f"version {model.version} of the format, not 3.")
    _require(len(model.subgraphs) == 1, f"{len(model.subgraphs)} graphs, not 1.")
    _Graph(model).check()


def _require(holds, message: str) -> None:
    if not holds:
        raise ModelFileError(message)


class _Graph:
    def __init__(self, model):
        self.model, graph = model, model.subgraphs[0]
        self.tensors, self.operators, self.inputs, self.outputs = graph.tensors, graph.operators, graph.inputs, graph.outputs
        self.constants: dict[int, np.ndarray] = {}
        self.shapes: list[tuple[int, ...]] = []

    def check(self) -> None:
        elements = 0
        for number, tensor in enumerate(self.tensors):
            elements += self.check_tensor(number, tensor)
            _require(elements <= MAX_ELEMENTS, f"its tensors have more than {MAX_ELEMENTS} elements.")
        for indices in (self.inputs, self.outputs):
            self.check_indices("the graph", indices)
        (image,) = self.inputs if len(self.inputs) == 1 else (None,)
        shape = self.shapes[image] if image is not None else ()
        fits = len(shape) == 4 and shape[0] == 1 and shape[3] == 3 and max(shape) <= MAX_SIDE and image not in self.constants
        _require(fits, f"its input is {list(shape)}; one of 1, height, width, 3 is expected, at most {MAX_SIDE} pixels a side.")
        ready = {image, *self.constants}
        for number, operator in enumerate(self.operators):
            where = f"operator {number}"
            self.check_indices(where, [*operator.inputs, *operator.outputs])
            _require(ready.issuperset(operator.inputs), f"{where}: an input of it is made by no operator before.")
            _require(len({*operator.outputs} - ready) == len(operator.outputs), f"{where}: its output is made already.")
            ready |= {*operator.outputs}
            self.check_operator(where, operator)
        _require(ready.issuperset(self.outputs) and not self.constants.keys() & {*self.outputs}, "an output is made by no operator.")
        self.check_names()

    def check_indices(self, where: str, indices) -> None:
        if not all(0 <= i < len(self.tensors) for i in indices):
            raise ModelFileError(f"{where}: {[*map(int, indices)]} are not all of its {len(self.tensors)} tensors.")

    def check_tensor(self, number: int, tensor) -> int:
        """Returns the number of its elements."""
        where, shape = f"tensor {number}", tuple(tensor.shape.tolist())
        _require(tensor.type in _DTYPES, f"{where}: type {tensor.type} is of no export.")
        _require(len(shape) <= 4 and min(shape, default=1) > 0, f"{where}: shape {list(shape)}.")
        elements = math.prod(shape)
        _require(elements <= MAX_ELEMENTS, f"{where}: shape {list(shape)} is too large.")
        _require(tensor.buffer < len(self.model.buffers), f"{where}: buffer {tensor.buffer} of {len(self.model.buffers)}.")
        data, dtype = self.model.buffers[tensor.buffer].data, np.dtype(_DTYPES[tensor.type])
        if len(data):
            _require(len(data) == elements * dtype.itemsize, f"{where}: {len(data)} bytes of data for shape {list(shape)} of {dtype}.")
            values = data.view(dtype.newbyteorder("<")).reshape(shape)
            _require(dtype.kind != "f" or np.isfinite(values).all(), f"{where}: its data are not all finite.")
            self.constants[number] = values
        self.shapes.append(shape)
        self.check_quantization(where, tensor, shape)
        return elements

    def check_quantization(self, where: str, tensor, shape) -> None:
        quantization = tensor.quantization
        scale = quantization.scale if quantization else ()
        if not len(scale):
            _require(tensor.type not in (_INT8, _UINT8), f"{where}: int8 without a scale.")
            return
        zero, axis = quantization.zero_point, quantization.dimension
        if not ((scale > _SCALES[0]) & (scale < _SCALES[1])).all():  # nor NaN
            raise ModelFileError(f"{where}: scales from {scale.min()} to {scale.max()}.")
        per_channel = len(scale) > 1
        _require(0 <= axis < max(len(shape), 1), f"{where}: quantized along dimension {axis} of {len(shape)}.")
        _require(
            len(scale) == len(zero) and (not per_channel or len(scale) == shape[axis]), f"{where}: {len(scale)} scales, {len(zero)} zeros."
        )
        limits = {_INT8: (-128, 127), _UINT8: (0, 255)}.get(tensor.type, (0, 0))
        if zero.min() < limits[0] or zero.max() > limits[1]:
            raise ModelFileError(f"{where}: zero points from {zero.min()} to {zero.max()}.")

    def check_names(self) -> None:
        """What lies beside the graph: metadata and signatures."""
        buffers = len(self.model.buffers)
        _require(
            all(0 <= i < buffers for i in [*(m.buffer for m in self.model.metadata), *self.model.metadata_buffer]),
            "its metadata lie in no buffer.",
        )
        for signature in self.model.signatures:
            _require(signature.subgraph == 0, f"a signature of graph {signature.subgraph}.")
            self.check_indices("a signature", [item.tensor for item in signature.inputs + signature.outputs])

    def check_operator(self, where: str, operator) -> None:
        _require(operator.opcode < len(self.model.operator_codes), f"{where}: code {operator.opcode} of {len(self.model.operator_codes)}.")
        code = self.model.operator_codes[operator.opcode]
        number = max(code.code, code.deprecated_code)
        _require(number in _OPERATORS, f"{where}: operator {number} of TFLite is of no export.")
        name, options_type, counts, rule = _OPERATORS[number]
        where = f"{where} ({name})"
        _require(operator.options_type in (0, options_type), f"{where}: options of type {operator.options_type}.")
        _require(
            (operator.options is not None) == bool(operator.options_type) == bool(options_type),
            f"{where}: options are missing or too many.",
        )
        _require(len(operator.inputs) in counts, f"{where}: {len(operator.inputs)} inputs.")
        _require(len(operator.outputs) == (4 if number == _CUSTOM else 1), f"{where}: {len(operator.outputs)} outputs.")
        _require(0 <= getattr(operator.options, "activation", 0) <= 3, f"{where}: activation {getattr(operator.options, 'activation', 0)}.")
        if number == _CUSTOM:
            _require(code.custom_code == _NMS_NAME, f"{where}: {code.custom_code[:40]!r}; {_NMS_NAME.decode()} is expected.")
            self.check_nms(where, operator)
            return
        _require(not len(operator.custom_options), f"{where}: custom options.")
        shapes = [self.shapes[i] for i in operator.inputs]
        values = [self.constants.get(i) for i in operator.inputs]
        try:
            expected = rule(operator.options, shapes, values)
        except (ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError):  # shapes that do not fit, a constant that is none
            expected = None
        (output,) = operator.outputs
        if expected != self.shapes[output]:
            said = ", ".join(str(list(shape)) for shape in shapes)
            raise ModelFileError(f"{where}: {said} do not make {list(self.shapes[output])}.")
        self.check_types(where, name, [*operator.inputs, output])

    def check_types(self, where: str, name: str, indices) -> None:
        kinds = tuple(self.tensors[i].type for i in indices)
        _require(kinds in _types(name, len(kinds)), f"{where}: types {kinds}.")
        if _INT8 not in kinds:
            return
        scales = [self.tensors[i].quantization.scale if self.tensors[i].type in (_INT8, _UINT8) else [1] for i in indices]
        axis = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}.get(name)
        for place, scale in enumerate(scales):
            along = self.tensors[indices[place]].quantization.dimension if len(scale) > 1 else None
            _require(along is None or (place == 1 and along == axis), f"{where}: tensor {indices[place]} has {len(scale)} scales.")
        largest = [float(np.max(scale)) for scale in scales]
        factor = largest[0] * largest[1] if axis is not None else max(largest[:-1])
        _require(factor / largest[-1] < _MAX_RESCALE, f"{where}: it multiplies by {factor / largest[-1]:.3g}.")

    def check_nms(self, where: str, operator) -> None:
        options = _nms_options(where, operator.custom_options.tobytes())
        (boxes, scores, anchors), outputs = ([self.shapes[i] for i in part] for part in (operator.inputs, operator.outputs))
        count, most = anchors[0] if anchors else 0, options["max_detections"]
        fits = boxes == (1, count, 4) and scores == (1, count, 1) and anchors == (count, 4)
        _require(fits, f"{where}: boxes {list(boxes)}, scores {list(scores)}, anchors {list(anchors)}.")
        _require(outputs == [(1, most, 4), (1, most), (1, most), (1,)], f"{where}: outputs {outputs} for {most} detections.")
        _require(all(self.tensors[i].type == _FLOAT32 for i in [*operator.inputs, *operator.outputs]), f"{where}: all are float32.")


def _nms_options(where: str, data: bytes) -> dict:
    """The operator's options, read without a step into nested values and then written anew: that gives the same bytes, or they are refused."""
    try:
        root = flexbuffers.GetRoot(data)
        _require(len(data) <= 1024 and root.IsMap and len(root.AsMap) == len(_NMS_OPTIONS), f"{where}: options of another form.")
        options = {}
        for key, value in zip(root.AsMap.Keys, root.AsMap.Values, strict=True):
            options[key.AsKey] = value.AsBool if value.IsBool else value.AsInt if value.IsInt else value.AsFloat
    except (ValueError, LookupError, TypeError, OverflowError, MemoryError, struct.error) as error:
        raise ModelFileError(f"{where}: its options are damaged: {error}") from error
    _require(options.keys() == _NMS_OPTIONS, f"{where}: options {sorted(options)}.")
    _require({*map(type, options.values())} <= {bool, int, float}, f"{where}: an option of it is no number.")
    order = sorted(options, key=lambda key: data.find(key.encode() + b"\0"))  # as they were written
    builder = flexbuffers.Builder()
    with builder.Map():
        for key in order:
            builder.Key(key)
            {bool: builder.Bool, int: builder.Int, float: builder.Float}[type(options[key])](options[key])
    _require(bytes(builder.Finish()) == data, f"{where}: its options are damaged.")
    for name in ("max_detections", "detections_per_class"):
        _require(type(options[name]) is int and 1 <= options[name] <= MAX_DETECTIONS, f"{where}: {name} {options[name]}.")
    for name, value in (("max_classes_per_detection", 1), ("num_classes", 1), ("use_regular_nms", False)):
        _require(type(options[name]) is type(value) and options[name] == value, f"{where}: {name} {options[name]}; {value} is expected.")
    for name in ("nms_score_threshold", "nms_iou_threshold"):
        _require(type(options[name]) is float and 0 <= options[name] <= 1, f"{where}: {name} {options[name]}.")
    for name in ("y_scale", "x_scale", "h_scale", "w_scale"):
        _require(type(options[name]) is float and 1e-3 <= options[name] <= 1e3, f"{where}: {name} {options[name]}.")
    return options


# The shape that an operator makes of its inputs': options, shapes, values of the constants among them -> shape.


def _same(options, shapes, values):
    return shapes[0]


def _broadcast(options, shapes, values):
    return np.broadcast_shapes(*shapes)


def _pad(options, shapes, values):
    before, after = values[1].astype(np.int64).T
    if min(*before, *after) < 0:
        raise ValueError("negative padding")
    return tuple((np.asarray(shapes[0]) + before + after).tolist())


def _concatenation(options, shapes, values):
    axis = range(len(shapes[0]))[options.axis]
    if any(shape[:axis] + shape[axis + 1 :] != shapes[0][:axis] + shapes[0][axis + 1 :] for shape in shapes):
        raise ValueError("other shapes")
    return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])


def _convolution(options, shapes, values):
    (batch, height, width, channels), (depth, rows, columns, filters), bias = shapes
    if hasattr(options, "multiplier"):
        fits = depth == 1 and filters == channels * options.multiplier
    else:
        depth, filters = filters, depth
        fits = depth == channels
    if not fits or bias != (filters,):
        raise ValueError("other channels")
    height = _steps(height, rows, options.stride_h, options.dilation_h, options.padding)
    return (batch, height, _steps(width, columns, options.stride_w, options.dilation_w, options.padding), filters)


def _steps(side: int, kernel: int, stride: int, dilation: int, padding: int) -> int:
    if not (1 <= stride <= 16 and 1 <= dilation <= 16 and padding in (0, 1)):
        raise ValueError("stride, dilation, padding")
    return -(-side // stride) if padding == 0 else -(-(side - dilation * (kernel - 1)) // stride)


def _reshape(options, shapes, values):
    if len(shapes[1]) != 1:
        raise ValueError("a shape that is no list")
    return np.broadcast_to(np.uint8(0), shapes[0]).reshape(values[1].tolist()).shape


def _resize(options, shapes, values):
    height, width = values[1].tolist()
    return (shapes[0][0], height, width, shapes[0][3])


def _strided_slice(options, shapes, values):
    places = []
    for i, (begin, end, step) in enumerate(zip(*(v.tolist() for v in values[1:]), strict=True)):
        if step < 1:
            raise ValueError("backwards")
        places.append(slice(None if options.begin_mask >> i & 1 else begin, None if options.end_mask >> i & 1 else end, step))
    if len(places) != len(shapes[0]):
        raise ValueError("not every dimension")
    return np.broadcast_to(np.uint8(0), shapes[0])[tuple(places)].shape


# {its number in the schema: name, type of its options, how many inputs, the shape it makes}
_OPERATORS = {
    0: ("ADD", 11, {2}, _broadcast),
    2: ("CONCATENATION", 10, range(1, 17), _concatenation),
    3: ("CONV_2D", 1, {3}, _convolution),
    4: ("DEPTHWISE_CONV_2D", 2, {3}, _convolution),
    6: ("DEQUANTIZE", 0, {1}, _same),
    14: ("LOGISTIC", 0, {1}, _same),
    18: ("MUL", 21, {2}, _broadcast),
    22: ("RESHAPE", 0, {2}, _reshape),
    34: ("PAD", 22, {2}, _pad),
    41: ("SUB", 28, {2}, _broadcast),
    45: ("STRIDED_SLICE", 32, {4}, _strided_slice),
    47: ("EXP", 33, {1}, _same),
    97: ("RESIZE_NEAREST_NEIGHBOR", 74, {2}, _resize),
    114: ("QUANTIZE", 0, {1}, _same),
    _CUSTOM: ("CUSTOM", 0, {3}, None),
}


def _types(name: str, count: int) -> tuple[tuple[int, ...], ...]:
    """The types of inputs and output that an operator may have."""
    if name == "DEQUANTIZE":
        return (_INT8, _FLOAT32), (_FLOAT16, _FLOAT32)
    if name == "QUANTIZE":
        return (_UINT8, _INT8), (_FLOAT32, _INT8), (_INT8, _INT8)
    if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return (_FLOAT32,) * 4, (_INT8, _INT8, _INT32, _INT8)
    if name in ("RESHAPE", "PAD", "STRIDED_SLICE", "RESIZE_NEAREST_NEIGHBOR"):  # where from, where to: constants
        return tuple((kind, *(_INT32,) * (count - 2), kind) for kind in (_FLOAT32, _INT8))
    return (_FLOAT32,) * count, (_INT8,) * count
