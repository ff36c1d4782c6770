"""Every config is opened, built, stepped, quantized and exported; the .tflite computes what the network does."""

import numpy as np
import pytest
from conftest import CONFIGS, MAIN_CONFIG, ROOT

from facedet.assign import codecs
from facedet.detectors import registry
from facedet.detectors.base import Faces
from facedet.export.formats import flatbuffer, tflite
from facedet.export.formats.base import RAW, Kind
from facedet.od_api import protos
from facedet.quantization.network import QuantizableNetwork
from facedet.recipe import pipeline_config

import tensorflow as tf  # isort: skip

ALL = [*CONFIGS, ROOT / "tests" / "stock_ssd_mobilenet_v2.config"]
SHORT_SIDE = 96  # px, of the networks that are exported here


def with_landmarks(config) -> None:
    coder = config.model.ssd.box_coder.keypoint_box_coder
    coder.num_keypoints, coder.y_scale, coder.x_scale, coder.height_scale, coder.width_scale = 5, 10, 10, 5, 5


def with_means(config) -> None:
    """As networks that came from Caffe take their pictures."""
    said = protos.input(config)
    said.colour_order, said.resize = "BGR", "pad"
    said.mean.extend((104, 117, 123))
    said.scale.append(1.0)


class Small:
    """A config's network, smaller, with random weights whose outputs vary, its ranges, its raw int8 file and what it must compute."""

    def __init__(self, path, size=None, change=lambda config: None):
        tf.keras.utils.set_random_seed(0)
        config = pipeline_config.message(str(path))
        resizer = config.model.ssd.image_resizer.fixed_shape_resizer
        reduced = max(1, min(resizer.height, resizer.width) // SHORT_SIDE)
        size = size or (resizer.height // reduced // 32 * 32, resizer.width // reduced // 32 * 32)
        self.least_spread, self.most_apart = 0.2, 0.1
        if config.model.ssd.feature_extractor.type == "ainnoface_resnet":
            self.least_spread, self.most_apart = 0.1, 0.15
            protos.detector(config).depth = 18  # 152 layers are built above, in full
        resizer.height, resizer.width = size
        change(config)
        self.detector = detector = registry.build(pipeline_config.from_message(config))
        self.quantizable = QuantizableNetwork(detector.network, detector.input.range)
        generator = np.random.default_rng(0)
        noise = tf.image.resize(generator.uniform(0, 255, (8, 12, 12, 3)), size)
        self.images = (noise * (1.0, 0.7, 0.4)).numpy().astype(np.uint8)  # colours of different means
        inputs = detector.input.normalize(self.images.astype(np.float32))
        for layer in detector.network.layers:
            if isinstance(layer, tf.keras.layers.BatchNormalization):
                layer.beta.assign(generator.normal(1, 1, layer.beta.shape))  # few are dead
                layer.gamma.assign(generator.uniform(0.7, 1.3, layer.gamma.shape))
                layer.momentum = 0.0  # one pass in training gives it these pictures' own mean and variance
        detector.network(inputs, training=True)
        heads = {}  # {a head's last layer: the outputs that it gives}: one may serve several levels
        for name, output in detector.network.output.items():
            heads.setdefault(output.node.layer, []).append(name)
        for head in heads:
            kernel, *bias = head.get_weights()
            head.set_weights([generator.normal(0, 1, kernel.shape), *(np.zeros_like(b) for b in bias)])
        found = detector.network(inputs)
        for head, names in heads.items():
            values = np.concatenate([found[name].numpy().ravel() for name in names])
            kernel, *bias = head.get_weights()
            scale = 1.5 / values.std()
            head.set_weights([kernel * scale, *(np.full_like(b, -values.mean() * scale) for b in bias)])
        for _ in range(3):
            self.quantizable.observe(inputs[:4], training=False)
        self.data = self.write()
        found = detector.decode(self.quantizable.simulate(inputs[:2], training=False))
        self.boxes, self.scores = codecs.corners(found.boxes_yxhw).numpy(), found.scores.numpy()
        self.points = None if found.points_yx is None else found.points_yx.numpy()

    def write(self) -> bytes:
        return tflite.TFLite().write(self.detector, self.quantizable, Kind("int8", RAW))[".tflite"]

    def require_same(self, data: bytes, images=None) -> None:
        """AssertionError where a raw int8 file computes other boxes, scores or points than the simulation of its quantization."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=data)
        interpreter.allocate_tensors()
        (given,) = interpreter.get_input_details()
        assert given["name"] == "image" and given["dtype"] == np.uint8 and tuple(given["shape"]) == (1, *self.images.shape[1:])
        for i, image in enumerate((self.images if images is None else images)[: len(self.scores)]):
            interpreter.set_tensor(given["index"], image[None])
            interpreter.invoke()
            found, scores, *points = (interpreter.get_tensor(output["index"])[0] for output in interpreter.get_output_details())
            assert self.scores[i].std() > self.least_spread  # it says something
            assert np.abs(scores[:, -1] - self.scores[i]).mean() < 0.05  # what is wrong gives 0.09 and more
            corners = np.concatenate([found[:, :2] - found[:, 2:] / 2, found[:, :2] + found[:, 2:] / 2], 1)
            sides = np.maximum((self.boxes[i][:, 2:] - self.boxes[i][:, :2]).mean(1, keepdims=True), 0.02)  # of a linear code they may be 0
            assert (np.abs(corners - self.boxes[i]) / sides).max(1).mean() < self.most_apart  # 0.2 and more; right ones: 0.12 and 0.065
            if self.points is not None:
                (points,) = points
                apart = np.abs(points.reshape(self.points[i].shape) - self.points[i]) / sides[..., None]
                assert np.median(apart) < 0.05  # right ones have up to 0.012


def test_there_are_the_four_configs_of_the_owner():
    assert {f"{kind}_mobilenet_v2_quantized_{side}x{side}_widerface" for kind in ("ssd", "ssdlite") for side in (224, 320)} <= {
        c.stem for c in CONFIGS
    }


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_outputs_equal_anchors_and_caps_fit_the_data(path):
    recipe = pipeline_config.read(str(path))
    detector = registry.build(recipe)
    images = tf.TensorSpec([1, *detector.input.size, 3])
    found = tf.function(lambda image: detector.decode(detector.network(image))).get_concrete_function(images).structured_outputs
    count = detector.anchor_table()["count"]
    assert found.boxes_yxhw.shape == (1, count, 4) and found.scores.shape == (1, count)
    assert found.points_yx is None or found.points_yx.shape == (1, count, detector.num_points, 2)
    if path.parent == ROOT / "configs":
        assert f"{detector.input.width}x{detector.input.height}" in path.stem
        assert recipe.training.max_faces >= 1968
        assert recipe.suppression.max_detections >= 200
        assert recipe.quantization.delay < recipe.training.num_steps


@pytest.mark.parametrize("path", [path for path in CONFIGS if path.stem.startswith(("ssd_", "ssdlite_"))], ids=lambda path: path.stem)
def test_our_own_anchors_lie_inside_of_the_picture(path):  # the stock recipe's last levels do reach over the border
    centers = registry.build(pipeline_config.read(str(path))).anchors_yxhw[:, :2]
    assert centers.min() > 0 and centers.max() < 1


def require_what_its_simulation_computes(small: Small) -> None:
    operators = flatbuffer.operators(small.data)
    assert "CUSTOM" not in operators and not any(name.startswith("TFLite_") for name in operators)
    small.require_same(small.data)


@pytest.fixture(scope="module", params=ALL, ids=lambda path: path.stem)
def of_config(request):
    return Small(request.param)


def test_the_int8_file_computes_what_the_simulation_does(of_config):
    require_what_its_simulation_computes(of_config)


def test_steps_lower_the_loss_in_float_and_quantized(of_config):
    detector, quantizable = of_config.detector, of_config.quantizable
    height, width = detector.input.size
    image = np.full((1, height, width, 3), 90, np.float32)
    image[:, height // 4 : height // 2, width // 3 : width // 2] = 220  # the "face"
    points = tf.constant(np.random.default_rng(0).uniform((0.25, 1 / 3), (0.5, 0.5), (1, 5, 2)), tf.float32)
    faces = Faces([tf.constant([[0.25, 1 / 3, 0.5, 0.5]])], [tf.ones([1])], [points])
    optimizer = tf.keras.optimizers.legacy.Adam(1e-3)
    variables = detector.network.trainable_variables

    def losses(forward, most):
        @tf.function
        def step():
            with tf.GradientTape() as tape:
                outputs = forward(detector.input.normalize(image), training=True)
                loss = tf.add_n(list(detector.losses(outputs, faces).values()))
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return loss

        found = [float(step())]
        while len(found) < most and not found[-1] < found[0]:  # a net with dropout goes up before it comes down
            found.append(float(step()))
        return found

    falling = losses(quantizable.observe, 20)
    assert np.isfinite(falling).all() and falling[-1] < falling[0]
    assert np.isfinite(losses(quantizable.simulate, 1)).all()


@pytest.fixture(scope="module")
def every_form():
    """An input of 4:3, padded, in another order of colours with a mean for each, and landmarks."""

    def change(config):
        with_landmarks(config)
        with_means(config)

    return Small(MAIN_CONFIG, (72, 96), change)


def test_so_does_that_of_another_form_of_input_with_landmarks(every_form):
    require_what_its_simulation_computes(every_form)


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


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 0, 2)])
def test_another_order_of_colours_is_seen_where_each_has_its_mean(every_form, order):
    with pytest.raises(AssertionError):
        every_form.require_same(every_form.data, every_form.images[..., order])


@pytest.mark.parametrize("change", ["one anchor on", "a place on", "axes"])
@pytest.mark.parametrize("form", ["small", "every_form"])
def test_other_anchors_are_seen(form, change, request, monkeypatch):
    small = request.getfixturevalue(form)
    right, per_place = small.detector.anchors_yxhw, small.detector.anchors_per_location[0]
    wrong = {"one anchor on": np.roll(right, 1, 0), "a place on": np.roll(right, per_place, 0), "axes": right[:, [1, 0, 3, 2]]}[change]
    body = tflite._body(small.detector, small.quantizable, "int8")
    monkeypatch.setattr(tflite, "_body", lambda *arguments: body)
    small.require_same(small.write())
    monkeypatch.setattr(small.detector, "anchors_yxhw", wrong)
    with pytest.raises(AssertionError):
        small.require_same(small.write())


def test_points_in_another_order_are_seen(every_form, monkeypatch):
    monkeypatch.setattr(every_form, "points", every_form.points[..., ::-1])
    with pytest.raises(AssertionError):
        every_form.require_same(every_form.data)
