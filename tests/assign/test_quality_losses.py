"""Quality losses against a plain computation; an anchor's target is the IoU of its own decoded box, through which nothing is learned."""

import copy

import numpy as np
import pytest
from conftest import BOXES_CONFIG

from facedet.assign import quality_losses, targets
from facedet.detectors import registry
from facedet.detectors.base import Faces
from facedet.od_api import protos
from facedet.recipe import pipeline_config

import tensorflow as tf  # isort: skip

LOGITS = np.asarray([[2.0, -1.0, 0.5, -3.0], [0.0, 4.0, -2.0, 1.0]])
QUALITY = np.asarray([[0.9, 0.4, 0.7, 0.7], [0.2, 0.3, 0.0, 1.0]])
POSITIVE = np.asarray([[True, True, False, False], [False, True, False, True]])
WEIGHTS = np.asarray([[1.0, 0.5, 1.0, 0.0], [2.0, 1.0, 1.0, 1.0]])


def given():
    return [tf.constant(LOGITS, tf.float32), tf.constant(QUALITY, tf.float32), tf.constant(POSITIVE), tf.constant(WEIGHTS, tf.float32)]


@pytest.mark.parametrize("name", quality_losses.NAMES)
def test_numbers_are_those_of_a_plain_computation(name):
    expected = np.zeros_like(LOGITS)
    for at in np.ndindex(*LOGITS.shape):
        p, q = 1 / (1 + np.exp(-LOGITS[at])), QUALITY[at]
        if POSITIVE[at]:
            weight = (q - p) ** 2 if name == "quality_focal" else q
            expected[at] = weight * -(q * np.log(p) + (1 - q) * np.log(1 - p))
        else:
            expected[at] = 0.75 * p**2 * -np.log(1 - p)
    np.testing.assert_allclose(quality_losses.loss(name, *given()), expected * WEIGHTS, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", quality_losses.NAMES)
def test_nothing_flows_through_the_target(name):
    logits, quality, positive, weights = given()
    with tf.GradientTape() as tape:
        tape.watch([logits, quality])
        loss = quality_losses.loss(name, logits, quality, positive, weights)
    of_logits, of_quality = tape.gradient(loss, [logits, quality])
    assert of_quality is None and np.abs(of_logits.numpy())[WEIGHTS > 0].min() > 0


def recipe(name: str, change=lambda config: None):
    config = pipeline_config.message(str(BOXES_CONFIG))
    resizer, loss = config.model.ssd.image_resizer.fixed_shape_resizer, config.model.ssd.loss
    resizer.height = resizer.width = 64
    loss.classification_loss.weighted_sigmoid.SetInParent()
    protos.loss(config).classification = name
    change(config)
    return pipeline_config.from_message(config)


@pytest.fixture(scope="module")
def detector():
    tf.keras.utils.set_random_seed(1)
    return registry.build(recipe("quality_focal"))


FACE = Faces([tf.constant([[0.2, 0.3, 0.6, 0.6]])], [tf.ones([1])], [tf.fill([1, 5, 2], float("nan"))])


def classification(detector, codes, logits):
    """The loss of the face's anchors alone."""
    told = targets.assign(FACE, detector.anchors_yxyx, detector.input.height, detector.recipe.matching)
    assert bool(tf.reduce_any(told.positive))
    return tf.reduce_sum(tf.where(told.positive, detector._classification(logits, codes, told), 0.0))


def test_an_anchor_learns_how_well_its_own_box_lies(detector):
    """Where each box is its face a high score costs nothing; where half of it is, a score of .5 does."""
    anchors, losses = len(detector.anchors_yxyx), {}
    for overlap, right in ((1.0, 0.6), (0.5, 0.45)):
        boxes = tf.tile(tf.constant([[[0.2, 0.3, 0.6, right]]]), [1, anchors, 1])
        codes = tf.Variable(detector.codec.encode(boxes, detector.anchors_yxhw))
        for score in (0.5, 0.999):
            with tf.GradientTape() as tape:
                losses[overlap, score] = classification(detector, codes, tf.fill([1, anchors, 1], np.float32(np.log(score / (1 - score)))))
            assert tape.gradient(losses[overlap, score], codes) is None
    assert losses[1.0, 0.999] < 1e-3 * losses[1.0, 0.5]
    assert losses[0.5, 0.5] < 1e-3 * losses[0.5, 0.999]


@pytest.mark.parametrize("name", quality_losses.NAMES)
def test_steps_raise_a_score_to_the_target(name):
    logits = tf.Variable(given()[0])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(quality_losses.loss(name, logits, *given()[1:]))
        logits.assign_sub(2.0 * tape.gradient(loss, logits))

    for _ in range(600):
        step()
    scores = tf.sigmoid(logits).numpy()
    np.testing.assert_allclose(scores[POSITIVE], QUALITY[POSITIVE], atol=0.05)
    assert scores[~POSITIVE & (WEIGHTS > 0)].max() < 0.1


def test_a_target_rises_between_two_overlaps(detector):
    shaped = copy.copy(detector)
    shaped.recipe = recipe("quality_focal", rising)
    codes, logits = tf.zeros([1, len(detector.anchors_yxyx), 4]), tf.zeros([1, len(detector.anchors_yxyx), 1])
    told = targets.assign(FACE, detector.anchors_yxyx, 64, detector.recipe.matching)
    iou = detector._overlaps(codes, told)
    quality = np.interp(iou, [0.3, 0.7], [0, 1]).astype(np.float32)
    assert quality.max() > 0 and len(set(quality[told.positive])) > 2
    expected = quality_losses.loss("quality_focal", logits[..., 0], quality, told.positive, tf.ones_like(iou))
    np.testing.assert_allclose(classification(shaped, codes, logits), tf.reduce_sum(tf.where(told.positive, expected, 0.0)), rtol=1e-5)
    assert classification(shaped, codes, logits) != classification(detector, codes, logits)


def rising(config, least=0.3, full=0.7):
    protos.loss(config).least_overlap, protos.loss(config).full_overlap = least, full


def focal(config):
    config.model.ssd.loss.classification_loss.weighted_sigmoid_focal.SetInParent()


def mined(config):
    config.model.ssd.loss.hard_example_miner.SetInParent()


def softmax(config):
    config.model.ssd.post_processing.score_converter = config.model.ssd.post_processing.SOFTMAX


def background(config):
    config.model.ssd.add_background_class = True


@pytest.mark.parametrize(
    ("change", "said"),
    [(focal, "weighted_sigmoid_focal"), (mined, "hard_example_miner"), (softmax, "score_converter"), (background, "add_background_class")],
)
def test_what_contradicts_it_is_refused_by_name(change, said):
    with pytest.raises(pipeline_config.ConfigError, match=f'quality_focal".*{said}'):
        registry.build(recipe("quality_focal", change))


@pytest.mark.parametrize("key", ["least_overlap", "full_overlap"])
def test_an_overlap_without_a_quality_loss_is_refused(key):
    with pytest.raises(pipeline_config.ConfigError, match=f"{key}: 0.4.*classification"):
        recipe("balanced_cross_entropy", lambda config: setattr(protos.loss(config), key, 0.4))


@pytest.mark.parametrize("full", [0.3, 0.2])
def test_overlaps_between_which_nothing_rises_are_refused(full):
    with pytest.raises(pipeline_config.ConfigError, match="least_overlap: 0.3 is not below full_overlap"):
        registry.build(recipe("quality_focal", lambda config: rising(config, full=full)))
