"""BlazeFace in the paper's form: its counts, its losses and its schedule are its author's; its shortcuts are exact in int8."""

import math
import types

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from conftest import ROOT

from facedet.assign import targets
from facedet.detectors import registry, ssd
from facedet.detectors.base import Faces
from facedet.evaluation.network_profile import multiply_adds
from facedet.export.formats import tflite
from facedet.layers.channel_padding import shortcut
from facedet.od_api import optimizers, protos
from facedet.quantization.network import QuantizableNetwork
from facedet.recipe import pipeline_config
from facedet.runtime.input_spec import InputSpec

import tensorflow as tf  # isort: skip

CONFIG = str(ROOT / "configs" / "blazeface_128x128_widerface.config")
layers = tf.keras.layers


@pytest.fixture(scope="module")
def detector():
    return registry.build(pipeline_config.read(CONFIG))


def built(change):
    config = pipeline_config.message(CONFIG)
    change(config)
    return registry.build(pipeline_config.from_message(config))


def test_its_parameters_multiply_adds_and_anchors_are_the_original_s(detector):
    network = detector.network
    assert sum(math.prod(weight.shape) for weight in network.trainable_weights) == 104_992
    assert network.count_params() == 106_864
    assert round(multiply_adds(network) / 1e6, 1) == 37.9
    kernels = {name: network.get_layer(name).kernel_size for name in network.output}
    assert kernels == {"box_head_0": (3, 3), "box_head_1": (3, 3), "class_head_0": (5, 5), "class_head_1": (5, 5)}
    sides = detector.anchors_yxhw[:, 2:]
    assert sides.shape == (896, 2)
    np.testing.assert_allclose(sides[:, 0], sides[:, 1], atol=1e-6)
    np.testing.assert_allclose(np.unique(sides[:, 0].round(4)), np.linspace(0.08, 0.45, 8), atol=2e-4)
    levels = detector.anchor_table()["levels"]
    assert [(level["stride"], level["count"], len(level["sizes_px"])) for level in levels] == [(8, 512, 2), (16, 384, 6)]


def test_a_code_is_in_sides_of_the_anchor_without_scales(detector):
    center, side = detector.anchors_yxhw[700, :2], detector.anchors_yxhw[700, 2]
    box = np.concatenate([center - side + (side / 2, 0), center + side + (side / 2, 0)])[None]  # twice as large, half a side lower
    code = detector.codec.encode(tf.constant(box), detector.anchors_yxhw[700:701])
    np.testing.assert_allclose(code, [[0.5, 0, math.log(2), math.log(2)]], atol=1e-5)


def test_bytes_come_as_they_are_and_pictures_keep_their_shape(detector):
    picture = np.full((100, 200, 3), 200, np.uint8)
    prepared, placement = detector.input.prepare(picture)
    values = detector.input.normalize(prepared.astype(np.float32))
    assert (values[32:96] == 200).all() and (values[:32] == 0).all() and (values[96:] == 0).all()
    assert (placement.height, placement.width) == (0.5, 1)


def test_dropout_follows_each_double_block_as_the_config_says(detector):
    rates = [layer.rate for layer in detector.network.layers if isinstance(layer, layers.Dropout)]
    assert rates == pytest.approx([0.3] * 6)
    without = built(lambda config: protos.detector(config).ClearField("dropout"))
    assert not any(isinstance(layer, layers.Dropout) for layer in without.network.layers)


def told(positive, weights, background):
    return targets.Targets(None, tf.constant(positive), None, tf.constant(weights), None, None, tf.constant(background))


def test_balanced_cross_entropy_is_the_mean_of_each_kind_over_the_batch():
    losses = np.asarray([[3.0, 5.0, 0.25, 7.0], [1.0, 0.5, 0.75, 9.0]], np.float32)
    positive = np.asarray([[True, True, False, False], [False, False, False, True]])
    background = np.asarray([[0, 0, 1, 0], [1, 1, 1, 0]], np.float32)  # the first's last anchor is neither
    weights = np.asarray([[1, 1, 0, 0], [0, 0, 0, 0]], np.float32)  # the second's face is to be ignored
    found = float(ssd._balanced(tf.constant(losses), told(positive, weights, background)))
    assert found == pytest.approx((3 + 5) / 2 + (0.25 + 1 + 0.5 + 0.75) / 4)


def faces(*boxes_of_pictures):
    boxes = [tf.reshape(tf.constant(boxes, tf.float32), [-1, 4]) for boxes in boxes_of_pictures]
    return Faces(boxes, [tf.ones([len(b)]) for b in boxes], [tf.fill([len(b), 5, 2], float("nan")) for b in boxes])


def test_a_batch_without_faces_has_a_loss_and_gradients(detector):
    images = tf.random.stateless_uniform([2, 128, 128, 3], (1, 2), 0, 255)
    with tf.GradientTape() as tape:
        losses = detector.losses(detector.network(images, training=True), faces([], []))
        total = tf.add_n(list(losses.values()))
    assert float(losses["Loss/localization_loss"]) == 0 and 0 < float(total) < 10
    gradients = [g for g in tape.gradient(total, detector.network.trainable_variables) if g is not None]
    assert gradients and all(np.isfinite(g.numpy()).all() for g in gradients)


def random_outputs(detector):
    heads = enumerate(detector.network.output.items())
    return {name: tf.random.stateless_normal([1, *head.shape[1:]], (3, seed)) for seed, (name, head) in heads}


def test_its_losses_are_the_author_s_formula(detector):
    picture = faces([[0.2, 0.2, 0.55, 0.5], [0.6, 0.6, 0.75, 0.7]])
    outputs = random_outputs(detector)
    losses = {name: float(value) for name, value in detector.losses(outputs, picture).items()}
    assigned = targets.assign(picture, detector.anchors_yxyx, 128, detector.recipe.matching)
    at = assigned.positive.numpy()
    assert 2 <= at.sum() < 60 and assigned.background.numpy().sum() == 896 - at.sum()  # the rest is background, with nothing between
    logits, codes = (detector._joined(outputs, kind).numpy().astype(np.float64) for kind in (ssd.CLASS, ssd.BOX))
    probability = 1 / (1 + np.exp(-logits[..., 0]))
    expected = -np.log(probability[at]).mean() - np.log(1 - probability[~at]).mean()
    assert losses["Loss/classification_loss"] == pytest.approx(expected, rel=1e-4)
    apart = np.abs(codes - detector.codec.encode(assigned.boxes_yxyx, detector.anchors_yxhw).numpy())[at]
    smooth = np.where(apart < 1, apart**2 / 2, apart - 0.5)
    assert losses["Loss/localization_loss"] == pytest.approx(smooth.sum(1).mean(), rel=1e-4)


def mined(config):
    protos.loss(config).ClearField("classification")
    miner = config.model.ssd.loss.hard_example_miner
    miner.num_hard_examples, miner.iou_threshold, miner.max_negatives_per_positive = 0, 0.99, 3
    miner.loss_type = miner.CLASSIFICATION


def focal(config):
    protos.loss(config).ClearField("classification")
    chosen = config.model.ssd.loss.classification_loss.weighted_sigmoid_focal
    chosen.alpha, chosen.gamma = 0.25, 2.0


def test_hard_example_mining_takes_three_of_the_background_a_face():
    picture, detector = faces([[0.2, 0.2, 0.55, 0.5], [0.6, 0.6, 0.75, 0.7]]), built(mined)
    outputs = random_outputs(detector)
    at = targets.assign(picture, detector.anchors_yxyx, 128, detector.recipe.matching).positive.numpy()
    logits = detector._joined(outputs, ssd.CLASS).numpy()[..., 0]
    of_background = np.sort(np.logaddexp(0, logits[~at]))[::-1]
    found = float(detector.losses(outputs, picture)["Loss/classification_loss"]) * at.sum() - np.logaddexp(0, -logits[at]).sum()
    assert found == pytest.approx(of_background[: 3 * at.sum()].sum(), rel=0.02)
    assert found < 0.7 * of_background.sum()


def smaller(config):
    resizer = config.model.ssd.image_resizer.fixed_shape_resizer
    resizer.height = resizer.width = 64


@pytest.mark.parametrize("change", [mined, focal])
def test_both_other_ways_with_the_background_learn(change):
    tf.keras.utils.set_random_seed(1)
    detector = built(lambda config: (change(config), smaller(config)))
    image = np.full((1, 64, 64, 3), 90, np.float32)
    image[:, 16:32, 20:36] = 220
    picture, optimizer = faces([[0.25, 20 / 64, 0.5, 36 / 64]]), tf.keras.optimizers.legacy.Adam(2e-3)
    variables = detector.network.trainable_variables

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            losses = detector.losses(detector.network(image, training=True), picture)
            total = tf.add_n(list(losses.values()))
        optimizer.apply_gradients(zip(tape.gradient(total, variables), variables, strict=True))
        return losses["Loss/classification_loss"]

    losses = [float(step()) for _ in range(8)]
    assert np.isfinite(losses).all() and losses[-1] < 0.7 * losses[0]


def both(config):
    mined(config)
    protos.loss(config).classification = "balanced_cross_entropy"


def balanced_focal(config):
    focal(config)
    protos.loss(config).classification = "balanced_cross_entropy"


@pytest.mark.parametrize(("change", "said"), [(both, "hard_example_miner"), (balanced_focal, "weighted_sigmoid_focal")])
def test_what_would_be_balanced_twice_is_refused(change, said):
    with pytest.raises(pipeline_config.ConfigError, match=f"(?s)pipeline.config.*balanced_cross_entropy.*{said}"):
        built(change)


@pytest.mark.parametrize("steps", [None, 1200])
def test_three_rates_follow_one_another_in_one_run(steps):
    recipe = pipeline_config.read(CONFIG, steps)
    scale = recipe.training.num_steps / 120_000
    step = tf.Variable(0, dtype=tf.int64)
    _, rate = optimizers.build(recipe.training.optimizer, step)
    rates = []
    for at in (0, 49_900, 50_100, 89_900, 90_100, 119_900):
        step.assign(int(at * scale))
        rates.append(rate())
    assert rates == pytest.approx([1e-3, 1e-3, 2e-4, 2e-4, 1e-4, 1e-4])
    assert recipe.quantization.delay == 90_000 * scale and recipe.training.batch_size == 16


def test_it_turns_and_shrinks_as_its_author_does():
    named = {step.WhichOneof("step"): step for step in pipeline_config.read(CONFIG).augmentation.facedet}
    assert named["rotate"].rotate.max_degrees == 45 and named["rotate"].rotate.probability == 1
    assert 1 / named["expand"].expand.max_ratio == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize("side", [12, 11])
def test_a_shortcut_is_exact_in_int8(side):
    """Channels behind those that are there are zeros; a side that is odd is rounded up."""
    image = tf.keras.Input((side, 10, 3))
    network = tf.keras.Model(image, {"out": shortcut(image, 5, 2, "block")})
    picture = np.random.default_rng(0).integers(0, 256, (1, side, 10, 3)).astype(np.float32)
    spec = InputSpec(side, 10, mean=(0.0,) * 3, scale=(1.0,) * 3)
    quantizable = QuantizableNetwork(network, spec.range)
    padded = np.pad(picture, ((0, 0), (0, side % 2), (0, 0), (0, 0)))
    expected = np.pad(padded.reshape(1, (side + 1) // 2, 2, 5, 2, 3).max((2, 4)), ((0, 0), (0, 0), (0, 0), (0, 2)))
    np.testing.assert_array_equal(quantizable.simulate(picture, training=False)["out"], expected)
    for precision in ("float32", "int8"):
        data = tflite._body(types.SimpleNamespace(input=spec), quantizable, precision)
        taken = picture.astype(np.uint8) if precision == "int8" else picture
        found = Interpreter(model_content=data).get_signature_runner()(image=taken)["out"]
        np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=precision)
