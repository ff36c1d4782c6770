"""scripts/webcam.py on a film: without a screen, and in a window on a virtual one, whose picture is the README's (FACEDET_PICTURES=1)."""

import os
import re
import shutil
import subprocess
import sys
import time

import cv2
import landmark_file
import numpy as np
import pytest
from conftest import ROOT, readme_picture, run


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A face that moves to the right, 640x480, 30 frames."""
    from skimage import data

    path = tmp_path_factory.mktemp("film") / "film.avi"
    face = cv2.cvtColor(cv2.resize(data.astronaut(), (480, 480)), cv2.COLOR_RGB2BGR)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 15, (640, 480))
    for number in range(30):
        frame = np.full((480, 640, 3), 60, np.uint8)
        frame[:, 2 * number : 2 * number + 480] = face
        writer.write(frame)
    writer.release()
    return path


def is_box(picture_bgr):
    """Where the colour of found faces, #00e676, stands."""
    return (np.abs(picture_bgr.astype(int) - (0x76, 0xE6, 0x00)) < 40).all(-1)


def test_without_a_screen_it_leaves_a_clip_with_boxes(film, tmp_path):
    said = run("scripts/webcam.py", "--source", film, "--headless", "--frames", "20", "--output", tmp_path / "clip.mp4")
    frames, faces = map(int, re.search(r"(\d+) frames, (\d+) faces", said).groups())
    assert frames == 20 and 18 <= faces <= 22 and f"20 frames are in {tmp_path / 'clip.mp4'}" in said
    clip, pictures = cv2.VideoCapture(str(tmp_path / "clip.mp4")), []
    while (read := clip.read())[0]:
        pictures.append(read[1])
    assert len(pictures) == 20 and clip.get(cv2.CAP_PROP_FPS) == 15
    lefts = [np.flatnonzero(is_box(picture).any(0)).min() for picture in (pictures[2], pictures[18])]
    assert 20 <= lefts[1] - lefts[0] <= 44  # the box moves with the face: 32 px
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_landmarks_are_in_the_clip(tmp_path):
    (tmp_path / "landmarks.tflite").write_bytes(landmark_file.make())
    image = landmark_file.picture([(5, 6)], 4, 4)
    writer = cv2.VideoWriter(str(tmp_path / "red.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 15, image.shape[1::-1])
    for _ in range(3):
        writer.write(image[:, :, ::-1])
    writer.release()
    said = run("scripts/webcam.py", "--source", tmp_path / "red.avi", "--tflite", tmp_path / "landmarks.tflite", "--headless",
               "--output", tmp_path / "clip.mp4")  # fmt: skip
    assert "3 frames, 3 faces" in said
    there, frame = cv2.VideoCapture(str(tmp_path / "clip.mp4")).read()
    assert there
    center = np.asarray([6.5 / landmark_file.COLUMNS, 5.5 / landmark_file.ROWS])
    points = (center + landmark_file.POINTS_YX[:, ::-1]) * image.shape[1::-1]
    yellow = (np.abs(frame.astype(int) - (0x00, 0xEA, 0xFF)) < 60).all(-1)
    for x, y in points.round().astype(int):
        assert yellow[y - 2 : y + 3, x - 2 : x + 3].any(), (x, y)


def test_what_cannot_be_opened_is_a_sentence(film, tmp_path):
    assert "no such film" in run("scripts/webcam.py", "--source", tmp_path / "none.mp4", "--headless", code=1)
    assert "Is it plugged in" in run("scripts/webcam.py", "--source", "97", "--headless", code=1)
    (tmp_path / "text.mp4").write_text("no film")
    assert "Can OpenCV read it?" in run("scripts/webcam.py", "--source", tmp_path / "text.mp4", "--headless", code=1)
    without = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "SDL_VIDEODRIVER": "x11"}
    assert "add --headless" in run("scripts/webcam.py", "--source", film, code=1, **without)


def test_the_window_shows_the_boxes(film, tmp_path):
    if not shutil.which("Xvfb"):
        assert "CI" not in os.environ, "Xvfb is missing: apt-get install xvfb"
        pytest.skip("Xvfb is missing: apt-get install xvfb")
    read, write = os.pipe()
    screen = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "640x480x24", "-fbdir", tmp_path], pass_fds=[write], stderr=subprocess.DEVNULL
    )
    try:
        display = ":" + os.read(read, 16).decode().strip()
        command = [sys.executable, "scripts/webcam.py", "--source", film]
        environment = {**os.environ, "DISPLAY": display, "SDL_VIDEODRIVER": "x11"}
        webcam = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        screens = []
        while webcam.poll() is None:
            screens.append(framebuffer(tmp_path / "Xvfb_screen0"))
            time.sleep(0.02)
        said = webcam.stdout.read()
        assert webcam.returncode == 0 and "30 frames" in said, said
        shown = max(screens, key=lambda screen: is_box(screen).sum())
        assert is_box(shown).sum() > 400  # pixels of a box around a face of 200 px
        readme_picture("scripts/webcam.jpg", shown[:, :, ::-1])
    finally:
        screen.terminate()
        screen.wait()


def framebuffer(path) -> np.ndarray:
    """BGR [480, 640, 3] of Xvfb's screen file (X window dump: header size, and the pixels at the end)."""
    data = np.fromfile(path, np.uint8)
    return data[-640 * 480 * 4 :].reshape(480, 640, 4)[:, :, :3]


def test_a_long_film_is_measured_in_bounded_memory():
    from facedet.commands import webcam

    meter = webcam.Meter()
    for number in range(25_000):
        meter.add(number / 1e6)
    assert sum(len(kept) for kept in (meter._seconds, meter._at)) < 11_000
    assert meter.latency_ms == pytest.approx(24.985, abs=0.01) and meter.median_ms == pytest.approx(20, abs=0.01)


def test_a_clip_that_cannot_be_written_is_a_sentence(film, tmp_path):
    (tmp_path / "file").write_text("")
    for output, message in ((tmp_path / "file" / "clip.mp4", "its folder cannot be made"), (tmp_path, "is a folder")):
        said = run("scripts/webcam.py", "--source", film, "--headless", "--frames", "2", "--output", output, code=1)
        assert message in said and "Traceback" not in said


def test_without_opencv_it_is_a_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, "-S", "scripts/webcam.py"], cwd=ROOT, capture_output=True, text=True
    )  # -S: without site-packages
    assert done.returncode == 1 and done.stderr == "error: facedet webcam needs the package cv2: pip install opencv-python-headless.\n"
