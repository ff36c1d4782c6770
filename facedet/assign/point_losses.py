"""Losses of landmarks beside the OD API's smooth L1, called as its own are (facedet/od_api/losses.py)."""

import tensorflow as tf

_WIDTH = 1.0  # a tenth of an anchor's side, at the codecs' usual scale of 10
_CURVATURE = 0.2  # the paper's 2 of 10, as shares of the width


def wing(predicted, targets, weights):
    """w ln(1 + |x| / e) for |x| < w, |x| - w + w ln(1 + w / e) beyond (Feng et al. 2018, arXiv:1711.06753): small errors still pull.

    Codes [B, A, K] twice, weights [B, A] -> [B, A], summed over K. A code that is equal to its target has no gradient.
    """
    error = tf.abs(predicted - targets)
    near, beyond = tf.minimum(error, _WIDTH), tf.maximum(error - _WIDTH, 0.0)
    return weights * tf.reduce_sum(_WIDTH * tf.math.log1p(near / (_CURVATURE * _WIDTH)) + beyond, -1)
