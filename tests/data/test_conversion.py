"""The converter, oddity by oddity, on pictures made here."""

import concurrent.futures
import hashlib
import io
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from annotated_pictures import convert, dataset, picture
from conftest import ROOT, config_text, run
from PIL import Image

from facedet.assign import anchor_ladder
from facedet.data import conversion, jpeg, records, widerface, workers
from facedet.data.conversion import Options

COMMAND = "dataset_tools/create_widerface_tf_record.py"
PLAIN = "0 0 0 0 0 0"


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
    labels = read(tmp_path / "out")["e/a.jpg"]
    assert labels.weights.tolist() == [1, 1, 0, 0]  # whoever cuts the list at the cap loses no face to learn
    np.testing.assert_allclose((labels.boxes_yxyx_norm[:, 2] - labels.boxes_yxyx_norm[:, 0]) * 80, [30, 20, 8, 12], rtol=1e-5)
    assert split["max_faces_per_image"] == 4  # of the record: such a cut at 2 would make background of those to ignore


@pytest.mark.parametrize("cap", [2, 2000])
def test_the_way_out_of_a_too_small_max_number_of_boxes_works(sample_dir, tmp_path, cap):
    from facedet.recipe import pipeline_config

    conversion.convert(sample_dir, tmp_path, options=Options(num_workers=1, max_faces_per_image=cap), say=lambda text: None)
    with pytest.raises(pipeline_config.ConfigError, match="max_number_of_boxes: 2") as caught:
        pipeline_config.check_data(pipeline_config.parse(config_text(tmp_path, max_number_of_boxes=2)))
    (number,) = re.findall(r"set it to (\d+) or more", str(caught.value), re.IGNORECASE)
    pipeline_config.check_data(pipeline_config.parse(config_text(tmp_path, max_number_of_boxes=number)))
    assert "--max_faces_per_image" not in str(caught.value)  # it ignores faces, and they stay


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
        (picture().replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"), "image_damaged"),  # 12 bits a sample
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


def test_verify_images_decodes_what_headers_cannot_tell(tmp_path, monkeypatch):
    monkeypatch.setattr(jpeg, "read_info", lambda data: jpeg.JpegInfo(300, 400, 1))  # takes every header for good
    data = bytearray(picture(400, 300))
    middle = len(data) // 2
    data[middle : middle + 400] = b"\xff\xd8" * 200
    rows = [f"10 10 20 30 {PLAIN}"]
    source = dataset(tmp_path / "in", {"e/good.jpg": (picture(400, 300), rows), "e/bad.jpg": (bytes(data), rows)})
    assert convert(source, tmp_path / "quick")["images"] == {"written": 2}
    split = convert(source, tmp_path / "out", verify_images=True)
    assert split["images"] == {"written": 1, "image_undecodable": 1} and adds_up(split)
    assert "e/bad.jpg cannot be decoded" in split["problems"][0]["message"]


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
    sums = [shard_sums(source, tmp_path / target) for source, target in ((sample_dir, "a"), (tmp_path / "zips", "b"))]
    assert sums[0] == sums[1] and sums[0]


def shard_sums(source, target, num_workers=1) -> dict:
    conversion.convert(source, target, ["train"], Options(num_workers=num_workers), say=lambda text: None)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in target.glob("*.tfrecord-*")}


def test_two_workers_write_the_same_bytes(sample_dir, tmp_path, monkeypatch):
    pools = []

    class Pool(concurrent.futures.ProcessPoolExecutor):
        def __init__(self, number, *arguments):
            super().__init__(number, *arguments)
            pools.append(number)

    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(conversion, "SHARD_BYTES", 2**19)
    alone, together = shard_sums(sample_dir, tmp_path / "one"), shard_sums(sample_dir, tmp_path / "two", num_workers=2)
    assert pools == [2] and len(alone) > 2
    assert alone == together


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


def files(directory) -> dict:
    return {path.name: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_split_that_is_not_asked_for_stays(sample_dir, tmp_path):
    target = tmp_path / "out"
    quiet = Options(num_workers=1, holdout_percent=25)
    conversion.convert(sample_dir, target, ["train"], quiet, say=lambda text: None)
    before = files(target)
    conversion.convert(sample_dir, target, ["val"], Options(num_workers=1, min_face_px=20), say=lambda text: None)
    for name in ("train", "holdout", "val"):
        assert records.check_shards(sorted(map(str, target.glob(f"*_{name}.tfrecord-*"))))["shards"]
    assert all(files(target)[name] == data for name, data in before.items() if name != records.MANIFEST)
    least = {name: split["options"]["min_face_px"] for name, split in records.read_manifest(target)["splits"].items()}
    assert least == {"train": 4, "holdout": 4, "val": 20}
    conversion.convert(sample_dir, target, ["train"], Options(num_workers=1), say=lambda text: None)
    assert set(records.read_manifest(target)["splits"]) == {"val", "train"} and not list(target.glob("*holdout*"))


def test_shards_that_nothing_vouches_for_are_not_deleted_in_passing(sample_dir, tmp_path):
    (tmp_path / "widerface_train.tfrecord-00000-of-00001").write_bytes(b"mine")
    with pytest.raises(records.RecordsError, match="tfrecord-00000-of-00001 is of a split that is not asked for"):
        conversion.convert(sample_dir, tmp_path, ["val"], Options(num_workers=1), say=lambda text: None)
    assert files(tmp_path) == {"widerface_train.tfrecord-00000-of-00001": b"mine"}


def test_a_conversion_that_fails_leaves_the_earlier_set(tmp_path):
    rows = [f"10 10 20 30 {PLAIN}"]
    source = dataset(tmp_path / "in", {"e/a.jpg": (picture(), rows)})
    convert(source, tmp_path / "out")
    before = files(tmp_path / "out")
    dataset(source, {"e/a.jpg": (picture(), rows), "e/bad.jpg": (b"", rows)})
    with pytest.raises(widerface.WiderFaceError, match="--strict"):
        convert(source, tmp_path / "out", strict=True)
    assert files(tmp_path / "out") == before


def test_a_full_disk_is_one_sentence_and_leaves_the_earlier_set(tmp_path):
    rows = [f"10 10 20 30 {PLAIN}"]
    source = dataset(tmp_path / "in", {f"e/{i}.jpg": (picture(600 + i, 400), rows) for i in range(8)})
    convert(source, tmp_path / "out")
    before = files(tmp_path / "out")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))  # a larger file ends as on a full disk
    try:
        with pytest.raises(records.RecordsError, match=r"out: the records take \d.* MB.*The set that is there is whole"):
            convert(source, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files(tmp_path / "out") == before


def test_too_little_room_is_said_before_the_work(tmp_path, monkeypatch):
    source = dataset(tmp_path / "in", {"e/a.jpg": (picture(), [f"10 10 20 30 {PLAIN}"])})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 5000, 5000))
    monkeypatch.setattr(workers, "run", None)
    with pytest.raises(records.RecordsError, match="only 0.0 MB are free.*No set is there.*Make room"):
        convert(source, tmp_path / "out")


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", range(2, 10))
def test_killed_while_the_sets_change_places_one_of_them_is_whole(tmp_path, monkeypatch, at):
    """The exchange of an old set of two shards for a new one of three is cut at every step; nothing of what follows it is done."""
    rows = [f"10 10 20 30 {PLAIN}"]
    source = dataset(tmp_path / "in", {f"e/{i}.jpg": (picture(300 + i, 200), rows) for i in range(3)})
    monkeypatch.setattr(conversion, "SHARD_BYTES", 70_000)
    assert len(convert(source, tmp_path / "out")["shards"]) == 2
    dataset(source, {f"e/{i}.jpg": (picture(400 + i, 200), rows) for i in range(3)})
    steps = []
    with monkeypatch.context() as patch:

        def cut(function):
            def step(*arguments, **options):
                steps.append(function)
                if len(steps) >= at and (tmp_path / "out" / records.UNFINISHED / records.MANIFEST).exists():
                    raise Killed
                return function(*arguments, **options)

            return step

        patch.setattr(os, "replace", cut(os.replace))
        patch.setattr(os, "unlink", cut(os.unlink))
        with pytest.raises(Killed):
            convert(source, tmp_path / "out")
    records.read_manifest(tmp_path / "out")
    paths = sorted(map(str, (tmp_path / "out").glob("*train.tfrecord-*")))
    records.check_shards(paths)
    names = [name for name, _, _ in records.read_examples(paths)]
    assert sorted(names) == ["e/0.jpg", "e/1.jpg", "e/2.jpg"]


def test_a_picture_listed_twice_is_written_once(tmp_path):
    rows = [f"10 10 20 30 {PLAIN}"]
    source = dataset(tmp_path / "in", {"e/a.jpg": (picture(), rows), "e/b.jpg": (picture(), rows)})
    listed = source / "wider_face_split" / "wider_face_train_bbx_gt.txt"
    listed.write_text(listed.read_text() + f"e/a.jpg\n2\n1 1 9 9 {PLAIN}\n5 5 9 9 {PLAIN}\n")
    split = convert(source, tmp_path / "out")
    names = [name for name, _, _ in records.read_examples(sorted(map(str, (tmp_path / "out").glob("*train.tfrecord-*"))))]
    assert sorted(names) == ["e/a.jpg", "e/b.jpg"]
    assert split["faces"]["dropped"] == {"image_repeated": 2} and adds_up(split)
    (problem,) = split["problems"]
    assert problem["where"].endswith("bbx_gt.txt:7") and "e/a.jpg is listed already, in" in problem["message"]
    assert problem["message"].endswith("bbx_gt.txt:1")


def test_what_is_no_file_in_a_pictures_place_is_named(tmp_path):
    rows = [f"10 10 20 30 {PLAIN}"]
    pictures = {"e/a.jpg": (picture(), rows), "e/pipe.jpg": (None, rows), "e/link.jpg": (None, rows), "e/folder.jpg": (None, rows)}
    source = dataset(tmp_path / "in", pictures)
    images = source / "WIDER_train" / "images" / "e"
    os.mkfifo(images / "pipe.jpg")
    (images / "link.jpg").symlink_to("nowhere.jpg")
    (images / "folder.jpg").mkdir()
    split = convert(source, tmp_path / "out")
    assert split["images"] == {"written": 1, "image_not_a_file": 3} and adds_up(split)
    assert all(f"e/{name}.jpg is a folder, a pipe or a link to nothing" in str(split["problems"]) for name in ("pipe", "link", "folder"))


def test_a_picture_is_scored_by_its_official_list_where_the_annotation_differs(tmp_path, monkeypatch):
    rows = [f"10 10 20 30 {PLAIN}", f"50 10 20 30 {PLAIN}"]
    pictures = {"e/same.jpg": (picture(), rows), "e/more.jpg": (picture(), rows), "e/absent.jpg": (picture(), rows)}
    official = np.array([[10, 10, 20, 30], [50, 10, 20, 30], [70, 40, 8, 9]], np.float64)
    member = np.array([[1, 1, 1], [0, 1, 1], [0, 0, 1]], bool)
    lists = {"e/same.jpg": (official[:2], member[:2]), "e/more.jpg": (official, member)}
    monkeypatch.setattr(widerface, "load_subsets", lambda directory: lists)
    source = dataset(tmp_path / "in", pictures, "val")
    manifest = conversion.convert(source, tmp_path / "out", ["val"], Options(num_workers=1), eval_gt_dir="lists", say=lambda text: None)
    paths = sorted(map(str, (tmp_path / "out").glob("*val.tfrecord-*")))
    labels = {name: labels for name, _, labels in records.read_examples(paths)}
    assert labels["e/same.jpg"].eval_subsets.tolist() == [7, 6] and labels["e/more.jpg"].eval_subsets.tolist() == [7, 6, 4]
    np.testing.assert_array_equal(labels["e/more.jpg"].eval_boxes_xywh_px, official)
    assert labels["e/absent.jpg"].eval_subsets.tolist() == [] and len(labels["e/absent.jpg"].weights) == 2
    said = " ".join(problem["message"] for problem in manifest["splits"]["val"]["problems"])
    assert "2 faces, 3 in the official list, which is scored (e/more.jpg)" in said and "e/absent.jpg" in said
    faces = anchor_ladder.FaceSet.read(paths)
    rows = anchor_ladder.coverage_table(faces, np.ones(len(faces.boxes_yxyx_norm)), (224, 224))
    assert {row["label"]: row["faces"] for row in rows[:4]} == {"all": 5, "Easy": 2, "Medium": 4, "Hard": 5}


def test_workers_end_when_their_parent_is_killed():
    code = """if True:
        import os, time
        from facedet.data import workers

        def work(number):
            os.write(1, f"{os.getpid()}\\n".encode())
            time.sleep(600)

        list(workers.run(work, [(0,), (1,)], 2))
    """
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    children = [int(process.stdout.readline()) for _ in range(2)]
    process.kill()
    process.wait()
    end = time.monotonic() + 20
    while any(alive(child) for child in children):
        assert time.monotonic() < end, children
        time.sleep(0.1)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True).stdout
    return bool(stat) and not stat.startswith("Z")  # one that nobody has waited for is at its end


def stop(number):
    os._exit(9)


def test_a_worker_that_is_killed_is_no_traceback():
    with pytest.raises(workers.WorkerDiedError, match="--num_workers 1"):
        list(workers.run(stop, [(0,), (1,)], 2))


def test_the_command_prints_the_balance_of_the_manifest(sample_dir, tmp_path):
    said = run(COMMAND, "--data_dir", sample_dir, "--output_dir", tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / records.MANIFEST).read_text())
    for split in manifest["splits"].values():
        assert adds_up(split) and f"{split['faces']['stated']:,}" in said


def test_records_hold_attributes_and_landmarks_for_the_od_api(records_dir):
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
