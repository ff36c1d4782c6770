"""Published weights in a network here: a file's convolutions are found by their places, and what they compute is kept exactly."""

import pathlib

import numpy as np

from facedet.keras2 import keras
from facedet.quantization.plan import CONVOLUTIONS, plan
from facedet.weights import graph, mediapipe, onnx_file
from facedet.weights.graph import Weights, WeightsError

_SUFFIXES = (".onnx", ".tflite")
# Published heads give x before y (x, y, w, h and x, y of each point); those here y before x, as the OD API.
_COLUMNS = {"box": [1, 0, 3, 2], "points": [1, 0, 3, 2, 5, 4, 7, 6, 9, 8]}


def load(path: str, network: keras.Model) -> int:
    """Sets every layer of a network with named heads from a file, .onnx or MediaPipe's .tflite; returns how many layers it set.

    ConfigError names the file, and the layers, where one is left over on either side or differs in shape, stride, or in what feeds it.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in _SUFFIXES:
        raise WeightsError(f"{path}: a file that ends in {' or '.join(_SUFFIXES)} is wanted.")
    if suffix == ".tflite":
        return mediapipe.load(path, network)
    operations = onnx_file.read(path)
    norms = {step.layer.name: step.batch_norm for step in plan(network) if isinstance(step.layer, CONVOLUTIONS)}
    try:
        pairs = graph.match(operations, graph.of_network(network))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    values = {}
    for theirs, ours in pairs:
        values |= _values(network.get_layer(ours.name), norms[ours.name], _y_first(theirs.weights, ours.name))
    for name, of_layer in values.items():
        network.get_layer(name).set_weights(of_layer)
    return len(values)


def _y_first(weights: Weights, name: str) -> Weights:
    kind, is_head, _ = name.partition("_head_")
    if not is_head or kind not in _COLUMNS or not name.removeprefix(kind + is_head).isdigit():
        return weights
    columns = np.asarray(_COLUMNS[kind])
    order = (np.arange(0, weights.kernel.shape[3], len(columns))[:, None] + columns).ravel()
    return Weights(weights.kernel[..., order], None if weights.bias is None else weights.bias[order], weights.norm)


def _values(layer, batch_norm, weights: Weights) -> dict[str, list[np.ndarray]]:
    """Weights of a convolution here and of its batch norm, by name of the layer, so that both compute what the file's convolution does.

    A file's batch norm may be folded into its convolution already, and a layer here may have a bias, a batch norm, or both.
    """
    kernel, norm, channels = weights.kernel, weights.norm, layer.output_shape[-1]
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    bias = zeros if weights.bias is None else weights.bias
    if batch_norm is None:
        if norm is not None:
            scale = norm.gamma / np.sqrt(norm.variance + norm.epsilon)
            kernel = kernel * (scale[:, None] if isinstance(layer, keras.layers.DepthwiseConv2D) else scale)
            bias = (bias - norm.mean) * scale + norm.beta
        if bias.any() and not layer.use_bias:
            raise WeightsError(f"the file has a bias where layer {layer.name} of the config's network has none.")
        return {layer.name: [kernel, bias] if layer.use_bias else [kernel]}
    if norm is None:
        given = [ones, bias, zeros, ones - np.float32(batch_norm.epsilon)]
    else:
        gamma = norm.gamma * np.sqrt((norm.variance + batch_norm.epsilon) / (norm.variance + norm.epsilon))
        given = [gamma, norm.beta, norm.mean - bias, norm.variance]
    return {layer.name: [kernel, zeros] if layer.use_bias else [kernel], batch_norm.name: given}
