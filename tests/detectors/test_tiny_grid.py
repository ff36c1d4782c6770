"""The grid on MobileNetV2: its size, which cell learns which face, its loss and its boxes, by numbers worked out by hand."""

import numpy as np
import pytest
from conftest import ROOT

from facedet.detectors import registry
from facedet.detectors.base import Faces
from facedet.evaluation import network_profile
from facedet.export.formats import flatbuffer
from facedet.export.formats.base import RAW, SUPPRESSED, Kind
from facedet.export.formats.tflite import TFLite
from facedet.layers import pretrained
from facedet.od_api import protos
from facedet.quantization.network import QuantizableNetwork
from facedet.recipe import pipeline_config
from facedet.training import freezing

import tensorflow as tf  # isort: skip

CONFIG = ROOT / "configs" / "tiny_grid_mobilenetv2_224x224_widerface.config"


def build(height=96, width=96, change=lambda config: None):
    config = pipeline_config.message(str(CONFIG))
    resizer = config.model.ssd.image_resizer.fixed_shape_resizer
    resizer.height, resizer.width = height, width
    change(config)
    return registry.build(pipeline_config.from_message(config, "grid.config"))


@pytest.fixture(scope="module")
def grid():
    """Of 3x4 cells, 32 px each."""
    return build(96, 128)


def faces(*rows, weights=None):
    """rows: ymin, xmin, ymax, xmax of one picture's."""
    count = len(rows)
    boxes = tf.reshape(tf.constant(rows, tf.float32), [count, 4])
    weights = tf.ones([count]) if weights is None else tf.constant(weights, tf.float32)
    return Faces([boxes], [weights], [tf.fill([count, 5, 2], np.nan)])


def logit(value):
    return np.log(value / (1 - value))


def test_size_is_that_of_the_original():
    grid = build(224, 224)
    profile = network_profile.of_detector(grid, "grid")
    assert (profile.parameters - profile.statistics, profile.statistics, profile.multiply_adds) == (1_565_989, 24_560, 218_197_392)
    assert grid.places == (7, 7) and grid.anchor_table()["count"] == profile.anchors == 49
    order = ["block_16_project_BN", "head", "head_relu", "head_BN", "head_BN_relu", "cells"]
    assert [layer.name for layer in grid.network.layers][-len(order) :] == order
    freezing.freeze(grid.network, grid.recipe.training, lambda text: None)
    assert sum(np.prod(weight.shape) for weight in grid.network.trainable_weights) == 520_325


@pytest.mark.parametrize(("alpha", "channels"), [(0.35, 112), (1.4, 448)])
def test_the_width_is_the_configs(alpha, channels):
    def change(config):
        config.model.ssd.feature_extractor.depth_multiplier = alpha

    assert build(change=change).network.get_layer("block_16_project_BN").output_shape[-1] == channels


def test_the_backbone_gives_kerass_features_of_its_width(monkeypatch):
    keras = pretrained.keras.applications
    source = keras.MobileNetV2(weights=None, include_top=False, alpha=0.75, input_shape=(224, 224, 3))
    generator = np.random.default_rng(0)
    for layer in source.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    asked = {}
    monkeypatch.setattr(keras, "MobileNetV2", lambda **options: asked.update(options) or source)
    grid = build(224, 224)
    assert grid.initialize("imagenet") == 2 * 51 and asked["alpha"] == 0.75 and asked["weights"] == "imagenet"
    images = tf.random.stateless_uniform([1, 224, 224, 3], (3, 4), -1, 1)
    features = [
        tf.keras.Model(model.inputs, model.get_layer("block_16_project_BN").output)(images, training=False).numpy()
        for model in (source, grid.network)
    ]
    np.testing.assert_allclose(features[1], features[0], atol=1e-3 * np.abs(features[0]).max())


def test_a_width_without_imagenet_weights_is_named():
    def change(config):
        config.model.ssd.feature_extractor.depth_multiplier = 0.6

    with pytest.raises(pipeline_config.ConfigError, match=r"fine_tune_checkpoint: imagenet: .*depth_multiplier.*0\.75.*not of 0\.6"):
        build(change=change).initialize("imagenet")


@pytest.mark.parametrize(("size", "places"), [(0, (3, 4)), (3, (3, 4)), (6, (6, 8)), (9, (9, 12))])
def test_grid_size_of_the_config(size, places):
    def change(config):
        protos.detector(config).grid_size = size

    grid = build(96, 128, change)
    assert grid.places == places and grid.decode(grid.network(tf.zeros([1, 96, 128, 3]))).scores.shape == (1, places[0] * places[1])
    assert grid.anchor_table()["levels"][0]["stride"] == round(96 / places[0])


def test_a_coarser_grid_takes_the_greatest_features():
    def change(config):
        protos.detector(config).grid_size = 2

    assert build(128, 128, change).places == (2, 2)


@pytest.mark.parametrize(("height", "width", "size"), [(224, 224, 5), (224, 224, 10), (64, 96, 1)])
def test_a_grid_that_does_not_fit_is_refused(height, width, size):
    def change(config):
        protos.detector(config).grid_size = size

    with pytest.raises(pipeline_config.ConfigError, match=rf"grid\.config: \[facedet\.detector\] grid_size: {size}: .*or 0"):
        build(height, width, change)


def with_points(config):
    config.model.ssd.box_coder.keypoint_box_coder.num_keypoints = 5


def with_background(config):
    config.model.ssd.add_background_class = True


def with_miner(config):
    config.model.ssd.loss.hard_example_miner.loss_type = 1


@pytest.mark.parametrize(
    ("change", "said"), [(with_points, "keypoint_box_coder"), (with_background, "add_background_class"), (with_miner, "hard_example_miner")]
)
def test_what_a_cell_cannot_do_is_refused(change, said):
    with pytest.raises(pipeline_config.ConfigError, match=rf"grid\.config: model\.ssd\..*{said}"):
        build(change=change)


def test_the_cell_of_a_face_is_that_of_its_centre(grid):
    told = grid.assign(faces([0.1, 0.1, 0.7, 0.7], [0.5, 0.5, 1.5, 1.5]))  # corners in cell 0 and 6; centres (.4, .4) and (1, 1)
    assert np.flatnonzero(told.weights[0]).tolist() == [1 * 4 + 1, 2 * 4 + 3]
    np.testing.assert_allclose(told.boxes_yxyx[0, 5], [0.1, 0.1, 0.7, 0.7])
    assert told.background[0].numpy().sum() == 10 and not told.background[0, 5]


def test_of_two_faces_in_a_cell_the_larger_is_learned_whichever_comes_first(grid):
    small, large = [0.05, 0.05, 0.2, 0.15], [0.0, 0.0, 0.3, 0.2]
    for order in ((small, large), (large, small)):
        told = grid.assign(faces(*order))
        assert np.flatnonzero(told.weights[0]).tolist() == [0]
        np.testing.assert_allclose(told.boxes_yxyx[0, 0], large)


def test_a_face_to_ignore_is_neither_learned_nor_background(grid):
    large, small = [0.0, 0.0, 0.3, 0.2], [0.05, 0.05, 0.25, 0.15]
    alone = grid.assign(faces(large, weights=[0]))
    assert not alone.weights.numpy().any() and alone.background[0].numpy().tolist() == [0] + [1] * 11
    beside = grid.assign(faces(large, small, weights=[0, 1]))
    assert np.flatnonzero(beside.weights[0]).tolist() == [0]
    np.testing.assert_allclose(beside.boxes_yxyx[0, 0], small)
    below = grid.assign(faces([0.1, 0.1, 0.2, 0.3]))  # 9.6 px high, of which the config ignores what has less than 10
    assert not below.weights.numpy().any() and not below.background[0, 0]


def test_a_box_is_where_its_cell_says(grid):
    cells = np.full((1, 3, 4, 5), -20, np.float32)
    cells[0, 2, 1] = logit(np.asarray([0.5, 0.25, 0.75, 0.5, 0.9]))  # height, width, down, right, score
    found = grid.decode({"cells": tf.constant(cells)})
    best = int(tf.argmax(found.scores[0]))
    assert best == 2 * 4 + 1 and found.points_yx is None
    np.testing.assert_allclose(found.scores[0, best], 0.9, rtol=1e-5)
    np.testing.assert_allclose(found.boxes_yxhw[0, best], [2.75 / 3, 1.5 / 4, 0.5, 0.25], rtol=1e-5)


def test_the_loss_is_the_one_worked_out_by_hand(grid):
    """Two faces; scores of .5 in all cells, and one box that is off by known amounts."""
    cells = np.zeros((1, 3, 4, 5), np.float32)
    cells[0, 0, 0, :4] = logit(np.asarray([0.4, 0.3, 0.5, 0.5]))
    cells[0, 2, 2, :4] = logit(np.asarray([0.2, 0.2, 0.5, 0.25]))
    first = [0.5 / 3 - 0.1, 0.125 - 0.1, 0.5 / 3 + 0.1, 0.125 + 0.1]  # .2 x .2 where .4 x .3 is said; the centre is right
    second = [2.5 / 3 - 0.1, 0.75 - 0.1875 - 0.1, 2.5 / 3 + 0.1, 0.75 - 0.1875 + 0.1]  # right
    found = grid.losses({"cells": tf.constant(cells)}, faces(first, second))
    assert float(found["Loss/classification_loss"]) == pytest.approx(12 * np.log(2) / 2, rel=1e-5)
    assert float(found["Loss/localization_loss"]) == pytest.approx(((0.2 * 3) ** 2 + (0.1 * 4) ** 2) / 2, rel=1e-4)
    without = grid.losses({"cells": tf.constant(cells)}, faces())
    assert float(without["Loss/localization_loss"]) == 0 and float(without["Loss/classification_loss"]) == pytest.approx(12 * np.log(2))


def test_a_cell_learns_its_own_face_alone(grid):
    """No gradient where a face is ignored, one of the score alone in the background, one of all five columns in a face's cell."""
    cells = tf.Variable(tf.random.stateless_normal([1, 3, 4, 5], (1, 2)))
    told = faces([0.0, 0.0, 0.3, 0.2], [0.7, 0.8, 1.0, 1.0], weights=[0, 1])
    with tf.GradientTape() as tape:
        loss = tf.add_n(list(grid.losses({"cells": cells}, told).values()))
    moved = np.abs(tape.gradient(loss, cells).numpy()[0].reshape(12, 5)) > 0
    assert not moved[0].any() and moved[11].all()
    assert moved[1:11, 4].all() and not moved[1:11, :4].any()


def test_an_overlap_loss_is_one_of_boxes():
    def change(config):
        config.model.ssd.loss.localization_loss.weighted_giou.SetInParent()

    grid, cells = build(96, 128, change), np.zeros((1, 3, 4, 5), np.float32)
    cells[0, 0, 0, :4] = logit(np.asarray([0.4, 0.2, 0.5, 0.5]))
    half = [0.5 / 3 - 0.1, 0.125 - 0.1, 0.5 / 3 + 0.1, 0.125 + 0.1]  # half as high: IoU and GIoU are .5
    assert float(grid.losses({"cells": tf.constant(cells)}, faces(half))["Loss/localization_loss"]) == pytest.approx(2 * 0.5, rel=1e-4)


def test_the_file_with_suppression_gives_a_box_a_cell(tmp_path):
    """Fewer boxes than max_detections; every cell says the same of itself."""
    grid = build(96, 128)
    kernel, bias = grid.network.get_layer("cells").get_weights()
    grid.network.get_layer("cells").set_weights([kernel * 0, logit(np.asarray([0.25, 0.125, 0.5, 0.75, 0.8])).astype(bias.dtype)])
    quantizable, files, path = QuantizableNetwork(grid.network, grid.input.range), TFLite(), tmp_path / "grid.tflite"
    path.write_bytes(files.write(grid, quantizable, Kind("float32", SUPPRESSED))[".tflite"])
    found = TFLite().open(path, 0.5).detect(np.zeros((96, 128, 3), np.uint8))
    assert len(found.boxes) == 12 and found.scores == pytest.approx(0.8, abs=1e-4)
    wanted = sorted((32 * c + 24 - 8, 32 * r + 16 - 12, 32 * c + 24 + 8, 32 * r + 16 + 12) for r in range(3) for c in range(4))
    np.testing.assert_allclose(sorted(map(tuple, found.boxes)), wanted, atol=0.05)
    raw = flatbuffer.unpack(files.write(grid, quantizable, Kind("float32", RAW))[".tflite"])
    drop = [getattr(operator.builtinOptions, "shrinkAxisMask", 0) for operator in raw.subgraphs[0].operators]
    assert not any(drop)  # LiteRT's GPU accelerator takes no slice that drops an axis
