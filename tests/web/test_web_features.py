"""What the page does beside finding faces: several pictures, zoom, two detectors, blur, GPU, without its server."""

import json
import os

import cv2
import numpy as np
import pytest
import web_page
from conftest import SHIPPED
from PIL import Image
from web_page import CHROMIUM, drive, needs_browser, overlap

from facedet import FaceDetector

face, server = web_page.face, web_page.server  # fixtures


@pytest.fixture(scope="module")
def features(server, face, tmp_path_factory):
    work = tmp_path_factory.mktemp("features")
    small = np.full((1200, 1600, 3), 70, np.uint8)
    small[540:660, 740:860] = cv2.resize(face[20:404, 30:414], (120, 120), interpolation=cv2.INTER_AREA)
    Image.fromarray(face).save(work / "face.png")
    Image.fromarray(small).save(work / "small.png")
    seen = drive("features.mjs", server, CHROMIUM, work, work / "face.png", work / "small.png", work / "none.y4m")
    return {**seen, "folder": work}


def default_detector():
    (path,) = SHIPPED.glob("*_int8.tflite")
    return FaceDetector(path)


@needs_browser
def test_pictures_have_thumbnails_and_the_last_of_two_choices_is_shown(features):
    assert features["strip"] == [["small.png", "true"], ["face.png", "false"]]
    assert features["second"]["current"] == features["lastPicture"] == "face.png" and len(features["second"]["faces"]) == 1


@needs_browser
def test_a_part_zoomed_to_is_searched_anew(features):
    """Boxes stay in pixels of the whole picture."""
    assert features["whole"]["faces"] == [] and features["whole"]["status"] == "0 faces"
    (found,) = features["zoomed"]["faces"]
    assert features["zoomed"]["status"] == "1 face in this part"
    left, top, right, bottom = found["box"]
    assert 740 <= left < right <= 860 and 540 <= top < bottom <= 660


@needs_browser
def test_two_detectors_side_by_side_and_their_json(features, face):
    ours, other = features["compared"]
    left, right = features["sideBySide"]
    assert left["right"] <= right["left"] and left["top"] == right["top"] and ours["label"] != other["label"]
    assert [caption.split(" · ")[:2] for caption in features["captions"]] == [[ours["label"], "1 face"], [other["label"], "1 face"]]
    told = json.loads((features["folder"] / "face_faces.json").read_text())
    assert (told["picture"], told["width"], told["height"]) == ("face.png", 640, 480)
    assert [(each["detector"], each["faces"]) for each in told["detectors"]] == [(each["label"], each["faces"]) for each in (ours, other)]
    assert overlap(told["detectors"][0]["faces"][0]["box"], default_detector().detect(face).boxes[0]) > 0.9


@needs_browser
def test_nothing_fine_is_left_of_a_blurred_face_and_all_of_the_rest(features, face):
    saved = np.asarray(Image.open(features["folder"] / "face_faces.png").convert("RGB"))
    assert saved.shape == face.shape
    left, top, right, bottom = default_detector().detect(face).boxes[0].astype(int)
    before, after = (np.abs(np.diff(image[top:bottom, left:right].astype(int), axis=1)).mean() for image in (face, saved))
    assert after < 0.3 * before
    height, width = bottom - top, right - left
    outside = np.ones(face.shape[:2], bool)
    outside[max(top - height // 4, 0) : bottom + height // 4, max(left - width // 4, 0) : right + width // 4] = False
    np.testing.assert_array_equal(saved[outside], face[outside])


@needs_browser
def test_the_page_works_without_its_server(features):
    assert not features["offline"]["network"] and len(features["offline"]["faces"]) == 1


@needs_browser
def test_raw_float_files_run_on_the_gpu_else_on_the_processor(features):
    processor, gpu, lost = features["noGpu"], features["gpu"], features["gpuLost"]
    assert not processor["adapter"] and processor["caption"].endswith(" · processor") and lost["caption"].endswith(" · processor")
    if "CI" in os.environ:  # a GPU in software is installed there
        assert gpu["adapter"]
    assert gpu["caption"].endswith(" · GPU" if gpu["adapter"] else " · processor")
    for found in (gpu["faces"], lost["faces"]):
        assert len(found) == len(processor["faces"]) == 1 and overlap(found[0]["box"], processor["faces"][0]["box"]) > 0.95


@needs_browser
def test_nothing_is_logged_as_an_error_that_is_none(features):
    assert features["errors"] == []


@needs_browser
def test_all_that_is_operated_has_a_name_for_screen_readers(features):
    assert features["unlabelled"] == []
