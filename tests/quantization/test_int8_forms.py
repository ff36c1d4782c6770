"""Named heads, an odd-sized upsampling and a normalization inside the file: in int8 files run by LiteRT."""

import numpy as np
import pytest

from facedet.quantization.network import QuantizableNetwork
from facedet.runtime.input_spec import InputSpec

import tensorflow as tf  # isort: skip

layers = tf.keras.layers
HEADS = ("box_head_0", "class_head_0", "box_head_1", "class_head_1")
CAFFE = InputSpec(48, 64, "BGR", mean=(104.0, 117.0, 123.0), scale=(0.5, 1.0, 2.0))


def network_of_heads():
    tf.keras.utils.set_random_seed(5)
    image = tf.keras.Input((48, 64, 3))
    fine = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, 2, "same", use_bias=False)(image)))
    coarse = layers.ReLU()(layers.Conv2D(8, 3, 2, "same")(fine))
    heads = {}
    for level, values in enumerate((fine, coarse)):
        for kind, channels in (("box", 4), ("class", 2)):
            name = f"{kind}_head_{level}"
            heads[name] = layers.Conv2D(channels, 3, padding="same", name=name)(values)
    return tf.keras.Model(image, heads)


def bytes_picture(seed, height=48, width=64):
    small = tf.random.stateless_uniform([1, 6, 8, 3], (seed, 1), 0, 255)
    return tf.round(tf.image.resize(small, (height, width)))


def run_int8(function, picture):
    """The outputs by name of the int8 file of a function of one float picture."""
    from ai_edge_litert.interpreter import Interpreter

    graph = tf.function(function, input_signature=[tf.TensorSpec(picture.shape)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph.get_concrete_function()], graph)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    interpreter = Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    floats = [t["name"] for t in interpreter.get_tensor_details() if t["dtype"] == np.float32]
    runner = interpreter.get_signature_runner() if interpreter.get_signature_list() else None
    if runner:
        found = runner(**{next(iter(runner.get_input_details())): picture.numpy()})
    else:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture.numpy())
        interpreter.invoke()
        found = {o["name"]: interpreter.get_tensor(o["index"]) for o in interpreter.get_output_details()}
    assert len(floats) == 1 + len(found), floats  # the picture and the outputs: all between is integers
    return list(found.values())


def test_heads_are_given_back_by_name_and_have_ranges_of_their_names():
    quantizable = QuantizableNetwork(network_of_heads())
    picture = bytes_picture(1) / 127.5 - 1
    for outputs in (
        quantizable.observe(picture, training=False),
        quantizable.simulate(picture, training=False),
        tf.function(lambda x: quantizable.inference_graph(x, True))(picture),
    ):
        exact = quantizable.network(picture, training=False)
        assert set(outputs) == set(HEADS) <= set(quantizable.ranges)
        for name in HEADS:
            assert np.abs(outputs[name] - exact[name]).mean() < 0.05 * np.std(exact[name]), name
    chosen = tf.function(lambda x: quantizable.inference_graph(x, False, {"fine": quantizable.network.output["box_head_0"]}))(picture)
    np.testing.assert_allclose(chosen["fine"], exact["box_head_0"], atol=1e-4)


@pytest.mark.parametrize("quantize", [False, True])
def test_a_normalization_of_each_channel_is_part_of_the_graph(quantize):
    quantizable = QuantizableNetwork(network_of_heads(), CAFFE.range)
    pictures = [bytes_picture(seed) for seed in range(4)]
    for picture in pictures:
        quantizable.observe(CAFFE.normalize(picture), training=False)
    expected = quantizable.network(CAFFE.normalize(pictures[0]), training=False)

    def graph(x):
        return quantizable.inference_graph(x, quantize, normalization=CAFFE)

    found = tf.function(graph)(pictures[0])
    for name in HEADS:
        assert np.abs(found[name] - expected[name]).mean() < (0.05 if quantize else 1e-5) * np.std(expected[name]), name
    if quantize:
        by_shape = {v.shape: v for v in run_int8(graph, pictures[0])}
        assert len(by_shape) == 4
        for name in HEADS:
            assert np.abs(by_shape[found[name].shape] - found[name]).mean() < 0.02 * np.std(expected[name]), name


def test_a_byte_between_two_values_of_the_grid_is_rounded_as_the_file_rounds_it():
    from ai_edge_litert.interpreter import Interpreter

    spec = InputSpec(16, 16)  # -1..1: each byte lies halfway
    image = tf.keras.Input((16, 16, 3))
    quantizable = QuantizableNetwork(tf.keras.Model(image, {"finer": layers.UpSampling2D(2)(image)}), spec.range)
    picture = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, 3)
    graph = tf.function(lambda x: quantizable.inference_graph(x, True), input_signature=[tf.TensorSpec(picture.shape)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph.get_concrete_function()], graph)
    converter.optimizations, converter.inference_input_type = [tf.lite.Optimize.DEFAULT], tf.uint8
    interpreter = Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    expected = quantizable.simulate(spec.normalize(picture.astype(np.float32)), training=False)["finer"]
    assert len(np.unique(found)) == 256
    np.testing.assert_allclose(expected, found, atol=1e-6)


def test_upsampling_to_an_odd_size_is_exact_in_int8():
    image = tf.keras.Input((8, 10, 3))
    doubled = layers.UpSampling2D(2)(image)
    network = tf.keras.Model(image, {"finer": layers.Cropping2D(((0, 1), (0, 0)))(doubled)})
    quantizable = QuantizableNetwork(network, (0.0, 1.0))
    picture = bytes_picture(3, 8, 10) / 255.0  # on the grid: the file itself has nothing to round
    (found,) = run_int8(lambda x: quantizable.inference_graph(x, True), picture)
    np.testing.assert_allclose(found, picture.numpy().repeat(2, 1).repeat(2, 2)[:, :15], atol=1e-6)
    np.testing.assert_allclose(found, quantizable.simulate(picture, training=False)["finer"], atol=1e-6)
