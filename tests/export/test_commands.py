"""What the commands around an export say and refuse, without TensorFlow."""

import importlib.util
import json
import pathlib
import shutil
import sys
import types

import numpy as np
import pytest
from conftest import ROOT, SHIPPED, run
from PIL import Image

from facedet.data import widerface
from facedet.evaluation import protocol
from facedet.export import card, parity
from facedet.runtime.detector import Faces
from facedet.runtime.input_spec import InputSpec


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def export(tmp_path) -> pathlib.Path:
    """A folder with the shipped int8 file and its card, which holds full figures."""
    told = json.loads((SHIPPED / "model_card.json").read_text())
    (int8,) = SHIPPED.glob("*_int8.tflite")
    folder = tmp_path / "export"
    folder.mkdir()
    shutil.copy(int8, folder)
    card.write(told, folder)
    return folder


@pytest.fixture
def some_pictures(monkeypatch):
    """Five val pictures in place of WIDER FACE."""
    from facedet.evaluation import dataset

    truth = {f"e/{n}.jpg": protocol.GroundTruth(np.asarray([[1.0, 1, 20, 20]]), np.ones((1, 3), bool)) for n in range(5)}
    monkeypatch.setattr(dataset, "load", lambda *arguments: (None, truth))
    monkeypatch.setattr(dataset, "read_picture", lambda source, name: np.full((64, 64, 3), 90, np.uint8))


@pytest.mark.parametrize("state", ["stated in words", "stated as a number"])
def test_figures_of_few_pictures_do_not_replace_those_of_many(export, some_pictures, capsys, state):
    told = card.read(export)
    if state == "stated as a number":
        told["measured"] |= {"pictures": 606, "protocol": ""}
    card.write(told, export)
    before = {path.name: path.read_bytes() for path in export.iterdir()}
    assert load("measure_export").main([str(export), "--data_dir", "x", "--limit", "3"]) == 1
    said = capsys.readouterr().err
    assert "figures of 606 pictures; those of 3 do not replace them" in said and "--limit" in said
    assert {path.name: path.read_bytes() for path in export.iterdir()} == before


@pytest.mark.parametrize("before", [{"pictures": 3}, {"pictures": 3, "command": "python scripts/measure_export.py x --data_dir y"}])
def test_figures_of_a_limited_run_do_not_replace_full_ones_however_many(export, some_pictures, capsys, before):
    told = card.read(export)
    told["measured"] = {**told["measured"], "command": "", "limit": 0, **before}
    card.write(told, export)
    for limit in ("3", "4"):
        assert load("measure_export").main([str(export), "--data_dir", "x", "--limit", limit]) == 1
    assert "figures of 3 pictures; those of 4 do not replace them" in capsys.readouterr().err
    assert card.read(export) == told


def test_figures_go_into_a_card_without_any_and_replace_fewer(export, some_pictures, monkeypatch):
    command = load("measure_export")
    monkeypatch.setattr(sys, "argv", ["scripts/measure_export.py", "x"])
    told = card.read(export)
    del told["measured"]
    card.write(told, export)
    for limit in ("2", "4"):
        assert command.main([str(export), "--data_dir", "x", "--limit", limit]) == 0
        assert card.read(export)["measured"]["pictures"] == int(limit)
    assert command.main([str(export), "--data_dir", "x", "--limit", "2"]) == 1


@pytest.mark.parametrize(
    "text, said", [("{", "is damaged"), ("[]", "holds no name"), ('{"name": "x"}', "holds no files"), (None, "cannot be read")]
)
def test_a_broken_card_is_named(export, text, said, capsys):
    (export / "model_card.json").unlink() if text is None else (export / "model_card.json").write_text(text)
    assert load("measure_export").main([str(export), "--data_dir", "x"]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {export / 'model_card.json'}") and said in told


@pytest.mark.parametrize("asked, stated", [([], "0.05"), (["--score_threshold", "0.3"], "0.3")])
def test_evaluate_states_the_scores_that_were_counted(export, some_pictures, capsys, tmp_path, asked, stated):
    (int8,) = export.glob("*_int8.tflite")
    out = tmp_path / "out"
    assert load("evaluate").main(["--data_dir", "x", "--eval_gt_dir", "x", "--tflite", str(int8), "--output_dir", str(out), *asked]) == 0
    assert f"scores from {stated};" in capsys.readouterr().out
    assert f"scores from {stated};" in json.loads((out / "results.json").read_text())["protocol"]


class Annotated:
    """In place of a file: finds the faces of the training records as annotated, with their points unless it is one of boxes only."""

    details, has_landmarks = types.MappingProxyType({"score_threshold": 0.02}), True
    input = InputSpec(96, 128)

    def __init__(self, path, *settings):
        from facedet.evaluation import validation

        self.path, self._known = pathlib.Path(path), {}
        for picture in validation.pictures(validation.find(Annotated.records)):
            self._known[picture.image.tobytes()] = picture.truth

    def detect(self, image, tiles: int = 1) -> Faces:
        truth = self._known.get(image.tobytes()) or protocol.GroundTruth(np.zeros((0, 4)), None, np.zeros((0, 5, 2)))
        boxes, count = truth.boxes_xywh_px, len(truth.boxes_xywh_px)
        points = None if self.path.stem.endswith("_boxes") else np.nan_to_num(truth.landmarks_xy_px).astype(np.float32)
        return Faces(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1), np.full(count, 0.9, np.float32), points)


@pytest.fixture
def annotated(records_dir, monkeypatch) -> str:
    """Pattern of records with landmarks."""
    monkeypatch.setattr(Annotated, "records", f"{records_dir}/*_train.tfrecord-*", raising=False)
    return Annotated.records


def test_evaluate_measures_records_and_their_landmarks(annotated, tmp_path, capsys, monkeypatch):
    command, out = load("evaluate"), tmp_path / "out"
    monkeypatch.setattr(command, "FaceDetector", Annotated)
    asked = ["--records", annotated, "--tflite", "x_int8.tflite", "x_int8_boxes.tflite", "--output_dir", str(out)]
    assert command.main(asked) == 0
    said = capsys.readouterr().out
    assert "on all faces that are not ignored: 24 pictures of *_train.tfrecord-*, each stretched to 128x96" in said
    assert "NME" in said and "32 and more" in said and "All faces" in said
    told = json.loads((out / "results.json").read_text(), parse_constant=pytest.fail)
    with_points, boxes_only = told["detectors"]["x_int8"], told["detectors"]["x_int8_boxes"]
    assert with_points["landmarks"]["all"]["nme"] < 1e-5 and with_points["landmarks"]["all"]["found"] > 10
    assert "landmarks" not in boxes_only and boxes_only["average_precision"]["all"] > 0.99
    assert boxes_only["coco"]["DetectionBoxes_Precision/mAP"] > 0.99
    assert command.main([*asked, "--json", "--limit", "6"]) == 0
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["detectors"]["x_int8"]["pictures"] == 6


def test_evaluate_names_what_is_wrong_with_records(tmp_path, capsys):
    (int8,) = SHIPPED.glob("*_int8.tflite")
    assert load("evaluate").main(["--records", str(tmp_path / "none*"), "--tflite", str(int8)]) == 1
    assert capsys.readouterr().err.startswith(f"error: No file matches {tmp_path}/none*")


def test_the_error_of_landmarks_goes_into_the_card(export, annotated, some_pictures, monkeypatch):
    command = load("measure_export")
    monkeypatch.setattr(sys, "argv", ["scripts/measure_export.py", "x"])
    told = card.read(export)
    del told["measured"]
    card.write(told, export)
    asked = [str(export), "--data_dir", "x", "--limit", "3"]
    assert command.main(asked) == 0  # without records there is nothing to tell
    assert "landmarks" not in card.read(export)["measured"] and "NME" not in (export / "model_card.md").read_text()
    monkeypatch.setattr(command, "FaceDetector", Annotated)
    monkeypatch.setattr(command.benchmark, "latency", lambda *a: {"int8": dict.fromkeys(("wall_ms_p50", "wall_ms_p95", "cpu_ms_p50"), 1.0)})
    assert command.main([*asked, "--records", annotated]) == 0
    measured = card.read(export)["measured"]
    assert measured["landmarks"]["errors"]["int8"]["all"]["nme"] < 1e-5 and measured["landmarks"]["pictures"] == 3
    assert "NME by face height at the input" in (export / "model_card.md").read_text()
    assert command.main(asked) == 0 and card.read(export)["measured"]["landmarks"] == measured["landmarks"]


@pytest.fixture
def groups_csv(tmp_path) -> pathlib.Path:
    """Says who is on the first two of some_pictures."""
    path = tmp_path / "who.csv"
    path.write_text("file,face,perceived_age\n" + "".join(f"images/e/{n}.jpg,0,{age}\n" for n, age in enumerate(("Adult", "Senior"))))
    return path


def test_false_faces_ties_and_groups_go_into_the_card(export, annotated, some_pictures, groups_csv, tmp_path, monkeypatch, capsys):
    from facedet.data import sample
    from facedet.data.widerface import Entry
    from facedet.evaluation import dataset

    entries = [Entry(f"e/{n}.jpg", "gt.txt", 3 * n, 1, ((3 * n + 2, "1 1 20 20 0 0 0 0 0 0"),)) for n in range(5)]
    source, truth = types.SimpleNamespace(annotation=lambda: entries), dataset.load()[1]
    monkeypatch.setattr(dataset, "load", lambda *arguments: (source, truth))
    command = load("measure_export")
    monkeypatch.setattr(sys, "argv", ["scripts/measure_export.py", "x"])
    told = card.read(export)
    del told["measured"]
    card.write(told, export)
    (tmp_path / "walls").mkdir()
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(tmp_path / "walls" / "a.png")
    (other,) = ROOT.glob("exported_models/*narrow*224*/*_int8.tflite")
    asked = [str(export), "--data_dir", "x", "--limit", "5"]
    more = ["--face_free", str(tmp_path / "walls"), "--records", annotated, "--groups", str(groups_csv), "--beside", str(other)]
    assert command.main([*asked, *more]) == 0
    measured, text = card.read(export)["measured"], (export / "model_card.md").read_text()
    false = measured["false_faces"]
    assert false["folder `walls`"]["int8"] == {"pictures": 1, "false_faces": 0} and "false faces: 0 in 1 picture (int8)" in text
    assert false["scikit-image's photographs"]["int8"]["pictures"] == len(sample.FACE_FREE)
    assert false[f"`{pathlib.Path(annotated).name}`"]["int8"]["pictures"] == 1  # of five in the records one shows no face
    assert measured["ties"]["int8"]["boxes"] == 0 and "Scores that tie" in text
    assert set(measured["groups"]["detectors"]) == {"int8", other.name} and measured["groups"]["faces"] == 2
    assert "By age: no heights of which each of two groups" in text
    assert command.main(asked) == 0  # what was not measured anew stays
    again = card.read(export)["measured"]
    assert again["groups"] == measured["groups"] and again["false_faces"] == false
    groups_csv.write_text("file,face,perceived_age\nimages/e/0.jpg,1,Adult\n")
    capsys.readouterr()
    assert command.main([*asked, *more]) == 1 and f"error: {groups_csv}:2: face 1 of e/0.jpg" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main([*asked, "--beside", str(other)])


def test_evaluate_searches_in_tiles_and_tells_false_faces_and_groups(sample_dir, tmp_path, capsys):
    (int8,) = SHIPPED.glob("*_int8.tflite")
    entries = widerface.WiderFace(sample_dir, "val").annotation()
    (tmp_path / "who.csv").write_text(
        "file,face,perceived_gender\n"
        + "".join(f"{entry.name},{face},{('Female', 'Male')[face % 2]}\n" for entry in entries for face in range(entry.count))
    )
    command, found = load("evaluate"), {}
    for tiles in ("1", "2"):
        asked = [
            "--data_dir",
            str(sample_dir),
            "--model",
            str(int8),
            "--tiles",
            tiles,
            "--groups",
            str(tmp_path / "who.csv"),
            "--face_free",
        ]
        assert command.main([*asked, "--output_dir", str(tmp_path / tiles), "--num_threads", "1"]) == 0
        said, told = capsys.readouterr().out, json.loads((tmp_path / tiles / "results.json").read_text(), parse_constant=pytest.fail)
        assert "false faces: " in said and "distinct scores from" in said and "best less worst" in said
        assert told["groups"]["faces"] == sum(entry.count for entry in entries) and int8.stem in told["cpu_ms"]
        assert told["false_faces"]["those of the measured pictures that show none"][int8.stem]["pictures"] >= 1
        found[tiles] = sum(len(path.read_text().splitlines()) for path in (tmp_path / tiles / int8.stem).rglob("*.txt"))
        assert ("the whole and 2 x 2 tiles, no flip" in told["protocol"]) == (tiles == "2")
    assert found["2"] > found["1"]
    for wrong in (["--score_threshold", "0.6", "--face_free"], ["--score_threshold", "0.6", "--groups", "who.csv"]):
        with pytest.raises(SystemExit):
            command.main(["--data_dir", str(sample_dir), "--model", str(int8), *wrong])
    assert command.main(["--data_dir", str(sample_dir), "--model", str(int8), "--tiles", "0"]) == 1
    assert "tiles: 0; a whole number" in capsys.readouterr().err


def landmark_card(folder: pathlib.Path) -> dict:
    """The shipped card as that of a detector with landmarks, of padded pictures."""
    from facedet.export.formats.base import BOXES, RAW, SUPPRESSED, Kind
    from facedet.export.formats.tflite import TFLite
    from facedet.runtime.detector import OUTPUTS_RAW_LANDMARKS, OUTPUTS_WITH_NMS, OUTPUTS_WITH_NMS_LANDMARKS

    told, files = card.read(SHIPPED), []
    with_outputs = ((SUPPRESSED, OUTPUTS_WITH_NMS_LANDMARKS), (RAW, OUTPUTS_RAW_LANDMARKS), (BOXES, OUTPUTS_WITH_NMS))
    for variant, outputs in with_outputs:
        kind = Kind("int8", variant)
        path = folder / f"x_{kind}.tflite"
        path.write_bytes(str(kind).encode())
        opened = types.SimpleNamespace(output_names=outputs)
        files.append(card.file_entry([path], kind, opened, TFLite().hardware(kind)))
    rows = [{**row, "median_landmarks": value} for row, value in zip(told["parity"]["rows"], (0.0123, None), strict=False)]
    parity_of = {**told["parity"], "rows": rows, "limits": parity.limits_in_words(rows)}
    told["input"]["padding"] = {"place": "end", "fill": [127, 127, 127]}
    return {**told, "files": files, "parity": parity_of}


def test_the_card_of_a_landmark_detector_says_which_file_gives_what(tmp_path):
    told = landmark_card(tmp_path)
    assert [file["kind"] for file in told["files"]] == ["int8", "int8_raw", "int8_boxes"]
    lines = card.markdown(told).splitlines()
    table = {line.split("`")[1]: line for line in lines if line.startswith("| `x_")}
    assert "detection_boxes, detection_scores, detection_landmarks, num_detections | yes" in table["x_int8.tflite"]
    assert "raw_boxes, raw_scores, raw_landmarks" in table["x_int8_raw.tflite"] and "| no" in table["x_int8_raw.tflite"]
    assert "detection_boxes, detection_classes, detection_scores, num_detections" in table["x_int8_boxes.tflite"]
    assert table["x_int8.tflite"].rstrip(" |").endswith("yes") and table["x_int8_boxes.tflite"].rstrip(" |").endswith("no")
    text = "\n".join(lines)
    assert "[1, 300, 10]" in text and "[1, 11564, 10]" in text and "MediaPipe" in text and "0.0123" in text and "landmarks 0.03" in text
    assert "at its upper left, the rest filled with [127, 127, 127]" in text and "fractions of the padded input" in text


@pytest.mark.parametrize("folder", sorted(path.parent for path in ROOT.glob("exported_models/*/model_card.json")), ids=lambda p: p.name)
def test_cards_from_before_landmarks_read_as_they_were_written(folder):
    assert card.markdown(card.read(folder)) == (folder / "model_card.md").read_text()


def test_detectors_with_limits_of_their_own_are_told_apart():
    said = load("evaluate")._least_scores(0.02, {"one": 0.05, "other": 0.01})
    assert said == "0.05 (one), 0.02 (other)"


def test_a_card_that_cannot_be_written_stays_whole(export, monkeypatch):
    told = card.read(export)
    monkeypatch.setattr(card.os, "replace", lambda *arguments: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        card.write({**told, "step": 1}, export)
    assert card.read(export) == told and not list(export.glob(".*"))


def test_export_without_tensorflow_names_what_to_install():
    code = "import runpy, sys; sys.modules['tensorflow'] = None; runpy.run_module('facedet', run_name='__main__')"
    said = run("-c", code, "export", "--pipeline_config_path", "x", "--checkpoint_dir", "x", "--output_dir", "x", code=1)
    way_out = "pip install '.[train]' in a clone, with Python 3.11 or 3.12"
    assert said == f"error: facedet export needs the package tensorflow: {way_out}.\n"


def test_commands_let_errors_of_the_code_show():
    """A ValueError from deep inside is a bug, and shows as one."""
    for name in ("export_tflite", "evaluate", "measure_export", "check_mediapipe"):
        assert "ValueError" not in (ROOT / "scripts" / f"{name}.py").read_text(), name
    said = run("scripts/check_mediapipe.py", "--tflite", "none.tflite", "--images", "none.jpg", "--venv", pathlib.Path(sys.prefix), code=1)
    assert said.startswith("error: none.jpg is no file")
