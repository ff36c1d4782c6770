"""Ranges of a float network for its int8 file: nothing rare is cut off, and nothing that no score shows takes the grid."""

import types

import numpy as np
import pytest

from facedet.export import exporter
from facedet.quantization.network import QuantizableNetwork
from facedet.runtime.input_spec import InputSpec

import tensorflow as tf  # isort: skip


@pytest.fixture
def reference():
    """A network of one head, the normalized picture times 50, with what calibrate() asks of a detector."""
    image = tf.keras.Input((32, 32, 3))
    head = tf.keras.layers.Conv2D(3, 1, name="class_head_0", kernel_initializer=lambda shape, dtype: tf.eye(3)[None, None] * 50)
    network = tf.keras.Model(image, {"class_head_0": head(image)})
    detector = types.SimpleNamespace(input=InputSpec(32, 32), saturated=lambda: {"class_head_0": (-12.0, 100.0)})
    return types.SimpleNamespace(detector=detector, quantizable=QuantizableNetwork(network))


def test_a_rare_value_widens_the_range_for_good(reference):
    for peak in (0.1, 0.9, 0.2, 0.2):
        reference.quantizable.calibrate(np.full((1, 32, 32, 3), peak, np.float32) * np.eye(32, dtype=np.float32)[None, :, :, None])
    np.testing.assert_allclose(reference.quantizable.ranges["class_head_0"], [0, 45], atol=1e-4)


def test_a_scores_range_ends_where_the_score_does(reference, records_dir):
    exporter.calibrate(reference, sorted(map(str, records_dir.glob("*val*"))), 6)
    low, high = reference.quantizable.ranges["class_head_0"].numpy()
    assert low == -12 and 20 < high <= 50
