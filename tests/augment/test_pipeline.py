"""What training sees: boxes and landmarks stay on their faces from the record to the batch, whatever the steps and their order."""

import marked_picture
import numpy as np
import pytest
from conftest import BOXES_CONFIG, ROOT
from google.protobuf import text_format

from facedet.augment import decoding, pipeline
from facedet.data import records
from facedet.errors import ConfigError
from facedet.od_api import facedet_options_pb2 as options
from facedet.od_api import protos
from facedet.recipe.recipe import Augmentation
from facedet.runtime.input_spec import InputSpec

import tensorflow as tf  # isort: skip

SQUARE = InputSpec(224, 224)


def augmentation(od_api: str = "", facedet: str = "") -> Augmentation:
    """Of the two's text; each option of od_api in braces of its own."""
    message = protos.parse("train_config {" + "".join(f"data_augmentation_options {{ {part} }}" for part in od_api.splitlines()) + "}")
    steps = text_format.Parse("".join(f"step {{ {part} }}" for part in facedet.splitlines()), options.Augmentation()).step
    return Augmentation(tuple(message.train_config.data_augmentation_options), tuple(steps))


def of_config(path) -> Augmentation:
    return Augmentation(tuple(protos.parse(path.read_text()).train_config.data_augmentation_options), ())


def write(path, image: np.ndarray, boxes, weights=None, landmarks=None, count: int = 1) -> list[str]:
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    weights = np.ones(len(boxes), np.float32) if weights is None else np.asarray(weights, np.float32)
    labels = records.Labels(boxes, weights, np.zeros((len(boxes), 0)), landmarks, np.zeros((0, 4), np.float32), None)
    encoded = tf.io.encode_jpeg(image, quality=98, chroma_downsampling=False).numpy()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for _ in range(count):
            writer.write(records.to_example(path.name, encoded, *image.shape[:2], labels, ()))
    return [str(path)]


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """A record of the marked picture: its face twice, the second time ignored and without landmarks."""
    given = marked_picture.picture()
    boxes = np.repeat(given.boxes.numpy(), 2, 0)
    landmarks = np.concatenate([given.points.numpy()[..., ::-1], np.full((1, 5, 2), np.nan, np.float32)])
    return write(tmp_path_factory.mktemp("marked") / "marked", marked_picture.pixels(), boxes, [1, 0], landmarks)


CROP = "random_crop_image { min_object_covered: 0.4 min_aspect_ratio: 0.8 max_aspect_ratio: 1.8 min_area: 0.2 max_area: 1 overlap_thresh: 0.4 }"
WHOLE_FACE = CROP.replace("min_object_covered: 0.4", "min_object_covered: 1")  # a box of part of a face is none to be turned
FLIP = "random_horizontal_flip { probability: 1 }"
ORDERS = {
    "nothing": ("", ""),
    "crop": (CROP, ""),
    "flip, crop": (f"{FLIP}\n{CROP}", ""),
    "crop, flip, crop": (f"{CROP}\n{FLIP}\n{CROP}", ""),
    "flip, the OD API's crop": (f"{FLIP}\nssd_random_crop {{}}", ""),
    "rotation by 90": ("random_rotation90 {}", ""),
    "upside down": ("random_vertical_flip { probability: 1 }", ""),
    "padded": ("random_pad_image { pad_color: [60, 0, 60] }", ""),
    "ours": ("", "crop_around_faces {}\nmirror { probability: 1 }"),
    "ours, mirror first": ("", "mirror { probability: 1 }\ncrop_around_faces {}"),
    "ours, crop and expand": ("", "crop_around_faces { min_area: 0.3 }\nexpand { probability: 1 }"),
    "ours, expand and crop": ("", "expand { probability: 1 }\ncrop_around_faces {}"),
    "ours, three windows": (
        "",
        "data_anchor_sampling { scales: [32, 64] probability: 1 }\ncrop_around_faces {}\nexpand { probability: 1 }",
    ),
    "ours, turned": ("", "rotate { probability: 1 }\ncrop_around_faces { min_area: 0.2 }\nmirror { probability: 1 }"),
    "ours, turned last": ("", "data_anchor_sampling { scales: [64, 96] probability: 1 }\nrotate { probability: 1 }"),
    "both": (f"{WHOLE_FACE}\n{FLIP}", "rotate {}\nexpand {}\nmirror { probability: 1 }"),
}


DARK = {"pad_value": (20, 0, 90)}  # unlike the marked face
INPUTS = [
    *((InputSpec(224, 224, **DARK), order) for order in ORDERS),
    *((InputSpec(192, 256, resize="pad", pad_place="end", **DARK), order) for order in ("crop", "ours, turned", "ours, three windows")),
    *((InputSpec(240, 240, resize="pad", **DARK), order) for order in ("nothing", "flip, crop", "ours, turned last")),
]


@pytest.mark.parametrize(("input", "order"), INPUTS, ids=lambda value: value if isinstance(value, str) else value.resize)
def test_faces_are_where_the_picture_shows_them(input, order, marked):
    (batch,) = pipeline.dataset(marked, augmentation(*ORDERS[order]), input, batch_size=24, seed=1).take(1).as_numpy_iterator()
    mirrored, seen = sum(ORDERS[order][i].count(word) for i, word in enumerate(("horizontal", "mirror"))) % 2, np.zeros(2, int)
    assert batch["image"].shape == (24, input.height, input.width, 3) and batch["points_yx"].shape[2:] == (5, 2)
    for image, boxes, weights, points, count in zip(
        *(batch[key] for key in ("image", "groundtruth_boxes", "groundtruth_weights", "points_yx", "num_boxes")), strict=True
    ):
        assert np.isnan(points[count:]).all() and (boxes[count:] == 0).all() and (weights[count:] == 0).all()
        if count == 2:
            assert weights[1] == 0 and np.isnan(points[1]).all()
            np.testing.assert_array_equal(boxes[0], boxes[1])
        if count:
            seen += marked_picture.check(image, boxes[0], points[0], mirrored)
    assert (seen >= 2).all()


@pytest.mark.parametrize("order", [order for order in ORDERS if "OD API's crop" not in order])  # that makes background of what it cuts
def test_what_is_seen_of_a_face_is_never_background(order, tmp_path):
    """Sixteen faces that fill a picture, each of its own green: each is a face or ignored wherever its colour is left."""
    rows, columns = np.mgrid[0:4, 0:4].reshape(2, -1)
    boxes = np.stack([rows, columns, rows + 1, columns + 1], 1) / 4
    image = np.zeros((256, 256, 3), np.uint8)
    image[..., 1] = np.kron(np.arange(70, 230, 10).reshape(4, 4), np.ones((64, 64)))
    paths = write(tmp_path / "grid", image, boxes)
    (batch,) = pipeline.dataset(paths, augmentation(*ORDERS[order]), SQUARE, batch_size=30, seed=1).take(1).as_numpy_iterator()
    ys, xs = (np.mgrid[0:224, 0:224] + 0.5) / 224
    for picture, faces in zip(batch["image"], batch["groundtruth_boxes"], strict=True):
        covered = np.zeros((224, 224), bool)
        for top, left, bottom, right in faces:
            covered |= (ys > top) & (ys < bottom) & (xs > left) & (xs < right)
        shown = (picture[..., 0] < 30) & (picture[..., 2] < 30)  # neither filling nor an edge to it
        turned = "rot" in ORDERS[order][1] + ORDERS[order][0]  # a turned square is more than the ellipse in it
        assert (shown & ~covered).mean() < (0.3 if turned else 0.02)
    ignored = (batch["groundtruth_weights"] == 0) & (batch["groundtruth_boxes"].max(-1) > 0)
    assert ignored.sum() > 20 or "crop" not in "".join(ORDERS[order])


def test_batches_are_sound(records_dir):
    paths = sorted(map(str, records_dir.glob("*train*")))
    landmarks = 0
    for batch in pipeline.dataset(paths, of_config(BOXES_CONFIG), SQUARE, batch_size=6, seed=1).take(8).as_numpy_iterator():
        image, boxes, counts = (batch[key] for key in ("image", "groundtruth_boxes", "num_boxes"))
        assert image.shape == (6, 224, 224, 3) and image.min() >= 0 and 100 < image.max() <= 255
        assert batch["groundtruth_weights"].shape == boxes.shape[:2] and len(batch["name"]) == 6
        for row, points, count in zip(boxes, batch["points_yx"], counts, strict=True):
            assert (row[:count, 2:] > row[:count, :2]).all() and (row >= 0).all() and (row <= 1).all()
            assert (row[count:] == 0).all() and np.isnan(points[count:]).all()
            known = points[np.isfinite(points).any((1, 2))]
            assert np.isfinite(known).all() and (known >= 0).all() and (known <= 1).all()
            landmarks += len(known)
    assert landmarks > 20


@pytest.mark.parametrize("reduction", [0, 1, 2, 3])
@pytest.mark.parametrize("window", [(0, 0, 483, 645), (100, 200, 333, 401), (17, 3, 450, 600)])
def test_a_decoded_window_shows_what_was_cut_out(window, reduction):
    rows, columns = np.mgrid[0:483, 0:645]
    pixels = np.stack([rows / 483 * 255, columns / 645 * 255, np.full(rows.shape, 128)], 2).astype(np.uint8)
    encoded = tf.io.encode_jpeg(pixels, quality=98)
    decoded, covered = decoding.decode_window(encoded, tf.constant(window), tf.constant(reduction))
    np.testing.assert_array_equal(np.array(decoded.shape[:2]) * 2**reduction, covered[2:])
    begin, end = covered[:2].numpy(), (covered[:2] + covered[2:]).numpy()
    asked, last = np.array(window[:2]), np.array(window[:2]) + window[2:]
    assert (begin <= asked).all() and (end >= last).all() and (asked - begin < 2**reduction).all() and (end - last < 2**reduction).all()
    size = np.array(decoded.shape[:2]) * 2**reduction
    blown_up = decoded.numpy().repeat(2**reduction, 0).repeat(2**reduction, 1)[: 483 - begin[0], : 645 - begin[1]]
    shown = pixels[begin[0] :, begin[1] :][: size[0], : size[1]]
    assert np.abs(blown_up.astype(int) - shown).mean() < 3


@pytest.mark.parametrize("steps", ["crop_around_faces { probability: 0 }", "expand { probability: 0 }"])
@pytest.mark.parametrize("side", [100, 224])
def test_a_picture_whose_sides_no_reduction_divides_stays_in_its_place(steps, side, tmp_path):
    """Its bars are where the detector's scaling has them, to a fraction of a pixel: the smallest faces have but five."""
    bars = np.zeros((815, 807, 3), np.uint8)
    bars[783:799] = bars[:, 775:791] = 255
    paths = write(tmp_path / "bars", bars, [0.2, 0.2, 0.4, 0.4])
    input = InputSpec(side, side)
    (batch,) = pipeline.dataset(paths, augmentation("", steps), input, batch_size=1).take(1).as_numpy_iterator()
    expected, _ = input.prepare(bars)
    for axis in (0, 1):
        here, there = (image[..., 0].astype(np.float64).mean(1 - axis) for image in (batch["image"][0], expected))
        here, there = (np.sum((line - line.min()) * np.arange(side)) / np.sum(line - line.min()) for line in (here, there))
        assert abs(here - there) < 0.05


@pytest.mark.parametrize("steps", ["crop_around_faces { probability: 0 }", "expand { probability: 0 }"])
def test_no_more_is_decoded_than_the_input_needs(steps, marked, monkeypatch):
    asked = []
    real = decoding.decode_window
    monkeypatch.setattr(decoding, "decode_window", lambda *given: asked.append(given[2]) or real(*given))
    given = decoding.parse(next(iter(tf.data.TFRecordDataset(marked))))[1]
    windows = pipeline.steps.plan(augmentation("", steps), SQUARE).windows
    decoded = decoding.decode(given, windows, InputSpec(100, 100), full_scale=False)
    assert decoded.image.shape == (100, 100, 3) and int(asked[0]) == 2 and np.isclose(decoded.pixel_aspect, 640 / 480)
    assert decoding.decode(given, windows, InputSpec(100, 100), full_scale=True).image.shape == (480, 640, 3)


def test_training_sees_pictures_scaled_as_the_detector_scales_them(tmp_path):
    """Stripes finer than the input's pixels come out grey; scaled without antialiasing they would come out as stripes."""
    stripes = np.zeros((400, 400, 3), np.uint8)  # less than twice the input: the JPEG decoder does not reduce it
    stripes[np.arange(400) % 4 < 2] = 255
    whole = augmentation("random_crop_image { random_coef: 1 }")  # the whole picture, always
    paths = write(tmp_path / "stripes", stripes, [0.2, 0.2, 0.4, 0.4])
    (batch,) = pipeline.dataset(paths, whole, SQUARE, batch_size=1).take(1).as_numpy_iterator()
    expected = SQUARE.prepare(stripes)[0].astype(np.float32)
    assert np.abs(batch["image"][0] - expected).mean() < 3
    jagged = tf.image.resize(stripes.astype(np.float32), (224, 224)).numpy()
    assert np.abs(jagged - expected).mean() > 20


def test_stock_augmentations_run_at_full_size(records_dir):
    paths = sorted(map(str, records_dir.glob("*train*")))
    stock = of_config(ROOT / "tests" / "stock_ssd_mobilenet_v2.config")
    (batch,) = pipeline.dataset(paths, stock, InputSpec(300, 300), batch_size=2, seed=1).take(1).as_numpy_iterator()
    assert batch["image"].shape == (2, 300, 300, 3) and batch["image"].max() > 50


def test_an_option_that_moves_no_landmarks_leaves_none(marked):
    concatenated = augmentation("random_self_concat_image { concat_vertical_probability: 1 concat_horizontal_probability: 1 }")
    (batch,) = pipeline.dataset(marked, concatenated, SQUARE, batch_size=1).take(1).as_numpy_iterator()
    assert batch["groundtruth_boxes"].shape == (1, 8, 4) and batch["points_yx"].shape == (1, 8, 5, 2) and np.isnan(batch["points_yx"]).all()


def test_colours_do_not_move_faces(marked):
    steps = "\n".join(f"{name} {{ probability: 1 }}" for name in ("photometric_distortion", "blur", "noise", "jpeg_quality"))
    for order in (f"expand {{ probability: 0 }}\n{steps}", f"{steps}\nexpand {{ probability: 0 }}"):
        (batch,) = pipeline.dataset(marked, augmentation("", order), SQUARE, batch_size=2).take(1).as_numpy_iterator()
        np.testing.assert_allclose(batch["groundtruth_boxes"][0, 0] * [480, 640, 480, 640], marked_picture.BOX_PX, atol=1e-3)
        np.testing.assert_allclose(batch["points_yx"][0, 0] * [480, 640], marked_picture.POINTS_PX, atol=1e-3)
        assert np.abs(batch["image"][0] - batch["image"][1]).mean() > 1 and batch["image"].min() >= 0 and batch["image"].max() <= 255


def test_a_flip_that_orders_landmarks_otherwise_is_refused_by_name(marked):
    asked = augmentation("random_horizontal_flip { keypoint_flip_permutation: [0, 1, 2, 3, 4] }", "")
    with pytest.raises(ConfigError, match=r"data_augmentation_options\[0\]\.random_horizontal_flip\.keyp"):
        pipeline.dataset(marked, asked, SQUARE, batch_size=1)


def test_a_picture_that_cannot_be_decoded_is_left_out_and_told(marked, tmp_path):
    broken = write(tmp_path / "broken", np.zeros((64, 64, 3), np.uint8), [0, 0, 1, 1])
    example = tf.train.Example.FromString(next(iter(tf.data.TFRecordDataset(broken))).numpy())
    example.features.feature[records.Keys.ENCODED].bytes_list.value[0] = b"\xff\xd8 no JPEG"
    with tf.io.TFRecordWriter(broken[0]) as writer:
        writer.write(example.SerializeToString())
    told = []
    dataset = pipeline.dataset([*marked, *broken], of_config(BOXES_CONFIG), SQUARE, batch_size=4, on_undecodable=told.append)
    (batch,) = dataset.take(1).as_numpy_iterator()
    assert set(batch["name"]) == {b"marked"} and set(told) == {"broken"}
