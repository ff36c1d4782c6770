"""Equalized channels: the same function in float, and an int8 form that one enormous channel does not spoil."""

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
    quantizable.calibrate(PICTURES, inner_quantile=1.0, output_quantile=1.0)
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


def stem(gammas):
    """A convolution, ReLU6, zeros around, and the depthwise convolution that reads it: four channels, as wide as their gammas."""
    tf.keras.utils.set_random_seed(5)
    image = tf.keras.Input((16, 16, 3))
    x = layers.BatchNormalization(name="wide")(layers.Conv2D(4, 1, use_bias=False, name="first")(image))
    x = layers.ZeroPadding2D(1)(layers.ReLU(6.0, name="bounded")(x))
    made = tf.keras.Model(image, {"head": layers.DepthwiseConv2D(3, name="depthwise")(x)})
    _, *others = made.get_layer("wide").get_weights()
    made.get_layer("wide").set_weights([np.float32(gammas), *others])
    return made


def widths(made):
    return np.abs(tf.keras.Model(made.inputs, made.get_layer("bounded").output)(np.concatenate(PICTURES))).max((0, 1, 2))


def rounded_widths(made):
    """How many values of the common grid each channel reaches."""
    quantizable = QuantizableNetwork(made)
    quantizable.calibrate(PICTURES, inner_quantile=1.0, output_quantile=1.0)
    return widths(made) * 255 / quantizable.ranges["bounded"].numpy()[1]


def test_what_a_depthwise_convolution_alone_reads_becomes_equally_wide_below_the_bound():
    made = stem([0.5, 0.05, 0.005, 1])
    before, spoilt = made(PICTURES[0])["head"].numpy(), rounded_widths(made)
    assert set(equalization.equalize(made, PICTURES)) == {"first"}
    wide = widths(made)
    assert wide.max() < 3.1 and wide.min() > 0.8 * wide.max(), wide
    np.testing.assert_allclose(made(PICTURES[0])["head"], before, rtol=1e-4, atol=1e-6)
    assert spoilt[2] < 10 and rounded_widths(made).min() > 100, "values of the grid that a channel's greatest value is from 0"


def test_a_channel_that_the_bound_cuts_off_is_left_alone():
    made = stem([50, 0.05, 0.5, 1])
    before = made(PICTURES[0])["head"].numpy()
    assert widths(made)[0] == 6
    scales = equalization.equalize(made, PICTURES)["first"]
    assert scales[0] == 1 and scales[1] < 0.1
    np.testing.assert_allclose(made(PICTURES[0])["head"], before, rtol=1e-4, atol=1e-5)


def test_what_something_else_reads_too_is_left_alone():
    image = tf.keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 1, name="first")(image)
    made = tf.keras.Model(image, {"head": layers.Add()([layers.Conv2D(3, 1, name="second")(x), x])})
    assert equalization.equalize(made, PICTURES) == {}
