"""In which code a network gives boxes and points: relative to their anchors.

    faster_rcnn   ty, tx = (centre - anchor's centre) / anchor's side * scale; th, tw = ln(side / anchor's side) * scale   (arXiv:1506.01497)
    keypoint      the same, and each point as a centre is                                                (the OD API's KeypointBoxCoder)
    linear        (centre - anchor's centre) * scale, side * scale; points as centres                    (MediaPipe's BlazeFace)

Plain TF operations; anchors are given as ycenter, xcenter, height, width.
"""

import numpy as np
import tensorflow as tf

from facedet.errors import ConfigError
from facedet.recipe.recipe import BoxCoder

_EPSILON = 1e-8  # the OD API's: no side is 0


def corners(boxes_yxhw):
    """[..., 4] ycenter, xcenter, height, width -> ymin, xmin, ymax, xmax."""
    centers, half = boxes_yxhw[..., :2], boxes_yxhw[..., 2:] / 2
    return tf.concat([centers - half, centers + half], -1)


def centers_and_sides(boxes_yxyx):
    """[..., 4] ymin, xmin, ymax, xmax -> ycenter, xcenter, height, width."""
    low, high = boxes_yxyx[..., :2], boxes_yxyx[..., 2:]
    return tf.concat([(low + high) / 2, high - low], -1)


class FasterRcnnCodec:
    """scales: of ty, tx, th, tw. Boxes [..., A, 4], points [..., A, P, 2] y, x; codes of points [..., A, 2 P].

    rows: int32 [K], where codes are those of so many of the A anchors.
    """

    def __init__(self, scales):
        self.center_scales, self.side_scales = np.split(np.asarray(scales, np.float32), 2)
        self.scales = tuple(map(float, scales))

    def encode(self, boxes_yxyx, anchors_yxhw):
        boxes = centers_and_sides(boxes_yxyx)
        sides = anchors_yxhw[..., 2:] + _EPSILON
        centers = (boxes[..., :2] - anchors_yxhw[..., :2]) / sides * self.center_scales
        return tf.concat([centers, tf.math.log((boxes[..., 2:] + _EPSILON) / sides) * self.side_scales], -1)

    def decode(self, codes, anchors_yxhw):
        """-> ycenter, xcenter, height, width."""
        centers = codes[..., :2] * (anchors_yxhw[..., 2:] / self.center_scales) + anchors_yxhw[..., :2]
        sides = tf.exp(codes[..., 2:] * (1.0 / self.side_scales)) * anchors_yxhw[..., 2:]
        return tf.concat([centers, sides], codes.shape.rank - 1)

    def encode_points(self, points_yx, anchors_yxhw):
        sides = anchors_yxhw[..., None, 2:] + _EPSILON
        return _flat((points_yx - anchors_yxhw[..., None, :2]) / sides * self.center_scales)

    def decode_points(self, codes, anchors_yxhw, rows=None):
        sides, centers = _of(rows, anchors_yxhw[..., 2:] / self.center_scales), _of(rows, anchors_yxhw[..., :2])
        return _pairs(codes) * sides[..., None, :] + centers[..., None, :]


class LinearCodec:
    """As FasterRcnnCodec, whatever the anchors' sides are."""

    def __init__(self, scales):
        self.center_scales, self.side_scales = np.split(np.asarray(scales, np.float32), 2)

    def encode(self, boxes_yxyx, anchors_yxhw):
        boxes = centers_and_sides(boxes_yxyx)
        return tf.concat([(boxes[..., :2] - anchors_yxhw[..., :2]) * self.center_scales, boxes[..., 2:] * self.side_scales], -1)

    def decode(self, codes, anchors_yxhw):
        centers = codes[..., :2] * (1.0 / self.center_scales) + anchors_yxhw[..., :2]
        return tf.concat([centers, codes[..., 2:] * (1.0 / self.side_scales)], -1)

    def encode_points(self, points_yx, anchors_yxhw):
        return _flat((points_yx - anchors_yxhw[..., None, :2]) * self.center_scales)

    def decode_points(self, codes, anchors_yxhw, rows=None):
        return _pairs(codes) * (1.0 / self.center_scales) + _of(rows, anchors_yxhw[..., :2])[..., None, :]


CODECS = {"faster_rcnn": FasterRcnnCodec, "keypoint": FasterRcnnCodec, "linear": LinearCodec}


def build(box_coder: BoxCoder):
    if box_coder.kind not in CODECS:
        raise ConfigError(f"[facedet.box_coder] kind: {box_coder.kind!r} is not one of {', '.join(sorted(CODECS))}.")
    return CODECS[box_coder.kind](box_coder.scales)


def _of(rows, table):
    """[..., A, 2] -> [..., K, 2]. From the table column by column, as files decode boxes, so that a graph holds it once."""
    if rows is None:
        return table
    return tf.linalg.matrix_transpose(tf.gather(np.ascontiguousarray(np.swapaxes(table, -1, -2)), rows, axis=-1))


def _flat(points):
    """[..., P, 2] -> [..., 2 P]."""
    return tf.reshape(points, tf.concat([tf.shape(points)[:-2], [2 * points.shape[-2]]], 0))


def _pairs(codes):
    """[..., 2 P] -> [..., P, 2], of static shapes where they are."""
    shape = [-1 if side is None else side for side in codes.shape[:-1]]
    return tf.reshape(codes, [*shape, codes.shape[-1] // 2, 2])
