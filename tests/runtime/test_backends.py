"""Which backend opens a file, and what is said where none can."""

import sys

import numpy as np
import pytest
from conftest import SHIPPED

from facedet import DetectorError, FaceDetector
from facedet.runtime.backends.base import backend_of

(PATH,) = SHIPPED.glob("*_int8_raw.tflite")


def test_another_suffix_is_named(tmp_path):
    for name in ("face.pt", "face.tflite.txt", "face"):
        (tmp_path / name).write_bytes(PATH.read_bytes())
        with pytest.raises(DetectorError, match=rf"{tmp_path / name}: .* is of no format that is known here: .*\.tflite"):
            FaceDetector(tmp_path / name)
    (tmp_path / "FACE.TFLITE").write_bytes(PATH.read_bytes())
    assert FaceDetector(tmp_path / "FACE.TFLITE").has_nms is False


def test_a_missing_package_is_a_sentence(monkeypatch):
    monkeypatch.delitem(sys.modules, "facedet.runtime.backends.litert", raising=False)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(DetectorError, match="pip install ai-edge-litert"):
        FaceDetector(PATH)


def test_litert_says_what_it_holds_and_gives_it():
    backend = backend_of(PATH)({".tflite": PATH.read_bytes()}, num_threads=1)
    assert backend.input_size == (224, 224) and list(backend.outputs) == ["raw_boxes", "raw_scores", "raw_landmarks"]
    given = backend.run(np.full((224, 224, 3), 127, np.uint8))
    assert {name: (array.shape, array.dtype) for name, array in given.items()} == backend.outputs
    again = backend.run(np.zeros((224, 224, 3), np.uint8))
    assert not np.array_equal(given["raw_boxes"], again["raw_boxes"])  # an array of its own each time, of the picture that was given
