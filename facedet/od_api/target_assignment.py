"""Which anchor learns which face: the OD API's ArgMaxMatcher rules for a whole batch at once, with faces to ignore.

The OD API compares every anchor with every (padded) box of an image, image by image, and knows no box that is neither
object nor background beyond its match. Here the faces of a batch are laid end to end, so that the work grows with the
faces that are there, and a face of weight 0 takes the anchors on it out of the loss.
"""

import dataclasses

import tensorflow as tf

UNMATCHED, IGNORED = -1, -2  # as in object_detection.core.matcher.Match


@dataclasses.dataclass(frozen=True)
class Rules:
    """The argmax_matcher of a pipeline config.

    matched_threshold: from this IoU on an anchor learns its best face.
    unmatched_threshold: below it, it is background; between the two it is left out of the loss.
    force_match: each face also takes the anchor that overlaps it most.
    anchors_per_face: and the next best ones, up to that many in all, where they reach unmatched_threshold.
    """

    matched_threshold: float
    unmatched_threshold: float
    force_match: bool
    anchors_per_face: int = 1

    @classmethod
    def from_proto(cls, matcher, anchors_per_face: int = 1) -> "Rules":
        argmax = matcher.argmax_matcher
        if matcher.WhichOneof("matcher_oneof") != "argmax_matcher" or not argmax.negatives_lower_than_unmatched:
            raise ValueError("model.ssd.matcher: only argmax_matcher with negatives_lower_than_unmatched is supported.")
        if argmax.ignore_thresholds:
            return cls(2.0, 0.0, argmax.force_match_for_each_row, anchors_per_face)
        return cls(argmax.matched_threshold, argmax.unmatched_threshold, argmax.force_match_for_each_row, anchors_per_face)


def intersection_and_union(boxes, anchors):
    """boxes [F, 4], anchors [A, 4], corners of one order -> two [F, A]."""
    top, left, bottom, right = [column[:, None] for column in tf.unstack(boxes, axis=1)]
    a_top, a_left, a_bottom, a_right = [row[None, :] for row in tf.unstack(anchors, axis=1)]
    shared = tf.maximum(tf.minimum(bottom, a_bottom) - tf.maximum(top, a_top), 0.0)
    shared *= tf.maximum(tf.minimum(right, a_right) - tf.maximum(left, a_left), 0.0)
    return shared, (bottom - top) * (right - left) + (a_bottom - a_top) * (a_right - a_left) - shared


def match(boxes_list, weights_list, anchors, rules: Rules):
    """Matches the faces of B images to A anchors.

    boxes_list: B times [n, 4], corners of the anchors' order, 0..1.  weights_list: B times [n]; 0 marks a face to ignore.
    Returns matches int32 [B, A] (index of the face in its image, UNMATCHED or IGNORED), the boxes laid end to end [F, 4],
    and where each image's begin among them [B].
    """
    batch, num_anchors = len(boxes_list), anchors.shape[0]
    counts = tf.stack([tf.shape(boxes)[0] for boxes in boxes_list])
    first = tf.cumsum(counts, exclusive=True)
    image = tf.repeat(tf.range(batch), counts)
    boxes, weights = tf.concat(boxes_list, 0), tf.concat(weights_list, 0)

    shared, union = intersection_and_union(boxes, anchors)
    iou = shared / tf.maximum(union, 1e-12)
    real = weights > 0

    # Ignored faces, and the anchors that lie for the most part on one, are neither face nor background.
    anchor_area = (anchors[:, 2] - anchors[:, 0]) * (anchors[:, 3] - anchors[:, 1])
    on_ignored = tf.boolean_mask(tf.maximum(iou, shared / anchor_area[None] * 0.5), ~real)
    ignored_overlap = tf.math.unsorted_segment_max(on_ignored, tf.boolean_mask(image, ~real), batch)
    iou = tf.boolean_mask(iou, real)
    real_image, real_index = tf.boolean_mask(image, real), tf.where(real)[:, 0]
    best_overlap = tf.math.unsorted_segment_max(iou, real_image, batch)
    ignore_from = min(rules.unmatched_threshold, 0.25)
    left_out = (best_overlap >= rules.unmatched_threshold) | (ignored_overlap >= ignore_from)
    matches = tf.where(left_out, IGNORED, UNMATCHED)

    # Candidates (face, anchor) from the threshold on; a forced pair wins over any other, then the greater overlap.
    pairs = tf.where(iou >= rules.matched_threshold)
    overlap = tf.gather_nd(iou, pairs)
    if rules.anchors_per_face > 1:
        best_overlaps, best = tf.math.top_k(iou, rules.anchors_per_face)
        more = tf.where((best_overlaps >= rules.unmatched_threshold) & (best_overlaps < rules.matched_threshold))
        pairs = tf.concat([pairs, tf.stack([more[:, 0], tf.cast(tf.gather_nd(best, more), tf.int64)], axis=1)], 0)
        overlap = tf.concat([overlap, tf.gather_nd(best_overlaps, more)], 0)
    if rules.force_match:
        forced = tf.argmax(iou, axis=1)
        forced_pairs = tf.stack([tf.range(tf.shape(iou)[0], dtype=tf.int64), forced], axis=1)
        forced_overlap = tf.gather_nd(iou, forced_pairs)
        touches = forced_overlap > 0
        pairs = tf.concat([pairs, tf.boolean_mask(forced_pairs, touches)], 0)
        overlap = tf.concat([overlap, tf.boolean_mask(forced_overlap, touches) + 2.0], 0)
    place = tf.cast(tf.gather(real_image, pairs[:, 0]), tf.int64) * num_anchors + pairs[:, 1]
    wins = overlap >= tf.gather(tf.math.unsorted_segment_max(overlap, place, batch * num_anchors), place)
    place, winner = tf.boolean_mask(place, wins), tf.gather(real_index, tf.boolean_mask(pairs[:, 0], wins))
    in_image = tf.cast(winner, tf.int32) - tf.gather(first, tf.gather(image, winner))
    matches = tf.tensor_scatter_nd_update(tf.reshape(matches, [-1]), place[:, None], in_image)
    return tf.stop_gradient(tf.reshape(matches, [batch, num_anchors])), boxes, first
