"""ImageNet weights for the MobileNetV2 backbone: Keras's own, or torchvision's from a file that the config names."""

import zipfile

import numpy as np

from facedet.errors import ConfigError
from facedet.keras2 import keras
from facedet.layers.mobilenet_v2 import STAGES

KEY = "train_config.fine_tune_checkpoint"
IMAGENET_ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
_TORCHVISION_EPSILON = 1e-5
_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # of torchvision's pictures in 0..1


def load_imagenet(network: keras.Model, depth_multiplier: float = 1.0) -> int:
    """Gives the network's backbone Keras's own ImageNet weights, always these; returns how many layers it set.

    ConfigError where they can not be had, for this depth_multiplier too, and where the network has no such backbone.
    """
    alpha = round(depth_multiplier, 4)  # the config's is a float32
    if alpha not in IMAGENET_ALPHAS:
        raise ConfigError(f"{KEY}: imagenet: Keras has its weights for a depth_multiplier of {IMAGENET_ALPHAS}, not of {alpha:g}.")
    try:
        source = keras.applications.MobileNetV2(weights="imagenet", include_top=False, alpha=alpha, input_shape=(224, 224, 3))
    except Exception as error:
        raise ConfigError(
            f"{KEY}: imagenet: Keras could not download its weights ({error}). Name a file of torchvision's mobilenet_v2 (.npz) or a "
            "checkpoint instead, or take the key out of the config to train from random weights."
        ) from error
    return _copy_keras(source, network)


def load_torchvision(network: keras.Model, path: str) -> int:
    """Loads torchvision's MobileNetV2 from an .npz of its own names into the backbone; returns how many layers it set.

    The file's mean and deviation of the pictures are folded into the first convolution, so that the network goes on taking
    -1..1; torchvision pads symmetrically at stride 2 (use_explicit_padding: true). ConfigError for a file that is not
    torchvision's MobileNetV2, and for a network without its backbone.
    """
    try:
        with np.load(path) as file:
            weights = dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{KEY}: {path} cannot be read as an .npz: {error}") from error
    ours, done = {layer.name: layer for layer in network.layers}, 0
    try:
        for convolution, batch_norm, torch_convolution, torch_batch_norm in _torchvision_layers():
            if convolution not in ours:
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
            norm = ours[batch_norm]
            gamma = gamma * np.sqrt((variance + norm.epsilon) / (variance + _TORCHVISION_EPSILON))
            _set(ours[convolution], [kernel], path)
            _set(norm, [gamma, beta, mean, variance], path)
            done += 1
    except KeyError as error:
        raise ConfigError(f"{KEY}: {path} has no array {error}: it is not torchvision's mobilenet_v2.") from error
    return _require_some(done, network, path)


def _require_some(layers: int, network, source) -> int:
    if not layers:
        raise ConfigError(
            f"{KEY}: {source}: none of its layers is one of {network.name}'s, which has no MobileNetV2 backbone: it would start from "
            "random weights. Take the key out of the config to do so, or name a checkpoint of this network."
        )
    return layers


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


def _copy_keras(source: keras.Model, network: keras.Model) -> int:
    ours, done = {layer.name: layer for layer in network.layers}, 0
    for layer in source.layers:
        if layer.weights and layer.name in ours:
            target, values = ours[layer.name], layer.get_weights()
            if isinstance(layer, keras.layers.BatchNormalization):
                values[0] = values[0] * np.sqrt((values[3] + target.epsilon) / (values[3] + layer.epsilon))
            _set(target, values, "Keras")
            done += 1
    return _require_some(done, network, "Keras's MobileNetV2")


def _set(layer, values, source) -> None:
    shapes = [tuple(value.shape) for value in values]
    expected = [tuple(weight.shape) for weight in layer.weights]
    if shapes != expected:
        raise ConfigError(
            f"{KEY}: {source}: layer {layer.name} has weights {expected}, the file {shapes}: is depth_multiplier 1.0, without a [facedet.backbone]?"
        )
    layer.set_weights(values)
