"""Losses of scores that say how well a box lies: a face's anchor learns q, of the IoU of its own decoded box, in place of 1.

    q               0 up to [facedet.loss] least_overlap, 1 from full_overlap on, in proportion between; the IoU itself where neither is said

    quality_focal   |q - p|^2 CE(p, q)        (Li et al. 2020, arXiv:2006.04388)
    varifocal       q CE(p, q)                (Zhang et al. 2021, arXiv:2008.13367)

CE(p, q) = -q ln(p) - (1 - q) ln(1 - p). The background's anchors have .75 p^2 CE(p, 0) in both, as in varifocal's paper: without a
weight of their own, 1 to the 100 and more of them, they would keep all scores down.
"""

import tensorflow as tf

from facedet.errors import ConfigError

_BACKGROUND = 0.75
_FACES = {"quality_focal": lambda p, q: tf.square(q - p), "varifocal": lambda p, q: q}
NAMES = tuple(_FACES)


def target(overlaps, least: float, full: float):
    """overlaps: IoU, [B, A] -> q, [B, A]."""
    return tf.clip_by_value((overlaps - least) / (full - least), 0.0, 1.0)


def loss(name: str, logits, quality, positive, weights):
    """logits, quality (0..1; no gradient flows through it), positive (bool), weights: all [B, A] -> [B, A]."""
    quality, p = tf.where(positive, tf.stop_gradient(quality), 0.0), tf.sigmoid(logits)
    modulated = tf.where(positive, _FACES[name](p, quality), _BACKGROUND * tf.square(p))
    return weights * modulated * tf.nn.sigmoid_cross_entropy_with_logits(quality, logits)


def check(recipe) -> None:
    """ConfigError for what contradicts the recipe's quality loss, by its name."""
    said, message = f'[facedet.loss] classification: "{recipe.loss.classification}"', recipe.loss.message
    kind = message.classification_loss.WhichOneof("classification_loss")
    if kind != "weighted_sigmoid":
        raise ConfigError(
            f"{said} weighs a sigmoid's cross-entropy itself, and model.ssd.loss.classification_loss is {kind}: write weighted_sigmoid {{}}."
        )
    if message.HasField("hard_example_miner"):
        raise ConfigError(
            f"{said} weighs all of the background by its score, and model.ssd.loss.hard_example_miner takes some of it: take one of them out."
        )
    if recipe.score_converter != "SIGMOID":
        raise ConfigError(
            f"{said} learns a sigmoid's scores, and model.ssd.post_processing.score_converter is {recipe.score_converter}: write SIGMOID."
        )
    if recipe.add_background_class:
        raise ConfigError(f"{said} has one score an anchor: write model.ssd.add_background_class: false.")
    if recipe.loss.least_overlap >= recipe.loss.full_overlap:
        raise ConfigError(
            f"[facedet.loss] least_overlap: {recipe.loss.least_overlap:g} is not below full_overlap: {recipe.loss.full_overlap:g}, and a "
            "target rises from the one to the other: write a smaller least_overlap."
        )
