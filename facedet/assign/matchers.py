"""Which anchor learns which face: the OD API's ArgMaxMatcher rules for a whole batch at once, with faces to ignore.

The OD API compares every anchor with every (padded) box of an image, image by image, and knows no box that is neither
object nor background beyond its match. Here the faces of a batch are laid end to end, so that the work grows with the
faces that are there, and a face of weight 0 takes the anchors on it out of the loss.
"""

from typing import NamedTuple

import tensorflow as tf

from facedet.recipe.recipe import Matching

UNMATCHED, IGNORED = -1, -2  # as in object_detection.core.matcher.Match
NONE = -1.0  # the overlap of an anchor where there is no face to compare it with
PAIRS_AT_ONCE = 2**22  # of a face and an anchor: 16 MB a temporary


def intersection_and_union(boxes, anchors):
    """boxes [F, 4], anchors [A, 4], corners of one order -> two [F, A]."""
    top, left, bottom, right = [column[:, None] for column in tf.unstack(boxes, axis=1)]
    a_top, a_left, a_bottom, a_right = [row[None, :] for row in tf.unstack(anchors, axis=1)]
    shared = tf.maximum(tf.minimum(bottom, a_bottom) - tf.maximum(top, a_top), 0.0)
    shared *= tf.maximum(tf.minimum(right, a_right) - tf.maximum(left, a_left), 0.0)
    return shared, (bottom - top) * (right - left) + (a_bottom - a_top) * (a_right - a_left) - shared


def match(boxes_list, weights_list, anchors, rules: Matching):
    """Matches the faces of B images to A anchors by the rules of a recipe.

    boxes_list: B times [n, 4], corners of the anchors' order, 0..1.  weights_list: B times [n]; 0 marks a face to ignore.
    Returns matches int32 [B, A] (index of the face in its image, UNMATCHED or IGNORED), the boxes laid end to end [F, 4],
    and where each image's begin among them [B].
    """
    batch, num_anchors = len(boxes_list), anchors.shape[0]
    counts = tf.stack([tf.shape(boxes)[0] for boxes in boxes_list])
    first = tf.cumsum(counts, exclusive=True)
    image = tf.repeat(tf.range(batch), counts)
    boxes, weights = tf.concat(boxes_list, 0), tf.concat(weights_list, 0)
    best = _best_by_anchor(boxes, image, weights > 0, batch, anchors, rules.anchors_per_face)

    # Ignored faces, and the anchors that lie for the most part on one, are neither face nor background.
    left_out = (best.overlap >= rules.unmatched_threshold) | (best.on_ignored >= min(rules.unmatched_threshold, 0.25))
    matches = tf.where(left_out, IGNORED, UNMATCHED)
    matches = tf.where(best.overlap >= rules.matched_threshold, best.face, matches)

    # What a face takes beyond those: its next best anchors where no face reaches the threshold, and its best one in any case.
    taken = []
    if rules.anchors_per_face > 1:
        at = tf.gather_nd(best.overlap, tf.stack([tf.repeat(image[:, None], rules.anchors_per_face, 1), best.anchors], 2))
        taken.append((best.overlaps >= rules.unmatched_threshold) & (at < rules.matched_threshold))
    if rules.force_match:
        enough = (best.overlaps > 0) & (best.overlaps >= rules.least_forced_overlap)
        taken.append(enough & (tf.range(rules.anchors_per_face) == 0))
    for wanted in taken:
        pairs = tf.where(wanted & (weights > 0)[:, None])
        face = tf.cast(pairs[:, 0], tf.int32)
        place = tf.gather(image, face) * num_anchors + tf.gather_nd(best.anchors, pairs)
        overlap = tf.gather_nd(best.overlaps, pairs)
        wins = overlap >= tf.gather(tf.math.unsorted_segment_max(overlap, place, batch * num_anchors), place)
        place, face = tf.boolean_mask(place, wins), tf.boolean_mask(face, wins)
        matches = tf.tensor_scatter_nd_update(tf.reshape(matches, [-1]), place[:, None], face)
        matches = tf.reshape(matches, [batch, num_anchors])
    in_image = tf.where(matches >= 0, matches - first[:, None], matches)
    return tf.stop_gradient(in_image), boxes, first


class _Best(NamedTuple):
    """overlap float [B, A] of each anchor with its best face, face int32 [B, A] that face among all, on_ignored [B, A] the
    overlap with ignored faces; overlaps [F, K] and anchors int32 [F, K]: each face's best anchors."""

    overlap: tf.Tensor
    face: tf.Tensor
    on_ignored: tf.Tensor
    overlaps: tf.Tensor
    anchors: tf.Tensor


def _best_by_anchor(boxes, image, real, batch: int, anchors, anchors_per_face: int) -> _Best:
    """A few faces at a time: faces x anchors at once would be gigabytes for a crowd on a large input."""
    num_anchors = anchors.shape[0]
    faces_at_once = max(1, PAIRS_AT_ONCE // num_anchors)
    num_faces = tf.shape(boxes)[0]
    anchor_area = (anchors[:, 2] - anchors[:, 0]) * (anchors[:, 3] - anchors[:, 1])

    def more(start, overlap, face, on_ignored, overlaps, best_anchors):
        part = slice(start, start + faces_at_once)
        shared, union = intersection_and_union(boxes[part], anchors)
        iou = shared / tf.maximum(union, 1e-12)
        chosen = real[part, None]
        in_image = image[part]
        ignored = tf.where(chosen, NONE, tf.maximum(iou, shared / anchor_area[None] * 0.5))
        on_ignored = tf.maximum(on_ignored, tf.math.unsorted_segment_max(ignored, in_image, batch))
        iou = tf.where(chosen, iou, NONE)
        here = tf.math.unsorted_segment_max(iou, in_image, batch)
        index = tf.range(start, start + tf.shape(iou)[0])[:, None]
        who = tf.math.unsorted_segment_min(tf.where(iou >= tf.gather(here, in_image), index, num_faces), in_image, batch)
        face = tf.where(here > overlap, who, face)
        top = tf.math.top_k(iou, anchors_per_face)
        at = start // faces_at_once
        return (start + faces_at_once, tf.maximum(overlap, here), face, on_ignored,
                overlaps.write(at, top.values), best_anchors.write(at, top.indices))  # fmt: skip

    def rows(dtype):
        return tf.TensorArray(dtype, 0, dynamic_size=True, infer_shape=False, element_shape=[None, anchors_per_face])

    none = tf.fill([batch, num_anchors], NONE)
    state = (0, none, tf.zeros([batch, num_anchors], tf.int32), none, rows(tf.float32), rows(tf.int32))
    _, overlap, face, on_ignored, overlaps, best_anchors = tf.while_loop(
        lambda start, *_: (start == 0) | (start < num_faces), more, state, parallel_iterations=1
    )
    return _Best(overlap, face, on_ignored, overlaps.concat(), best_anchors.concat())
