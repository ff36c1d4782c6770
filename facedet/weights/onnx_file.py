"""Reads the convolutional network of an ONNX file: its operations, how they are connected, and their weights.

The file's format is a protocol buffer. The few of its messages and fields that are needed are declared here for the protobuf that
TensorFlow brings anyway, so that nobody has to install the onnx package to start from a published network.
"""

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from facedet.weights.graph import PICTURE, Norm, Operation, Weights, WeightsError

# From ONNX's specification, onnx.proto3: message -> {field: (number, type, repeated)}; a type in capitals is a message.
_MESSAGES = {
    "Model": {"graph": (7, "Graph", False)},
    "Graph": {"node": (1, "Node", True), "initializer": (5, "Tensor", True), "input": (11, "Value", True)},
    "Node": {"input": (1, "string", True), "output": (2, "string", True), "name": (3, "string", False), "op_type": (4, "string", False),
             "attribute": (5, "Attribute", True)},
    "Attribute": {"name": (1, "string", False), "f": (2, "float", False), "i": (3, "int64", False), "t": (5, "Tensor", False),
                  "ints": (8, "int64", True)},
    "Tensor": {"dims": (1, "int64", True), "data_type": (2, "int32", False), "float_data": (4, "float", True), "name": (8, "string", False),
               "raw_data": (9, "bytes", False), "data_location": (14, "int32", False)},
    "Value": {"name": (1, "string", False)},
}  # fmt: skip
_FLOATS = {1: np.dtype("<f4"), 10: np.dtype("<f2"), 11: np.dtype("<f8")}  # data_type
_KEPT = {"Relu": "relu", "Add": "add", "Concat": "concat", "MaxPool": "max_pool"}
# What neither computes nor joins: values go through, or lead from the last convolutions to the file's outputs.
_PASSED = ("Identity", "Dropout", "Pad", "Resize", "Upsample", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Softmax",
           "Sigmoid", "Cast", "Slice")  # fmt: skip
_SHAPES = ("Shape", "Gather")


def _model_class():
    file = descriptor_pb2.FileDescriptorProto(name="facedet/onnx_subset.proto", package="facedet.onnx", syntax="proto2")
    kind = descriptor_pb2.FieldDescriptorProto
    for name, fields in _MESSAGES.items():
        declared = file.message_type.add(name=name)
        for field, (number, type_name, repeated) in fields.items():
            added = declared.field.add(name=field, number=number, label=kind.LABEL_REPEATED if repeated else kind.LABEL_OPTIONAL)
            if type_name in _MESSAGES:
                added.type, added.type_name = kind.TYPE_MESSAGE, f".facedet.onnx.{type_name}"
            else:
                added.type = getattr(kind, f"TYPE_{type_name.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("facedet.onnx.Model"))


Model = _model_class()


def read(path: str) -> list[Operation]:
    """The operations of a file up to its last convolutions, in its order.

    Batch norms are parts of their convolutions. WeightsError names the file for what is no ONNX file and for operators and tensors
    that no network here has.
    """
    try:
        with open(path, "rb") as file:
            model = Model.FromString(file.read())
    except (OSError, message.DecodeError) as error:
        raise WeightsError(f"{path} cannot be read as an ONNX file: {error}") from error
    if not model.graph.node:
        raise WeightsError(f"{path} cannot be read as an ONNX file: there is no graph in it.")
    try:
        return _operations(model.graph)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _operations(graph) -> list[Operation]:
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    tensors |= {n.output[0]: a.t for n in graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"}
    leads_from = {value.name: PICTURE for value in graph.input if value.name not in tensors}
    found: list[Operation] = []
    for node in graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        given = [name for name in node.input if name in leads_from]
        if node.op_type == "Conv":
            found.append(_convolution(node, attributes, tensors, (leads_from[node.input[0]],)))
        elif node.op_type == "BatchNormalization":
            _add_norm(found, leads_from[node.input[0]], node, attributes, tensors)
            leads_from[node.output[0]] = leads_from[node.input[0]]
            continue
        elif node.op_type in _KEPT and len(given) == len(node.input):
            found.append(Operation(node.name or node.output[0], _KEPT[node.op_type], tuple(leads_from[name] for name in given)))
        elif node.op_type in _SHAPES or not given:
            continue  # numbers, from which nothing of the picture leads on
        elif node.op_type in _PASSED or _is_times_one(node, tensors):
            leads_from[node.output[0]] = leads_from[given[0]]
            continue
        else:
            raise WeightsError(f"operator {node.op_type} ({node.name or node.output[0]}) is one that no network here has.")
        leads_from[node.output[0]] = len(found) - 1
    return found


def _convolution(node, attributes: dict, tensors: dict, sources: tuple[int, ...]) -> Operation:
    kernel = _floats(tensors, node.input[1]).transpose(2, 3, 1, 0)  # to height, width, in, out
    groups = attributes["group"].i if "group" in attributes else 1
    if groups > 1:
        if groups != kernel.shape[3] or kernel.shape[2] != 1:
            raise WeightsError(f"Conv {node.name or node.output[0]}: {groups} groups of several channels are in no network here.")
        kernel = kernel.transpose(0, 1, 3, 2)
    stride, dilation = (tuple(attributes[name].ints) if name in attributes else (1, 1) for name in ("strides", "dilations"))
    bias = _floats(tensors, node.input[2]) if len(node.input) > 2 else None
    kind = "depthwise" if groups > 1 else "convolution"
    return Operation(node.name or node.output[0], kind, sources, (kernel.shape, stride, dilation), Weights(kernel, bias, None))


def _is_times_one(node, tensors: dict) -> bool:
    factors = [_floats(tensors, name) for name in node.input if name in tensors]
    return node.op_type == "Mul" and len(factors) == 1 and bool((factors[0] == 1).all())


def _add_norm(found: list[Operation], at: int, node, attributes: dict, tensors: dict) -> None:
    if at == PICTURE or found[at].weights is None or found[at].weights.norm is not None:
        raise WeightsError(f"BatchNormalization {node.name or node.output[0]} does not follow a convolution.")
    epsilon = attributes["epsilon"].f if "epsilon" in attributes else 1e-5
    found[at].weights.norm = Norm(*(_floats(tensors, name) for name in node.input[1:5]), epsilon)


def _floats(tensors: dict, name: str) -> np.ndarray:
    if name not in tensors:
        raise WeightsError(f"{name}, the weights of an operator, are not in the file but computed.")
    tensor = tensors[name]
    if tensor.data_type not in _FLOATS or tensor.data_location:
        raise WeightsError(f"{name}: weights are wanted as floats in the file itself.")
    values = np.frombuffer(tensor.raw_data, _FLOATS[tensor.data_type]) if tensor.raw_data else np.asarray(tensor.float_data)
    if values.size != np.prod(tensor.dims, dtype=int):
        raise WeightsError(f"{name} has {values.size} numbers where {list(tensor.dims)} are wanted.")
    return values.reshape(tensor.dims).astype(np.float32)
