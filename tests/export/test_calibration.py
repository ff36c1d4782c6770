"""Ranges of a float network for its int8 file: nothing rare is cut off, and nothing that no score shows takes the grid."""

import types

import numpy as np
import pytest
from conftest import MAIN_CONFIG, SHIPPED

from facedet.detectors import registry
from facedet.evaluation.checkpoint_detector import CheckpointDetector
from facedet.export import exporter
from facedet.quantization.network import QuantizableNetwork
from facedet.recipe import pipeline_config
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


def diagonal(peak):
    """A picture in which one value of 32 is not 0."""
    return np.full((1, 32, 32, 3), peak, np.float32) * np.eye(32, dtype=np.float32)[None, :, :, None]


def test_what_is_rare_in_each_picture_is_not_cut_off(reference):
    reference.quantizable.calibrate([diagonal(0.8)] * 8)
    np.testing.assert_allclose(reference.quantizable.ranges["class_head_0"], [0, 40], atol=1e-4)


def test_one_odd_picture_does_not_take_the_grid(reference):
    reference.quantizable.calibrate([np.concatenate([diagonal(0.2)] * 4)] * 12 + [diagonal(20.0), diagonal(-20.0)])
    least, greatest = reference.quantizable.ranges["class_head_0"].numpy()
    assert -1 < least <= 0 and 9.9 < greatest < 11  # without a quantile -1000 and 1000


def test_a_scores_range_ends_where_the_score_does(reference, records_dir):
    exporter.calibrate(reference, sorted(map(str, records_dir.glob("*val*"))), 6)
    low, high = reference.quantizable.ranges["class_head_0"].numpy()
    assert low == -12 and 20 < high <= 50


@pytest.mark.parametrize(("threshold", "least"), [(0.0, -6.0), (0.02, -5.39), (0.05, -4.44), (0.5, -4.0), (1.0, -4.0)])
def test_the_grid_of_scores_begins_a_little_below_the_files_threshold(threshold, least):
    text = MAIN_CONFIG.read_text().replace("score_threshold: 0.05", f"score_threshold: {threshold}")
    ranges = registry.build(pipeline_config.parse(text)).saturated()
    assert sorted(ranges) == [f"class_head_{level}" for level in range(4)]
    assert [low for low, _ in ranges.values()] == pytest.approx([least] * 4, abs=0.01)


def test_a_trained_range_does_not_cut_off_the_best_scores():
    """The average that training left ends at 2.3 and below, a score of .91."""
    reference = CheckpointDetector.from_checkpoint(pipeline_config.read(str(MAIN_CONFIG)), str(SHIPPED / "checkpoint"))
    ranges = {name: variable.numpy() for name, variable in reference.quantizable.ranges.items()}
    for level in range(4):
        np.testing.assert_allclose(ranges[f"class_head_{level}"], [-4.44, 4.44], atol=0.01)
        assert ranges[f"box_head_{level}"][0] != -ranges[f"box_head_{level}"][1]  # only scores' are laid
