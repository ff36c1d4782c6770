"""Cross-layer equalization (Nagel et al. 2019, arXiv:1906.04721) of a network that was trained in float.

TFLite has one grid for all channels of an activation: one channel that is a hundred times as wide as the others leaves them two or three of
the 256 values. So what a convolution gives in channel c is divided by s_c, and the weights that read it are multiplied by s_c. With nothing
or ReLU between, the network computes what it did. So it does with ReLU6 where s_c keeps all that was seen below the bound, before and after.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from facedet.keras2 import keras
from facedet.quantization.plan import CONVOLUTIONS, Step, plan

layers = keras.layers

_ROOM = 2.0  # of a bound: a picture unlike those seen can be so much wider
_TYPICAL = 0.97  # quantile of the pictures' widths: one odd picture does not decide
_USED = 1e-4  # of the widest channel: nothing is known of how wide a narrower one can become


@dataclasses.dataclass(frozen=True)
class Pair:
    """A convolution, with what it is fused with, and the convolutions that alone read it, some of them behind zeros that pad it."""

    step: Step
    readers: tuple[layers.Layer, ...]

    @property
    def bound(self) -> float | None:
        """Of the ReLU between, None where there is none or it has no bound."""
        return self.step.activation.max_value if self.step.activation is not None else None


def pairs(network: keras.Model) -> list[Pair]:
    """Those that can be equalized: no layer of them is used twice, and nothing but a ReLU lies between."""
    steps = plan(network)
    uses = Counter(id(layer) for step in steps for layer in (step.layer, step.batch_norm) if layer is not None)
    following: dict[int, list[Step]] = {}
    for step in steps:
        for source in step.sources:
            following.setdefault(id(source), []).append(step)
    ends = {id(output) for output in network.outputs}

    def readers(tensor) -> list[Step] | None:
        """None where something else reads it, too."""
        found = []
        for step in following.get(id(tensor), []):
            behind = readers(step.target) if isinstance(step.layer, layers.ZeroPadding2D) else [step]
            if behind is None or not all(isinstance(step.layer, CONVOLUTIONS) for step in behind):
                return None
            found += behind
        return None if id(tensor) in ends else found

    found = []
    for step in steps:
        read = readers(step.target) if isinstance(step.layer, CONVOLUTIONS) else None
        if read and all(uses[id(layer)] == 1 for layer in (step.layer, step.batch_norm, *(s.layer for s in read)) if layer is not None):
            found.append(Pair(step, tuple(s.layer for s in read)))
    return found


def equalize(network: keras.Model, batches: Iterable) -> dict[str, np.ndarray]:
    """Changes the weights of the network's pairs: a channel becomes as wide as others where only depthwise convolutions read it, whose
    weights have a grid for each channel, and else as wide as the weights that read it.

    batches: normalized pictures [B, H, W, 3], whose greatest values of a channel are how wide it is.
    Returns {name of a pair's first layer: what its channels were divided by, [C]}. A channel that is always 0, never read, or cut off by
    its ReLU's bound keeps its weights.
    """
    found = pairs(network)
    if not found:
        return {}
    observer = keras.Model(network.inputs, [pair.step.target for pair in found])

    @tf.function(reduce_retracing=True)
    def widths(images):
        return [tf.reduce_max(tf.abs(values), [1, 2]) for values in tf.nest.flatten(observer(images, training=False))]

    seen = [[width.numpy() for width in widths(images)] for images in batches]
    scales = {}
    for pair, of_batches in zip(found, zip(*seen, strict=True), strict=True):
        scales[pair.step.layer.name] = scale = _scales(pair, np.concatenate(of_batches))
        _divide(pair.step, scale)
        for layer in pair.readers:
            kernel = _kernel(layer)
            kernel.assign(kernel * scale[:, None])
    return scales


def _scales(pair: Pair, widths: np.ndarray) -> np.ndarray:
    """widths: of each picture's channels [pictures, C] -> what these are divided by [C]."""
    typical, greatest = np.quantile(widths, _TYPICAL, axis=0), widths.max(0)
    full = [layer for layer in pair.readers if not isinstance(layer, layers.DepthwiseConv2D)]
    weights = np.max([_relative_weights(layer) for layer in full], 0) if full else np.ones_like(typical)
    used = (typical > _USED * typical.max()) & (weights > 0)
    if not used.any():
        return np.ones(len(typical), np.float32)
    ideal = np.ones_like(typical)
    ideal[used] = np.sqrt(typical[used] / weights[used]) if full else typical[used]
    if pair.bound is None:
        ideal[used] /= np.exp(np.log(ideal[used]).mean())
    else:
        free = used & (greatest * _ROOM < pair.bound)
        ideal[free] *= (greatest[free] / ideal[free]).max() * _ROOM / pair.bound if free.any() else 1
        ideal[~free] = 1
    return np.where(used, ideal, 1).astype(np.float32)


def _relative_weights(layer: layers.Conv2D) -> np.ndarray:
    """The greatest weight that reads a channel, each by the greatest one of its own output, with which it shares a grid; [C]."""
    kernel = np.abs(layer.kernel.numpy())
    return (kernel / np.maximum(kernel.max((0, 1, 2)), 1e-12)).max((0, 1, 3))


def _kernel(layer: layers.Layer) -> tf.Variable:
    return layer.depthwise_kernel if isinstance(layer, layers.DepthwiseConv2D) else layer.kernel


def _divide(step: Step, scale: np.ndarray) -> None:
    if step.batch_norm is not None:
        variables = [step.batch_norm.gamma, step.batch_norm.beta]
    else:
        kernel = _kernel(step.layer)
        kernel.assign(kernel / (scale[:, None] if isinstance(step.layer, layers.DepthwiseConv2D) else scale))
        variables = [step.layer.bias] if step.layer.use_bias else []
    for variable in variables:
        variable.assign(variable / scale)
