"""Every config is opened, built, stepped, quantized and exported; the .tflite computes what the network does."""

import numpy as np
import pytest
from conftest import CONFIGS, MAIN_CONFIG, ROOT

from facedet.detectors import ssd
from facedet.export.formats import flatbuffer, tflite
from facedet.quantization.network import QuantizableNetwork
from facedet.recipe import pipeline_config

import tensorflow as tf  # isort: skip

ALL = [*CONFIGS, ROOT / "tests" / "stock_ssd_mobilenet_v2.config"]
SIDE = 96  # px, of the networks that are exported here
NMS = {"max_detections": 50, "score_threshold": 0.01, "iou_threshold": 0.5}


@pytest.fixture(scope="module", params=ALL, ids=lambda path: path.stem)
def built(request):
    config = pipeline_config.read(str(request.param))
    model = ssd.build(config, is_training=True)
    return request.param, config, model, QuantizableNetwork(model.network)


class Small:
    """A config's network at SIDE px with random weights whose outputs vary, its ranges, its int8 file and what it must compute."""

    def __init__(self, path):
        config = pipeline_config.read(str(path))
        resizer = config.model.ssd.image_resizer.fixed_shape_resizer
        resizer.height = resizer.width = SIDE
        self.model = model = ssd.build(config, is_training=True)
        self.quantizable = QuantizableNetwork(model.network)
        generator = np.random.default_rng(0)
        noise = tf.image.resize(generator.uniform(0, 255, (8, 12, 12, 3)), (SIDE, SIDE))
        self.images = (noise * (1.0, 0.7, 0.4)).numpy().astype(np.uint8)  # colours of different means
        inputs = model.preprocess(self.images)[0]
        for layer in model.network.layers:
            if isinstance(layer, tf.keras.layers.BatchNormalization):
                layer.beta.assign(generator.normal(1, 1, layer.beta.shape))  # few are dead
                layer.gamma.assign(generator.uniform(0.7, 1.3, layer.gamma.shape))
                layer.momentum = 0.0  # one pass in training gives it these pictures' own mean and variance
        model.network(inputs, training=True)
        heads = [model.network.get_layer(f"{kind}_head_{i}") for i in range(len(model.anchors_per_location)) for kind in ("box", "class")]
        for head in heads:
            kernel, *bias = head.get_weights()
            head.set_weights([generator.normal(0, 1, kernel.shape), *(np.zeros_like(b) for b in bias)])
        for head, values in zip(heads, tf.keras.Model(model.network.inputs, [h.output for h in heads])(inputs), strict=True):
            kernel, *bias = head.get_weights()
            scale = 1.5 / values.numpy().std()
            head.set_weights([kernel * scale, *(np.full_like(b, -values.numpy().mean() * scale) for b in bias)])
        for _ in range(3):
            self.quantizable.observe(inputs[:4], training=False)
        self.data = tflite.convert(model, self.quantizable, "int8", with_nms=False, nms=NMS)
        encodings, logits = self.quantizable.simulate(inputs[:2], training=False)
        self.scores = tf.sigmoid(logits).numpy()[:, :, -1]
        self.boxes = model._batch_decode(encodings, model.anchors.get())[0].numpy()

    def require_same(self, data: bytes, images=None) -> None:
        """AssertionError where a raw int8 file computes other boxes or scores than the simulation of its quantization."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=data)
        interpreter.allocate_tensors()
        (given,) = interpreter.get_input_details()
        assert given["name"] == "image" and given["dtype"] == np.uint8 and tuple(given["shape"]) == (1, SIDE, SIDE, 3)
        for image, scores, boxes in zip(self.images if images is None else images, self.scores, self.boxes, strict=False):
            interpreter.set_tensor(given["index"], image[None])
            interpreter.invoke()
            found, found_scores = (interpreter.get_tensor(output["index"])[0] for output in interpreter.get_output_details())
            assert scores.std() > 0.15  # it says something
            assert np.abs(found_scores[:, -1] - scores).mean() < 0.05  # what is wrong gives 0.09 and more
            corners = np.concatenate([found[:, :2] - found[:, 2:] / 2, found[:, :2] + found[:, 2:] / 2], 1)
            sides = (boxes[:, 2:] - boxes[:, :2]).mean(1, keepdims=True)
            assert (np.abs(corners - boxes) / sides).max(1).mean() < 0.1  # 0.2 and more


def test_there_are_the_four_configs_of_the_owner():
    assert {f"{kind}_mobilenet_v2_quantized_{side}x{side}_widerface" for kind in ("ssd", "ssdlite") for side in (224, 320)} <= {
        c.stem for c in CONFIGS
    }


def test_outputs_equal_anchors(built):
    path, config, model, _ = built
    boxes, logits = model.network.outputs
    count = model.anchors.num_boxes_static()
    assert boxes.shape[1:] == (count, 4) and logits.shape[1:] == (
        count,
        config.model.ssd.num_classes + config.model.ssd.add_background_class,
    )
    assert f"{model.input_size[0]}x" in path.stem or path.parent != ROOT / "configs"
    centers = model.anchors.get_center_coordinates_and_sizes()[:2]
    if path.parent == ROOT / "configs":  # the stock recipe's last levels do reach over the border
        assert all(float(tf.reduce_min(c)) > 0 and float(tf.reduce_max(c)) < 1 for c in centers)


def test_caps_fit_the_data(built):
    path, config, *_ = built
    if path.parent == ROOT / "configs":
        assert config.train_config.max_number_of_boxes >= 1968
        assert config.model.ssd.post_processing.batch_non_max_suppression.max_total_detections >= 200
        assert pipeline_config.quantization(config).delay < config.train_config.num_steps


def test_steps_lower_the_loss_in_float_and_quantized(built):
    _, _, model, quantizable = built
    height, width = model.input_size
    image = np.full((1, height, width, 3), 90, np.uint8)
    image[:, height // 4 : height // 2, width // 3 : width // 2] = 220  # the "face"
    boxes, classes = [tf.constant([[0.25, 1 / 3, 0.5, 0.5]])], [tf.ones([1, 1])]
    optimizer = tf.keras.optimizers.legacy.Adam(1e-3)
    variables = model.network.trainable_variables

    def losses(forward, steps):
        model.forward = forward

        @tf.function
        def step():
            model.provide_groundtruth(boxes, classes, groundtruth_weights_list=[tf.ones([1])])
            with tf.GradientTape() as tape:
                inputs, shapes = model.preprocess(image)
                loss = tf.add_n(list(model.loss(model.predict(inputs, shapes), shapes).values()))
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return loss

        return [float(step()) for _ in range(steps)]

    falling = losses(quantizable.observe, 8)
    assert np.isfinite(falling).all() and min(falling[4:]) < falling[0]
    quantizable.check_ranges()
    assert np.isfinite(losses(quantizable.simulate, 2)).all()


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_the_int8_file_computes_what_the_simulation_does(path):
    small = Small(path)
    operators = flatbuffer.operators(small.data)
    assert "CUSTOM" not in operators and not any(name.startswith("TFLite_") for name in operators)
    small.require_same(small.data)


@pytest.fixture(scope="module")
def small():
    return Small(MAIN_CONFIG)


def _with(change, data: bytes) -> bytes:
    """The file with its graph changed."""
    model = flatbuffer.unpack(data)
    change(model, model.subgraphs[0])
    return flatbuffer.pack(model)


def _shuffle_kernels(model, graph) -> None:
    generator = np.random.default_rng(1)
    for tensor in graph.tensors:
        if tensor.name.startswith(b"tfl.pseudo_qconst") and len(tensor.shape) == 4:
            buffer = model.buffers[tensor.buffer]
            buffer.data = generator.permutation(buffer.data)


def _transpose_kernels(model, graph) -> None:
    for tensor in graph.tensors:
        if tensor.name.startswith(b"tfl.pseudo_qconst") and len(tensor.shape) == 4:
            buffer = model.buffers[tensor.buffer]
            buffer.data = np.asarray(buffer.data).reshape(tensor.shape).transpose(0, 2, 1, 3).ravel()


def _drop_mean(model, graph) -> None:
    graph.tensors[graph.inputs[0]].quantization.zeroPoint = [0]


def _drop_normalization(model, graph) -> None:
    quantized = graph.tensors[graph.inputs[0]].quantization
    quantized.scale, quantized.zeroPoint = [1.0], [0]


@pytest.mark.parametrize("change", [_shuffle_kernels, _transpose_kernels, _drop_mean, _drop_normalization])
def test_a_changed_graph_is_seen(small, change):
    small.require_same(_with(lambda model, graph: None, small.data))  # what fails below is the change
    with pytest.raises(AssertionError):
        small.require_same(_with(change, small.data))


def test_another_order_of_colours_is_seen(small):
    with pytest.raises(AssertionError):
        small.require_same(small.data, small.images[..., ::-1])


@pytest.mark.parametrize("change", ["one anchor on", "a place on", "axes"])
def test_other_anchors_are_seen(small, change, monkeypatch):
    right, per_place = tflite.anchors_yxhw(small.model), small.model.anchors_per_location[0]
    wrong = {"one anchor on": np.roll(right, 1, 0), "a place on": np.roll(right, per_place, 0), "axes": right[:, [1, 0, 3, 2]]}[change]
    body = tflite._body(small.model, small.quantizable, "int8")
    monkeypatch.setattr(tflite, "_body", lambda *arguments: body)
    small.require_same(tflite.convert(small.model, small.quantizable, "int8", False, NMS))
    monkeypatch.setattr(tflite, "anchors_yxhw", lambda model: wrong)
    with pytest.raises(AssertionError):
        small.require_same(tflite.convert(small.model, small.quantizable, "int8", False, NMS))
