"""Ranges of frozen layers: they stay with the weights that gave them, so that what is frozen computes the same integers."""

import numpy as np
import pytest

from facedet.keras2 import keras
from facedet.quantization.network import QuantizableNetwork

import tensorflow as tf  # isort: skip

layers = keras.layers


@pytest.fixture
def quantizable():
    """Two frozen convolutions and their sum, and one that learns beside them, which another frozen one reads."""
    image = keras.Input((8, 8, 3))
    low = layers.Conv2D(4, 1, name="low", trainable=False)(image)
    total = layers.Add(name="sum")([low, layers.Conv2D(4, 1, name="beside", trainable=False)(image)])
    learning = layers.Conv2D(4, 1, name="learning")(total)
    after = layers.Conv2D(2, 1, name="after", trainable=False)(learning)
    return QuantizableNetwork(keras.Model(image, {"after": after, "total": layers.Conv2D(2, 1, name="total", trainable=False)(total)}))


def pictures(peak):
    return tf.constant(np.random.default_rng(0).uniform(-peak, peak, (4, 8, 8, 3)), tf.float32)


@pytest.mark.parametrize("learn", ["observe", "simulate"])
def test_only_what_follows_what_learns_goes_on_collecting(quantizable, learn):
    quantizable.calibrate([pictures(0.5)])
    before = {name: variable.numpy() for name, variable in quantizable.ranges.items()}
    quantizable.keep_frozen_ranges()
    getattr(quantizable, learn)(pictures(1.0), training=True)
    changed = {name for name, variable in quantizable.ranges.items() if (variable.numpy() != before[name]).any()}
    assert changed == {"learning", "after"}


def test_a_range_that_no_checkpoint_brought_is_collected(quantizable):
    quantizable.keep_frozen_ranges()
    quantizable.observe(pictures(1.0), training=True)
    quantizable.check_ranges()
