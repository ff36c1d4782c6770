"""BlazeFace, slim, RFB and RetinaFace-MobileNet0.25: their size, anchors and schedules are those that were published with their weights."""

from typing import NamedTuple

import numpy as np
import pytest
from conftest import ROOT

from facedet.detectors import registry
from facedet.errors import ConfigError
from facedet.evaluation import network_profile
from facedet.od_api import optimizers
from facedet.recipe import pipeline_config

import tensorflow as tf  # isort: skip


class Published(NamedTuple):
    parameters: int  # trainable; batch norms have a scale and a shift
    mega_multiply_adds: float
    levels: tuple  # (stride, sides of the anchors, px)
    rates: tuple  # (epoch of 12,880 pictures, learning rate in it)


BLAZE = ((8, (8, 11)), (16, (14, 19, 26, 38, 64, 149)))
SLIM = ((8, (10, 16, 24)), (16, (32, 48)), (32, (64, 96)), (64, (128, 192, 256)))
RETINA = ((8, (10, 20)), (16, (32, 64)), (32, (128, 256)))
RMSPROP = ((0.5, 5e-4), (2, 1e-3), (129, 1e-3), (131, 1e-4), (161, 1e-5), (176, 1e-6), (199, 1e-7))
SGD = ((0, 1e-3), (189, 1e-3), (191, 1e-4), (221, 1e-5), (249, 1e-5))
PUBLISHED = {
    "blazeface_320x240": Published(175_280, 217.3, BLAZE, RMSPROP),
    "blazeface_640x480": Published(175_280, 869.3, BLAZE, RMSPROP),
    "slim_320x240": Published(343_488, 87.5, SLIM, SGD),
    "rfb_320x240": Published(359_592, 106.5, SLIM, SGD),
    "retinaface_mobilenet025_320x240": Published(426_608, 184.7, RETINA, SGD),
    "retinaface_mobilenet025_640x480": Published(426_608, 735.9, RETINA, SGD),
}
ANCHORS = {"blazeface": (4200, 16800), "slim": (4420,), "rfb": (4420,), "retinaface": (3160, 12600)}


def config_of(name: str):
    return pipeline_config.message(str(ROOT / "configs" / f"{name}_widerface.config"))


@pytest.fixture(scope="module", params=PUBLISHED)
def built(request):
    """One network of each is enough for what does not depend on its size; counts want them at their own."""
    return request.param, registry.build(pipeline_config.from_message(config_of(request.param)))


def test_parameters_and_multiply_adds(built):
    name, detector = built
    published = PUBLISHED[name]
    assert sum(int(np.prod(weight.shape)) for weight in detector.network.trainable_weights) == published.parameters
    assert round(network_profile.multiply_adds(detector.network) / 1e6, 1) == published.mega_multiply_adds


def test_anchors_are_squares_by_level_row_column_and_side(built):
    name, detector = built
    height, width = detector.input.size
    expected = [
        ((row + 0.5) * stride, (column + 0.5) * stride, side, side)
        for stride, sides in PUBLISHED[name].levels
        for row in range(-(-height // stride))
        for column in range(-(-width // stride))
        for side in sides
    ]
    assert len(expected) in ANCHORS[name.split("_")[0]]
    np.testing.assert_allclose(detector.anchors_yxhw * (height, width, height, width), expected, atol=1e-3)


def test_an_output_belongs_to_the_anchor_of_its_place(built):
    """Channels are anchor by anchor, the class's first the background, then the face."""
    _, detector = built
    zeros = {head: np.zeros([1, *tensor.shape[1:]], np.float32) for head, tensor in detector.network.output.items()}
    first = 0
    for level, per_place in enumerate(detector.anchors_per_location):
        _, rows, columns, _ = zeros[f"class_head_{level}"].shape
        row, column, anchor = rows - 1, columns // 3, per_place - 1
        outputs = {head: values.copy() for head, values in zeros.items()}
        outputs[f"class_head_{level}"][0, row, column, 2 * anchor + 1] = 5
        outputs[f"box_head_{level}"][0, row, column, 4 * anchor + 1] = 10  # tx: one side to the right
        outputs[f"points_head_{level}"][0, row, column, 10 * anchor + 4] = 10  # the nose's y: one side down
        found = detector.decode(outputs)
        at = first + (row * columns + column) * per_place + anchor
        y, x, height, width = detector.anchors_yxhw[at]
        assert int(np.argmax(found.scores[0])) == at and float(found.scores[0, at]) == pytest.approx(1 / (1 + np.exp(-5)))
        np.testing.assert_allclose(found.boxes_yxhw[0, at], (y, x + width, height, width), atol=1e-6)
        np.testing.assert_allclose(found.points_yx[0, at], [(y, x), (y, x), (y + height, x), (y, x), (y, x)], atol=1e-6)
        first += rows * columns * per_place


def test_convolutions_of_stride_2_see_as_much_on_either_side(built):
    """TensorFlow's own padding would move what they see by a pixel, and published weights with it."""
    _, detector = built
    strided = [layer for layer in detector.network.layers if getattr(layer, "kernel_size", (1, 1)) != (1, 1) and layer.strides == (2, 2)]
    assert len(strided) >= 4
    for layer in strided:
        before, copy = layer.input._keras_history.layer, type(layer).from_config({**layer.get_config(), "name": "copy"})
        alone = tf.keras.Sequential([before, copy] if isinstance(before, tf.keras.layers.ZeroPadding2D) else [copy])
        image = np.zeros((1, 8, 8, layer.input_shape[-1]), np.float32)
        image[0, 4, 4] = 1
        alone.build(image.shape)
        kernel, *bias = copy.get_weights()
        copy.set_weights([np.ones_like(kernel), *map(np.zeros_like, bias)])
        seen = alone(image).numpy()[0, :, :, 0] > 0
        reach = layer.kernel_size[0] // 2
        expected = np.abs(np.arange(0, 8, 2) - 4) <= reach  # of outputs in the middle of what they see: 0, 2, 4, 6
        np.testing.assert_array_equal(seen, expected[:, None] & expected, err_msg=layer.name)


def test_the_rate_falls_when_the_recipe_says(built):
    name, detector = built
    training = detector.recipe.training
    step = tf.Variable(0, dtype=tf.int64)
    _, rate = optimizers.build(training.optimizer, step)
    for epoch, expected in PUBLISHED[name].rates:
        step.assign(int(epoch * 12880 / training.batch_size))
        assert rate() == pytest.approx(expected, rel=0.02), epoch
    assert training.num_steps == round({RMSPROP: 200, SGD: 250}[PUBLISHED[name].rates] * 12880 / training.batch_size)


def test_the_picture_is_bgr_less_its_mean(built):
    _, detector = built
    image = np.zeros((*detector.input.size, 3), np.uint8)
    image[:] = (200, 117, 50)  # red, green, blue
    prepared, _ = detector.input.prepare(image[:, : detector.input.width // 2])  # half as wide: padded at the right
    values = detector.input.normalize(prepared.astype(np.float32))
    np.testing.assert_array_equal(values[0, 0], (50 - 104, 0, 200 - 123))
    np.testing.assert_array_equal(values[-1, -1], (0, 0, 0))


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("blazeface_320x240", {"size": (248, 320)}, "height 248, width 320: blazeface wants multiples of 16"),
        ("blazeface_320x240", {"fpn": True}, "feature_extractor.fpn: blazeface has no pyramid"),
        ("slim_320x240", {"fpn": True}, "feature_extractor.fpn: slim has no pyramid"),
        ("retinaface_mobilenet025_320x240", {"levels": (2, 5)}, "feature_extractor.fpn: min_level: 3, max_level: 5"),
    ],
)
def test_what_a_network_cannot_honour_is_refused(name, change, said):
    config = config_of(name)
    extractor, resizer = config.model.ssd.feature_extractor, config.model.ssd.image_resizer.fixed_shape_resizer
    if "size" in change:
        resizer.height, resizer.width = change["size"]
    if "fpn" in change:
        extractor.ClearField("num_layers")
        extractor.fpn.min_level, extractor.fpn.max_level = 3, 5
    if "levels" in change:
        extractor.fpn.min_level, extractor.fpn.max_level = change["levels"]
    with pytest.raises(ConfigError, match=said):
        registry.build(pipeline_config.from_message(config))
