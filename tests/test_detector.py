"""FaceDetector on every exported file: faces come out where they are, in the picture's own pixels, best first."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, SHIPPED
from PIL import Image

from facedet import DetectorError, FaceDetector, boxes

KINDS = ["float32", "float32_raw", "float16", "float16_raw", "int8", "int8_raw"]


@pytest.fixture(scope="module")
def off_centre():
    """A wide picture with one face near its lower left: (RGB, box xmin ymin xmax ymax)."""
    from skimage import data

    portrait = Image.fromarray(data.astronaut()).crop((120, 0, 340, 240))
    picture = Image.new("RGB", (900, 500), (112, 130, 140))
    picture.paste(portrait, (40, 240))
    return np.asarray(picture), np.asarray([[181 - 120 + 40, 68 + 240, 271 - 120 + 40, 180 + 240]], np.float32)


def file_of(directory, kind):
    (path,) = directory.glob(f"*_{kind}.tflite")
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_face_comes_out_where_it_is(exported, kind, off_centre):
    image, face = off_centre
    detector = FaceDetector(file_of(exported, kind))
    assert detector.has_nms == (not kind.endswith("_raw"))
    found = detector.detect(image)
    assert len(found) == 1, (found.boxes, found.scores)
    assert boxes.iou(found.boxes, face)[0, 0] > 0.5
    assert found.boxes.dtype == found.scores.dtype == np.float32 and found.landmarks is None
    turned = FaceDetector(file_of(exported, kind), score_threshold=0.3).detect(image[:, ::-1].copy())
    mirrored = face[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (900, 0, 900, 0)
    assert boxes.iou(turned.boxes[:1], mirrored)[0, 0] > 0.5


def test_raw_and_nms_files_agree(exported, off_centre):
    for precision in ("float32", "int8"):
        with_nms, raw = (FaceDetector(file_of(exported, kind), 0.1).detect(off_centre[0]) for kind in (precision, precision + "_raw"))
        assert len(with_nms) == len(raw)
        np.testing.assert_allclose(with_nms.boxes, raw.boxes, atol=0.5)
        np.testing.assert_allclose(with_nms.scores, raw.scores, atol=1e-4)


def test_scores_fall_and_the_threshold_cuts(exported, off_centre):
    low = FaceDetector(file_of(exported, "int8"), score_threshold=0.05).detect(off_centre[0])
    high = FaceDetector(file_of(exported, "int8"), score_threshold=0.5).detect(off_centre[0])
    assert (np.diff(low.scores) <= 0).all() and len(low) >= len(high) and (high.scores >= 0.5).all()
    assert (low.boxes >= 0).all() and (low.boxes[:, 2] <= 900).all() and (low.boxes[:, 3] <= 500).all()


@pytest.mark.parametrize(
    "image",
    [np.zeros((10, 10), np.uint8), np.zeros((10, 10, 3), np.float32), np.zeros((10, 10, 4), np.uint8), np.zeros((0, 9, 3), np.uint8)],
)
def test_other_arrays_are_refused(exported, image):
    with pytest.raises(DetectorError, match="RGB uint8"):
        FaceDetector(file_of(exported, "int8")).detect(image)


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (2000, 3), (224, 224)])
def test_pictures_of_any_size(exported, size):
    found = FaceDetector(file_of(exported, "int8")).detect(np.full((*size, 3), 128, np.uint8))
    assert found.boxes.shape == (len(found), 4)


def test_files_that_are_no_detector_are_named(tmp_path):
    with pytest.raises(DetectorError, match="does not exist"):
        FaceDetector(tmp_path / "no.tflite")
    (tmp_path / "bad.tflite").write_bytes(b"nothing")
    with pytest.raises(DetectorError, match="not made by"):
        FaceDetector(tmp_path / "bad.tflite")


def test_the_shipped_file_needs_no_tensorflow(off_centre, tmp_path):
    Image.fromarray(off_centre[0]).save(tmp_path / "face.png")
    code = f"""
import sys, numpy as np
from PIL import Image
from facedet import FaceDetector
faces = FaceDetector({str(file_of(SHIPPED, "int8"))!r}).detect(np.asarray(Image.open({str(tmp_path / "face.png")!r})))
assert len(faces) == 1 and "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
