"""The losses of a pipeline config, built by the OD API, as plain functions of tensors."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from object_detection.builders import losses_builder
from object_detection.core import box_list, losses, matcher, standard_fields

_UNMATCHED = -1  # of matcher.Match


class Losses(NamedTuple):
    """classification(logits [B, A, C], targets [B, A, C], weights [B, A, C]) -> [B, A].

    localization(predicted [B, A, K], targets [B, A, K], weights [B, A]) -> [B, A]; of codes, or of boxes ymin, xmin, ymax, xmax
    where `on_boxes` says so.
    mine(localization [B, A], classification [B, A], boxes_yxyx [B, A, 4], scores [B, A], matches [B, A]) -> both sums over the
    hard examples, or None where there is no hard_example_miner.
    """

    classification: Callable
    localization: Callable
    on_boxes: bool
    mine: Callable | None


def build(message) -> Losses:
    """message: object_detection.protos.Loss."""
    classification, localization, _, _, miner, _, _ = losses_builder.build(message)

    def classify(logits, targets, weights):
        losses_of_anchors = classification(logits, targets, weights=weights)
        return tf.reduce_sum(losses_of_anchors, 2) if losses_of_anchors.shape.rank == 3 else losses_of_anchors

    def localize(predicted, targets, weights):
        return localization(predicted, targets, weights=weights)

    def mine(localized, classified, boxes_yxyx, scores, matches):
        found = []
        for boxes, of_boxes in zip(tf.unstack(boxes_yxyx), tf.unstack(scores), strict=True):
            found.append(box_list.BoxList(boxes))
            found[-1].add_field(standard_fields.BoxListFields.scores, of_boxes)
        return miner(localized, classified, found, [matcher.Match(match) for match in tf.unstack(matches)])

    if miner and _only_ranks(message.hard_example_miner):
        mine = _ranking(message.hard_example_miner)
    on_boxes = isinstance(localization, losses.WeightedGIOULocalizationLoss | losses.WeightedIOULocalizationLoss)
    return Losses(classify, localize, on_boxes, mine if miner else None)


def _only_ranks(message) -> bool:
    """Whether a HardExampleMiner keeps all positives and the hardest negatives of each image: its suppression leaves all boxes."""
    unlimited = message.num_hard_examples == 0 and message.iou_threshold >= 1
    return unlimited and message.loss_type == message.CLASSIFICATION and message.max_negatives_per_positive > 0


def _ranking(message) -> Callable:
    """What the OD API's miner then gives, for all images at once: its suppression alone would take most of a training step's time."""
    ratio, least = message.max_negatives_per_positive, message.min_negatives_per_image

    def mine(localized, classified, boxes_yxyx, scores, matches):
        positive, negative = matches >= 0, matches == _UNMATCHED
        count = tf.reduce_sum(tf.cast(positive, tf.float32), 1)
        limit = tf.maximum(least, tf.cast(ratio * count, tf.int32))
        order = tf.argsort(tf.where(negative, classified, -1.0), direction="DESCENDING", stable=True)
        rank = tf.argsort(order)
        kept = tf.cast(positive | (negative & (rank < limit[:, None])), tf.float32)
        return tf.reduce_sum(localized * kept), tf.reduce_sum(classified * kept)

    return mine


def smooth_l1(predicted, targets, weights):
    """[B, A, K] twice, [B, A] -> [B, A], summed over K (Girshick 2015, arXiv:1504.08083)."""
    return losses.WeightedSmoothL1LocalizationLoss()(predicted, targets, weights=weights)
