"""Matching against the OD API's own target assigner, which it replaces, and the rule that ours adds: faces to ignore."""

import dataclasses

import numpy as np
import pytest
from conftest import BOXES_CONFIG, run
from google.protobuf import text_format

from facedet.assign import codecs, matchers, targets
from facedet.detectors import registry
from facedet.detectors.base import Faces
from facedet.od_api import protos
from facedet.recipe import pipeline_config
from facedet.recipe.recipe import Matching
from facedet.runtime import boxes as geometry

import tensorflow as tf  # isort: skip
from object_detection.builders import box_coder_builder, matcher_builder, region_similarity_calculator_builder  # isort: skip
from object_detection.core import box_list, region_similarity_calculator, target_assigner  # isort: skip
from object_detection.protos import matcher_pb2  # isort: skip


@pytest.fixture(scope="module")
def recipe():
    config = pipeline_config.message(str(BOXES_CONFIG))
    protos.training(config).Clear()  # the OD API's ways
    return pipeline_config.from_message(config)


@pytest.fixture(scope="module")
def anchors(recipe):
    return tf.constant(registry.build(recipe).anchors_yxyx)


def random_faces(generator, count, least=0.04):
    sides = np.exp(generator.uniform(np.log(least), np.log(0.6), (count, 2)))
    corner = generator.uniform(0, 1 - sides)
    return np.concatenate([corner, corner + sides], 1).astype(np.float32)


def test_equals_the_od_api_where_no_face_is_ignored(recipe, anchors):
    generator = np.random.default_rng(1)
    boxes = [random_faces(generator, count) for count in (1, 7, 30)]
    ssd = pipeline_config.message(str(BOXES_CONFIG)).model.ssd
    assigner = target_assigner.TargetAssigner(
        region_similarity_calculator_builder.build(ssd.similarity_calculator),
        matcher_builder.build(ssd.matcher),
        box_coder_builder.build(ssd.box_coder),
    )
    lists = [tf.constant(b) for b in boxes]
    weights = [tf.ones([len(b)]) for b in boxes]
    ours = targets.assign(Faces(lists, weights, [tf.fill([len(b), 5, 2], 0.5) for b in boxes]), anchors, 224, recipe.matching)
    codes = codecs.build(recipe.box_coder).encode(ours.boxes_yxyx, codecs.centers_and_sides(anchors)).numpy()
    theirs = target_assigner.batch_assign_targets(
        assigner,
        box_list.BoxList(anchors),
        [box_list.BoxList(b) for b in lists],
        [tf.ones([len(b), 1]) for b in boxes],
        tf.zeros([1]),
        None,
    )
    classes, class_weights, their_codes, box_weights, their_matches = (value.numpy() for value in theirs)
    positive = their_matches >= 0
    assert positive.sum() > 40  # at least one a face
    # Where two faces claim one anchor, the OD API takes the first of the list, ours the one that overlaps it more.
    differ = ours.matches.numpy() != their_matches
    assert differ.sum() <= 3
    for image, anchor in np.argwhere(differ):
        ours_face, theirs_face = (boxes[image][matches[image, anchor]] for matches in (ours.matches.numpy(), their_matches))
        overlaps = geometry.iou([ours_face, theirs_face], anchors.numpy()[[anchor]])
        assert overlaps[0, 0] >= overlaps[1, 0]
    np.testing.assert_allclose(ours.positive.numpy(), classes[..., 0])
    np.testing.assert_allclose(ours.weights.numpy() + ours.background.numpy(), class_weights[..., 0])
    positive &= ~differ
    np.testing.assert_allclose(codes[positive], their_codes[positive], atol=1e-4)
    np.testing.assert_allclose(ours.weights, box_weights)


@pytest.mark.parametrize(
    "said", ["ignore_thresholds: true", "matched_threshold: 0.6 unmatched_threshold: 0.3 force_match_for_each_row: true"]
)
def test_rules_mean_what_the_od_apis_matcher_takes_them_for(anchors, said):
    """ignore_thresholds: every anchor learns the face it overlaps most, at whatever overlap."""
    generator = np.random.default_rng(3)
    boxes = random_faces(generator, 5)
    proto = text_format.Parse(f"argmax_matcher {{ {said} }}", matcher_pb2.Matcher())
    similarity = region_similarity_calculator.IouSimilarity()
    theirs = matcher_builder.build(proto).match(similarity.compare(box_list.BoxList(tf.constant(boxes)), box_list.BoxList(anchors)))
    config = pipeline_config.message(str(BOXES_CONFIG))
    config.model.ssd.matcher.CopyFrom(proto)
    protos.training(config).Clear()
    rules = pipeline_config.from_message(config).matching
    ours, _, _ = matchers.match([tf.constant(boxes)], [tf.ones([5])], anchors, rules)
    np.testing.assert_array_equal(ours[0], theirs.match_results)
    assert (ours.numpy() >= 0).any()
    nobody, _, _ = matchers.match([tf.zeros([0, 4])], [tf.zeros([0])], anchors, rules)
    assert (nobody.numpy() == matchers.UNMATCHED).all()


@pytest.fixture(scope="module")
def matched(recipe, anchors):
    def match(boxes, weights, **rules):
        rules = dataclasses.replace(recipe.matching, **rules)
        return matchers.match([tf.constant(boxes)], [tf.constant(weights, tf.float32)], anchors, rules)[0].numpy()[0]

    return match


def test_anchors_on_an_ignored_face_are_neither_face_nor_background(matched, anchors):
    face = np.asarray([[0.3, 0.3, 0.6, 0.5]], np.float32)
    as_face, as_ignored = matched(face, [1.0]), matched(face, [0.0])
    assert (as_face >= 0).any() and not (as_ignored >= 0).any()
    assert (as_ignored[as_face >= 0] == matchers.IGNORED).all()
    anchors = anchors.numpy()
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    small_inside = ((centers > 0.4) & (centers < 0.45)).all(1) & (anchors[:, 2] - anchors[:, 0] < 0.06)
    assert small_inside.any() and (as_ignored[small_inside] == matchers.IGNORED).all()
    far = (centers > 0.8).all(1)
    assert (as_ignored[far] == matchers.UNMATCHED).all()


def test_a_face_next_to_an_ignored_one_is_still_learned(matched):
    boxes = np.asarray([[0.3, 0.3, 0.45, 0.4], [0.31, 0.31, 0.46, 0.41]], np.float32)
    assert (matched(boxes, [1.0, 0.0]) == 0).any()


def test_a_face_takes_its_next_best_anchors_down_to_the_threshold_only(matched, recipe, anchors):
    anchors = anchors.numpy()
    generator = np.random.default_rng(2)
    few, gained = 0, 0
    for face in random_faces(generator, 40, least=0.03)[:, None]:
        one, three = (matched(face, [1.0], anchors_per_face=n) >= 0 for n in (1, 3))
        overlaps = geometry.iou(face, anchors)[0]
        assert (three | ~one).all()  # nothing is lost
        assert (overlaps[three & ~one] >= recipe.matching.unmatched_threshold).all()
        assert three.sum() >= min(3, (overlaps >= recipe.matching.unmatched_threshold + 1e-4).sum())
        assert three.sum() == one.sum() or three.sum() <= 3
        few, gained = few + (one.sum() < 3), gained + (three.sum() > one.sum())
    assert few > 5 and gained > 5


def test_faces_by_the_handful_match_as_all_at_once(monkeypatch):
    """The work is cut into parts of a bounded size, and where it is cut decides nothing."""
    generator = np.random.default_rng(4)
    boxes = [tf.constant(random_faces(generator, count)) for count in (1, 30, 0, 7)]
    weights = [tf.constant((generator.uniform(size=len(b)) > 0.3).astype(np.float32)) for b in boxes]
    anchors = tf.constant(random_faces(generator, 500))
    rules = Matching(0.5, 0.35, True, 3)
    whole, _, _ = matchers.match(boxes, weights, anchors, rules)
    monkeypatch.setattr(matchers, "PAIRS_AT_ONCE", 3 * len(anchors))
    parts, _, _ = matchers.match(boxes, weights, anchors, rules)
    assert {-2, -1} < set(np.unique(whole))
    np.testing.assert_array_equal(whole, parts)


def test_the_largest_crowd_on_the_largest_input_stays_below_300_mb():
    """1,968 faces, the most of a picture in WIDER FACE, on the 174,720 anchors of a 1,024 px input from stride 4 on."""
    code = """if True:
        import resource, numpy as np
        from facedet.assign import matchers
        from facedet.recipe.recipe import Matching
        import tensorflow as tf
        generator = np.random.default_rng(0)
        def boxes(count):
            sides = generator.uniform(0.005, 0.2, (count, 2))
            corner = generator.uniform(0, 1 - sides)
            return tf.constant(np.concatenate([corner, corner + sides], 1), tf.float32)
        faces, anchors = boxes(1968), boxes(174720)
        match = tf.function(lambda: matchers.match([faces], [tf.ones(1968)], anchors, Matching(0.5, 0.35, True, 3))[0])
        match.get_concrete_function()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert (match().numpy() >= 0).sum() > 1968
        print("MB", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"""
    assert int(run("-c", code).split("MB")[-1]) < 300
