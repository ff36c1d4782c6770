"""Caltech 10,000 Web Faces in its own layout, made here: every line accounted for, boxes by the rule, records that train."""

import json

import numpy as np
import pytest
from annotated_pictures import picture
from conftest import SHARED, config_text, run

from facedet.data import caltech_webfaces, conversion, records, widerface, widerface_text
from facedet.data.caltech_webfaces import ANNOTATION, CaltechWebFaces
from facedet.data.conversion import Options
from facedet.recipe import pipeline_config
from facedet.runtime import boxes

COMMAND = "dataset_tools/create_caltech_webfaces_tf_record.py"
# Eyes 18 px apart, the nose 12 below and 2 to the right of their middle, the mouth 24 below: the bounding box is 18 x 24, its diagonal 30.
FRONTAL = "30.0 40.0 48.0 40.0 41.0 52.0 39.0 64.0"
# 45 x 60 around (39 - 2, 48).
BOX_XYWH = (37 - 22.5, 48 - 30, 45, 60)


def make(directory, lines, pictures, folder="img"):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ANNOTATION).write_text("\n".join(lines) + "\n")
    (directory / folder).mkdir(exist_ok=True)
    for name, data in pictures.items():
        (directory / folder / name).write_bytes(data)
    return directory


def convert(source, target, **options):
    return conversion.convert_sources([CaltechWebFaces(source)], target, Options(num_workers=1, **options), say=lambda text: None)


def read(target, split="train") -> dict:
    return {name: labels for name, _, labels in records.read_examples(sorted(map(str, target.glob(f"*{split}.tfrecord-*"))))}


def test_a_box_is_derived_by_the_rule():
    points = np.asarray(FRONTAL.split(), float).reshape(1, 4, 2)
    np.testing.assert_allclose(caltech_webfaces.derive_boxes(points), [BOX_XYWH])
    np.testing.assert_allclose(caltech_webfaces.derive_boxes(points * 3), [np.multiply(BOX_XYWH, 3)])
    mirrored = caltech_webfaces.derive_boxes(points * (-1, 1))
    np.testing.assert_allclose(mirrored, [[-BOX_XYWH[0] - BOX_XYWH[2], *BOX_XYWH[1:]]])


def test_derived_boxes_are_those_of_wider_faces_annotators():
    path = SHARED / "data" / "widerface" / "landmarks" / "train_label.txt"
    if not path.is_file():  # a face as it is drawn there: four points, and the box around forehead and chin
        derived, annotated = (
            caltech_webfaces.derive_boxes(np.asarray([[[30, 40], [48, 40], [39, 52], [39, 60]]], float)),
            [[18, 17, 42, 54]],
        )
    else:
        found = [(box, points) for faces in widerface_text.load_landmarks(path).values() for box, points in faces.items()]
        found = [(box, points) for box, points in found if np.isfinite(points).all() and min(box[2:]) >= 40]
        annotated, five = (np.asarray(values, float) for values in zip(*found, strict=True))
        derived = caltech_webfaces.derive_boxes(np.concatenate([five[:, :3], five[:, 3:].mean(1, keepdims=True)], 1))
    pairs = zip(boxes.xywh_to_xyxy(derived), boxes.xywh_to_xyxy(np.asarray(annotated, float)), strict=True)
    overlaps = np.asarray([boxes.iou(a[None], b[None])[0, 0] for a, b in pairs])
    assert overlaps.mean() > 0.75 and (overlaps >= 0.5).mean() > 0.95


def test_every_line_is_accounted_for(tmp_path):
    lines = [
        f"pic1.jpg {FRONTAL}",
        f"pic2.jpg {FRONTAL}",
        "",
        "pic1.jpg 80 60 84 60 82 62 82 65",  # a picture's lines need not follow each other
        "pic1.jpg 30 40 48 40",
        "pic1.jpg 30 40 48 40 41 52 39 sixty",
        f"pic2.jpg {FRONTAL} 7",
        "pic2.jpg 300 40 318 40 311 52 309 64",
        "pic2.jpg 30 40 30 40 30 40 30 40",
        "pic2.jpg 30 40 31 40 30 40.5 30 41",
        f"pic3.jpg {FRONTAL}",
        "pic2.jpg nan 40 48 40 41 52 39 64",
        "pic2.jpg 1e9 40 48 40 41 52 39 64",
    ]
    source = make(tmp_path / "in", lines, {"pic1.jpg": picture(), "pic2.jpg": picture(), "pic3.jpg": b"<html>", "readme.jpg": picture()})
    split = convert(source, tmp_path / "out")["splits"]["train"]
    assert split["faces"] == {
        "stated": 12, "written": 3, "ignored": {"too_small": 1},
        "dropped": {"image_not_jpeg": 1, "no_area": 1, "outside_image": 1, "row_malformed": 5},
    }  # fmt: skip
    assert split["images"] == {"written": 2, "image_not_jpeg": 1}
    said = {problem["where"].rpartition(":")[2]: problem["message"] for problem in split["problems"]}
    assert set(said) == {"5", "6", "7", "11", "12", "13"} and "8 numbers" in said["5"] and "sixty" in said["6"]
    with pytest.raises(widerface.WiderFaceError, match=rf"{ANNOTATION}:5: .*--strict"):
        convert(source, tmp_path / "strict", strict=True)


def test_records_are_wider_faces_without_landmarks_and_attributes(tmp_path):
    source = make(tmp_path / "in", [f"pic1.jpg {FRONTAL}"], {"pic1.jpg": picture()}, folder="Caltech_WebFaces")
    manifest = convert(source, tmp_path / "out")
    assert manifest["classes"] == ["face"] and list(manifest["attributes"]) == []
    labels = read(tmp_path / "out")["pic1.jpg"]
    x, y, w, h = BOX_XYWH
    np.testing.assert_allclose(labels.boxes_yxyx_norm, [[y / 80, x / 100, (y + h) / 80, (x + w) / 100]], rtol=1e-6)
    assert labels.weights.tolist() == [1] and labels.landmarks_xy_norm is None and labels.eval_subsets is None
    np.testing.assert_allclose(labels.eval_boxes_xywh_px, [BOX_XYWH])
    (path,) = (tmp_path / "out").glob("widerface_train.tfrecord-*")
    from tensorflow.core.example import example_pb2

    import tensorflow as tf  # isort: skip

    (serialized,) = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    keys = set(example_pb2.Example.FromString(serialized).features.feature)
    assert not [key for key in keys if "attribute" in key or "keypoint" in key]
    text = config_text(tmp_path / "out", max_number_of_boxes=1).replace("widerface_val.", "widerface_train.")
    train, evaluation = pipeline_config.check_data(pipeline_config.parse(text))
    assert train == evaluation == [str(path)]


def test_a_part_is_held_out_and_the_command_prints_the_balance(tmp_path):
    names = [f"pic{i:05d}.jpg" for i in range(10)]
    source = make(tmp_path / "in", [f"{name} {FRONTAL}" for name in names], dict.fromkeys(names, picture()), folder=".")
    said = run(COMMAND, "--data_dir", source, "--output_dir", tmp_path / "out", "--holdout_percent", "30", "--num_workers", "1")
    assert "train: 7 pictures, 7 faces" in said and "holdout: 3 pictures, 3 faces" in said and "= stated" in said
    held, rest = read(tmp_path / "out", "holdout"), read(tmp_path / "out")
    assert len(held) == 3 and sorted([*held, *rest]) == names
    manifest = json.loads((tmp_path / "out" / records.MANIFEST).read_text())
    assert manifest["splits"]["holdout"]["faces"]["written"] == 3


@pytest.mark.parametrize(
    ("lines", "pictures", "said"),
    [
        ([f"pic1.jpg {FRONTAL}", FRONTAL], {"pic1.jpg": picture()}, rf"{ANNOTATION}:2: expected '<picture>.jpg' and 8 numbers, got '30.0"),
        ([f"../pic1.jpg {FRONTAL}"], {}, rf"{ANNOTATION}:1: .*got '\.\./pic1"),
        (["", ""], {}, "names no picture"),
        (
            [f"pic1.jpg {FRONTAL}", f"pic2.jpg {FRONTAL}"],
            {"pic1.jpg": picture()},
            r"1 of 2 .*missing from .*img.*pic2.*--allow_missing_images",
        ),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, lines, pictures, said):
    source = make(tmp_path / "in", lines, pictures)
    with pytest.raises(widerface.WiderFaceError, match=said):
        convert(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_absent_folders_are_named(tmp_path):
    with pytest.raises(widerface.WiderFaceError, match=f"{ANNOTATION} does not exist: --data_dir"):
        CaltechWebFaces(tmp_path)
    (tmp_path / ANNOTATION).write_text(f"pic1.jpg {FRONTAL}\n")
    with pytest.raises(widerface.WiderFaceError, match="nowhere is no folder: --images_dir"):
        CaltechWebFaces(tmp_path, tmp_path / "nowhere")
