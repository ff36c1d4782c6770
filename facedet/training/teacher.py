"""Distillation: a detector learns the scores and boxes of a trained one, its teacher, beside the annotation (Hinton et al. 2015, arXiv:1503.02531).

The two have the same input and anchors, so that each anchor has one teacher. Scores and boxes are learned apart, each with its weight:

    scores   sum |t - s| T^2 KL(t_T || s_T) over all anchors: what the two already agree on, most of the background, weighs nothing
             (as Yang et al. 2023, arXiv:2308.14286, weigh a binary cross-entropy); t_T and s_T are sigmoid(logit / T)
    boxes    sum t smooth L1 of the codes, over the anchors whose t reaches least_score

both over the number of anchors whose t reaches least_score in the batch.
"""

import numpy as np
import tensorflow as tf

from facedet import replicas
from facedet.detectors import registry
from facedet.detectors.ssd import SSD
from facedet.errors import ConfigError
from facedet.od_api import losses
from facedet.quantization.network import QuantizableNetwork
from facedet.recipe import pipeline_config
from facedet.weights import checkpoints


class Teacher:
    """student: the detector that learns.  said: [facedet.training] teacher, a facedet.Teacher message.

    The teacher computes in float, and nothing changes it. Raises ConfigError where the two do not fit each other, CheckpointError.
    """

    def __init__(self, said, student: SSD):
        self._said, self._student = said, student
        recipe = pipeline_config.read(said.config)
        self.detector = registry.build(recipe)
        _check(said.config, self.detector, student)
        self.detector.network.trainable = False
        checkpoints.load(said.checkpoint, QuantizableNetwork(self.detector.network, self.detector.input.range))

    def losses(self, images, outputs: dict) -> dict[str, tf.Tensor]:
        """images: the student's, normalized.  outputs: what it gave for them -> two losses, weighted; both 0 where it gave the teacher's."""
        codes, logits = self._student.codes_and_logits(outputs)
        of_teacher = self.detector.network(images, training=False)
        taught_codes, taught = self.detector.codes_and_logits({name: tf.cast(head, tf.float32) for name, head in of_teacher.items()})
        taught_codes, taught, logits = tf.stop_gradient(taught_codes), tf.stop_gradient(taught[..., 0]), logits[..., 0]
        score, heat = tf.sigmoid(taught), self._said.temperature
        sure = tf.where(score >= self._said.least_score, score, 0.0)
        count = tf.maximum(replicas.total(tf.reduce_sum(tf.cast(sure > 0, tf.float32))), 1.0)
        soft = tf.sigmoid(taught / heat)
        divergence = _cross_entropy(soft, logits / heat) - _cross_entropy(soft, taught / heat)
        scores = tf.stop_gradient(tf.abs(score - tf.sigmoid(logits))) * heat**2 * divergence
        return {
            "Loss/teacher_classification_loss": self._said.classification_weight / count * tf.reduce_sum(scores),
            "Loss/teacher_localization_loss": self._said.localization_weight
            / count
            * tf.reduce_sum(losses.smooth_l1(codes, taught_codes, sure)),
        }


def _cross_entropy(targets, logits):
    return tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)


def _check(path: str, teacher, student) -> None:
    """ConfigError for the first in which the two differ and may not."""
    for detector, whose in ((teacher, f"[facedet.training] teacher.config: {path}"), (student, "[facedet.training] teacher")):
        if not isinstance(detector, SSD) or detector.recipe.add_background_class or detector.recipe.score_converter != "SIGMOID":
            raise ConfigError(
                f"{whose}: teacher and student have to be SSDs with one score an anchor: add_background_class: false, score_converter: SIGMOID."
            )
    if teacher.input != student.input:
        raise ConfigError(
            f"[facedet.training] teacher.config: {path}: its input is {teacher.input}, the student's {student.input}: they have to be the same."
        )
    mine, its = student.anchors_yxyx, teacher.anchors_yxyx
    if mine.shape != its.shape or not np.allclose(mine, its, atol=1e-6):
        raise ConfigError(
            f"[facedet.training] teacher.config: {path}: its {len(its):,} anchors are not the student's {len(mine):,}: write the same "
            "anchor_generator in both, on levels of the same sizes."
        )
    if (teacher.recipe.box_coder.kind, teacher.recipe.box_coder.scales) != (student.recipe.box_coder.kind, student.recipe.box_coder.scales):
        raise ConfigError(f"[facedet.training] teacher.config: {path}: its box_coder codes boxes in another way than the student's.")
