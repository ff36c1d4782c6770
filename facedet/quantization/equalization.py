"""Cross-layer equalization (Nagel et al. 2019, arXiv:1906.04721) of what depthwise convolutions give, for a network calibrated after training.

TFLite has one grid for all channels of an activation: one channel that is a hundred times as wide as the others leaves them two or three of
the 256 values. What a depthwise convolution gives in channel c is divided by s_c and the next convolution's weights for it are multiplied
by s_c. With only ReLU between the two the network computes what it did; and as each s_c is a power of two, to the last bit.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from facedet.keras2 import keras
from facedet.quantization.plan import Step, plan

layers = keras.layers


@dataclasses.dataclass(frozen=True)
class Pair:
    """A depthwise step, with what it is fused with, and the convolution that alone reads it."""

    depthwise: Step
    convolution: layers.Conv2D


def pairs(network: keras.Model) -> list[Pair]:
    """Those that can be equalized: no layer of them is used twice, and nothing but an unbounded ReLU lies between."""
    steps = plan(network)
    uses = Counter(id(layer) for step in steps for layer in (step.layer, step.batch_norm) if layer is not None)
    readers: dict[int, list[Step]] = {}
    for step in steps:
        for source in step.sources:
            readers.setdefault(id(source), []).append(step)
    ends, found = {id(output) for output in network.outputs}, []
    for step in steps:
        after = readers.get(id(step.target), [])
        if not isinstance(step.layer, layers.DepthwiseConv2D) or id(step.target) in ends or len(after) != 1:
            continue
        following = after[0].layer
        bounded = step.activation is not None and step.activation.max_value is not None
        once = all(uses[id(layer)] == 1 for layer in (step.layer, step.batch_norm, following) if layer is not None)
        if isinstance(following, layers.Conv2D) and not isinstance(following, layers.DepthwiseConv2D) and not bounded and once:
            found.append(Pair(step, following))
    return found


def equalize(network: keras.Model, batches: Iterable) -> dict[str, np.ndarray]:
    """Changes the weights of the network's pairs so that each channel is as wide as the weights that read it.

    batches: normalized pictures [B, H, W, 3], whose greatest value of a channel is how wide it is.
    Returns {name of a depthwise layer: what its channels were divided by, [C]}. A channel that is always 0 or never read keeps its weights.
    """
    found = pairs(network)
    if not found:
        return {}
    observer = keras.Model(network.inputs, [pair.depthwise.target for pair in found])

    @tf.function(reduce_retracing=True)
    def widths(images):
        return [tf.reduce_max(tf.abs(values), [0, 1, 2]) for values in tf.nest.flatten(observer(images, training=False))]

    seen = [[width.numpy() for width in widths(images)] for images in batches]
    scales = {}
    for pair, wide in zip(found, zip(*seen, strict=True), strict=True):
        width, weight = np.max(wide, 0), np.abs(pair.convolution.kernel.numpy()).max((0, 1, 3))
        scales[pair.depthwise.layer.name] = scale = _scales(width, weight)
        _divide(pair.depthwise, scale)
        pair.convolution.kernel.assign(pair.convolution.kernel * scale[:, None])
    return scales


def _scales(width: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Powers of two nearest to sqrt(width / weight), whose geometric mean is about 1, [C]."""
    used = (width > 0) & (weight > 0)
    ideal = np.zeros_like(width)
    ideal[used] = np.log2(width[used] / weight[used]) / 2
    ideal[used] -= ideal[used].mean() if used.any() else 0
    return np.exp2(np.round(ideal)).astype(np.float32)


def _divide(step: Step, scale: np.ndarray) -> None:
    if step.batch_norm is not None:
        variables = [step.batch_norm.gamma, step.batch_norm.beta]
    else:
        step.layer.depthwise_kernel.assign(step.layer.depthwise_kernel / scale[:, None])
        variables = [step.layer.bias] if step.layer.use_bias else []
    for variable in variables:
        variable.assign(variable / scale)
