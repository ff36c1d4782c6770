"""Faces: drawn, cut out, made unrecognizable, aligned, written."""

import json

import numpy as np
import pytest
from PIL import Image

from facedet import DetectorError, Faces
from facedet.runtime.faces import TEMPLATE_112

POINTS = np.asarray([[40, 50], [60, 50], [50, 62], [42, 72], [58, 72]], np.float32)


def turned(points, degrees, scale, shift):
    angle = np.deg2rad(degrees)
    return points @ np.asarray([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) * scale + shift


def faces(picture, points=None) -> Faces:
    landmarks = None if points is None else np.asarray([points], np.float32)
    return Faces(np.asarray([[30, 30, 70, 80]], np.float32), np.asarray([0.9], np.float32), landmarks, picture)


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (100, 120, 3), np.uint8)


def test_each_is_a_face(noise):
    (face,) = faces(noise, POINTS)
    assert face.box.tolist() == [30, 30, 70, 80] and face.score == pytest.approx(0.9) and face.landmarks.shape == (5, 2)
    assert next(iter(faces(noise))).landmarks is None


def test_a_crop_has_its_margin_and_ends_with_the_picture(noise):
    (crop,) = faces(noise).crop(margin=0.5)
    np.testing.assert_array_equal(np.asarray(crop), noise[5:100, 10:90])  # 105 is below the picture


def test_blur_leaves_nothing_of_a_face_and_all_of_the_rest(noise):
    image = noise.copy()
    blurred = np.asarray(faces(image).blur(margin=0))
    outside = np.ones(image.shape[:2], bool)
    outside[30:80, 30:70] = False
    np.testing.assert_array_equal(blurred[outside], noise[outside])
    assert blurred[30:80, 30:70].std() < 0.25 * noise[30:80, 30:70].std()
    np.testing.assert_array_equal(image, noise)  # the caller's own is left alone


@pytest.mark.parametrize(("degrees", "scale", "size"), [(0, 1, 112), (35, 0.6, 112), (-80, 4, 112), (20, 1, 224)])
def test_align_brings_the_landmarks_to_the_template(degrees, scale, size):
    """Each point has a colour of its own in the picture, which has to come out where the template says."""
    points = turned(TEMPLATE_112 + 0.5 - 56, degrees, scale, 320)
    yy, xx = np.mgrid[:640, :640] + 0.5
    image = np.zeros((640, 640, 3), np.uint8)
    colors = np.asarray([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)])
    for (x, y), color in zip(points, colors, strict=True):
        image[np.hypot(xx - x, yy - y) < 4 * scale + 1] = color
    (aligned,) = faces(image, points).align(size)
    assert aligned.shape == (size, size, 3)
    for (x, y), color in zip((TEMPLATE_112 + 0.5) * size / 112, colors, strict=True):
        near = np.abs(aligned.astype(int) - color).max(-1) < 60
        rows, columns = np.nonzero(near)
        assert np.hypot(columns.mean() + 0.5 - x, rows.mean() + 0.5 - y) < 0.7 * size / 112, (x, y)


def test_align_takes_the_six_points_of_mediapipe(noise):
    five = TEMPLATE_112 / 2
    six = [*five[:3], five[3:].mean(0), (1, 1), (60, 1)]  # ears are not asked
    np.testing.assert_allclose(faces(noise, six).align(56), faces(noise, five).align(56), atol=60)


def test_what_is_missing_is_said(noise, tmp_path):
    with pytest.raises(DetectorError, match="needs landmarks"):
        faces(noise).align()
    with pytest.raises(DetectorError, match="hold no picture"):
        faces(None).draw()
    with pytest.raises(DetectorError, match=r"a\.nothing cannot be written"):
        faces(noise).save(tmp_path / "a.nothing")


def test_it_is_saved_and_told(noise, tmp_path):
    found = faces(noise, POINTS)
    found.save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").getpixel((30, 45)) == (0x00, 0xE6, 0x76)
    told = json.loads(found.to_json())
    assert told == {"width": 120, "height": 100, "boxes_xyxy_px": [[30, 30, 70, 80]], "scores": [0.9], "landmarks_xy_px": [POINTS.tolist()]}
