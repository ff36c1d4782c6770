"""What anchors are to learn: faces to ignore, too small ones, and points that are not there."""

import dataclasses

import numpy as np
import pytest
from conftest import BOXES_CONFIG

from facedet.assign import matchers, targets
from facedet.detectors import registry
from facedet.detectors.base import Faces
from facedet.recipe import pipeline_config

import tensorflow as tf  # isort: skip


@pytest.fixture(scope="module")
def recipe():
    return pipeline_config.read(str(BOXES_CONFIG))


@pytest.fixture(scope="module")
def anchors(recipe):
    return tf.constant(registry.build(recipe).anchors_yxyx)


def faces(*pictures):
    """Of (boxes, weights[, points]) a picture."""
    boxes, weights, points = [], [], []
    for picture in pictures:
        boxes.append(tf.reshape(tf.constant(picture[0], tf.float32), [-1, 4]))
        weights.append(tf.constant(picture[1], tf.float32))
        none = np.full((len(picture[1]), 5, 2), np.nan)
        points.append(tf.constant(picture[2] if len(picture) > 2 else none, tf.float32))
    return Faces(boxes, weights, points)


def test_a_face_smaller_than_every_anchor_is_ignored(recipe, anchors):
    rules = dataclasses.replace(recipe.matching, smallest_face=0.0)
    boxes = tf.constant([[0.5, 0.5, 0.51, 0.51], [0.2, 0.2, 0.4, 0.4]])
    assert targets._ignore_too_small(boxes, tf.ones([2]), anchors, 224, rules).numpy().tolist() == [0, 1]


def test_smallest_face_is_a_height_in_pixels_of_the_input(recipe, anchors):
    rules = dataclasses.replace(recipe.matching, smallest_face=5.0)
    heights = np.asarray([4.9, 5.1, 40.0, 3.0], np.float32) / 224
    widths = np.asarray([40.0, 3.0, 30.0, 2.0], np.float32) / 224  # whatever the width
    boxes = np.stack([heights * 0 + 0.5, widths * 0 + 0.5, 0.5 + heights, 0.5 + widths], 1)
    found = targets._ignore_too_small(tf.constant(boxes), tf.constant([1.0, 1.0, 1.0, 0.0]), anchors, 224, rules)
    assert found.numpy().tolist() == [0, 1, 1, 0]


def test_no_faces_at_all(recipe, anchors):
    told = targets.assign(faces(([], []), ([], [])), anchors, 224, recipe.matching)
    assert (told.matches.numpy() == matchers.UNMATCHED).all() and (told.background.numpy() == 1).all() and (told.weights.numpy() == 0).all()
    assert (told.point_weights.numpy() == 0).all() and np.isfinite(told.points_yx).all()


def test_an_anchor_learns_its_own_face_of_its_own_picture(recipe, anchors):
    first, second = [[0.1, 0.1, 0.3, 0.25]], [[0.6, 0.6, 0.8, 0.75], [0.2, 0.5, 0.5, 0.7]]
    points = np.random.default_rng(0).uniform(0.2, 0.5, (2, 5, 2))
    told = targets.assign(faces((first, [1]), (second, [1, 0.5], points)), anchors, 224, recipe.matching)
    for picture, boxes in enumerate((first, second)):
        at = np.flatnonzero(told.positive[picture])
        assert len(at) and {*told.matches.numpy()[picture][at]} == set(range(len(boxes)))
        np.testing.assert_allclose(told.boxes_yxyx.numpy()[picture][at], np.asarray(boxes)[told.matches.numpy()[picture][at]], atol=1e-6)
    learned = told.matches.numpy()[1]
    at = np.flatnonzero(learned >= 0)
    np.testing.assert_allclose(told.points_yx.numpy()[1][at], points[learned[at]], atol=1e-6)
    np.testing.assert_allclose(told.weights.numpy()[1][at], np.asarray([1, 0.5])[learned[at]])
    np.testing.assert_allclose(told.point_weights.numpy()[1][at], np.asarray([1, 0.5])[learned[at]])
    assert (told.point_weights.numpy()[0] == 0).all()  # the first picture's face has none


def test_a_face_without_points_trains_none_whatever_stands_in_their_place(recipe, anchors):
    """Half a set of points counts as none, and no number of it gets through."""
    boxes = [[0.1, 0.1, 0.3, 0.25], [0.5, 0.5, 0.8, 0.75]]
    poisoned = np.full((2, 5, 2), 1e30)
    poisoned[0, 3] = np.nan
    poisoned[1] = 0.6
    told = targets.assign(faces((boxes, [1, 1], poisoned)), anchors, 224, recipe.matching)
    of_first, of_second = told.matches.numpy()[0] == 0, told.matches.numpy()[0] == 1
    assert (told.point_weights.numpy()[0][of_first] == 0).all() and (told.points_yx.numpy()[0][of_first] == 0).all()
    assert (told.point_weights.numpy()[0][of_second] == 1).all()


def test_no_face_is_forced_on_an_anchor_that_overlaps_it_too_little(recipe, anchors):
    face = [[0.4, 0.1, 0.43, 0.9]]  # a shape that no anchor has
    best = dataclasses.replace(recipe.matching, anchors_per_face=1)
    assert targets.assign(faces((face, [1])), anchors, 224, best).positive.numpy().any()
    strict = dataclasses.replace(best, least_forced_overlap=0.3)
    assert not targets.assign(faces((face, [1])), anchors, 224, strict).positive.numpy().any()


def test_a_face_too_small_to_place_landmarks_in_teaches_its_box_alone(recipe, anchors):
    rules = dataclasses.replace(recipe.matching, smallest_landmark_face=12.0)
    boxes = [[0.1, 0.1, 0.1 + 11 / 224, 0.14], [0.5, 0.5, 0.5 + 13 / 224, 0.545]]
    told = targets.assign(faces((boxes, [1.0, 1.0], np.full((2, 5, 2), 0.5))), anchors, 224, rules)
    small, large = (told.matches.numpy() == face for face in (0, 1))
    assert small.any() and (told.weights.numpy()[small] == 1).all() and (told.point_weights.numpy()[small] == 0).all()
    assert large.any() and (told.point_weights.numpy()[large] == 1).all()
