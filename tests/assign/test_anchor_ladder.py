import sys

import numpy as np
from annotated_pictures import convert, dataset, picture
from conftest import BOXES_CONFIG, ROOT, run

from facedet.assign import anchor_ladder


def test_a_row_without_faces_has_no_share(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "dataset_tools"), *sys.path])
    import tune_anchors

    faces = anchor_ladder.FaceSet(np.array([[0, 0, 0.5, 0.5]], np.float32), None)
    text = tune_anchors.coverage_text(anchor_ladder.coverage_table(faces, np.ones(1), (224, 224)))
    assert "nan" not in text and "100.0%" in text and "|        0 | -" in text


def test_records_without_a_face_are_one_sentence(tmp_path):
    convert(dataset(tmp_path / "in", {"e/none.jpg": (picture(), [])}), tmp_path / "out")
    command = ["dataset_tools/tune_anchors.py", "--pipeline_config_path", BOXES_CONFIG, "--records", tmp_path / "out" / "*train*"]
    said = run(*command, code=1)
    assert "hold no face" in said and "Traceback" not in said
