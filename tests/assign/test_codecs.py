"""Codes of boxes and points against the OD API's coders, and back."""

import numpy as np
import pytest

from facedet.assign import codecs
from facedet.recipe.recipe import BoxCoder

import tensorflow as tf  # isort: skip
from object_detection.box_coders import faster_rcnn_box_coder, keypoint_box_coder  # isort: skip
from object_detection.core import box_list, standard_fields  # isort: skip

SCALES = (10.0, 10.0, 5.0, 5.0)


def random_boxes(generator, count):
    sides = generator.uniform(0.02, 0.4, (count, 2))
    corner = generator.uniform(0, 1 - sides)
    return tf.constant(np.concatenate([corner, corner + sides], 1), tf.float32)


@pytest.fixture
def given():
    """Boxes, their points, anchors."""
    generator = np.random.default_rng(0)
    boxes = random_boxes(generator, 40)
    points = boxes[:, None, :2] + (boxes[:, None, 2:] - boxes[:, None, :2]) * generator.uniform(0, 1, (40, 5, 2)).astype(np.float32)
    return boxes, points, random_boxes(generator, 40)


def test_faster_rcnn_is_the_od_apis(given):
    boxes, _, anchors = given
    theirs = faster_rcnn_box_coder.FasterRcnnBoxCoder(SCALES).encode(box_list.BoxList(boxes), box_list.BoxList(anchors))
    ours = codecs.build(BoxCoder("faster_rcnn", SCALES, 0)).encode(boxes, codecs.centers_and_sides(anchors))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_points_are_coded_as_by_the_od_apis_keypoint_coder(given):
    boxes, points, anchors = given
    with_points = box_list.BoxList(boxes)
    with_points.add_field(standard_fields.BoxListFields.keypoints, points)
    theirs = keypoint_box_coder.KeypointBoxCoder(5, SCALES).encode(with_points, box_list.BoxList(anchors))
    codec, anchors = codecs.build(BoxCoder("keypoint", SCALES, 5)), codecs.centers_and_sides(anchors)
    np.testing.assert_allclose(codec.encode(boxes, anchors), theirs[:, :4], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(codec.encode_points(points, anchors), theirs[:, 4:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", codecs.CODECS)
def test_what_is_coded_comes_back(given, kind):
    boxes, points, anchors = given
    codec, anchors = codecs.build(BoxCoder(kind, (10.0, 8.0, 5.0, 4.0), 5)), codecs.centers_and_sides(anchors)
    found = codecs.corners(codec.decode(codec.encode(boxes, anchors), anchors))
    np.testing.assert_allclose(found, boxes, atol=1e-5)
    np.testing.assert_allclose(codec.decode_points(codec.encode_points(points, anchors), anchors), points, atol=1e-5)


def test_the_linear_code_is_in_pixels_of_the_input_where_its_scales_are_the_sides():
    """MediaPipe's: an anchor's centre alone counts."""
    codec = codecs.build(BoxCoder("linear", (128.0,) * 4, 0))
    anchors = tf.constant([[0.5, 0.25, 1.0, 1.0], [0.5, 0.25, 0.1, 0.2]])
    decoded = codec.decode(tf.constant([[12.8, -12.8, 64.0, 32.0]] * 2), anchors)
    np.testing.assert_allclose(decoded, [[0.6, 0.15, 0.5, 0.25]] * 2, atol=1e-6)
