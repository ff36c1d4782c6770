"""Losses of boxes that the OD API has none of, called as its own are (facedet/od_api/losses.py)."""

import tensorflow as tf

_LEAST_IOU = 0.01  # what overlaps less is punished as much: a finite loss, and gradients that do not explode


def log_iou(predicted, targets, weights):
    """-ln(IoU) (Yu et al. 2016, UnitBox, arXiv:1608.01471).

    Boxes [..., 4] ymin, xmin, ymax, xmax twice, weights [...] -> [...].
    """
    return -weights * tf.math.log(tf.maximum(iou(predicted, targets), _LEAST_IOU))


def iou(predicted, targets):
    """Of each box with its own: boxes [..., 4] ymin, xmin, ymax, xmax twice -> [...]."""
    top, left, bottom, right = tf.unstack(predicted, axis=-1)
    t_top, t_left, t_bottom, t_right = tf.unstack(targets, axis=-1)
    shared = tf.maximum(tf.minimum(bottom, t_bottom) - tf.maximum(top, t_top), 0.0)
    shared *= tf.maximum(tf.minimum(right, t_right) - tf.maximum(left, t_left), 0.0)
    union = (bottom - top) * (right - left) + (t_bottom - t_top) * (t_right - t_left) - shared
    return shared / tf.maximum(union, 1e-12)
