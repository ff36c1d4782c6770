"""False faces: what counts as a picture without a face, and as a false face on it."""

import socket

import numpy as np
import pytest
from PIL import Image

from facedet import DetectorError
from facedet.data import sample
from facedet.data.records import Labels
from facedet.data.widerface import WiderFaceError
from facedet.evaluation import false_faces
from facedet.evaluation.protocol import GroundTruth
from facedet.evaluation.scoring import Picture, score
from facedet.runtime.detector import Faces

GREY = np.full((40, 60, 3), 90, np.uint8)


class Finds:
    """Boxes with these scores in every picture."""

    def __init__(self, *scores: float):
        self._scores = np.asarray(scores, np.float32)

    def detect(self, image) -> Faces:
        return Faces(np.tile(np.asarray([[0, 0, 9, 9]], np.float32), (len(self._scores), 1)), self._scores)


def picture(name: str, boxes=(), written=None, subsets=None) -> Picture:
    """boxes: those scored against; written: the number of boxes in its record, None of a picture from a folder."""
    labels, truth = None, GroundTruth(np.asarray(boxes, float).reshape(-1, 4), np.zeros((len(boxes), 3), bool))
    if written is not None:
        labels = Labels(np.zeros((written, 4), np.float32), np.zeros(written), np.zeros((written, 6)), None, truth.boxes_xywh_px, subsets)
    return Picture(name, GREY, truth, labels)


def test_boxes_from_one_half_on_count_and_only_where_there_is_no_face():
    pictures = [picture("empty"), picture("zeros", [[0, 0, 0, 0]]), picture("face", [[1, 1, 9, 9]])]
    scores = score({"sure": Finds(0.9, 0.5, 0.49), "unsure": Finds(0.3)}, pictures)
    assert false_faces.count(scores, "sure") == {"pictures": 2, "false_faces": 4}
    assert false_faces.in_words(false_faces.count(scores, "sure")) == "false faces: 4 in 2 pictures"
    assert false_faces.count(scores, "unsure") == {"pictures": 2, "false_faces": 0}
    assert false_faces.count(score({"sure": Finds(0.9)}, pictures[2:]), "sure") is None


def test_a_record_whose_faces_are_all_ignored_or_only_in_the_lists_shows_faces():
    pictures = [
        picture("none", written=0),
        picture("ignored", [[1, 1, 9, 9]], written=1),  # its face is in no subset
        picture("only written", [], written=1),
        picture("only listed", [[1, 1, 9, 9]], written=0, subsets=np.asarray([7])),
    ]
    assert [found.name for found in false_faces.among(pictures)] == ["none"]
    assert false_faces.count(score({"sure": Finds(0.9)}, pictures), "sure") == {"pictures": 1, "false_faces": 1}


def test_a_folder_is_walked_through_and_told_beside_the_photographs(tmp_path):
    (tmp_path / "walls" / "more").mkdir(parents=True)
    for name in ("a.png", "more/b.JPG"):
        Image.fromarray(GREY).save(tmp_path / "walls" / name)
    (tmp_path / "walls" / "notes.txt").write_text("no picture")
    told = false_faces.measure({"x": Finds(0.9)}, tmp_path / "walls")
    assert told["folder `walls`"]["x"] == {"pictures": 2, "false_faces": 2}
    assert told["scikit-image's photographs"]["x"] == {"pictures": len(sample.FACE_FREE), "false_faces": len(sample.FACE_FREE)}
    lines = false_faces.markdown({"folder `walls`": {"x": told["folder `walls`"]["x"], "y": {"pictures": 2, "false_faces": 2}}})
    assert "- folder `walls`: false faces: 2 in 2 pictures (x, y)" in lines and false_faces.markdown({}) == []


def test_what_is_wrong_with_a_folder_is_named(tmp_path):
    with pytest.raises(WiderFaceError, match=f"{tmp_path} holds no picture"):
        false_faces.of_folder(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"no JPEG")
    with pytest.raises(DetectorError, match=r"broken\.jpg cannot be read"):
        list(false_faces.of_folder(tmp_path)[0])


def test_the_photographs_need_no_download_and_hold_the_samples_backgrounds(monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *arguments: pytest.fail("the network was asked"))
    found = dict(sample.photographs())
    assert list(found) == list(sample.FACE_FREE) and set(sample._BACKGROUNDS) < set(found) and "astronaut" not in found
    assert all(image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 for image in found.values())
