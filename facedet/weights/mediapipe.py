"""MediaPipe's own BlazeFace, short range (.tflite, float16 or float32), into detectors.blazeface_short_range."""

import pathlib
import struct

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from facedet.detectors.ssd import BOX, CLASS, POINTS
from facedet.keras2 import keras
from facedet.layers import heads
from facedet.weights.graph import WeightsError

layers = keras.layers
_DTYPES = {schema.TensorType.FLOAT32: "<f4", schema.TensorType.FLOAT16: "<f2"}
_CONVOLUTIONS = {schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D}
_COLUMNS = 16  # of an anchor
_NOT_IT = "it is not MediaPipe's short range"
_DAMAGED = (struct.error, IndexError, ValueError, TypeError, AttributeError, KeyError)  # of flatbuffers and numpy, for damage of every kind


def load(path: str, network: keras.Model) -> int:
    """Gives a network of blazeface_short_range with six points MediaPipe's weights; returns how many convolutions it set.

    The file's convolutions stand in our order; what is reshaped is a head. Its regressors are x, y, width, height and six points x, y. Its batch norms are folded into biases, so ours become these biases. WeightsError for a file that
    cannot be read or is of another network.
    """
    try:
        found = list(_convolutions(pathlib.Path(path).read_bytes()))
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}.") from error
    except _DAMAGED as error:
        raise WeightsError(
            f"{path} is damaged, or no .tflite of float weights ({type(error).__name__}: {error}): take MediaPipe's own file."
        ) from error
    if not isinstance(network.output, dict) or not heads.maps(network.output, POINTS):
        raise WeightsError(
            f"{path}: {network.name} has no heads for points: MediaPipe's file is for blazeface_short_range with six of them."
        )
    levels, body = len(heads.maps(network.output, CLASS)), [weights for weights, is_head in found if not is_head]
    of_classes = [weights for weights, is_head in found if is_head and weights[1].shape[0] % _COLUMNS]
    regressors = [weights for weights, is_head in found if is_head and not weights[1].shape[0] % _COLUMNS]
    ours = [
        layer for layer in network.layers if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D) and layer.name not in network.output
    ]
    counts, expected = tuple(map(len, (body, of_classes, regressors))), (len(ours), levels, levels)
    if counts != expected:
        raise WeightsError(f"{path} has {counts} convolutions of body, class and regressor heads, {network.name} {expected}: {_NOT_IT}.")
    done = 0
    for layer, (kernel, bias) in zip(ours, body, strict=True):
        norm = network.get_layer(f"{layer.name}_BN")
        _set(layer, [kernel], path)
        _set(norm, [np.sqrt(1 + norm.epsilon) * np.ones_like(bias), bias, np.zeros_like(bias), np.ones_like(bias)], path)
        done += 1
    for level in range(levels):
        _set(network.get_layer(f"{CLASS}_head_{level}"), of_classes[level], path)
        for kind, weights in zip((BOX, POINTS), _split(*regressors[level]), strict=True):
            _set(network.get_layer(f"{kind}_head_{level}"), weights, path)
        done += 3
    return done


def _convolutions(data: bytes):
    """((kernel, bias), whether it is a head) of each, in the order in which they run; kernels in Keras's order of dimensions."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]
    kinds = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    reshaped = {op.inputs[0] for op in graph.operators if kinds[op.opcodeIndex] == schema.BuiltinOperator.RESHAPE}
    stored = {op.outputs[0]: op.inputs[0] for op in graph.operators if kinds[op.opcodeIndex] == schema.BuiltinOperator.DEQUANTIZE}

    def values(number: int):
        tensor = graph.tensors[stored.get(number, number)]
        flat = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(_DTYPES[tensor.type])
        return flat.reshape(tensor.shape).astype(np.float32)

    for operator in graph.operators:
        if kinds[operator.opcodeIndex] in _CONVOLUTIONS:
            kernel, bias = map(values, operator.inputs[1:3])
            yield (kernel.transpose(1, 2, 3, 0), bias), operator.outputs[0] in reshaped


def _split(kernel, bias):
    """A head of regressors -> (kernel, bias) of boxes y, x, height, width and of points y, x."""
    swapped = np.arange(_COLUMNS) ^ 1  # y before x
    for part in (swapped[:4], swapped[4:]):
        at = (np.arange(0, bias.shape[0], _COLUMNS)[:, None] + part).ravel()
        yield kernel[..., at], bias[at]


def _set(layer, values, path) -> None:
    shapes, expected = [value.shape for value in values], [tuple(weight.shape) for weight in layer.weights]
    if shapes != expected:
        raise WeightsError(f"{path}: {layer.name} takes {expected}, the file has {shapes}: {_NOT_IT}.")
    layer.set_weights(values)
