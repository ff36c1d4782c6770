"""Pictures from folders: without the official lists they are scored as their records are."""

import json
import shutil

import pytest
from conftest import SHIPPED, run

from facedet.data import conversion
from facedet.evaluation import dataset


@pytest.fixture(scope="module")
def without_lists(sample_dir, tmp_path_factory):
    directory = tmp_path_factory.mktemp("data")
    shutil.copytree(sample_dir, directory, ignore=shutil.ignore_patterns("eval_gt"), dirs_exist_ok=True)
    annotation = directory / "wider_face_split" / "wider_face_val_bbx_gt.txt"
    lines = annotation.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line == "3")
    lines[at + 1] = lines[at + 1][: -len("0 0 0")] + "1 0 0"  # one face flagged: neither right nor wrong
    annotation.write_text("\n".join(lines) + "\n")
    return directory


def test_a_folder_without_lists_is_scored_as_its_records_are(without_lists, tmp_path):
    conversion.convert(without_lists, tmp_path / "records", ["val"], conversion.Options(num_workers=1), say=lambda text: None)
    (int8,) = SHIPPED.glob("*_int8.tflite")
    told = []
    for where in (["--data_dir", without_lists], ["--records", tmp_path / "records" / "widerface_val.tfrecord-*"]):
        run("scripts/evaluate.py", *where, "--model", int8, "--output_dir", tmp_path / "out", "--num_threads", "1")
        told.append(json.loads((tmp_path / "out" / "results.json").read_text()))
    (of_folder,), (of_records,) = (document["detectors"].values() for document in told)
    assert of_folder["average_precision"] == of_records["average_precision"] and of_folder["average_precision"]["all"] > 0.5
    assert of_folder == of_records and of_folder["pictures"] == 12
    assert "on all faces that are not ignored: 12 val pictures" in told[0]["protocol"]


def test_a_flagged_face_counts_neither_way(without_lists):
    pictures, count = dataset.annotated(without_lists)
    pictures = list(pictures)
    assert len(pictures) == count == 12
    faces = sum(len(picture.truth.boxes_xywh_px) for picture in pictures)
    assert sum(int((~picture.truth.member).all(1).sum()) for picture in pictures) == 1 and faces > 12
    assert dataset.annotated(without_lists, 5)[1] == 5
