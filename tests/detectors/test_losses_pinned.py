"""The losses of a training step from a fixed start: what changes them changes every training."""

import numpy as np
import pytest
from conftest import BOXES_CONFIG

from facedet.detectors import registry
from facedet.detectors.base import Faces
from facedet.quantization.network import QuantizableNetwork
from facedet.recipe import pipeline_config

import tensorflow as tf  # isort: skip

# From random weights of one seed; the second step follows one of SGD at rate .001, and simulates in the ranges that the first observed.
MEASURED = {
    "observe": {"localization": 1.2138474, "classification": 1.0898991, "regularization": 0.3136782},
    "simulate": {"localization": 1.1791902, "classification": 1.0331874, "regularization": 0.3136782},
}
TOLERANCE = 2e-3  # rounding to 8 bits makes a step of the grid of the last bit of a processor's sum; on one processor it is 5e-7


@pytest.fixture(scope="module")
def losses():
    tf.keras.utils.set_random_seed(0)
    text = BOXES_CONFIG.read_text()
    assert "bias_init: -4.6" in text
    # At -4.6 the background would weigh nothing.
    detector = registry.build(pipeline_config.parse(text.replace("bias_init: -4.6", "bias_init: -2.5")))
    quantizable = QuantizableNetwork(detector.network, detector.input.range)
    generator = np.random.default_rng(0)
    images = tf.image.resize(generator.uniform(0, 255, (2, 14, 14, 3)), (224, 224)).numpy().astype(np.float32)
    boxes, weights = [], []
    for count in (5, 2):
        corner, side = generator.uniform(0, 0.7, (count, 2)), generator.uniform(0.03, 0.25, (count, 2))
        boxes.append(tf.constant(np.concatenate([corner, corner + side], 1), tf.float32))
        weights.append(tf.constant([1.0] * (count - 1) + [0.0]))
    faces = Faces(boxes, weights, [tf.fill([len(b), 5, 2], float("nan")) for b in boxes])
    optimizer, variables, found = tf.keras.optimizers.legacy.SGD(1e-3), detector.network.trainable_variables, {}
    for name in MEASURED:
        with tf.GradientTape() as tape:
            outputs = getattr(quantizable, name)(detector.input.normalize(images), training=True)
            losses = detector.losses(outputs, faces)
            losses["Loss/regularization_loss"] = tf.add_n(detector.network.losses)
            total = tf.add_n(list(losses.values()))
        optimizer.apply_gradients(zip(tape.gradient(total, variables), variables, strict=True))
        found[name] = {key.removeprefix("Loss/").removesuffix("_loss"): float(value) for key, value in losses.items()}
    return found


@pytest.mark.parametrize("forward", MEASURED)
def test_a_step_from_a_fixed_start_gives_the_losses_that_were_measured(losses, forward):
    assert losses[forward] == pytest.approx(MEASURED[forward], rel=TOLERANCE)
