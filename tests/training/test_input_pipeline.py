"""What training sees: boxes stay on their faces through crop, reduction and mirror."""

import numpy as np
import pytest
from conftest import MAIN_CONFIG

from facedet.data import records
from facedet.evaluation import validation
from facedet.recipe import pipeline_config
from facedet.runtime import detector
from facedet.training import input_pipeline

import tensorflow as tf  # isort: skip


@pytest.fixture(scope="module")
def train_config():
    return pipeline_config.read(str(MAIN_CONFIG)).train_config


def test_batches_are_sound(records_dir, train_config):
    config = type(train_config)()
    config.CopyFrom(train_config)
    config.batch_size = 6
    paths = sorted(map(str, records_dir.glob("*train*")))
    for batch in input_pipeline.dataset(paths, config, (224, 224), seed=1).take(8):
        image, boxes, counts = (batch[key].numpy() for key in ("image", "groundtruth_boxes", "num_boxes"))
        assert image.shape == (6, 224, 224, 3) and image.min() >= 0 and 100 < image.max() <= 255
        assert batch["groundtruth_weights"].shape == boxes.shape[:2] and len(batch["name"]) == 6
        for row, count in zip(boxes, counts, strict=True):
            assert (row[:count, 2:] > row[:count, :2]).all() and (row >= 0).all() and (row <= 1).all()
            assert (row[count:] == 0).all()


@pytest.mark.parametrize("window", [(0, 0, 480, 640), (100, 200, 333, 401), (17, 3, 450, 600)])
def test_a_decoded_window_shows_what_was_cut_out(window):
    rows, columns = np.mgrid[0:480, 0:640]
    pixels = np.stack([rows / 480 * 255, columns / 640 * 255, np.full((480, 640), 128)], 2).astype(np.uint8)
    encoded = tf.io.encode_jpeg(pixels, quality=98)
    small = tf.image.resize(input_pipeline._decode_window(encoded, tf.constant(window), (96, 96)), (96, 96)).numpy()
    top, left, height, width = window
    expected = tf.image.resize(pixels[top : top + height, left : left + width].astype(np.float32), (96, 96), antialias=True).numpy()
    assert np.abs(small - expected).mean() < 4


def test_training_sees_pictures_scaled_as_the_detector_scales_them(records_dir, train_config, tmp_path):
    """Stripes finer than the input's pixels come out grey; scaled without antialiasing they would come out as stripes."""
    stripes = np.zeros((400, 400, 3), np.uint8)  # less than twice the input: the JPEG decoder does not reduce it
    stripes[np.arange(400) % 4 < 2] = 255
    name, _, labels = next(iter(records.read_examples(sorted(map(str, records_dir.glob("*train*"))))))
    example = records.to_example(name, tf.io.encode_jpeg(stripes, quality=98).numpy(), 400, 400, labels, ())
    with tf.io.TFRecordWriter(str(tmp_path / "stripes")) as writer:
        writer.write(example)
    config = type(train_config)(batch_size=1)
    config.data_augmentation_options.add().random_crop_image.random_coef = 1.0  # the whole picture, always
    (batch,) = input_pipeline.dataset([str(tmp_path / "stripes")], config, (224, 224)).take(1)
    seen = batch["image"].numpy()[0]
    expected = detector.resize(stripes, 224, 224).astype(np.float32)
    assert np.abs(seen - expected).mean() < 3
    jagged = tf.image.resize(stripes.astype(np.float32), (224, 224)).numpy()
    assert np.abs(jagged - expected).mean() > 20


def test_a_face_cut_below_the_threshold_is_ignored_not_background(records_dir, train_config):
    """A grid of equal faces over a picture: whatever the window, those cut to less than overlap_thresh get weight 0."""
    (path,) = records_dir.glob("*train*")
    crop = type(train_config.data_augmentation_options[0].random_crop_image)(
        min_object_covered=0.0, min_aspect_ratio=0.7, max_aspect_ratio=1.5, min_area=0.2, max_area=0.6, overlap_thresh=0.4
    )
    parsed = input_pipeline._parse(next(iter(tf.data.TFRecordDataset(str(path)))))
    rows, columns = np.mgrid[0:1:0.125, 0:1:0.125]
    parsed["groundtruth_boxes"] = tf.constant(np.stack([rows, columns, rows + 0.125, columns + 0.125], 2).reshape(-1, 4), tf.float32)
    parsed["groundtruth_weights"] = tf.ones([64])
    ignored = 0
    for _ in range(20):
        cut = input_pipeline._decode_crop(dict(parsed), crop, (64, 64))
        boxes, weights = cut["groundtruth_boxes"].numpy(), cut["groundtruth_weights"].numpy()
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        visible = areas / areas.max()  # at least one is whole in a window of a fifth of the picture
        clear = np.abs(visible - 0.4) > 1e-3
        np.testing.assert_array_equal(weights[clear] == 1, (visible >= 0.4)[clear])
        ignored += (weights == 0).sum()
    assert ignored > 0


@pytest.mark.parametrize("order", ["crop, flip", "flip, crop", "flip, crop, crop"])
def test_a_cut_face_is_ignored_wherever_the_crop_stands(order, train_config, tmp_path):
    """Sixteen faces that fill a picture: whatever is cut off, each part that is left of one is a face or ignored, never background."""
    rows, columns = np.mgrid[0:1:0.25, 0:1:0.25]
    boxes = np.stack([rows, columns, rows + 0.25, columns + 0.25], 2).reshape(-1, 4).astype(np.float32)
    labels = records.Labels(boxes, np.ones(16, np.float32), np.zeros((16, 0)), None, np.zeros((0, 4), np.float32), None)
    encoded = tf.io.encode_jpeg(np.full((256, 256, 3), 128, np.uint8)).numpy()
    with tf.io.TFRecordWriter(str(tmp_path / "grid")) as writer:
        writer.write(records.to_example("grid.jpg", encoded, 256, 256, labels, ()))
    config = type(train_config)(batch_size=40)
    for name in order.split(", "):
        option = config.data_augmentation_options.add()
        if name == "flip":
            option.random_horizontal_flip.SetInParent()
        else:
            option.random_crop_image.MergeFrom(train_config.data_augmentation_options[0].random_crop_image)
            option.random_crop_image.MergeFrom(type(option.random_crop_image)(random_coef=0.0, min_object_covered=0.0, max_area=0.5))
    (batch,) = input_pipeline.dataset([str(tmp_path / "grid")], config, (96, 96), seed=1).take(1)
    boxes, weights, counts = (batch[key].numpy() for key in ("groundtruth_boxes", "groundtruth_weights", "num_boxes"))
    areas = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    np.testing.assert_allclose(areas.sum(1), 1, atol=1e-3)  # nothing of the picture is without a box
    assert (weights[np.arange(16)[: weights.shape[1]] < counts[:, None]] == 0).sum() > 40 and (weights == 1).sum() > 40


def test_stock_augmentations_run_at_full_size(records_dir):
    from conftest import ROOT

    config = pipeline_config.read(str(ROOT / "tests" / "stock_ssd_mobilenet_v2.config")).train_config
    config.batch_size = 2
    paths = sorted(map(str, records_dir.glob("*train*")))
    (batch,) = input_pipeline.dataset(paths, config, (300, 300), seed=1).take(1)
    assert batch["image"].shape == (2, 300, 300, 3) and batch["image"].numpy().max() > 50


def test_evaluation_reads_the_picture_as_stored(records_dir):
    name, encoded, labels = next(iter(records.read_examples(sorted(map(str, records_dir.glob("*val*"))))))
    image = validation.decode(encoded)
    truth = validation.ground_truth(labels, *image.shape[:2])
    assert image.dtype == np.uint8 and len(truth.boxes_xywh_px) == len(truth.member) and name.endswith(".jpg")
