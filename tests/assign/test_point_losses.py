"""The wing loss against a plain computation, and what it is for: a small error pulls harder than a large one."""

import copy

import numpy as np
import pytest
from conftest import BOXES_CONFIG, MAIN_CONFIG

from facedet.assign import point_losses
from facedet.detectors import registry
from facedet.detectors.base import Faces
from facedet.od_api import protos
from facedet.recipe import pipeline_config

import tensorflow as tf  # isort: skip


def test_numbers_are_those_of_a_plain_computation():
    errors = np.asarray([[[0.0, 0.1], [-0.5, 1.0]], [[-3.0, 2.0], [0.2, -0.9]]])
    weights = np.asarray([[1.0, 0.5], [2.0, 0.0]])
    expected = np.zeros_like(errors)
    for at in np.ndindex(*errors.shape):
        x = abs(errors[at])
        expected[at] = np.log(1 + x / 0.2) if x < 1 else x - 1 + np.log(1 + 1 / 0.2)
    targets = np.linspace(-4, 4, errors.size).reshape(errors.shape)
    found = point_losses.wing(*(tf.constant(value, tf.float32) for value in (targets + errors, targets, weights)))
    np.testing.assert_allclose(found, expected.sum(-1) * weights, rtol=1e-4, atol=1e-6)


def test_small_errors_pull_harder():
    predicted = tf.constant([[[0.05, 0.5, 3.0, 0.0]]])
    with tf.GradientTape() as tape:
        tape.watch(predicted)
        loss = point_losses.wing(predicted, tf.zeros_like(predicted), tf.ones([1, 1]))
    small, middle, large, none = tape.gradient(loss, predicted).numpy()[0, 0]
    assert small > 2 * middle > 2 * large > 0 and none == 0


def test_the_config_chooses_it():
    config = pipeline_config.message(str(MAIN_CONFIG))
    resizer = config.model.ssd.image_resizer.fixed_shape_resizer
    resizer.height = resizer.width = 64
    losses = []
    for name in ("", "wing"):
        changed = copy.deepcopy(config)
        protos.loss(changed).landmarks = name
        detector = registry.build(pipeline_config.from_message(changed))
        outputs = {key: tf.zeros([1, *value.shape[1:]]) for key, value in detector.network.output.items()}
        points = tf.constant([[[0.4, 0.4], [0.4, 0.6], [0.5, 0.5], [0.6, 0.4], [0.6, 0.6]]])
        faces = Faces([tf.constant([[0.2, 0.2, 0.8, 0.8]])], [tf.ones(1)], [points])
        losses.append(float(detector.losses(outputs, faces)["Loss/landmark_loss"]))
    assert losses[0] > 0 and losses[1] > 1.5 * losses[0]


def test_without_landmarks_it_is_refused_by_name():
    config = pipeline_config.message(str(BOXES_CONFIG))
    protos.loss(config).landmarks = "wing"
    with pytest.raises(pipeline_config.ConfigError, match=r"\[facedet.loss\] landmarks: .*keypoint_box_coder"):
        pipeline_config.from_message(config)
