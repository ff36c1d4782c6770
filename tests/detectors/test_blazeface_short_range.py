"""MediaPipe's short range: its counts and code are the original's, its file loads, and what is exported says the same in every form."""

import math

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from conftest import ROOT, SHARED

from facedet.detectors import registry
from facedet.detectors.base import Faces
from facedet.evaluation import landmarks as errors_of_landmarks
from facedet.evaluation.network_profile import multiply_adds
from facedet.evaluation.protocol import Detections, GroundTruth
from facedet.export.formats import flatbuffer, metadata, tflite
from facedet.export.formats.base import BOXES, MEDIAPIPE, RAW, SUPPRESSED, Kind
from facedet.quantization.network import QuantizableNetwork
from facedet.recipe import pipeline_config
from facedet.runtime import landmarks, mediapipe
from facedet.runtime.detector import DetectorError, FaceDetector
from facedet.weights import mediapipe as mediapipe_file
from facedet.weights.graph import WeightsError

import tensorflow as tf  # isort: skip

CONFIG = str(ROOT / "configs" / "blazeface_short_range_128x128_widerface.config")
ORIGINAL = SHARED / "peers" / "weights" / "mediapipe" / "face_detection_short_range.tflite"
PICTURES = sorted((SHARED / "data").glob("widerface*/**/*.jpg"))[:3]
BOXES_ALONE = Kind("int8", BOXES)
layers = tf.keras.layers


@pytest.fixture(scope="module")
def detector():
    tf.keras.utils.set_random_seed(3)
    return registry.build(pipeline_config.read(CONFIG))


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """A file of MediaPipe's form by its published table, weights random and in float16, batch norms folded into biases."""
    tf.keras.utils.set_random_seed(7)
    image = tf.keras.Input((128, 128, 3), 1, name="input")

    def conv(x, filters, kernel=1, stride=1):
        return layers.Conv2D(filters, kernel, stride, "same", kernel_initializer="he_normal", bias_initializer=noise)(x)

    noise = tf.keras.initializers.RandomNormal(0, 0.3)
    x, taps = layers.ReLU()(conv(image, 24, 5, 2)), []
    for filters in (24, 28, -32, 36, 42, -48, 56, 64, 72, 80, 88, -96, 96, 96, 96, 96):
        stride, filters = (2, -filters) if filters < 0 else (1, filters)
        if filters == 96 and stride == 2:
            taps.append(x)
        learned = conv(layers.DepthwiseConv2D(3, stride, "same", bias_initializer=noise)(x), filters)
        short = layers.MaxPooling2D(2)(x) if stride == 2 else x
        more = filters - short.shape[-1]
        short = layers.Lambda(lambda values, more=more: tf.pad(values, [[0, 0], [0, 0], [0, 0], [0, more]]))(short) if more else short
        x = layers.ReLU()(layers.Add()([short, learned]))
    taps.append(x)
    classes = [layers.Reshape((-1, 1))(conv(tap, anchors)) for tap, anchors in zip(taps, (2, 6), strict=True)]
    codes = [layers.Reshape((-1, 16))(conv(tap, 16 * anchors)) for tap, anchors in zip(taps, (2, 6), strict=True)]
    outputs = {"regressors": layers.Concatenate(1)(codes), "classificators": layers.Concatenate(1)(classes)}
    converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Model(image, outputs))
    converter.optimizations, converter.target_spec.supported_types = [tf.lite.Optimize.DEFAULT], [tf.float16]
    path = tmp_path_factory.mktemp("twin") / "face_detection_short_range.tflite"
    path.write_bytes(converter.convert())
    return path


def pictures():
    """uint8 [128, 128, 3]: real ones where there are some, and one that is drawn."""
    from facedet.runtime.pictures import read_picture

    spec = pipeline_config.read(CONFIG).input
    drawn = tf.image.resize(np.random.default_rng(0).uniform(0, 255, (16, 12, 3)), (128, 96)).numpy().astype(np.uint8)
    return [spec.prepare(image)[0] for image in [drawn, *map(read_picture, PICTURES)]]


def original(path):
    """{output: its values} of a file of MediaPipe's, for a picture uint8 [128, 128, 3], by LiteRT."""
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    (taken,) = interpreter.get_input_details()

    def run(picture):
        interpreter.set_tensor(taken["index"], (picture[None] / 127.5 - 1).astype(np.float32))
        interpreter.invoke()
        found = (interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details())
        return {{16: "regressors", 1: "classificators"}[values.shape[2]]: values for values in found}

    return run


def test_its_parameters_multiply_adds_and_anchors_are_the_original_s(detector):
    folded = 0
    for layer in detector.network.layers:
        if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
            folded += math.prod(layer.weights[0].shape) + layer.output_shape[-1]
    assert folded == 101_390 and round(multiply_adds(detector.network) / 1e6, 1) == 30.8
    np.testing.assert_allclose(detector.anchors_yxhw[:, :2], mediapipe.anchor_centres(), atol=1e-6)
    assert detector.is_mediapipes and mediapipe.anchor_centres().shape == (896, 2)
    assert [(level["stride"], level["count"]) for level in detector.anchor_table()["levels"]] == [(8, 512), (16, 384)]
    outputs = detector.mediapipe_outputs(detector.network(np.zeros((1, 128, 128, 3), np.float32)))
    assert {name: tuple(values.shape) for name, values in outputs.items()} == mediapipe.OUTPUTS


@pytest.mark.parametrize("which", ["twin", *(["original"] if ORIGINAL.is_file() else [])])
def test_mediapipe_s_file_loads_and_computes_the_same(which, detector, request):
    path = ORIGINAL if which == "original" else request.getfixturevalue("twin")
    assert mediapipe_file.load(str(path), detector.network) == 1 + 2 * 16 + 6
    run = original(path)
    for picture in pictures():
        expected = run(picture)
        found = detector.mediapipe_outputs(detector.network(detector.input.normalize(picture[None].astype(np.float32))))
        assert expected["classificators"].std() > 0.5
        for name, values in expected.items():  # px and logits up to 150, of sums in another order
            np.testing.assert_allclose(found[name], values, atol=2e-3, rtol=1e-5, err_msg=name)
        theirs = mediapipe.decode(*(expected[name][0] for name in mediapipe.OUTPUTS))
        ours = mediapipe.decode(*(found[name][0].numpy() for name in mediapipe.OUTPUTS))
        for values, wanted in zip(ours, theirs, strict=True):  # boxes, scores, points
            np.testing.assert_allclose(values, wanted, atol=1e-4)


def test_files_that_are_not_it_are_refused(detector, twin, tmp_path):
    other = registry.build(pipeline_config.read(str(ROOT / "configs" / "blazeface_128x128_widerface.config"))).network
    with pytest.raises(WeightsError, match="no heads for points"):
        mediapipe_file.load(str(twin), other)
    with pytest.raises(WeightsError, match="cannot be read"):
        mediapipe_file.load(str(tmp_path / "none.tflite"), detector.network)
    (tmp_path / "cut.tflite").write_bytes(twin.read_bytes()[:5000])
    with pytest.raises(WeightsError, match="damaged"):
        mediapipe_file.load(str(tmp_path / "cut.tflite"), detector.network)
    shipped = next((ROOT / "exported_models").glob("*/*_float16_raw.tflite"))
    with pytest.raises(WeightsError, match="it is not MediaPipe's"):
        mediapipe_file.load(str(shipped), detector.network)


@pytest.fixture(scope="module")
def files(detector, twin, tmp_path_factory):
    """{Kind: its file, opened}, of a network that finds something in every picture."""
    mediapipe_file.load(str(twin), detector.network)
    for layer in detector.network.layers:
        if layer.name in detector.network.output:
            kernel, bias = layer.get_weights()
            layer.set_weights(
                [np.random.default_rng(1).normal(0, 1, kernel.shape) / 40, np.where(layer.name.startswith("box"), 12, 0) + bias]
            )
    quantizable = QuantizableNetwork(detector.network, detector.input.range)
    prepared = np.stack(pictures()).astype(np.float32)
    for _ in range(2):
        quantizable.observe(detector.input.normalize(prepared[:1]), training=False)
    written, folder, opened = tflite.TFLite(), tmp_path_factory.mktemp("files"), {}
    for kind in [Kind(precision, variant) for precision in ("float32", "int8") for variant in (SUPPRESSED, RAW, MEDIAPIPE)] + [BOXES_ALONE]:
        path = folder / f"short_{kind}.tflite"
        path.write_bytes(written.write(detector, quantizable, kind)[".tflite"])
        opened[kind] = FaceDetector(path, 0.2)
    return opened


def test_there_is_a_file_for_mediapipe_only_where_it_would_decode_it(detector):
    assert {kind for kind in tflite.TFLite().kinds(detector) if kind.variant == MEDIAPIPE} == {
        Kind(p, MEDIAPIPE) for p in ("float32", "float16", "int8")
    }
    config = pipeline_config.message(CONFIG)
    resizer = config.model.ssd.image_resizer.fixed_shape_resizer
    resizer.height = resizer.width = 96
    other = registry.build(pipeline_config.from_message(config))
    assert not other.is_mediapipes and all(kind.variant != MEDIAPIPE for kind in tflite.TFLite().kinds(other))


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_every_form_of_a_file_finds_the_same_faces_and_six_points(files, precision):
    picture = pictures()[0]
    found = {variant: files[Kind(precision, variant)].detect(picture) for variant in (SUPPRESSED, RAW, MEDIAPIPE)}
    expected = found[RAW]
    assert len(expected) > 3 and expected.landmarks.shape == (len(expected), 6, 2)
    for variant, faces in found.items():
        if (precision, variant) == ("int8", SUPPRESSED):  # of boxes of the same score, many in int8, it takes others first
            assert abs(len(faces) - len(expected)) <= 0.03 * len(expected) and faces.scores[0] == pytest.approx(
                expected.scores[0], abs=1e-5
            )
            continue
        np.testing.assert_allclose(faces.scores, expected.scores, atol=1e-5, err_msg=variant)
        np.testing.assert_allclose(faces.boxes, expected.boxes, atol=1e-2, err_msg=variant)
        np.testing.assert_allclose(faces.landmarks, expected.landmarks, atol=1e-2, err_msg=variant)


def test_a_file_of_boxes_alone_has_no_heads_of_points_that_nothing_reads(files):
    """MediaPipe's ObjectDetector aborted on them."""
    boxes, faces = files[BOXES_ALONE].detect(pictures()[0]), files[Kind("int8", SUPPRESSED)].detect(pictures()[0])
    assert len(boxes) and boxes.scores[0] == pytest.approx(faces.scores[0], abs=1e-5)
    graph = flatbuffer.unpack(files[BOXES_ALONE].path.read_bytes()).subgraphs[0]
    read = {tensor for operator in graph.operators for tensor in operator.inputs} | set(graph.outputs)
    assert all(read.intersection(operator.outputs) for operator in graph.operators)
    used = read.union(*(operator.outputs for operator in graph.operators), graph.inputs)
    assert set(range(len(graph.tensors))) <= used


def test_the_file_s_regressors_are_x_before_y_in_pixels_of_the_input(files, detector):
    picture = pictures()[0]
    boxes, scores, points = mediapipe.decode(
        *(files[Kind("float32", MEDIAPIPE)]._backend.run(picture)[name][0] for name in mediapipe.OUTPUTS)
    )
    expected = detector.decode(detector.network(detector.input.normalize(picture[None].astype(np.float32))))
    np.testing.assert_allclose(boxes, expected.boxes_yxhw[0], atol=1e-5)
    np.testing.assert_allclose(scores, expected.scores[0], atol=1e-5)
    np.testing.assert_allclose(points, expected.points_yx[0], atol=1e-5)


def test_mediapipe_s_code_by_hand():
    """An anchor of the second level, the third of a place: row 2, column 5 of 8."""
    regressors, logits = np.zeros((896, 16), np.float32), np.full((896, 1), -300.0, np.float32)
    at = 512 + (2 * 8 + 5) * 6 + 2
    regressors[at] = [16, -8, 32, 64, *range(12)]
    logits[at] = 0
    boxes, scores, points = mediapipe.decode(regressors, logits)
    assert scores[at] == 0.5 and np.delete(scores, at).max() < 1e-20
    center_y, center_x = 2.5 / 8, 5.5 / 8
    np.testing.assert_allclose(boxes[at], [center_y - 8 / 128, center_x + 16 / 128, 64 / 128, 32 / 128], atol=1e-6)
    np.testing.assert_allclose(points[at][4], [center_y + 9 / 128, center_x + 8 / 128], atol=1e-6)


@pytest.mark.parametrize("number", [7, 4, 5.0, True, "6"])
def test_a_file_with_another_number_of_points_is_refused(files, number, tmp_path):
    opened = files[Kind("float32", RAW)]
    path = tmp_path / "other.tflite"
    whole = opened.path.read_bytes()
    path.write_bytes(metadata.append_files(whole[: whole.index(b"PK\x03\x04")], opened.details | {"landmarks": number}))
    with pytest.raises(DetectorError, match="landmarks in its facedet.json"):
        FaceDetector(path)


FIVE = np.asarray([[0.30, 0.40], [0.31, 0.60], [0.4, 0.5], [0.50, 0.42], [0.54, 0.58]], np.float32)  # y, x


def test_the_points_that_are_not_annotated_learn_nothing_and_the_mouth_is_the_middle_of_its_corners(detector):
    box = tf.constant([[0.2, 0.3, 0.6, 0.7]])
    told = Faces([box], [tf.ones([1])], [tf.constant(FIVE[None])])
    outputs = {name: tf.Variable(tf.zeros([1, *head.shape[1:]])) for name, head in detector.network.output.items()}
    for _ in range(60):
        with tf.GradientTape() as tape:
            loss = detector.losses(outputs, told)["Loss/landmark_loss"]
        heads = [outputs[name] for name in ("points_head_0", "points_head_1")]
        for head, gradient in zip(heads, tape.gradient(loss, heads), strict=True):
            head.assign_sub(400.0 * gradient)
    points = detector.decode({name: tf.convert_to_tensor(values) for name, values in outputs.items()}).points_yx[0].numpy()
    code = detector.codec.encode_points(points[None], detector.anchors_yxhw).numpy()[0]
    assert (np.abs(code[:, 8:]) < 1e-4).all()  # ears
    learned = np.abs(code).max(1) > 1
    assert 1 <= learned.sum() < 50
    expected = [[0.30, 0.40], [0.31, 0.60], [0.4, 0.5], [0.52, 0.50]]
    np.testing.assert_allclose(points[learned][:, :4], np.broadcast_to(expected, (learned.sum(), 4, 2)), atol=2e-3)
    without = Faces([box], [tf.ones([1])], [tf.fill([1, 5, 2], float("nan"))])
    assert float(detector.losses(outputs, without)["Loss/landmark_loss"]) == 0


def test_the_error_of_six_points_is_that_of_the_four_that_five_tell():
    five = FIVE[None, :, ::-1] * 100
    six = np.concatenate([landmarks.expected(five, 6), [[[1e4, 1e4], [-1e4, 0]]]], 1)  # ears anywhere
    box = np.asarray([[20.0, 20.0, 60.0, 60.0]])

    def error(points):
        found = Detections(np.asarray([[20.0, 20.0, 80.0, 80.0]]), np.asarray([0.9]), points)
        truth = GroundTruth(box, np.ones((1, 1), bool), five)
        return errors_of_landmarks._of_picture(found, truth)[0]

    assert error(six) == pytest.approx(0, abs=1e-6) and error(five) == pytest.approx(0, abs=1e-6)
    moved = six.copy()
    moved[0, 3] += (0, 12)
    assert error(moved) == pytest.approx(12 / 4 / 60, rel=1e-5)
