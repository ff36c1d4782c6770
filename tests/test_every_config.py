"""Every config is opened, built, stepped, quantized and exported; the .tflite computes what the network does."""

import numpy as np
import pytest
from conftest import CONFIGS, ROOT

from facedet import pipeline_config, quantization
from facedet.export import flatbuffer, tflite
from facedet.od_api import detection_model

import tensorflow as tf  # isort: skip

ALL = [*CONFIGS, ROOT / "tests" / "stock_ssd_mobilenet_v2.config"]
NMS = {"max_detections": 50, "score_threshold": 0.01, "iou_threshold": 0.5}


@pytest.fixture(scope="module", params=ALL, ids=lambda path: path.stem)
def built(request):
    config = pipeline_config.read(str(request.param))
    model = detection_model.build(config, is_training=True)
    return request.param, config, model, quantization.QuantizableNetwork(model.network)


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


def test_the_int8_file_computes_what_the_simulation_does(built):
    from ai_edge_litert.interpreter import Interpreter

    _, _, model, quantizable = built
    generator = np.random.default_rng(0)
    image = tf.image.resize(generator.uniform(0, 255, (1, 8, 8, 3)), model.input_size).numpy().astype(np.uint8)
    for _ in range(3):
        quantizable.observe(model.preprocess(image)[0], training=False)
    data = tflite.convert(model, quantizable, "int8", with_nms=False, nms=NMS)
    operators = flatbuffer.operators(data)
    assert "CUSTOM" not in operators and not any(name.startswith("TFLite_") for name in operators)
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    assert given["name"] == "image" and given["dtype"] == np.uint8 and tuple(given["shape"]) == (1, *model.input_size, 3)
    interpreter.set_tensor(given["index"], image)
    interpreter.invoke()
    boxes, scores = (interpreter.get_tensor(output["index"])[0] for output in interpreter.get_output_details())
    encodings, logits = quantizable.simulate(model.preprocess(image)[0], training=False)
    expected = tf.sigmoid(logits).numpy()[0, :, -1:]
    assert np.abs(scores - expected).mean() < 0.02
    decoded = model._batch_decode(encodings, model.anchors.get())[0].numpy()[0]
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
    sides = (decoded[:, 2:] - decoded[:, :2]).mean(1, keepdims=True)
    assert np.median(np.abs(corners - decoded) / sides) < 0.1
