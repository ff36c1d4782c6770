"""The ResNet backbone (He et al. 2016, arXiv:1512.03385), as torchvision builds it: where a stage begins, the 3x3 convolution strides.

Its layers have torchvision's names, with _ for the dots: conv1, bn1, layer1_0_conv1 .. layer4_2_bn3, layer2_0_downsample_0.
"""

import zipfile

import numpy as np

from facedet.errors import ConfigError
from facedet.keras2 import keras
from facedet.layers.blocks import Blocks, layers

# depth: blocks of the four stages, and whether they are bottlenecks
DEPTHS = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
WIDTH = 64  # of the first stage; each further one has twice that
EXPANSION = 4  # of a bottleneck's last convolution
_TORCHVISION_EPSILON = 1e-5


def backbone(image, blocks: Blocks, depth: int) -> list:
    """image [B, H, W, 3], normalized by ImageNet's mean and deviation -> the four stages' maps, strides 4, 8, 16, 32.

    Channels: 64, 128, 256, 512 of depths 18 and 34, four times that of 50, 101 and 152.
    """
    counts, bottleneck = DEPTHS[depth]
    x = blocks.conv(image, WIDTH, 7, 2, "conv1")
    x = blocks.activation(blocks.batch_norm(x, "bn1"), "conv1_relu")
    x = _max_pool(x, blocks.explicit_padding)
    maps = []
    for stage, count in enumerate(counts):
        for block in range(count):
            stride = 2 if stage and not block else 1
            x = _block(x, blocks, f"layer{stage + 1}_{block}", WIDTH * 2**stage, stride, bottleneck)
        maps.append(x)
    return maps


def load_torchvision(network: keras.Model, path: str, depth: int) -> int:
    """Loads torchvision's ResNet of this depth from an .npz of its own names into the backbone; returns how many layers it set.

    Nothing is folded: the network takes pictures as torchvision's does, and pads as it does with use_explicit_padding: true.
    ConfigError, before anything is set, for a file that is not of this ResNet.
    """
    key = "train_config.fine_tune_checkpoint"
    try:
        with np.load(path) as file:
            weights = dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{key}: {path} cannot be read as an .npz: {error}") from error
    found = []
    for layer in network.layers:
        if not (layer.name in ("conv1", "bn1") or layer.name.startswith("layer")) or not layer.weights:
            continue
        name = layer.name.replace("_", ".")
        try:
            values = _values(layer, name, weights)
        except KeyError as error:
            raise ConfigError(f"{key}: {path} has no array {error}: it is not torchvision's resnet{depth}.") from error
        shapes, expected = [value.shape for value in values], [tuple(weight.shape) for weight in layer.weights]
        if shapes != expected:
            raise ConfigError(f"{key}: {path}: {name} has {shapes}, the network {expected}: it is not torchvision's resnet{depth}.")
        found.append((layer, values))
    for layer, values in found:
        layer.set_weights(values)
    return len(found)


def _values(layer, name: str, weights: dict) -> list:
    if isinstance(layer, layers.Conv2D):
        return [weights[f"{name}.weight"].transpose(2, 3, 1, 0)]  # to height, width, in, out
    gamma, beta, mean, variance = (weights[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
    return [gamma * np.sqrt((variance + layer.epsilon) / (variance + _TORCHVISION_EPSILON)), beta, mean, variance]


def _max_pool(x, explicit_padding: bool):
    """3x3 at stride 2. What it pools is 0 at least, so that zeros around it count for nothing."""
    if explicit_padding:
        return layers.MaxPooling2D(3, 2, "valid", name="maxpool")(layers.ZeroPadding2D(1, name="maxpool_pad")(x))
    return layers.MaxPooling2D(3, 2, "same", name="maxpool")(x)


def _block(x, blocks: Blocks, name: str, width: int, stride: int, bottleneck: bool):
    """Two 3x3 convolutions, or 1x1, 3x3 and a 1x1 to four times the width; the input is added, through a 1x1 where shapes differ."""
    kernels = (1, 3, 1) if bottleneck else (3, 3)
    out = width * EXPANSION if bottleneck else width
    shortcut = x
    if stride > 1 or x.shape[-1] != out:
        shortcut = blocks.batch_norm(blocks.conv(x, out, 1, stride, f"{name}_downsample_0"), f"{name}_downsample_1")
    for i, kernel in enumerate(kernels, 1):
        last = i == len(kernels)
        strides = stride if i == (2 if bottleneck else 1) else 1
        x = blocks.batch_norm(blocks.conv(x, out if last else width, kernel, strides, f"{name}_conv{i}"), f"{name}_bn{i}")
        x = x if last else blocks.activation(x, f"{name}_relu{i}")
    return blocks.activation(layers.Add(name=f"{name}_add")([x, shortcut]), f"{name}_relu")
