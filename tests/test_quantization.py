"""Quantization is honoured, simulated as TFLite computes, and refused by name where it cannot be."""

import numpy as np
import pytest
from conftest import MAIN_CONFIG, config_text

from facedet import pipeline_config, quantization
from facedet.od_api import detection_model

import tensorflow as tf  # isort: skip

layers = tf.keras.layers


@pytest.fixture(scope="module")
def observed():
    """A small network with batch norms that do something, and ranges from a few pictures."""
    config = pipeline_config.parse(MAIN_CONFIG.read_text().replace("height: 224 width: 224", "height: 96 width: 96"))
    network = detection_model.build(config, is_training=True).network
    generator = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            n = layer.gamma.shape[0]
            layer.set_weights(
                [generator.uniform(0.5, 1.5, n), generator.normal(0, 0.3, n), generator.normal(0, 0.2, n), generator.uniform(0.5, 2, n)]
            )
    quantizable = quantization.QuantizableNetwork(network)
    for seed in range(3):
        quantizable.observe(images(seed), training=False)
    return quantizable


def images(seed, count=4):
    return tf.random.stateless_uniform([count, 96, 96, 3], (seed, 7), -1, 1)


def test_folding_changes_nothing(observed):
    expected = observed.network(images(9), training=False)
    folded = tf.function(lambda x: observed.inference_graph(x, quantize=False))(images(9))
    for a, b in zip(expected, folded, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4 * np.abs(a).max())


def test_simulation_rounds_but_stays_near(observed):
    for exact, rounded in zip(observed.network(images(9), training=False), observed.simulate(images(9), training=False), strict=True):
        difference = np.abs(exact - rounded)
        assert difference.max() > 0
        assert difference.mean() < 0.25 * np.std(exact)


def test_weights_lie_on_a_symmetric_grid_a_channel():
    kernel = tf.constant(np.random.default_rng(0).normal(0, [0.01, 1, 30], (3, 3, 8, 3)), tf.float32)
    rounded = quantization.fake_quant_weights(kernel, depthwise=False).numpy()
    scale = np.abs(kernel.numpy()).max((0, 1, 2)) / 127
    steps = rounded / scale
    np.testing.assert_allclose(steps, steps.round(), atol=1e-3)
    assert np.abs(rounded - kernel).max((0, 1, 2)) == pytest.approx(scale / 2, rel=0.2)
    depthwise = quantization.fake_quant_weights(tf.reshape(kernel, [3, 8, 3, 3])[:, :, :, :1], depthwise=True)
    assert depthwise.shape == (3, 8, 3, 1)


def test_the_gradient_reaches_weights_and_batch_norms(observed):
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_sum(tf.square(output)) for output in observed.simulate(images(1), training=True)])
    gradients = tape.gradient(loss, observed.network.trainable_variables)
    dead = [v.name for v, g in zip(observed.network.trainable_variables, gradients, strict=True) if g is None or not np.isfinite(g).all()]
    assert not dead
    assert sum(float(tf.norm(g)) > 0 for g in gradients) > 0.9 * len(gradients)


def test_ranges_hold_zero_and_follow_what_is_seen(observed):
    for name, variable in observed.ranges.items():
        least, greatest = variable.numpy()
        assert least <= 0 < greatest, name
        if name.endswith("relu"):
            assert least == 0 and greatest <= 6.001, name


def test_missing_ranges_are_refused():
    config = pipeline_config.parse(MAIN_CONFIG.read_text().replace("height: 224 width: 224", "height: 96 width: 96"))
    quantizable = quantization.QuantizableNetwork(detection_model.build(config, True).network)
    with pytest.raises(quantization.NotQuantizableError, match="calibrate"):
        quantizable.check_ranges()


def test_layers_without_a_quantized_form_are_named():
    image = tf.keras.Input((32, 32, 3))
    lambda_layer = tf.keras.Model(image, [layers.Lambda(lambda x: x * 2, name="twice")(layers.Conv2D(4, 3)(image))])
    with pytest.raises(quantization.NotQuantizableError, match="'twice' \\(Lambda\\)"):
        quantization.QuantizableNetwork(lambda_layer)
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    with pytest.raises(quantization.NotQuantizableError, match="'shared' is used twice"):
        quantization.QuantizableNetwork(tf.keras.Model(image, [shared(shared(image))]))


@pytest.mark.parametrize(
    ("change", "said"),
    [({"weight_bits": 4}, "weight_bits: 4"), ({"activation_bits": 16}, "activation_bits: 16"), ({"delay": 5000}, "never quantize")],
)
def test_a_config_that_asks_for_what_cannot_be_done_is_refused(tmp_path, change, said):
    with pytest.raises(pipeline_config.ConfigError, match=said):
        pipeline_config.parse(config_text(tmp_path, **change), "my.config")


def test_unknown_keys_are_refused_with_their_line():
    with pytest.raises(pipeline_config.ConfigError, match=r"my\.config:2:.*num_clases"):
        pipeline_config.parse("model { ssd {\n num_clases: 1 } }", "my.config")


def test_what_facedet_adds_to_the_schema_is_read_and_checked():
    text = MAIN_CONFIG.read_text()
    assert pipeline_config.training(pipeline_config.parse(text)).anchors_per_face == 3
    assert pipeline_config.training(pipeline_config.parse(text.split("[facedet.training]")[0])).anchors_per_face == 1  # the OD API's way
    with pytest.raises(pipeline_config.ConfigError, match=r"my\.config: \[facedet.training\] anchors_per_face: 0"):
        pipeline_config.parse(text.replace("anchors_per_face: 3", "anchors_per_face: 0"), "my.config")
    with pytest.raises(pipeline_config.ConfigError, match=r"my\.config: \[facedet.training\] smallest_face: -2"):
        pipeline_config.parse(text.replace("smallest_face: 4.5", "smallest_face: -2"), "my.config")
    with pytest.raises(pipeline_config.ConfigError, match=r"my\.config:.*anchors_per_picture"):
        pipeline_config.parse(text.replace("anchors_per_face: 3", "anchors_per_picture: 3"), "my.config")
