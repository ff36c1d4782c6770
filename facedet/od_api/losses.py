"""The losses of a pipeline config, built by the OD API, as plain functions of tensors."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from object_detection.builders import losses_builder
from object_detection.core import box_list, losses, matcher, standard_fields


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

    on_boxes = isinstance(localization, losses.WeightedGIOULocalizationLoss | losses.WeightedIOULocalizationLoss)
    return Losses(classify, localize, on_boxes, mine if miner else None)


def smooth_l1(predicted, targets, weights):
    """[B, A, K] twice, [B, A] -> [B, A], summed over K (Girshick 2015, arXiv:1504.08083)."""
    return losses.WeightedSmoothL1LocalizationLoss()(predicted, targets, weights=weights)
