"""A student learns its teacher's scores and boxes: nothing where they are its own, and the teacher never moves."""

import copy

import numpy as np
import pytest
from conftest import BOXES_CONFIG

from facedet.detectors import registry
from facedet.errors import ConfigError
from facedet.od_api import protos
from facedet.quantization.network import QuantizableNetwork
from facedet.recipe import pipeline_config
from facedet.training.teacher import Teacher
from facedet.weights import checkpoints

import tensorflow as tf  # isort: skip

LOSSES = {"Loss/teacher_classification_loss", "Loss/teacher_localization_loss"}


def config(size: int = 64):
    message = pipeline_config.message(str(BOXES_CONFIG))
    resizer = message.model.ssd.image_resizer.fixed_shape_resizer
    resizer.height = resizer.width = size
    return message


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """A teacher whose scores are spread over 0..1 and whose boxes lie apart from their anchors, on disk with its config."""
    folder = tmp_path_factory.mktemp("teacher")
    tf.keras.utils.set_random_seed(7)
    message = config()
    message.model.ssd.box_predictor.convolutional_box_predictor.class_prediction_bias_init = 0
    (folder / "pipeline.config").write_text(pipeline_config.from_message(message).text)
    detector = registry.build(pipeline_config.from_message(message))
    for weight in detector.network.trainable_weights:
        if "_head_" in weight.name and "kernel" in weight.name:
            weight.assign(weight * 20)
        if "gamma" in weight.name:
            weight.assign(weight * 2)
    checkpoints.write_weights(str(folder / "ckpt-1"), QuantizableNetwork(detector.network, detector.input.range), 1, False)
    told = protos.options.Teacher(config=str(folder / "pipeline.config"), checkpoint=str(folder / "ckpt-1"))
    return told


@pytest.fixture(scope="module")
def student():
    tf.keras.utils.set_random_seed(8)
    return registry.build(pipeline_config.from_message(config()))


@pytest.fixture(scope="module")
def teacher(said, student):
    return Teacher(said, student)


IMAGES = np.random.default_rng(3).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)


def test_a_student_equal_to_its_teacher_has_nothing_to_learn(teacher, student):
    outputs = teacher.detector.network(IMAGES, training=False)
    assert all(abs(float(loss)) < 1e-6 for loss in teacher.losses(IMAGES, outputs).values())
    own = teacher.losses(IMAGES, student.network(IMAGES, training=False))
    assert own.keys() == LOSSES and min(map(float, own.values())) > 1e-3


def test_scores_and_boxes_have_their_own_weights_and_temperature(teacher, student):
    outputs = student.network(IMAGES, training=False)
    one = teacher.losses(IMAGES, outputs)
    weighted = copy.copy(teacher)
    weighted._said = protos.options.Teacher(classification_weight=3, localization_weight=0, temperature=4, least_score=0.3)
    found = {key: float(loss) for key, loss in weighted.losses(IMAGES, outputs).items()}
    logits, taught = (d.codes_and_logits(o)[1].numpy()[..., 0].astype(np.float64) for d, o in (
        (student, outputs), (teacher.detector, teacher.detector.network(IMAGES, training=False))))  # fmt: skip

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    s, t = sigmoid(logits / 4), sigmoid(taught / 4)
    divergence = t * np.log(t / s) + (1 - t) * np.log((1 - t) / (1 - s))
    expected = 3 * 16 * (np.abs(sigmoid(taught) - sigmoid(logits)) * divergence).sum() / (sigmoid(taught) >= 0.3).sum()
    assert found["Loss/teacher_classification_loss"] == pytest.approx(expected, rel=1e-3)
    assert found["Loss/teacher_localization_loss"] == 0 < float(one["Loss/teacher_localization_loss"])


def test_steps_lower_both_losses_and_the_teacher_stays(teacher, student):
    """Both fall where what the student's heads give is free; its network is reached by both, the teacher's by none."""
    before = [weight.numpy() for weight in teacher.detector.network.weights]
    with tf.GradientTape() as tape:
        outputs = student.network(IMAGES, training=True)
        total = tf.add_n(list(teacher.losses(IMAGES, outputs).values()))
    kernels = [weight for weight in student.network.trainable_variables if "Conv1/kernel" in weight.name]
    assert all(float(tf.reduce_max(tf.abs(gradient))) > 0 for gradient in tape.gradient(total, kernels)) and kernels
    outputs = {name: tf.Variable(head) for name, head in outputs.items()}
    optimizer, first = tf.keras.optimizers.legacy.Adam(0.1), None
    for _ in range(60):
        with tf.GradientTape() as tape:
            losses = teacher.losses(IMAGES, outputs)
            total = tf.add_n(list(losses.values()))
        learned = [head for name, head in outputs.items() if name.startswith(("box", "class"))]
        optimizer.apply_gradients(zip(tape.gradient(total, learned), learned, strict=True))
        first = first or {key: float(loss) for key, loss in losses.items()}
    for key in LOSSES:
        assert float(losses[key]) < 0.5 * first[key], key
    for old, weight in zip(before, teacher.detector.network.weights, strict=True):
        np.testing.assert_array_equal(old, weight.numpy())
    assert not teacher.detector.network.trainable_variables


def test_one_of_another_input_or_of_other_anchors_is_refused_by_name(said):
    with pytest.raises(ConfigError, match=r"teacher.config: .*pipeline.config: its input is"):
        Teacher(said, registry.build(pipeline_config.from_message(config(96))))


@pytest.mark.parametrize("key", ["checkpoint", "config"])
def test_a_teacher_without_weights_or_config_is_refused(said, key):
    message = config()
    protos.training(message).teacher.CopyFrom(said)
    protos.training(message).teacher.ClearField(key)
    with pytest.raises(ConfigError, match=rf"\[facedet.training\] teacher.{key}: a trained detector's is wanted"):
        pipeline_config.from_message(message)
