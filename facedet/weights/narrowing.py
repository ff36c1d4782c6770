"""A trained MobileNetV2 backbone made narrower and shorter: where a fast detector starts from instead of random weights.

Inside of an inverted residual the expanded channels do not depend on each other, so those that add least to the block's sum can
go (structured pruning, He et al. 2017, arXiv:1707.06168). What a channel gives on average stays: it moves into the mean of the
batch norm behind the sum. The last blocks of a stage, which only add to what passes by them, can go as a whole.
"""

import numpy as np

from facedet.errors import ConfigError
from facedet.keras2 import keras


def narrow(wide: keras.Model, narrower: keras.Model) -> list[str]:
    """Gives `narrower` the weights of `wide`, both with a backbone of mobilenet_v2.

    Layers outside of the backbone are taken over where name and shapes agree; returns the names of those that are not.
    ConfigError where a stage or a block of `narrower` is larger than that of `wide`.
    """
    done = set()
    for blocks, kept in zip(_stages(wide), _stages(narrower), strict=True):
        if len(kept) > len(blocks):
            raise ConfigError(f"A stage of {len(kept)} blocks cannot be cut out of one of {len(blocks)}.")
        for source, target in zip(blocks, kept, strict=False):
            _narrow_block(
                *([network.get_layer(name) for name in _names(prefix)] for network, prefix in ((wide, source), (narrower, target)))
            )
            done |= set(_names(target))
    theirs, new = {layer.name: layer.get_weights() for layer in wide.layers if layer.weights}, []
    for layer in narrower.layers:
        if layer.weights and layer.name not in done:
            values = theirs.get(layer.name, [])
            if [value.shape for value in values] == [tuple(weight.shape) for weight in layer.weights]:
                layer.set_weights(values)
            else:
                new.append(layer.name)
    return new


def _stages(network: keras.Model) -> list[list[str]]:
    """The prefixes of the blocks' layers, stage by stage: a block that does not add its input begins a stage."""
    layers = {layer.name for layer in network.layers}
    stages, number = [["expanded_conv_"]], 1
    while (prefix := f"block_{number}_") + "project" in layers:
        if prefix + "add" in layers:
            stages[-1].append(prefix)
        else:
            stages.append([prefix])
        number += 1
    return stages


def _names(prefix: str) -> list[str]:
    """A block's layers: three convolutions, each with its batch norm. What expands for the first block is the first convolution."""
    expand = ["Conv1", "bn_Conv1"] if prefix == "expanded_conv_" else [prefix + "expand", prefix + "expand_BN"]
    return expand + [prefix + part for part in ("depthwise", "depthwise_BN", "project", "project_BN")]


def _narrow_block(source: list, target: list) -> None:
    """Sets the layers of one block, in the order of _names(), from those of a wider one."""
    (expand,), expand_norm, (depthwise,), depthwise_norm, (project,), project_norm = (layer.get_weights() for layer in source)
    gamma, beta, *_ = depthwise_norm
    points, weights = np.polynomial.hermite_e.hermegauss(32)
    outputs = np.clip(beta + gamma * points[:, None], 0.0, 6.0)  # of a channel whose normalized input is normal
    mean, square = (weights / weights.sum()) @ outputs, (weights / weights.sum()) @ outputs**2
    scale = project_norm[0] / np.sqrt(project_norm[3] + source[5].epsilon)
    importance = (square - mean**2) * ((project[0, 0] * scale) ** 2).sum(1)  # variance that a channel adds to the sum

    count = target[2].depthwise_kernel.shape[2]
    if count > len(importance):
        raise ConfigError(f"{target[2].name}: {count} channels cannot be cut out of {len(importance)}.")
    keep = np.sort(np.argsort(-importance, kind="stable")[:count])
    gone = np.setdiff1d(np.arange(len(importance)), keep)
    project_norm[2] = project_norm[2] - mean[gone] @ project[0, 0, gone]
    values = (
        [expand[..., keep]], [part[keep] for part in expand_norm], [depthwise[:, :, keep]], [part[keep] for part in depthwise_norm],
        [project[:, :, keep]], project_norm,
    )  # fmt: skip
    for layer, value in zip(target, values, strict=True):
        layer.set_weights(value)
