"""ImageNet weights for the MobileNetV2 backbone, from a local file or from Keras."""

import glob

import numpy as np
from tensorflow import keras

from facedet.networks.mobilenet_v2 import STAGES

LOCAL_FILES = ("data/weights/mobilenet_v2*.npz", "../shared/data/weights/mobilenet_v2*.npz")
_TORCHVISION_EPSILON = 1e-5
_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # of torchvision's pictures in 0..1


def load_imagenet(network: keras.Model) -> str:
    """Gives the network's backbone ImageNet weights and says where they came from.

    A local file of LOCAL_FILES is taken where there is one, else Keras downloads its own. RuntimeError where neither can be had.
    """
    files = sorted(path for pattern in LOCAL_FILES for path in glob.glob(pattern))
    if files:
        load_torchvision(network, files[0])
        return files[0]
    try:
        source = keras.applications.MobileNetV2(weights="imagenet", include_top=False, input_shape=(224, 224, 3))
    except Exception as error:
        raise RuntimeError(
            f"No ImageNet weights: no file matches {' or '.join(LOCAL_FILES)}, and Keras could not download its own ({error}). "
            "Put a file there, or take fine_tune_checkpoint out of the config to train from random weights."
        ) from error
    _copy_keras(source, network)
    return "tf.keras.applications.MobileNetV2"


def load_torchvision(network: keras.Model, path: str) -> None:
    """Loads torchvision's MobileNetV2 from an .npz of its own names into the backbone layers that the network has.

    The file's mean and deviation of the pictures are folded into the first convolution, so that the network goes on taking
    -1..1; torchvision pads symmetrically at stride 2 (use_explicit_padding: true).
    """
    with np.load(path) as weights:
        for convolution, batch_norm, torch_convolution, torch_batch_norm in _torchvision_layers():
            if convolution not in {layer.name for layer in network.layers}:
                continue
            kernel = weights[torch_convolution + ".weight"].transpose(2, 3, 1, 0)  # to height, width, in, out
            gamma, beta, mean, variance = (
                weights[f"{torch_batch_norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
            )
            if convolution == "Conv1":
                mean = mean - np.einsum("hwio,i->o", kernel, (0.5 - _MEAN) / _STD)
                kernel = kernel * (0.5 / _STD)[None, None, :, None]
            elif convolution.endswith("depthwise"):
                kernel = kernel.transpose(0, 1, 3, 2)
            norm = network.get_layer(batch_norm)
            gamma = gamma * np.sqrt((variance + norm.epsilon) / (variance + _TORCHVISION_EPSILON))
            _set(network.get_layer(convolution), [kernel], path)
            _set(norm, [gamma, beta, mean, variance], path)


def _torchvision_layers():
    """(our convolution, our batch norm, torchvision's convolution, torchvision's batch norm) of the whole backbone."""
    yield "Conv1", "bn_Conv1", "features.0.0", "features.0.1"
    number = 0
    for expansion, _, repeats, _ in STAGES:
        for _ in range(repeats):
            prefix, torch = (f"block_{number}_" if number else "expanded_conv_"), f"features.{number + 1}.conv"
            parts = (["expand"] if expansion > 1 else []) + ["depthwise"]
            for i, part in enumerate(parts):
                yield prefix + part, prefix + part + "_BN", f"{torch}.{i}.0", f"{torch}.{i}.1"
            yield prefix + "project", prefix + "project_BN", f"{torch}.{len(parts)}", f"{torch}.{len(parts) + 1}"
            number += 1
    yield "Conv_1", "Conv_1_bn", "features.18.0", "features.18.1"


def _copy_keras(source: keras.Model, network: keras.Model) -> None:
    ours = {layer.name: layer for layer in network.layers}
    for layer in source.layers:
        if layer.weights and layer.name in ours:
            target, values = ours[layer.name], layer.get_weights()
            if isinstance(layer, keras.layers.BatchNormalization):
                values[0] = values[0] * np.sqrt((values[3] + target.epsilon) / (values[3] + layer.epsilon))
            _set(target, values, "Keras")


def _set(layer, values, source) -> None:
    shapes = [tuple(value.shape) for value in values]
    expected = [tuple(weight.shape) for weight in layer.weights]
    if shapes != expected:
        raise RuntimeError(
            f"{source}: layer {layer.name} has weights {expected}, the file {shapes}: is depth_multiplier 1.0, without a [facedet.backbone]?"
        )
    layer.set_weights(values)
