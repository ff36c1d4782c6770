"""Matching against the OD API's own target assigner, which it replaces, and the rule that ours adds: faces to ignore."""

import dataclasses

import numpy as np
import pytest
from conftest import MAIN_CONFIG, run
from google.protobuf import text_format

from facedet.assign import matchers
from facedet.detectors import ssd
from facedet.recipe import pipeline_config
from facedet.runtime import boxes as geometry

import tensorflow as tf  # isort: skip
from object_detection.builders import box_coder_builder, matcher_builder, region_similarity_calculator_builder  # isort: skip
from object_detection.core import box_list, region_similarity_calculator, target_assigner  # isort: skip
from object_detection.protos import matcher_pb2  # isort: skip


@pytest.fixture(scope="module")
def model():
    config = pipeline_config.read(str(MAIN_CONFIG))
    pipeline_config.training(config).Clear()  # the OD API's ways
    return ssd.build(config, is_training=True)


def random_faces(generator, count, least=0.04):
    sides = np.exp(generator.uniform(np.log(least), np.log(0.6), (count, 2)))
    corner = generator.uniform(0, 1 - sides)
    return np.concatenate([corner, corner + sides], 1).astype(np.float32)


def test_equals_the_od_api_where_no_face_is_ignored(model):
    generator = np.random.default_rng(1)
    boxes = [random_faces(generator, count) for count in (1, 7, 30)]
    ssd = pipeline_config.read(str(MAIN_CONFIG)).model.ssd
    assigner = target_assigner.TargetAssigner(
        region_similarity_calculator_builder.build(ssd.similarity_calculator),
        matcher_builder.build(ssd.matcher),
        box_coder_builder.build(ssd.box_coder),
    )
    lists = [tf.constant(b) for b in boxes]
    ours = model._assign_targets(lists, [tf.ones([len(b), 1]) for b in boxes])
    theirs = target_assigner.batch_assign_targets(
        assigner, model.anchors, [box_list.BoxList(b) for b in lists], [tf.ones([len(b), 1]) for b in boxes], tf.zeros([1]), None
    )
    positive = theirs[4].numpy() >= 0
    assert positive.sum() > 40  # at least one a face
    # Where two faces claim one anchor, the OD API takes the first of the list, ours the one that overlaps it more.
    differ = ours[4].numpy() != theirs[4].numpy()
    assert differ.sum() <= 3
    for image, anchor in np.argwhere(differ):
        ours_face, theirs_face = (boxes[image][matches[4].numpy()[image, anchor]] for matches in (ours, theirs))
        overlaps = geometry.iou([ours_face, theirs_face], model.anchors.get().numpy()[[anchor]])
        assert overlaps[0, 0] >= overlaps[1, 0]
    positive &= ~differ
    np.testing.assert_allclose(ours[0], theirs[0])
    np.testing.assert_allclose(ours[1], theirs[1])
    np.testing.assert_allclose(ours[2].numpy()[positive], theirs[2].numpy()[positive], atol=1e-4)
    np.testing.assert_allclose(ours[3], theirs[3])


@pytest.mark.parametrize(
    "said", ["ignore_thresholds: true", "matched_threshold: 0.6 unmatched_threshold: 0.3 force_match_for_each_row: true"]
)
def test_rules_mean_what_the_od_apis_matcher_takes_them_for(model, said):
    """ignore_thresholds: every anchor learns the face it overlaps most, at whatever overlap."""
    generator = np.random.default_rng(3)
    boxes = random_faces(generator, 5)
    proto = text_format.Parse(f"argmax_matcher {{ {said} }}", matcher_pb2.Matcher())
    similarity = region_similarity_calculator.IouSimilarity()
    anchors = model.anchors.get()
    theirs = matcher_builder.build(proto).match(similarity.compare(box_list.BoxList(tf.constant(boxes)), box_list.BoxList(anchors)))
    rules = matchers.Rules.from_proto(proto)
    ours, _, _ = matchers.match([tf.constant(boxes)], [tf.ones([5])], anchors, rules)
    np.testing.assert_array_equal(ours[0], theirs.match_results)
    assert (ours.numpy() >= 0).any()
    nobody, _, _ = matchers.match([tf.zeros([0, 4])], [tf.zeros([0])], anchors, rules)
    assert (nobody.numpy() == matchers.UNMATCHED).all()


def matched(model, boxes, weights, **rules):
    rules = dataclasses.replace(model.rules, **rules)
    matches, _, _ = matchers.match([tf.constant(boxes)], [tf.constant(weights, tf.float32)], model.anchors.get(), rules)
    return matches.numpy()[0]


def test_anchors_on_an_ignored_face_are_neither_face_nor_background(model):
    face = np.asarray([[0.3, 0.3, 0.6, 0.5]], np.float32)
    as_face, as_ignored = matched(model, face, [1.0]), matched(model, face, [0.0])
    assert (as_face >= 0).any() and not (as_ignored >= 0).any()
    assert (as_ignored[as_face >= 0] == matchers.IGNORED).all()
    anchors = model.anchors.get().numpy()
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    small_inside = ((centers > 0.4) & (centers < 0.45)).all(1) & (anchors[:, 2] - anchors[:, 0] < 0.06)
    assert small_inside.any() and (as_ignored[small_inside] == matchers.IGNORED).all()
    far = (centers > 0.8).all(1)
    assert (as_ignored[far] == matchers.UNMATCHED).all()


def test_a_face_next_to_an_ignored_one_is_still_learned(model):
    boxes = np.asarray([[0.3, 0.3, 0.45, 0.4], [0.31, 0.31, 0.46, 0.41]], np.float32)
    assert (matched(model, boxes, [1.0, 0.0]) == 0).any()


def test_a_face_takes_its_next_best_anchors_down_to_the_threshold_only(model):
    anchors = model.anchors.get().numpy()
    generator = np.random.default_rng(2)
    few, gained = 0, 0
    for face in random_faces(generator, 40, least=0.03)[:, None]:
        one, three = (matched(model, face, [1.0], anchors_per_face=n) >= 0 for n in (1, 3))
        overlaps = geometry.iou(face, anchors)[0]
        assert (three | ~one).all()  # nothing is lost
        assert (overlaps[three & ~one] >= model.rules.unmatched_threshold).all()
        assert three.sum() >= min(3, (overlaps >= model.rules.unmatched_threshold + 1e-4).sum())
        assert three.sum() == one.sum() or three.sum() <= 3
        few, gained = few + (one.sum() < 3), gained + (three.sum() > one.sum())
    assert few > 5 and gained > 5


def test_a_face_smaller_than_every_anchor_is_ignored(model):
    boxes = tf.constant([[0.5, 0.5, 0.51, 0.51], [0.2, 0.2, 0.4, 0.4]])
    assert model._ignore_too_small(boxes, tf.ones([2])).numpy().tolist() == [0, 1]


def test_smallest_face_is_a_height_in_pixels_of_the_input():
    config = pipeline_config.read(str(MAIN_CONFIG))
    pipeline_config.training(config).smallest_face = 5.0
    model = ssd.build(config, is_training=True)
    heights = np.asarray([4.9, 5.1, 40.0, 3.0], np.float32) / 224
    widths = np.asarray([40.0, 3.0, 30.0, 2.0], np.float32) / 224  # whatever the width
    boxes = np.stack([heights * 0 + 0.5, widths * 0 + 0.5, 0.5 + heights, 0.5 + widths], 1)
    assert model._ignore_too_small(tf.constant(boxes), tf.constant([1.0, 1.0, 1.0, 0.0])).numpy().tolist() == [0, 1, 1, 0]


def test_no_faces_at_all(model):
    empty = tf.zeros([0, 4])
    targets = model._assign_targets([empty, empty], [tf.zeros([0, 1])] * 2, weights_list=[tf.zeros([0])] * 2)
    assert (targets[4].numpy() == matchers.UNMATCHED).all() and (targets[1].numpy() == 1).all() and (targets[3].numpy() == 0).all()


def test_faces_by_the_handful_match_as_all_at_once(monkeypatch):
    """The work is cut into parts of a bounded size, and where it is cut decides nothing."""
    generator = np.random.default_rng(4)
    boxes = [tf.constant(random_faces(generator, count)) for count in (1, 30, 0, 7)]
    weights = [tf.constant((generator.uniform(size=len(b)) > 0.3).astype(np.float32)) for b in boxes]
    anchors = tf.constant(random_faces(generator, 500))
    rules = matchers.Rules(0.5, 0.35, True, 3)
    whole, _, _ = matchers.match(boxes, weights, anchors, rules)
    monkeypatch.setattr(matchers, "PAIRS_AT_ONCE", 3 * len(anchors))
    parts, _, _ = matchers.match(boxes, weights, anchors, rules)
    assert {-2, -1} < set(np.unique(whole))
    np.testing.assert_array_equal(whole, parts)


def test_the_largest_crowd_on_the_largest_input_stays_below_300_mb():
    """1,968 faces, the most of a picture in WIDER FACE, on the 174,720 anchors of a 1,024 px input from stride 4 on."""
    code = """if True:
        import resource, numpy as np
        from facedet.od_api import target_assignment
        import tensorflow as tf
        generator = np.random.default_rng(0)
        def boxes(count):
            sides = generator.uniform(0.005, 0.2, (count, 2))
            corner = generator.uniform(0, 1 - sides)
            return tf.constant(np.concatenate([corner, corner + sides], 1), tf.float32)
        faces, anchors = boxes(1968), boxes(174720)
        match = tf.function(lambda: matchers.match([faces], [tf.ones(1968)], anchors, matchers.Rules(0.5, 0.35, True, 3))[0])
        match.get_concrete_function()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert (match().numpy() >= 0).sum() > 1968
        print("MB", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"""
    assert int(run("-c", code).split("MB")[-1]) < 300
