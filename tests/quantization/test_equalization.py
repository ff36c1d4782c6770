"""Equalized depthwise outputs: the same function in float, and an int8 form that one enormous channel does not spoil."""

import numpy as np
import pytest

from facedet.quantization import equalization
from facedet.quantization.network import QuantizableNetwork

import tensorflow as tf  # isort: skip

layers = tf.keras.layers


def network(activation):
    """A depthwise block of eight channels, one of them a thousand times as wide and read a thousand times as weakly."""
    tf.keras.utils.set_random_seed(3)
    image = tf.keras.Input((16, 16, 3))
    x = layers.ReLU()(layers.Conv2D(8, 1)(image))
    x = layers.BatchNormalization(name="wide")(layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x))
    x = activation(x) if activation else x
    made = tf.keras.Model(image, {"head": layers.Conv2D(4, 1, name="head")(x)})
    gamma, *others = made.get_layer("wide").get_weights()
    gamma[2] *= 1000
    made.get_layer("wide").set_weights([gamma, *others])
    kernel, bias = made.get_layer("head").get_weights()
    kernel[:, :, 2] /= 1000
    made.get_layer("head").set_weights([kernel, bias])
    return made


PICTURES = [np.random.default_rng(seed).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32) for seed in range(4)]


def lost(made):
    quantizable = QuantizableNetwork(made)
    quantizable.calibrate(PICTURES, 1.0)
    exact = made(PICTURES[0])["head"].numpy()
    return np.abs(quantizable.simulate(PICTURES[0], training=False)["head"] - exact).mean() / exact.std()


@pytest.mark.parametrize("activation", [None, layers.ReLU()])
def test_an_enormous_channel_leaves_the_others_their_grid(activation):
    made = network(activation)
    before, spoilt = made(PICTURES[0])["head"].numpy(), lost(made)
    scales = equalization.equalize(made, PICTURES)["depthwise"]
    assert scales[2] > 100 * np.delete(scales, 2).max()
    np.testing.assert_allclose(made(PICTURES[0])["head"], before, rtol=1e-5, atol=1e-6)
    assert lost(made) < 0.2 * spoilt


def test_a_bounded_activation_between_is_left_alone():
    assert equalization.equalize(network(layers.ReLU(6.0)), PICTURES) == {}
