"""FaceDetector on every exported file: faces come out where they are, in the picture's own pixels, best first."""

import io
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from conftest import ROOT, SHIPPED
from pictures import bad_pictures
from PIL import Image

from facedet import DetectorError, FaceDetector
from facedet.runtime import boxes, shipped
from facedet.runtime.pictures import read_picture

KINDS = ["float32", "float32_raw", "float16", "float16_raw", "int8", "int8_raw", "int8_boxes"]


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
    assert found.boxes.dtype == found.scores.dtype == np.float32
    if kind.endswith("_boxes"):
        assert found.landmarks is None
    else:
        eyes_and_nose = found.landmarks[0, :3]
        assert ((eyes_and_nose > face[0, :2]) & (eyes_and_nose < face[0, 2:])).all() and eyes_and_nose[0, 0] < eyes_and_nose[1, 0]
    turned = FaceDetector(file_of(exported, kind), score_threshold=0.3).detect(image[:, ::-1].copy())
    mirrored = face[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (900, 0, 900, 0)
    assert boxes.iou(turned.boxes[:1], mirrored)[0, 0] > 0.5


def test_raw_and_nms_files_agree(exported, off_centre):
    for precision in ("float32", "int8"):
        with_nms, raw = (FaceDetector(file_of(exported, kind), 0.1).detect(off_centre[0]) for kind in (precision, precision + "_raw"))
        assert len(with_nms) == len(raw)
        np.testing.assert_allclose(with_nms.boxes, raw.boxes, atol=0.5)
        np.testing.assert_allclose(with_nms.scores, raw.scores, atol=1e-4)
        np.testing.assert_allclose(with_nms.landmarks, raw.landmarks, atol=0.5)


def test_scores_fall_and_the_threshold_cuts(exported, off_centre):
    low = FaceDetector(file_of(exported, "int8"), score_threshold=0.05).detect(off_centre[0])
    high = FaceDetector(file_of(exported, "int8"), score_threshold=0.5).detect(off_centre[0])
    assert (np.diff(low.scores) <= 0).all() and len(low) >= len(high) and (high.scores >= 0.5).all()
    assert (low.boxes >= 0).all() and (low.boxes[:, 2] <= 900).all() and (low.boxes[:, 3] <= 500).all()


@pytest.mark.parametrize(
    "image",
    [np.zeros((10, 10, 3), np.float32), np.zeros((10, 10, 2), np.uint8), np.zeros((0, 9, 3), np.uint8), np.zeros(9, np.uint8), 3, [[1]]],
)
def test_what_is_no_picture_is_refused(image):
    with pytest.raises(DetectorError, match="is expected"):
        FaceDetector().detect(image)


@pytest.mark.parametrize("arguments", [{"channels": "GRB"}, {"tiles": 0}, {"tiles": 1.5}, {"tiles": 100}])
def test_options_of_detect_are_checked(off_centre, arguments):
    with pytest.raises(DetectorError, match=f"{next(iter(arguments))}: .* is expected"):
        FaceDetector().detect(off_centre[0], **arguments)


def test_a_picture_is_taken_in_every_form(off_centre, tmp_path):
    """All of them give the same boxes, but grey, which has lost the colours."""
    image, face = off_centre
    picture = Image.fromarray(image)
    picture.save(tmp_path / "face.png")
    detector = FaceDetector()
    wanted = detector.detect(image)
    rgba, wide = np.dstack([image, np.zeros(image.shape[:2], np.uint8)]), image.astype(np.uint16) * 257
    same = [tmp_path / "face.png", str(tmp_path / "face.png"), picture, rgba, wide]
    for found in [*detector.detect(same), detector.detect(image[:, :, ::-1], channels="BGR")]:
        np.testing.assert_array_equal(found.boxes, wanted.boxes)
        np.testing.assert_array_equal(found.picture, image)
    grey = np.asarray(picture.convert("L"))
    for found in detector.detect([grey, grey[:, :, None], Image.fromarray(grey.astype(np.uint16) * 257)]):
        assert boxes.iou(found.boxes, face).max() > 0.5 and found.picture.max() == grey.max()


def test_a_pil_picture_is_turned_by_its_exif(off_centre):
    exif = Image.Exif()
    exif[274] = 6  # to be turned by a quarter to the right
    lying = Image.fromarray(np.rot90(off_centre[0]).copy())
    lying.getexif().update(exif)
    (found,) = FaceDetector().detect([lying])
    assert boxes.iou(found.boxes, off_centre[1]).max() > 0.5


def test_short_names_find_the_shipped_files():
    assert FaceDetector().path == file_of(SHIPPED, "int8") == FaceDetector("224").path
    for name in shipped.NAMES:
        assert FaceDetector(name).path.parent.name == shipped.NAMES[name]
    assert FaceDetector("224 fast").path == FaceDetector("224-fast").path
    with pytest.raises(DetectorError, match="224, 224-fast, 320, 320-fast"):
        FaceDetector("640")


def test_tiles_find_a_small_face_where_it_is(off_centre):
    """A face of 16 px in the middle of 1000 x 1600, where four tiles meet, and one that a cut goes through is found once."""
    small = Image.fromarray(off_centre[0][250:480, 40:260]).resize((44, 46))
    picture = Image.new("RGB", (1600, 1000), (112, 130, 140))
    for at in ((778, 477), (1200, 700)):
        picture.paste(small, at)
    detector = FaceDetector()
    assert len(detector.detect(picture)) == 0
    found = detector.detect(picture, tiles=3)
    centers = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    assert len(found) == 2, found
    for x, y in ((798, 500), (1220, 723)):
        assert np.abs(centers - (x, y)).max(1).min() < 12, centers
    large = detector.detect(off_centre[0], tiles=2)
    assert len(large) == 1 and boxes.iou(large.boxes, off_centre[1])[0, 0] > 0.5


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


def with_details(tmp_path, text) -> str:
    """The shipped file of int8 boxes with another facedet.json."""
    path = tmp_path / "changed.tflite"
    data = file_of(SHIPPED, "int8_boxes").read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("facedet.json", text)
    path.write_bytes(data + packed.getvalue())
    return path


DETAILS = {"precision": "int8", "with_nms": True, "max_detections": 300, "score_threshold": 0.05, "iou_threshold": 0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"precision": "int4"}, "precision in its facedet.json is int4"),
        ({"with_nms": 1}, "with_nms in its facedet.json is 1"),
        ({"with_nms": False}, "has outputs of shapes"),
        ({"max_detections": 10**9}, "max_detections in its facedet.json is 1000000000"),
        ({"score_threshold": float("nan")}, "score_threshold in its facedet.json is nan"),
        ({"iou_threshold": None}, "iou_threshold in its facedet.json is None"),
    ],
)
def test_details_of_another_kind_are_named(tmp_path, change, message):
    assert FaceDetector(with_details(tmp_path, json.dumps(DETAILS))).details == DETAILS
    with pytest.raises(DetectorError, match=message):
        FaceDetector(with_details(tmp_path, json.dumps({**DETAILS, **change})))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a":' * 100_000, "\x00", "{}", "3" * 5000])
def test_details_that_are_none_are_named(tmp_path, text):
    with pytest.raises(DetectorError, match="facedet.json"):
        FaceDetector(with_details(tmp_path, text))


@pytest.mark.parametrize("number", [0, -1, 10**6, 1.5, None, True])
def test_threads_are_bounded(number):
    with pytest.raises(DetectorError, match="num_threads"):
        FaceDetector(file_of(SHIPPED, "int8"), num_threads=number)


@pytest.mark.parametrize("number", [-0.1, 1.1, float("nan"), "0.5"])
def test_a_score_threshold_is_a_fraction(number):
    with pytest.raises(DetectorError, match="score_threshold"):
        FaceDetector(file_of(SHIPPED, "int8"), score_threshold=number)


def test_a_folder_and_a_pipe_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.tflite")
    for name in ("pipe.tflite", "."):
        with pytest.raises(DetectorError, match="is no file"):
            FaceDetector(tmp_path / name)
        with pytest.raises(DetectorError, match="is no file"):
            read_picture(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_grey_of_16_bits_is_scaled(off_centre, tmp_path, suffix):
    grey = np.asarray(Image.fromarray(off_centre[0]).convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / f"grey.{suffix}")
    picture = read_picture(tmp_path / f"grey.{suffix}")
    np.testing.assert_array_equal(picture, np.repeat(grey[:, :, None], 3, 2))
    assert len(FaceDetector(file_of(SHIPPED, "int8")).detect(picture)) == 1


def test_grey_of_no_known_range_is_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(DetectorError, match="float32 from 0.5 to 0.5"):
        read_picture(tmp_path / "float.tiff")


def test_pictures_stand_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # the camera was turned by a quarter
    Image.new("RGB", (40, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_picture(tmp_path / "turned.jpg").shape == (40, 20, 3)


def test_pictures_that_cannot_be_decoded_are_named(tmp_path):
    for name, content in bad_pictures().items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DetectorError, match=f"{name} cannot be read as a picture"):
            read_picture(tmp_path / name)
