"""The converter, oddity by oddity, on pictures made here."""

import hashlib
import io
import json
import shutil
import zipfile

import numpy as np
import pytest
from conftest import run
from PIL import Image

from facedet import conversion, records, widerface
from facedet.conversion import Options

COMMAND = "dataset_tools/create_widerface_tf_record.py"
PLAIN = "0 0 0 0 0 0"


def picture(width=100, height=80, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(width).integers(0, 255, (height, width, 3), np.uint8)).save(stream, "JPEG", **options)
    return stream.getvalue()


def dataset(directory, pictures: dict, split="train"):
    """pictures: {name: (bytes or None for a missing one, [rows])}."""
    lines = []
    for name, (data, rows) in pictures.items():
        lines += [name, str(len(rows)), *(rows or ["0 0 0 0 0 0 0 0 0 0"])]
        path = directory / f"WIDER_{split}" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is not None:
            path.write_bytes(data)
    (directory / "wider_face_split").mkdir(exist_ok=True)
    (directory / "wider_face_split" / f"wider_face_{split}_bbx_gt.txt").write_text("\n".join(lines) + "\n")
    return directory


def convert(source, target, **options):
    return conversion.convert(source, target, ["train"], Options(num_workers=1, **options), say=lambda text: None)["splits"]["train"]


def read(target) -> dict:
    return {name: labels for name, _, labels in records.read_examples(sorted(map(str, target.glob("*train.tfrecord-*"))))}


def adds_up(split) -> bool:
    faces = split["faces"]
    return faces["stated"] == faces["written"] + sum(faces["ignored"].values()) + sum(faces["dropped"].values())


def test_every_face_is_accounted_for(tmp_path):
    rows = [f"10 10 20 30 {PLAIN}", f"90 70 30 30 {PLAIN}", f"5 5 3 3 {PLAIN}", "40 40 20 20 0 0 0 1 0 0", f"1 1 0 5 {PLAIN}",
            f"1 1 -2 5 {PLAIN}", f"200 200 9 9 {PLAIN}", "1 2 3"]  # fmt: skip
    split = convert(dataset(tmp_path / "in", {"e/a.jpg": (picture(), rows), "e/none.jpg": (picture(), [])}), tmp_path / "out")
    assert split["faces"] == {
        "stated": 8, "written": 2, "ignored": {"flagged_invalid": 1, "too_small": 1},
        "dropped": {"no_area": 2, "outside_image": 1, "row_malformed": 1},
    }  # fmt: skip
    assert split["images"] == {"written": 1, "written_without_face": 1}
    labels = read(tmp_path / "out")
    assert len(labels["e/none.jpg"].weights) == 0
    np.testing.assert_allclose(labels["e/a.jpg"].boxes_yxyx_norm[0], [10 / 80, 10 / 100, 40 / 80, 30 / 100])
    np.testing.assert_allclose(labels["e/a.jpg"].boxes_yxyx_norm[1], [70 / 80, 90 / 100, 1, 1])  # cut at the border
    assert labels["e/a.jpg"].weights.tolist() == [1, 1, 0, 0]
    assert len(labels["e/a.jpg"].eval_boxes_xywh_px) == 7  # the protocol scores against every box that is one


def test_faces_past_the_cap_are_ignored_smallest_first(tmp_path):
    rows = [f"1 1 {side} {side} {PLAIN}" for side in (8, 30, 12, 20)]
    split = convert(dataset(tmp_path / "in", {"e/a.jpg": (picture(), rows)}), tmp_path / "out", max_faces_per_image=2)
    assert split["faces"]["ignored"] == {"past_cap": 2} and adds_up(split)
    assert read(tmp_path / "out")["e/a.jpg"].weights.tolist() == [0, 1, 0, 1]


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture(exif=exif)


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (9, 9)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (picture()[:-200], "image_truncated"),
        (png(), "image_not_jpeg"),
        (b"<html>quota", "image_not_jpeg"),
        (rotated(), "image_exif_rotated"),
    ],
)
def test_bad_pictures_are_named_and_the_rest_is_written(tmp_path, data, reason):
    rows = [f"10 10 20 30 {PLAIN}"]
    source = dataset(tmp_path / "in", {"e/good.jpg": (picture(), rows), "e/bad.jpg": (data, rows)})
    split = convert(source, tmp_path / "out")
    assert split["faces"]["dropped"] == {reason: 1} and split["faces"]["written"] == 1 and adds_up(split)
    (problem,) = split["problems"]
    assert problem["where"].endswith("bbx_gt.txt:4") and "e/bad.jpg" in problem["message"]
    with pytest.raises(widerface.WiderFaceError, match="bbx_gt.txt:4.*--strict"):
        convert(source, tmp_path / "strict", strict=True)
    assert not list((tmp_path / "strict").iterdir())


def test_verify_images_decodes_what_headers_cannot_tell(tmp_path):
    data = bytearray(picture(400, 300))
    middle = len(data) // 2
    data[middle : middle + 400] = b"\xff\xd8" * 200  # whole by its markers, not by its pixels
    rows = [f"10 10 20 30 {PLAIN}"]
    source = dataset(tmp_path / "in", {"e/good.jpg": (picture(), rows), "e/bad.jpg": (bytes(data), rows)})
    assert convert(source, tmp_path / "quick")["images"] == {"written": 2}
    split = convert(source, tmp_path / "out", verify_images=True)
    assert split["images"]["written"] + split["images"].get("image_undecodable", 0) == 2 and adds_up(split)


def test_missing_pictures_are_counted_and_the_flag_is_named(tmp_path):
    rows = [f"10 10 20 30 {PLAIN}"]
    source = dataset(tmp_path / "in", {"e/a.jpg": (picture(), rows), "e/b.jpg": (None, rows * 2)})
    said = run(COMMAND, "--data_dir", source, "--output_dir", tmp_path / "out", "--splits", "train", code=1)
    assert "1 of 2 train pictures are missing" in said and "--allow_missing_images" in said
    assert not (tmp_path / "out").exists()
    split = convert(source, tmp_path / "out", allow_missing_images=True)
    assert split["faces"]["dropped"] == {"image_missing": 2} and adds_up(split)


def test_zips_are_read_in_place_and_give_the_same_bytes(sample_dir, tmp_path):
    (tmp_path / "zips").mkdir()
    for name in ("WIDER_train", "wider_face_split"):
        with zipfile.ZipFile(tmp_path / "zips" / f"{name}.zip", "w") as archive:
            for path in sorted((sample_dir / name).rglob("*.*")):
                archive.write(path, path.relative_to(sample_dir))
    shards = []
    for source, target, workers in ((sample_dir, "a", 1), (tmp_path / "zips", "b", 1), (sample_dir, "c", 2)):
        conversion.convert(source, tmp_path / target, ["train"], Options(num_workers=workers), say=lambda text: None)
        files = sorted((tmp_path / target).glob("*.tfrecord-*"))
        shards.append([(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files])
    assert shards[0] == shards[1] == shards[2] and shards[0]


def test_an_html_page_called_zip_is_called_one(tmp_path):
    (tmp_path / "WIDER_train.zip").write_text("<!DOCTYPE html><html>Quota exceeded</html>")
    (tmp_path / "wider_face_split").mkdir()
    (tmp_path / "wider_face_split" / "wider_face_train_bbx_gt.txt").write_text("e/a.jpg\n0\n")
    with pytest.raises(widerface.WiderFaceError, match="HTML page"):
        convert(tmp_path, tmp_path / "out")


def test_the_held_out_part_is_apart_and_complete(sample_dir, tmp_path):
    manifest = conversion.convert(sample_dir, tmp_path, ["train"], Options(num_workers=1, holdout_percent=25), say=lambda text: None)
    names = {}
    for split in ("train", "holdout"):
        names[split] = {name for name, _, _ in records.read_examples(sorted(map(str, tmp_path.glob(f"*_{split}.tfrecord-*"))))}
    assert not names["train"] & names["holdout"]
    assert len(names["train"]) == 18 and len(names["holdout"]) == 6
    assert all(adds_up(split) for split in manifest["splits"].values())


def test_a_new_set_replaces_an_old_one_whole(sample_dir, tmp_path):
    (tmp_path / "widerface_train.tfrecord-00000-of-00009").write_bytes(b"old")
    conversion.convert(sample_dir, tmp_path, ["train"], Options(num_workers=1), say=lambda text: None)
    assert not list(tmp_path.glob("*-of-00009")) and not list(tmp_path.glob(".*"))


@pytest.fixture
def finished(records_dir, tmp_path):
    shutil.copytree(records_dir, tmp_path / "set")
    return tmp_path / "set"


def test_a_set_without_its_manifest_is_refused(finished):
    (finished / records.MANIFEST).unlink()
    with pytest.raises(records.RecordsError, match="manifest.json is missing"):
        records.check_shards(sorted(map(str, finished.glob("*train*"))))


def test_a_cut_shard_is_refused(finished):
    (shard,) = finished.glob("*train*")
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(records.RecordsError, match="manifest.json says"):
        records.check_shards([str(shard)])
    with pytest.raises(records.RecordsError, match="damaged after"):
        records.read_back(shard)


def test_a_flipped_bit_is_found_by_the_checksums(finished):
    (shard,) = finished.glob("*train*")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(records.RecordsError, match="damaged after"):
        records.read_back(shard)


def test_the_command_prints_the_balance_of_the_manifest(sample_dir, tmp_path):
    said = run(COMMAND, "--data_dir", sample_dir, "--output_dir", tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / records.MANIFEST).read_text())
    for split in manifest["splits"].values():
        assert adds_up(split) and f"{split['faces']['stated']:,}" in said


def test_records_hold_attributes_and_landmarks_for_the_od_api(records_dir):
    from facedet.od_api import compat  # isort: skip  # noqa: F401  (makes the OD API importable)
    import tensorflow as tf
    from object_detection.data_decoders import tf_example_decoder

    decoder = tf_example_decoder.TfExampleDecoder(num_keypoints=5)
    (path,) = records_dir.glob("*train*")
    seen = 0
    for serialized in tf.data.TFRecordDataset(str(path)).take(6):
        tensors = decoder.decode(serialized)
        count = tensors["groundtruth_boxes"].shape[0]
        assert tensors["groundtruth_keypoints"].shape == (count, 5, 2) and tensors["groundtruth_weights"].shape == (count,)
        points, boxes = tensors["groundtruth_keypoints"].numpy(), tensors["groundtruth_boxes"].numpy()
        known = np.isfinite(points).all((1, 2))
        seen += known.sum()
        centers = (boxes[known, :2] + boxes[known, 2:]) / 2
        nose = points[known, 2]
        assert (np.abs(nose - centers) < (boxes[known, 2:] - boxes[known, :2]) / 2).all()  # y before x, inside of its box
    assert seen > 0
