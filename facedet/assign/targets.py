"""What each anchor of a batch is to learn: its class, the code of its face and of the face's points, and how much each counts."""

from typing import NamedTuple

import tensorflow as tf

from facedet.assign import matchers
from facedet.recipe.recipe import Matching


class Targets(NamedTuple):
    """Of B pictures and A anchors.

    matches: int32 [B, A], the face in its picture, matchers.UNMATCHED or IGNORED.  positive: bool [B, A].
    boxes_yxyx: [B, A, 4] of the matched face, the anchor itself where there is none.  weights: [B, A] of it, 0 where there is none.
    points_yx: [B, A, P, 2], 0 where there are none.  point_weights: [B, A], 0 where the face has no points.
    background: [B, A], 1 where an anchor is background.
    """

    matches: tf.Tensor
    positive: tf.Tensor
    boxes_yxyx: tf.Tensor
    weights: tf.Tensor
    points_yx: tf.Tensor
    point_weights: tf.Tensor
    background: tf.Tensor


def assign(faces, anchors_yxyx, input_height: int, rules: Matching) -> Targets:
    """faces: detectors.base.Faces of B pictures.  anchors_yxyx: [A, 4]. Nothing in it takes a gradient."""
    weights_list = [
        _ignore_too_small(b, w, anchors_yxyx, input_height, rules) for b, w in zip(faces.boxes_yxyx, faces.weights, strict=True)
    ]
    matches, boxes, first = matchers.match(faces.boxes_yxyx, weights_list, anchors_yxyx, rules)
    positive = matches >= 0
    at = tf.where(positive, matches + first[:, None], tf.shape(boxes)[0])  # one past the end: the padding below
    weights = tf.gather(tf.concat([*weights_list, [0.0]], 0), at)
    points = tf.concat([*faces.points_yx, tf.fill([1, *faces.points_yx[0].shape[1:]], float("nan"))], 0)
    heights = tf.pad((boxes[:, 2] - boxes[:, 0]) * input_height, [[0, 1]])
    has_points = tf.reduce_all(tf.math.is_finite(points), [1, 2]) & (heights >= rules.smallest_landmark_face)
    points = tf.where(has_points[:, None, None], points, 0.0)  # a NaN times 0 would be one
    targets = Targets(
        matches=matches,
        positive=positive,
        boxes_yxyx=tf.where(positive[..., None], tf.gather(tf.pad(boxes, [[0, 1], [0, 0]]), at), anchors_yxyx[None]),
        weights=weights,
        points_yx=tf.gather(points, at),
        point_weights=tf.where(tf.gather(has_points, at), weights, 0.0),
        background=tf.cast(matches == matchers.UNMATCHED, tf.float32),
    )
    return Targets(*map(tf.stop_gradient, targets))


def _ignore_too_small(boxes, weights, anchors_yxyx, input_height: int, rules: Matching):
    """Weight 0 for faces below smallest_face; without one, for those that no anchor could overlap by matched_threshold."""
    sides = boxes[:, 2:] - boxes[:, :2]
    if rules.smallest_face > 0:
        return tf.where(sides[:, 0] * input_height < rules.smallest_face, 0.0, weights)
    smallest = tf.reduce_min((anchors_yxyx[:, 2] - anchors_yxyx[:, 0]) * (anchors_yxyx[:, 3] - anchors_yxyx[:, 1]))
    return tf.where(sides[:, 0] * sides[:, 1] < min(rules.matched_threshold, 1.0) * smallest, 0.0, weights)
