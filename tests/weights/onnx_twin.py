"""ONNX files for the tests: written from a network here, as PyTorch exports one, and run node by node."""

import numpy as np

from facedet.quantization.plan import CONVOLUTIONS, plan
from facedet.weights.onnx_file import Model

import tensorflow as tf  # isort: skip

layers = tf.keras.layers
_TYPES = {1: "<f4", 6: "<i4", 7: "<i8"}  # TensorProto.DataType
X_FIRST = {"box": [1, 0, 3, 2], "points": [1, 0, 3, 2, 5, 4, 7, 6, 9, 8]}


class Twin:
    """network's operations and weights as an ONNX model: NCHW, symmetric pads, heads x before y, joined as exporters do.

    folded: batch norms are in the convolutions' weights; otherwise nodes of their own, of another epsilon.
    """

    def __init__(self, network, folded: bool):
        self.model, self.folded = Model(), folded
        self.graph, self.names = self.model.graph, {id(network.inputs[0]): "input"}
        self.graph.input.add(name="input")
        pads = {}
        for step in plan(network):
            layer, sources = step.layer, [self.names[id(source)] for source in step.sources]
            if isinstance(layer, layers.ZeroPadding2D):
                pads[id(step.target)], name = layer.padding[0][0], sources[0]
            elif isinstance(layer, CONVOLUTIONS):
                pad = (
                    pads.get(id(step.sources[0]), 0)
                    if layer.padding == "valid"
                    else (layer.kernel_size[0] - 1) * layer.dilation_rate[0] // 2
                )
                name = self._convolution(step, sources[0], pad)
            elif isinstance(layer, layers.UpSampling2D):
                name = self.node("Resize", [sources[0], "", self.tensor(np.array([1, 1, 2, 2], np.float32))])
            elif isinstance(layer, layers.MaxPooling2D):
                name = self.node("MaxPool", sources, kernel_shape=[2, 2], strides=[2, 2])
            else:
                kind = {layers.Add: "Add", layers.Concatenate: "Concat", layers.ReLU: "Relu"}[type(layer)]
                name = self.node(kind, sources, **({"axis": 1} if kind == "Concat" else {}))
            if step.activation is not None:
                name = self.node("Relu", [name])
            self.names[id(step.target)] = name
        self.heads = {head: self.names[id(tensor)] for head, tensor in network.output.items()}
        for kind, columns in (("box", 4), ("class", 2), ("points", 10)):
            maps = [self.node("Transpose", [name], perm=[0, 2, 3, 1]) for head, name in self.heads.items() if head.startswith(kind)]
            rows = [self.node("Reshape", [name, self.tensor(np.array([0, -1, columns]))]) for name in maps]
            self.node("Concat", rows, axis=1)

    def tensor(self, values: np.ndarray) -> str:
        kind = 7 if values.dtype == np.int64 else 1
        made = self.graph.initializer.add(name=f"w{len(self.graph.initializer)}", dims=values.shape, data_type=kind)
        made.raw_data = np.ascontiguousarray(values, _TYPES[kind]).tobytes()
        return made.name

    def node(self, kind: str, inputs: list, **attributes) -> str:
        made = self.graph.node.add(op_type=kind, input=inputs, output=[f"t{len(self.graph.node)}"])
        for name, value in attributes.items():
            added = made.attribute.add(name=name)
            if isinstance(value, list):
                added.ints.extend(value)
            elif isinstance(value, float):
                added.f = value
            else:
                added.i = value
        return made.output[0]

    def _convolution(self, step, source: str, pad: int) -> str:
        layer = step.layer
        kernel, *bias = layer.get_weights()
        depthwise = isinstance(layer, layers.DepthwiseConv2D)
        kernel = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(3, 2, 0, 1)
        bias = bias[0] if bias else np.zeros(len(kernel), np.float32)
        kind, is_head, level = layer.name.partition("_head_")
        if is_head and level.isdigit() and kind in X_FIRST:
            columns = X_FIRST[kind]
            order = [first + column for first in range(0, len(kernel), len(columns)) for column in columns]
            kernel, bias = kernel[order], bias[order]
        norm = None
        if step.batch_norm is not None:
            gamma, beta, mean, variance = step.batch_norm.get_weights()
            scale = gamma / np.sqrt(variance + step.batch_norm.epsilon)
            if self.folded:
                kernel, bias = kernel * scale[:, None, None, None], (bias - mean) * scale + beta
            else:
                norm = [scale * np.sqrt(variance + 1e-3), beta, mean, variance]
        inputs = [source, self.tensor(kernel)] + ([self.tensor(bias)] if bias.any() else [])
        stride, dilation = list(layer.strides), list(layer.dilation_rate)
        name = self.node("Conv", inputs, group=len(kernel) if depthwise else 1, strides=stride, dilations=dilation, pads=[pad] * 4)
        if norm is None:
            return name
        return self.node("BatchNormalization", [name, *map(self.tensor, norm)], epsilon=1e-3)

    def write(self, path) -> str:
        path.write_bytes(self.model.SerializeToString())
        return str(path)


def run(path: str, images: np.ndarray) -> list[np.ndarray]:
    """images: [B, H, W, 3] normalized -> what each convolution gives whose channels go to no other one, [B, h, w, c], in the file's order.

    By ONNX's definitions, one node after the other; numbers that nodes compute of shapes are computed too.
    """
    with open(path, "rb") as file:
        graph = Model.FromString(file.read()).graph
    values = {t.name: _array(t) for t in graph.initializer} | {"": None}
    values |= {graph.input[0].name: tf.constant(images.transpose(0, 3, 1, 2))}
    ends = {}
    for node in graph.node:
        attributes = {a.name: a for a in node.attribute}
        given = [values[name] for name in node.input]
        values[node.output[0]] = _OPERATIONS[node.op_type](attributes, *given)
        if node.op_type in ("Conv", "BatchNormalization"):
            ends[node.output[0]] = values[node.output[0]]
        if node.op_type not in ("Transpose", "Shape"):  # how heads are joined, and with which sizes
            for name in node.input:
                ends.pop(name, None)
    return [tf.transpose(end, [0, 2, 3, 1]).numpy() for end in ends.values()]


def _array(tensor) -> np.ndarray:
    return np.frombuffer(tensor.raw_data, _TYPES[tensor.data_type]).reshape(tensor.dims)


def _conv(attributes, x, kernel, bias=None):
    pads, group = attributes["pads"].ints, attributes["group"].i
    x = tf.pad(x, [[0, 0], [0, 0], [pads[0], pads[2]], [pads[1], pads[3]]])
    x, kernel = tf.transpose(x, [0, 2, 3, 1]), kernel.transpose(2, 3, 1, 0)
    stride, dilation = list(attributes["strides"].ints), list(attributes["dilations"].ints)
    if group > 1:
        x = tf.nn.depthwise_conv2d(x, kernel.transpose(0, 1, 3, 2), [1, *stride, 1], "VALID")
    else:
        x = tf.nn.conv2d(x, kernel, stride, "VALID", dilations=dilation)
    x = tf.transpose(x, [0, 3, 1, 2])
    return x if bias is None else x + bias[:, None, None]


def _batch_norm(attributes, x, *parameters):
    gamma, beta, mean, variance = (p[:, None, None] for p in parameters)
    return (x - mean) / np.sqrt(variance + attributes["epsilon"].f) * gamma + beta


def _resize(attributes, x, _, scales=None, sizes=None):
    height, width = sizes[2:] if sizes is not None else (side * int(scale) for side, scale in zip(x.shape[2:], scales[2:], strict=True))
    rows, columns = (np.arange(new) * old // new for new, old in zip((height, width), x.shape[2:], strict=True))
    return tf.gather(tf.gather(x, rows, axis=2), columns, axis=3)


def _concat(attributes, *parts):
    axis = attributes["axis"].i
    return np.concatenate(parts, axis) if all(isinstance(part, np.ndarray) for part in parts) else tf.concat(parts, axis)


def _slice(attributes, x, starts, ends, axes=(0,), steps=(1,)):
    return x[slice(int(starts[0]), int(min(ends[0], len(x))))]


def _max_pool(attributes, x):
    return tf.transpose(tf.nn.max_pool2d(tf.transpose(x, [0, 2, 3, 1]), 2, 2, "VALID"), [0, 3, 1, 2])


_OPERATIONS = {
    "Conv": _conv, "BatchNormalization": _batch_norm, "Resize": _resize, "Concat": _concat, "Slice": _slice, "MaxPool": _max_pool,
    "Relu": lambda a, x: tf.nn.relu(x), "Add": lambda a, x, y: x + y, "Mul": lambda a, x, y: x * y,
    "Transpose": lambda a, x: tf.transpose(x, list(a["perm"].ints)), "Reshape": lambda a, x, shape: tf.reshape(x, [side or x.shape[i] for i, side in enumerate(shape)]),
    "Softmax": lambda a, x: tf.nn.softmax(x), "Shape": lambda a, x: np.array(x.shape, np.int64), "Constant": lambda a: _array(a["value"].t),
    "Gather": lambda a, x, at: np.take(x, at, a["axis"].i if "axis" in a else 0), "Cast": lambda a, x: x,
    "Unsqueeze": lambda a, x, axes: np.expand_dims(x, tuple(int(axis) for axis in axes)),
}  # fmt: skip
