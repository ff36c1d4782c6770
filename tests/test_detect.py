"""scripts/detect.py on folders as they come: equal names, its own output, damaged pictures, pipes and dangling links among them."""

import json
import os

import landmark_file
import numpy as np
import pytest
from conftest import SHIPPED, run
from pictures import bad_pictures
from PIL import Image

from facedet.commands import detect
from facedet.runtime import drawing

TFLITE = SHIPPED / f"{SHIPPED.name}_int8.tflite"


@pytest.fixture(scope="module")
def face():
    from skimage import data

    return Image.fromarray(data.astronaut())


def found(path) -> list:
    return json.loads(path.read_text())["scores"]


def test_two_inputs_of_one_name_keep_both(face, tmp_path):
    for name, picture in (("a", face), ("b", Image.new("RGB", face.size))):
        (tmp_path / name).mkdir()
        picture.save(tmp_path / name / "1.png")
        picture.save(tmp_path / name / "2.png")
    inputs = [tmp_path / "a", tmp_path / "b" / "1.png", tmp_path / "b", tmp_path / "a" / "1.png"]  # two of them twice
    assert detect.main([*map(str, inputs), "--tflite", str(TFLITE), "--output_dir", str(tmp_path / "out")]) == 0
    names = ["1-2.png", "1.png", "2-2.png", "2.png"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(n + end for n in names for end in (".found.png", ".json"))
    assert [len(found(tmp_path / "out" / f"{name}.json")) for name in names] == [0, 1, 0, 1]


def test_its_own_output_is_not_searched(face, tmp_path):
    face.save(tmp_path / "face.png")
    for output in (tmp_path, tmp_path / "found", tmp_path / "found"):  # a second and a third time
        assert detect.main([str(tmp_path), "--tflite", str(TFLITE), "--output_dir", str(output)]) == 0
    assert sorted(p.name for p in tmp_path.rglob("*.json")) == ["face.png.json"] * 2


def test_one_bad_picture_is_named_and_the_rest_goes_on(face, tmp_path):
    for name, content in bad_pictures().items():
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "film.mp4").write_bytes(b"no film")
    (tmp_path / "folder.jpg").mkdir()
    face.save(tmp_path / "zz.png")
    said = run("scripts/detect.py", tmp_path, "--tflite", TFLITE, "--output_dir", tmp_path / "out", code=1)
    for name in (*bad_pictures(), "pipe.jpg", "pipe.mp4", "dangling.jpg", "film.mp4"):
        assert f"error: {tmp_path / name}" in said, said
    assert "Traceback" not in said and "folder.jpg" not in said
    assert [p.name for p in (tmp_path / "out").glob("*.json")] == ["zz.png.json"] and len(found(tmp_path / "out" / "zz.png.json")) == 1


def test_grey_of_16_bits_is_searched(face, tmp_path):
    Image.fromarray(np.asarray(face.convert("L")).astype(np.uint16) * 257).save(tmp_path / "grey.png")
    assert detect.main([str(tmp_path / "grey.png"), "--tflite", str(TFLITE), "--output_dir", str(tmp_path / "out")]) == 0
    assert len(found(tmp_path / "out" / "grey.png.json")) == 1


def test_an_output_folder_that_cannot_be_made_is_a_sentence(face, tmp_path):
    face.save(tmp_path / "face.png")
    said = run("scripts/detect.py", tmp_path / "face.png", "--tflite", TFLITE, "--output_dir", tmp_path / "face.png", code=1)
    assert "error: " in said and "Traceback" not in said


def test_a_bug_shows_as_one(face, tmp_path, monkeypatch):
    face.save(tmp_path / "face.png")
    monkeypatch.setattr(drawing, "draw_boxes", lambda *_, **__: int("no number"))
    with pytest.raises(ValueError, match="no number"):
        detect.main([str(tmp_path / "face.png"), "--tflite", str(TFLITE), "--output_dir", str(tmp_path / "out")])


def test_a_folder_without_pictures_is_a_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    said = run("scripts/detect.py", "--tflite", TFLITE, "--output_dir", tmp_path / "out", tmp_path / "empty")
    assert f"{tmp_path / 'empty'} holds no picture and no film." in said


def test_landmarks_are_written_and_drawn(tmp_path):
    """Of a face in cell 5, 6: y and x changed over, or another order, would show."""
    (tmp_path / "landmarks.tflite").write_bytes(landmark_file.make())
    Image.fromarray(landmark_file.picture([(5, 6)], 2, 2)).save(tmp_path / "red.png")
    assert (
        detect.main([str(tmp_path / "red.png"), "--tflite", str(tmp_path / "landmarks.tflite"), "--output_dir", str(tmp_path / "out")]) == 0
    )
    said = json.loads((tmp_path / "out" / "red.png.json").read_text())
    center = np.asarray([6.5 / landmark_file.COLUMNS, 5.5 / landmark_file.ROWS])
    points = (center + landmark_file.POINTS_YX[:, ::-1]) * (2 * landmark_file.WIDTH, 2 * landmark_file.HEIGHT)
    (found,) = said["landmarks_xy_px"]
    np.testing.assert_allclose(found, points, atol=0.05)
    drawn = np.asarray(Image.open(tmp_path / "out" / "red.png.found.png").convert("RGB"))
    yellow = (drawn == (0xFF, 0xEA, 0x00)).all(-1)
    assert all(yellow[round(y), round(x)] for x, y in points)
    assert 5 * 9 <= yellow.sum() <= 5 * 40  # nowhere else


def test_a_detector_without_landmarks_says_so(face, tmp_path):
    face.save(tmp_path / "face.png")
    boxes_alone = TFLITE.with_name(TFLITE.name.replace("int8", "int8_boxes"))
    assert detect.main([str(tmp_path / "face.png"), "--tflite", str(boxes_alone), "--output_dir", str(tmp_path / "out")]) == 0
    said = json.loads((tmp_path / "out" / "face.png.json").read_text())
    assert list(said) == ["file", "width", "height", "boxes_xyxy_px", "scores", "landmarks_xy_px"] and said["landmarks_xy_px"] is None


def test_every_file_is_accounted_for(face, tmp_path, capsys):
    for name in ("one.png", "two.tiff"):
        face.save(tmp_path / name)
    face.save(tmp_path / "pages.tif", save_all=True, append_images=[face])
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "telephone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    for _ in range(2):  # in the second its own output lies there
        assert detect.main([str(tmp_path), "--output_dir", str(tmp_path), "--crop"]) == 1
    said = capsys.readouterr()
    first, second = (line for line in said.out.splitlines() if "skipped" in line)
    assert first == "3 pictures, 3 faces, 2 skipped (1 with an error, 1 no picture or film by name)."
    assert second == "3 pictures, 3 faces, 11 skipped (1 with an error, 1 no picture or film by name, 9 written by this command)."
    assert "Pillow reads no HEIC" in said.err and "it has 2 pages; the first was searched" in said.err
    assert Image.open(tmp_path / "one.png.face-1.png").height < face.height / 2


def test_json_is_printed_and_nothing_written(face, tmp_path, capsys, monkeypatch):
    face.save(tmp_path / "face.png")
    monkeypatch.chdir(tmp_path)
    assert detect.main(["face.png", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert len(json.loads(line)["scores"]) == 1 and [p.name for p in tmp_path.iterdir()] == ["face.png"]


def test_blur_takes_the_place_of_boxes(face, tmp_path):
    face.save(tmp_path / "face.png")
    assert detect.main([str(tmp_path / "face.png"), "--blur", "--output_dir", str(tmp_path / "out")]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["face.png.blurred.png", "face.png.json"]


def test_a_bomb_is_a_sentence(face, tmp_path, monkeypatch, capsys):
    face.save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert detect.main([str(tmp_path / "bomb.png"), "--output_dir", str(tmp_path / "out")]) == 1
    assert "Make it smaller" in capsys.readouterr().err


def test_a_film_without_opencv_is_a_sentence_and_the_rest_goes_on(face, tmp_path, monkeypatch, capsys):
    face.save(tmp_path / "zz.png")
    (tmp_path / "film.mp4").write_bytes(b"film")
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    assert detect.main([str(tmp_path), "--output_dir", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert "film.mp4: videos need OpenCV" in said.err and "1 picture, 1 face, 1 skipped" in said.out
