"""Checks a .tflite before LiteRT opens it, which trusts what it reads: indices, options and sizes of a hostile file kill the process.

Every offset is verified (flatbuffer_reader), then the graph: one input, the operators that this project's exports are made of, each
(model_operators) with the shapes that it makes of its inputs', all of them bounded; scales finite and positive; data as long as its shape says.
"""

import math
import struct

import numpy as np
from flatbuffers import flexbuffers

from facedet.runtime import flatbuffer_reader
from facedet.runtime.flatbuffer_reader import ModelFileError
from facedet.runtime.model_operators import FLOAT16, FLOAT32, INT8, INT32, OPERATORS, UINT8
from facedet.runtime.suppression import MAX_DETECTIONS

MAX_SIDE = 2048  # of the input, pixels
MAX_ELEMENTS = 2**27  # of all tensors together
_DTYPES = {FLOAT32: np.float32, FLOAT16: np.float16, INT32: np.int32, UINT8: np.uint8, INT8: np.int8}
_SCALES = (1e-30, 1e4)  # far beyond what a network has, dead channels with it; past them LiteRT's arithmetic overflows
_MAX_RESCALE = 256.0  # of an operator's integers: XNNPACK's own limit
_POST_PROCESS, _POST_PROCESS_NAME = 32, b"TFLite_Detection_PostProcess"
_POST_PROCESS_OPTIONS = {"max_detections", "detections_per_class", "max_classes_per_detection", "num_classes", "use_regular_nms",
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
        self.index_limits: dict[int, int] = {}  # of tensors that hold indices: all are below

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
            _require(tensor.type not in (INT8, UINT8), f"{where}: int8 without a scale.")
            return
        zero, axis = quantization.zero_point, quantization.dimension
        if not ((scale > _SCALES[0]) & (scale < _SCALES[1])).all():  # nor NaN
            raise ModelFileError(f"{where}: scales from {scale.min()} to {scale.max()}.")
        per_channel = len(scale) > 1
        _require(0 <= axis < max(len(shape), 1), f"{where}: quantized along dimension {axis} of {len(shape)}.")
        _require(
            len(scale) == len(zero) and (not per_channel or len(scale) == shape[axis]), f"{where}: {len(scale)} scales, {len(zero)} zeros."
        )
        limits = {INT8: (-128, 127), UINT8: (0, 255)}.get(tensor.type, (0, 0))
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
        if number == _POST_PROCESS:
            self.check_post_process(f"{where} (CUSTOM)", code, operator)
            return
        _require(number in OPERATORS, f"{where}: operator {number} of TFLite is of no export.")
        kind = OPERATORS[number]
        where = f"{where} ({kind.name})"
        self.check_options(where, operator, kind.options)
        _require(len(operator.inputs) in kind.counts, f"{where}: {len(operator.inputs)} inputs.")
        _require(not len(operator.custom_options), f"{where}: custom options.")
        shapes, made = ([self.shapes[i] for i in indices] for indices in (operator.inputs, operator.outputs))
        values = [self.constants.get(i) for i in operator.inputs]
        try:
            expected = kind.shapes(operator.options, shapes, values)
        except (
            ValueError,
            IndexError,
            TypeError,
            AttributeError,
            ZeroDivisionError,
            OverflowError,
        ):  # that do not fit, a constant that is none
            expected = None
        if expected != made:
            said, do = (", ".join(str(list(shape)) for shape in given) for given in (shapes, made))
            raise ModelFileError(f"{where}: {said} do not make {do}.")
        self.check_types(where, kind, operator)
        if kind.name == "NON_MAX_SUPPRESSION_V4":
            self.index_limits[operator.outputs[0]] = shapes[0][0]
        if kind.name == "GATHER":
            self.check_gathered(where, operator, values[1])

    def check_options(self, where: str, operator, options_type: int) -> None:
        _require(operator.options_type in (0, options_type), f"{where}: options of type {operator.options_type}.")
        _require(
            (operator.options is not None) == bool(operator.options_type) == bool(options_type),
            f"{where}: options are missing or too many.",
        )
        _require(0 <= getattr(operator.options, "activation", 0) <= 3, f"{where}: activation {getattr(operator.options, 'activation', 0)}.")

    def check_gathered(self, where: str, operator, indices) -> None:
        """Indices are constants, or what suppression kept of as many rows or fewer."""
        count = self.shapes[operator.inputs[0]][operator.options.axis]
        within = self.index_limits.get(operator.inputs[1], count + 1) <= count
        if indices is not None:
            within = indices.min() >= 0 and indices.max() < count
        _require(within, f"{where}: its indices are not known to lie below {count}.")

    def check_types(self, where: str, kind, operator) -> None:
        indices = [*operator.inputs, *operator.outputs]
        kinds = tuple(self.tensors[i].type for i in indices)
        _require(kinds in kind.types(len(operator.inputs), len(operator.outputs)), f"{where}: types {kinds}.")
        if INT8 not in kinds:
            return
        scales = [self.tensors[i].quantization.scale if self.tensors[i].type in (INT8, UINT8) else [1] for i in indices]
        axis = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}.get(kind.name)
        for place, scale in enumerate(scales):
            along = self.tensors[indices[place]].quantization.dimension if len(scale) > 1 else None
            _require(along is None or (place == 1 and along == axis), f"{where}: tensor {indices[place]} has {len(scale)} scales.")
        largest = [float(np.max(scale)) for scale in scales]
        factor = largest[0] * largest[1] if axis is not None else max(largest[:-1])
        _require(factor / largest[-1] < _MAX_RESCALE, f"{where}: it multiplies by {factor / largest[-1]:.3g}.")

    def check_post_process(self, where: str, code, operator) -> None:
        said = f"{code.custom_code[:40]!r}; {_POST_PROCESS_NAME.decode()} is expected."
        _require(code.custom_code == _POST_PROCESS_NAME, f"{where}: {said}")
        self.check_options(where, operator, 0)
        _require(
            len(operator.inputs) == 3 and len(operator.outputs) == 4,
            f"{where}: {len(operator.inputs)} inputs, {len(operator.outputs)} outputs.",
        )
        options = _post_process_options(where, operator.custom_options.tobytes())
        (boxes, scores, anchors), outputs = ([self.shapes[i] for i in part] for part in (operator.inputs, operator.outputs))
        count, most = anchors[0] if anchors else 0, options["max_detections"]
        fits = boxes == (1, count, 4) and scores == (1, count, 1) and anchors == (count, 4)
        _require(fits, f"{where}: boxes {list(boxes)}, scores {list(scores)}, anchors {list(anchors)}.")
        _require(outputs == [(1, most, 4), (1, most), (1, most), (1,)], f"{where}: outputs {outputs} for {most} detections.")
        _require(all(self.tensors[i].type == FLOAT32 for i in [*operator.inputs, *operator.outputs]), f"{where}: all are float32.")


def _post_process_options(where: str, data: bytes) -> dict:
    """The operator's options, read without a step into nested values and then written anew: that gives the same bytes, or they are refused."""
    try:
        root = flexbuffers.GetRoot(data)
        _require(len(data) <= 1024 and root.IsMap and len(root.AsMap) == len(_POST_PROCESS_OPTIONS), f"{where}: options of another form.")
        options = {}
        for key, value in zip(root.AsMap.Keys, root.AsMap.Values, strict=True):
            options[key.AsKey] = value.AsBool if value.IsBool else value.AsInt if value.IsInt else value.AsFloat
    except (ValueError, LookupError, TypeError, OverflowError, MemoryError, struct.error) as error:
        raise ModelFileError(f"{where}: its options are damaged: {error}") from error
    _require(options.keys() == _POST_PROCESS_OPTIONS, f"{where}: options {sorted(options)}.")
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
