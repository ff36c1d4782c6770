"""Quantization is honoured, simulated as TFLite computes, and refused by name where it cannot be."""

import numpy as np
import pytest
from conftest import BOXES_CONFIG, config_text

from facedet.detectors import registry
from facedet.quantization.arithmetic import fake_quant_weights
from facedet.quantization.network import NotQuantizableError, QuantizableNetwork
from facedet.recipe import pipeline_config

import tensorflow as tf  # isort: skip

layers = tf.keras.layers


@pytest.fixture(scope="module")
def observed():
    """A small network with batch norms that do something, and ranges from a few pictures."""
    config = pipeline_config.parse(BOXES_CONFIG.read_text().replace("height: 224 width: 224", "height: 96 width: 96"))
    network = registry.build(config).network
    generator = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            n = layer.gamma.shape[0]
            layer.set_weights(
                [generator.uniform(0.5, 1.5, n), generator.normal(0, 0.3, n), generator.normal(0, 0.2, n), generator.uniform(0.5, 2, n)]
            )
    quantizable = QuantizableNetwork(network)
    for seed in range(3):
        quantizable.observe(images(seed), training=False)
    return quantizable


def images(seed, count=4):
    return tf.random.stateless_uniform([count, 96, 96, 3], (seed, 7), -1, 1)


def test_folding_changes_nothing(observed):
    expected = observed.network(images(9), training=False)
    folded = tf.function(lambda x: observed.inference_graph(x, quantize=False))(images(9))
    for name, values in expected.items():
        np.testing.assert_allclose(values, folded[name], atol=2e-4 * np.abs(values).max())


def test_simulation_rounds_but_stays_near(observed):
    rounded = observed.simulate(images(9), training=False)
    for name, exact in observed.network(images(9), training=False).items():
        difference = np.abs(exact - rounded[name])
        assert difference.max() > 0
        assert difference.mean() < 0.25 * np.std(exact)


def test_weights_lie_on_a_symmetric_grid_a_channel():
    kernel = tf.constant(np.random.default_rng(0).normal(0, [0.01, 1, 30], (3, 3, 8, 3)), tf.float32)
    rounded = fake_quant_weights(kernel, depthwise=False).numpy()
    scale = np.abs(kernel.numpy()).max((0, 1, 2)) / 127
    steps = rounded / scale
    np.testing.assert_allclose(steps, steps.round(), atol=1e-3)
    assert np.abs(rounded - kernel).max((0, 1, 2)) == pytest.approx(scale / 2, rel=0.2)
    depthwise = fake_quant_weights(tf.reshape(kernel, [3, 8, 3, 3])[:, :, :, :1], depthwise=True)
    assert depthwise.shape == (3, 8, 3, 1)


def test_the_gradient_reaches_weights_and_batch_norms(observed):
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_sum(tf.square(output)) for output in observed.simulate(images(1), training=True).values()])
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
    config = pipeline_config.parse(BOXES_CONFIG.read_text().replace("height: 224 width: 224", "height: 96 width: 96"))
    quantizable = QuantizableNetwork(registry.build(config).network)
    with pytest.raises(NotQuantizableError, match="calibrate"):
        quantizable.check_ranges()


def test_layers_without_a_quantized_form_are_named():
    image = tf.keras.Input((32, 32, 3))
    lambda_layer = tf.keras.Model(image, [layers.Lambda(lambda x: x * 2, name="twice")(layers.Conv2D(4, 3)(image))])
    with pytest.raises(NotQuantizableError, match="'twice' \\(Lambda\\)"):
        QuantizableNetwork(lambda_layer)
    for layer, said in (
        (layers.Conv2D(3, 3, activation="relu", name="own"), "'own' .*built-in activation"),
        (layers.DepthwiseConv2D(3, dilation_rate=2, name="wide"), "'wide' .*dilation of a depthwise"),
        (layers.ReLU(negative_slope=0.1, name="leaky"), "'leaky' .*only ReLU and ReLU6"),
        (layers.UpSampling2D(2, interpolation="lanczos3", name="up"), "'up' .*only nearest and bilinear"),
    ):
        with pytest.raises(NotQuantizableError, match=said):
            QuantizableNetwork(tf.keras.Model(image, [layer(image)]))
    with pytest.raises(NotQuantizableError, match="'sum' .*two at a time"):
        QuantizableNetwork(tf.keras.Model(image, [layers.Add(name="sum")([image, image, image])]))


def network_of_all_parts():
    """What face detectors are built of beyond an SSD's layers, one of each, with weights and statistics that do something."""
    image = tf.keras.Input((48, 64, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, 2, use_bias=False)(layers.ZeroPadding2D(1)(image))))
    x = layers.Conv2D(8, 1)(layers.ReLU()(layers.DepthwiseConv2D(5, padding="same", use_bias=True)(x)))
    wide = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", dilation_rate=3, use_bias=False)(x))
    joined = layers.Concatenate()([wide, layers.Conv2D(4, 1)(x)])  # no activation before
    x = layers.ReLU()(layers.Add()([layers.BatchNormalization()(layers.Conv2D(8, 1)(joined)), x]))
    x = layers.Dropout(0.3)(layers.ReLU()(layers.Concatenate()([layers.Conv2D(8, 1)(x), x])))  # and one behind
    x = layers.ReLU()(layers.BatchNormalization()(x))  # of no convolution
    fine = layers.Conv2D(8, 1)(x)
    coarse = layers.Conv2D(8, 1)(layers.MaxPooling2D(2)(x))
    smooth = layers.UpSampling2D(2, interpolation="bilinear")(coarse)
    fine = layers.Add()([layers.Add()([fine, smooth]), layers.UpSampling2D(2)(coarse)])
    fine = layers.Cropping2D(((0, 0), (2, 2)))(fine)
    conv, relu = layers.Conv2D(8, 3, padding="same", name="shared"), layers.ReLU(6.0, name="shared_relu")
    add, head = layers.Add(name="shared_add"), layers.Conv2D(2, 1, name="head")
    outputs = [head(relu(conv(add([level, level])))) for level in (fine, coarse)]
    network = tf.keras.Model(image, outputs)
    generator = np.random.default_rng(3)
    for layer in network.layers:
        values = layer.get_weights()
        if isinstance(layer, layers.BatchNormalization):
            values = [generator.uniform(0.5, 1.5, v.shape) for v in values]
        else:
            values = [generator.normal(0, 1.5 / np.sqrt(np.prod(v.shape[:3])) if v.ndim > 1 else 0.2, v.shape) for v in values]
        layer.set_weights(values)
    return network


def test_every_part_computes_in_the_int8_file_what_the_simulation_does():
    from ai_edge_litert.interpreter import Interpreter

    network = network_of_all_parts()
    quantizable = QuantizableNetwork(network)
    assert {"head", "head_use_1", "shared_relu", "shared_relu_use_1"} <= set(quantizable.ranges)
    pictures = [tf.image.resize(tf.random.stateless_uniform([1, 6, 8, 3], (seed, 1), -1, 1), (48, 64)) for seed in range(9)]
    for picture in pictures[:8]:
        quantizable.observe(picture, training=False)
    assert quantizable.ranges["head"].numpy() != pytest.approx(quantizable.ranges["head_use_1"].numpy())
    graph = tf.function(lambda x: quantizable.inference_graph(x, True), input_signature=[tf.TensorSpec([1, 48, 64, 3])])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph.get_concrete_function()], graph)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    interpreter = Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    hidden = [t for t in interpreter.get_tensor_details() if t["dtype"] == np.float32]
    assert len(hidden) == 3, [t["name"] for t in hidden]  # the picture and the outputs: all between is integers
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pictures[8].numpy())
    interpreter.invoke()
    found = sorted((interpreter.get_tensor(o["index"]) for o in interpreter.get_output_details()), key=lambda v: -v.size)
    exact = network(pictures[8], training=False)
    for file, simulated, unrounded in zip(found, quantizable.simulate(pictures[8], False), exact, strict=True):
        lost = np.abs(unrounded - simulated).mean()
        assert np.abs(file - simulated).mean() < 0.4 * lost < 0.04 * np.std(unrounded)


def test_dropout_drops_in_training_alone():
    quantizable = QuantizableNetwork(network_of_all_parts())
    picture = images(1, 1)[:, :48, :64]
    quantizable.observe(picture, training=False)
    still = [quantizable.simulate(picture, training=False)[0] for _ in range(2)]
    np.testing.assert_array_equal(*still)
    assert np.abs(still[0] - quantizable.simulate(picture, training=True)[0]).mean() > 0.01


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
    text = BOXES_CONFIG.read_text()
    assert pipeline_config.parse(text).matching.anchors_per_face == 3
    assert pipeline_config.parse(text.split("[facedet.training]")[0]).matching.anchors_per_face == 1  # the OD API's way
    with pytest.raises(pipeline_config.ConfigError, match=r"my\.config: \[facedet.training\] anchors_per_face: 0"):
        pipeline_config.parse(text.replace("anchors_per_face: 3", "anchors_per_face: 0"), "my.config")
    with pytest.raises(pipeline_config.ConfigError, match=r"my\.config: \[facedet.training\] smallest_face: -2"):
        pipeline_config.parse(text.replace("smallest_face: 4.5", "smallest_face: -2"), "my.config")
    with pytest.raises(pipeline_config.ConfigError, match=r"my\.config:.*anchors_per_picture"):
        pipeline_config.parse(text.replace("anchors_per_face: 3", "anchors_per_picture: 3"), "my.config")
