"""The Android example: all of it type-checks against stubs, and its decoding runs on the JVM against FaceDetector."""

import os
import shutil
import struct
import subprocess

import numpy as np
import pytest
from conftest import ROOT, SHIPPED

from facedet import FaceDetector

EXAMPLE = ROOT / "examples" / "android"
pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and not (shutil.which("npm") and shutil.which("java")),
    reason="npm or java is missing: apt-get install npm default-jdk",
)


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """All of the app, compiled."""
    check, out = EXAMPLE / "check", tmp_path_factory.mktemp("android") / "classes"
    if not (check / "node_modules").is_dir():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=check, check=True, capture_output=True)
    compiler = check / "node_modules" / "kotlin-compiler"
    sources = ["app/src/main/kotlin", "check/Golden.kt", "check/stubs"]
    command = ["bash", compiler / "bin" / "kotlinc", "-Werror", "-d", out, *sources]
    said = subprocess.run(list(map(str, command)), cwd=EXAMPLE, text=True, capture_output=True)
    assert said.returncode == 0, said.stderr[-3000:]
    return f"{out}:{compiler / 'lib' / 'kotlin-stdlib.jar'}"


def raw_outputs(detector, image):
    """What the interpreter gives for a picture of the input's size, before any decoding."""
    interpreter = detector._interpreter
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None].astype(interpreter.get_input_details()[0]["dtype"]))
    interpreter.invoke()
    return [interpreter.get_tensor(output["index"])[0].astype(">f4").reshape(-1) for output in interpreter.get_output_details()]


def test_kotlin_finds_what_facedetector_finds(classes, tmp_path):
    from PIL import Image

    from facedet.data import sample
    from facedet.runtime.detector import resize

    (path,) = SHIPPED.glob("*_float16_raw.tflite")
    folder = sample.make(str(tmp_path / "sample"), num_train=2, num_val=6)
    pictures = [np.asarray(Image.open(p).convert("RGB")) for p in sorted(folder.glob("WIDER_val/images/*/*.jpg"))]
    cases, expected = [], []
    for least in (0.3, 0.02):
        detector = FaceDetector(path, least)
        by = detector.details
        for picture in pictures:
            image = resize(picture, detector.input_height, detector.input_width)
            boxes, scores = raw_outputs(detector, image)
            numbers = struct.pack(">ifffi", len(scores), least, by["score_threshold"], by["iou_threshold"], by["max_detections"])
            cases.append(numbers + boxes.tobytes() + scores.tobytes())
            expected.append(detector.detect(image))
    (tmp_path / "input").write_bytes(struct.pack(">i", len(cases)) + b"".join(cases))
    subprocess.run(["java", "-cp", classes, "org.facedet.example.GoldenKt", tmp_path / "input", tmp_path / "output"], check=True)
    rows = np.loadtxt(tmp_path / "output", ndmin=2)
    assert sum(map(len, expected)) > 50
    for number, faces in enumerate(expected):
        mine = rows[rows[:, 0] == number]
        np.testing.assert_allclose(mine[:, 1:5] * np.array([224, 224, 224, 224]), faces.boxes, atol=1e-3)
        np.testing.assert_allclose(mine[:, 5], faces.scores, rtol=1e-6)


def test_the_app_uses_the_figures_of_the_shipped_card():
    import json
    import re

    card = json.loads((SHIPPED / "model_card.json").read_text())
    source = (EXAMPLE / "app/src/main/kotlin/org/facedet/example/FaceFinder.kt").read_text()
    least, overlap, most = map(float, re.search(r"= Suppression\(([\d.]+)f, ([\d.]+)f, (\d+)\)", source).groups())
    assert (least, overlap, most) == (card["score_threshold"], card["iou_threshold"], card["max_detections"])
    assert int(re.search(r"SIDE = (\d+)", source)[1]) == card["input"]["height"]
    build = (EXAMPLE / "app" / "build.gradle.kts").read_text()
    assert f'"{SHIPPED.name}"' in build and all(name in build for name in ("_int8_raw.tflite", "_float16_raw.tflite", "_int8.tflite"))
