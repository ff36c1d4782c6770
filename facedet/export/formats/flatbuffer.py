"""TFLite flatbuffers as objects: joining two graphs, adding the NMS operator, naming and ordering outputs.

Schema: tensorflow/compiler/mlir/lite/schema/schema.fbs; the operator: tensorflow/lite/kernels/detection_postprocess.cc.
"""

import flatbuffers
import numpy as np
from flatbuffers import flexbuffers
from tensorflow.lite.python import schema_py_generated as schema

NMS_OPERATOR = "TFLite_Detection_PostProcess"
_FILE_IDENTIFIER = b"TFL3"


def unpack(data: bytes) -> schema.ModelT:
    return schema.ModelT.InitFromPackedBuf(data, 0)


def pack(model: schema.ModelT) -> bytes:
    builder = flatbuffers.Builder(2**20)
    builder.Finish(model.Pack(builder), file_identifier=_FILE_IDENTIFIER)
    return bytes(builder.Output())


def signature(model: schema.ModelT) -> tuple[dict[str, int], dict[str, int]]:
    """{name: tensor} of the inputs and of the outputs; a flatbuffer's own lists may be in any order."""
    (definition,) = model.signatureDefs
    return tuple({item.name.decode(): item.tensorIndex for item in items} for items in (definition.inputs, definition.outputs))


def join(body: schema.ModelT, tail: schema.ModelT) -> dict[str, int]:
    """Appends `tail` to `body`: the tail's inputs are the body's outputs of the same names. Returns the tail's outputs."""
    graph, more = body.subgraphs[0], tail.subgraphs[0]
    _, given = signature(body)
    wanted, outputs = signature(tail)
    if set(wanted) != set(given):
        raise ValueError(f"the graphs do not fit: {sorted(given)} against {sorted(wanted)}")
    place = {tensor: given[name] for name, tensor in wanted.items()}
    first_buffer = len(body.buffers)
    body.buffers.extend(tail.buffers)
    for number, tensor in enumerate(more.tensors):
        if number not in place:
            tensor.buffer += first_buffer
            place[number] = len(graph.tensors)
            graph.tensors.append(tensor)
    first_code = len(body.operatorCodes)
    body.operatorCodes.extend(tail.operatorCodes)
    for operator in more.operators:
        operator.opcodeIndex += first_code
        operator.inputs = [place[tensor] if tensor >= 0 else tensor for tensor in operator.inputs]
        operator.outputs = [place[tensor] for tensor in operator.outputs]
        graph.operators.append(operator)
    return {name: place[tensor] for name, tensor in outputs.items()}


def add_nms(model: schema.ModelT, encodings: int, scores: int, anchors_yxhw: np.ndarray, options: dict) -> dict[str, int]:
    """Appends TFLite_Detection_PostProcess. encodings [1, N, 4] and scores [1, N, C] are tensors of the graph.

    anchors_yxhw: float32 [N, 4], centre and size in 0..1.  options: the operator's own, by name.
    Returns its outputs by name, in its order, of static shape.
    """
    graph = model.subgraphs[0]
    detections = options["max_detections"]
    anchors = _add_tensor(model, "anchors", anchors_yxhw.shape, anchors_yxhw.astype(np.float32))
    shapes = {
        "detection_boxes": (1, detections, 4),
        "detection_classes": (1, detections),
        "detection_scores": (1, detections),
        "num_detections": (1,),
    }
    outputs = {name: _add_tensor(model, name, shape) for name, shape in shapes.items()}
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = NMS_OPERATOR, 1
    model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = [encodings, scores, anchors], list(outputs.values())
    builder = flexbuffers.Builder()
    with builder.Map():
        for name, value in options.items():
            builder.Key(name)
            {bool: builder.Bool, int: builder.Int, float: builder.Float}[type(value)](value)
    operator.customOptions = np.frombuffer(bytes(builder.Finish()), np.uint8)
    graph.operators.append(operator)
    return outputs


def finish(model: schema.ModelT, input_name: str, outputs: dict[str, int], description: str, metadata: tuple[str, bytes]) -> bytes:
    """Names the input and the outputs, puts the outputs last among the tensors and in this order, and packs the model.

    Some clients take outputs by ascending tensor index. What no output depends on is left out: MediaPipe 0.10.21 aborts where a
    dequantized head is read by nothing. metadata: its name and content, kept in a buffer of the file.
    """
    graph = model.subgraphs[0]
    inputs, _ = signature(model)
    (input_tensor,) = inputs.values()
    read = _drop_unread_operators(graph, outputs.values()) | {input_tensor}
    order = sorted(read - set(outputs.values())) + list(outputs.values())
    place = {old: new for new, old in enumerate(order)}
    graph.tensors = [graph.tensors[old] for old in order]
    for operator in graph.operators:
        operator.inputs = [place[tensor] if tensor >= 0 else tensor for tensor in operator.inputs]
        operator.outputs = [place[tensor] for tensor in operator.outputs]
    graph.inputs, graph.outputs = [place[input_tensor]], [place[tensor] for tensor in outputs.values()]
    graph.tensors[graph.inputs[0]].name = input_name
    for name, tensor in outputs.items():
        graph.tensors[place[tensor]].name = name
    definition = model.signatureDefs[0]
    definition.inputs = [_tensor_map(input_name, graph.inputs[0])]
    definition.outputs = [_tensor_map(name, place[tensor]) for name, tensor in outputs.items()]
    model.description, model.metadataBuffer = description, []
    _drop_unused_buffers(model)
    entry = schema.MetadataT()
    entry.name, entry.buffer = metadata[0], _add_buffer(model, metadata[1])
    model.metadata = [entry]
    return pack(model)


def operators(data: bytes) -> list[str]:
    """The names of a file's operators, in order."""
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    model = unpack(data)
    codes = []
    for code in model.operatorCodes:
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        codes.append(code.customCode.decode() if builtin == schema.BuiltinOperator.CUSTOM else names[builtin])
    return [codes[operator.opcodeIndex] for operator in model.subgraphs[0].operators]


def _add_tensor(model, name: str, shape, values=None) -> int:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name, list(shape), schema.TensorType.FLOAT32
    tensor.buffer = _add_buffer(model, b"" if values is None else np.ascontiguousarray(values).tobytes())
    model.subgraphs[0].tensors.append(tensor)
    return len(model.subgraphs[0].tensors) - 1


def _add_buffer(model, data: bytes) -> int:
    buffer = schema.BufferT()
    if data:
        buffer.data = np.frombuffer(data, np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def _tensor_map(name: str, tensor: int):
    item = schema.TensorMapT()
    item.name, item.tensorIndex = name, tensor
    return item


def _drop_unread_operators(graph, outputs) -> set[int]:
    """Operators are in the order in which they run. Returns the tensors that remain in use, outputs among them.

    An operator all of whose outputs are unread goes; of one that stays all outputs do.
    """
    read, kept = set(outputs), []
    for operator in reversed(graph.operators):
        if read.intersection(operator.outputs):
            kept.append(operator)
            read.update(tensor for tensor in (*operator.inputs, *operator.outputs) if tensor >= 0)
    graph.operators = kept[::-1]
    return read


def _drop_unused_buffers(model) -> None:
    used = [0] + sorted({tensor.buffer for graph in model.subgraphs for tensor in graph.tensors} - {0})
    place = {old: new for new, old in enumerate(used)}
    model.buffers = [model.buffers[old] for old in used]
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = place[tensor.buffer]
