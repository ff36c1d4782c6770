"""The Android example: all of it type-checks against stubs, and its decoding runs on the JVM against FaceDetector."""

import os
import re
import shutil
import struct
import subprocess
from xml.etree import ElementTree

import landmark_file
import numpy as np
import pytest
from conftest import ROOT, SHIPPED

from facedet import FaceDetector
from facedet.runtime.input_spec import InputSpec, resize

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
    sources = ["app/src/main/kotlin", "check/Golden.kt", "check/Preview.kt", "check/stubs"]
    command = ["bash", compiler / "bin" / "kotlinc", "-Werror", "-d", out, *sources]
    said = subprocess.run(list(map(str, command)), cwd=EXAMPLE, text=True, capture_output=True)
    assert said.returncode == 0, said.stderr[-3000:]
    return f"{out}:{compiler / 'lib' / 'kotlin-stdlib.jar'}"


def outputs_of(path, image):
    """What the interpreter gives for a picture of the input's size, before any decoding, in the file's order."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    (taken,) = interpreter.get_input_details()
    interpreter.set_tensor(taken["index"], image[None].astype(taken["dtype"]))
    interpreter.invoke()
    return [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]


def kotlin(classes, work, cases=(), placements=()) -> list[list[str]]:
    """cases: of path, height and width of the picture, least score, outputs; placements: of five whole numbers. The lines it writes, split."""
    data = struct.pack(">i", len(cases))
    for path, height, width, least, outputs in cases:
        name = str(path).encode()
        data += struct.pack(">H", len(name)) + name + struct.pack(">iifi", height, width, least, len(outputs))
        data += b"".join(struct.pack(">i", values.size) + values.astype(">f4").tobytes() for values in outputs)
    data += struct.pack(">i", len(placements)) + np.asarray(placements, ">i4").tobytes()
    (work / "input").write_bytes(data)
    subprocess.run(["java", "-cp", classes, "org.facedet.example.GoldenKt", work / "input", work / "output"], check=True)
    return [line.split(" ") for line in (work / "output").read_text().splitlines()]


def check(lines, expected, sizes):
    """lines: of Golden.  expected: Faces, a case.  sizes: height, width of each case's picture."""
    for number, (faces, (height, width)) in enumerate(zip(expected, sizes, strict=True)):
        mine = np.array([line[1:] for line in lines if line[0] == str(number)], float).reshape(len(faces), -1)
        np.testing.assert_allclose(mine[:, :4] * (width, height, width, height), faces.boxes, atol=1e-3)
        np.testing.assert_allclose(mine[:, 4], faces.scores, rtol=1e-6)
        if faces.landmarks is None:
            assert mine.shape[1] == 5
        else:
            np.testing.assert_allclose(mine[:, 5:].reshape(len(faces), -1, 2) * (width, height), faces.landmarks, atol=1e-3)


def test_kotlin_finds_what_facedetector_finds_with_every_shipped_file(classes, tmp_path):
    from PIL import Image

    from facedet.data import sample

    folder = sample.make(str(tmp_path / "sample"), num_train=2, num_val=6)
    pictures = [np.asarray(Image.open(p).convert("RGB")) for p in sorted(folder.glob("WIDER_val/images/*/*.jpg"))]
    cases, expected, sizes = [], [], []
    for path in sorted(ROOT.glob("exported_models/*/*.tflite")):
        least = 0.02 if path.parent == SHIPPED else 0.3
        detector = FaceDetector(path, least)
        for picture in pictures if path.parent == SHIPPED else pictures[:2]:
            sizes.append(picture.shape[:2])
            outputs = outputs_of(path, resize(picture, detector.input_height, detector.input_width))
            cases.append((path, *sizes[-1], least, outputs))
            expected.append(detector.detect(picture))
    lines = kotlin(classes, tmp_path, cases)
    assert sum(map(len, expected)) > 50
    check(lines, expected, sizes)


def test_landmarks_of_padded_and_oblong_inputs(classes, tmp_path):
    cases, expected, sizes, rows, columns = [], [], [], landmark_file.ROWS, landmark_file.COLUMNS
    centre, end = landmark_file.padding("centre"), landmark_file.padding("end")
    files = [{"raw": True, "padding": end}, {"padding": centre}, {"raw": True, "points": 0, "padding": centre}, {}]
    files += [{"raw": True, "points": 6}, {"points": 6, "padding": end}]
    for number, options in enumerate(files):
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(landmark_file.make(precision="int8", **options))
        detector = FaceDetector(path, 0.05)
        for form in ((2, 2, rows, rows), (2, 2, rows // 2, columns), (3, 2)):
            picture = landmark_file.picture([(1, 2), (4, 9)], *form)
            sizes.append(picture.shape[:2])
            cases.append(
                (
                    path,
                    *sizes[-1],
                    0.05,
                    outputs_of(path, spec_of(options.get("padding"), landmark_file.HEIGHT, landmark_file.WIDTH).prepare(picture)[0]),
                )
            )
            expected.append(detector.detect(picture))
    assert min(map(len, expected)) >= 2
    check(kotlin(classes, tmp_path, cases), expected, sizes)


def spec_of(padding: dict | None, height: int, width: int) -> InputSpec:
    if padding is None:
        return InputSpec(height, width)
    return InputSpec(height, width, resize="pad", pad_place=padding["place"], pad_value=tuple(padding.get("fill", (0, 0, 0))))


def test_kotlin_places_pictures_as_input_spec_does(classes, tmp_path):
    """Every side to 50 px in small inputs: halves, and sides that would vanish, are among them."""
    places = (None, {"place": "centre"}, {"place": "end"})
    placements = [
        (*size, kind, height, width)
        for size in ((12, 16), (16, 12), (7, 9), (240, 320)) for kind in range(3) for height in range(1, 51) for width in range(1, 51)
    ]  # fmt: skip
    lines = kotlin(classes, tmp_path, placements=placements)
    for line, (*size, kind, height, width) in zip(lines, placements, strict=True):
        assert line == ["place", *map(str, sum(spec_of(places[kind], *size).fit(height, width), ()))]


def test_a_file_that_is_none_is_named(classes, tmp_path):
    (path,) = SHIPPED.glob("*_int8_raw.tflite")
    whole = path.read_bytes()
    changes = {
        "bare": whole[: whole.index(b"PK\x03\x04")],
        "threshold": whole.replace(b'"iou_threshold": 0.5', b'"iou_threshold": "a"'),
        "listed": whole.replace(b'"with_nms": false', b'"with_nms": 12345'),
    }
    for name, data in changes.items():
        (tmp_path / name).write_bytes(data)
    lines = [" ".join(line) for line in kotlin(classes, tmp_path, [(tmp_path / name, 1, 1, 0.5, []) for name in changes])]
    assert lines[0].startswith("0 bare holds no facedet.json")
    assert lines[1].startswith('1 threshold: iou_threshold in its facedet.json is "a"')
    assert lines[2].startswith("2 listed: with_nms in its facedet.json is 12345")


def test_the_preview_is_mirrored_and_has_the_landmarks(classes):
    """Of the stub's canvas: picture, boxes and five points a face are mirrored about the view's middle, the text is not."""
    said = subprocess.run(["java", "-cp", classes, "org.facedet.example.PreviewKt"], text=True, capture_output=True, check=True)
    names, values = zip(*(line.partition(" ")[::2] for line in said.stdout.splitlines()), strict=True)
    assert list(names) == ["drawColor", "save", "scale", "drawBitmap", *["drawRect", *["drawCircle"] * 5] * 2, "restore", "drawText"]
    scale, picture, *faces = (np.array(text.split(), float) for text in values[2:-2])
    np.testing.assert_array_equal(scale, (-1, 1, 250, 0))
    np.testing.assert_array_equal(picture, (150, 0, 350, 300))
    for left, (box, *points) in ((170, faces[:6]), (250, faces[6:])):
        np.testing.assert_allclose(box, (left, 60, left + 80, 180), rtol=1e-6)
        np.testing.assert_allclose([point[:2] for point in points], [(left + 20 * i, 90 + 15 * i) for i in range(5)], rtol=1e-6)


def test_the_app_takes_the_shipped_detectors():
    """Under the names by which it opens them; sizes and thresholds it reads from the files."""
    source = (EXAMPLE / "app/src/main/kotlin/org/facedet/example/FaceFinder.kt").read_text()
    build = (EXAMPLE / "app" / "build.gradle.kts").read_text()
    assert f'"{SHIPPED.name}"' in build
    for kind in ("int8_raw", "float16_raw"):
        assert f'"{kind}.tflite"' in source and f'"*_{kind}.tflite"' in build
    by_mediapipe = (EXAMPLE / "app/src/main/kotlin/org/facedet/example/MediaPipeVariant.kt").read_text()
    assert '"int8_boxes.tflite"' in by_mediapipe and '"*_int8_boxes.tflite"' in build


def test_the_app_has_its_icon_wrapper_and_target():
    """What the manifest and the build name is there, and well-formed."""
    main = EXAMPLE / "app" / "src" / "main"
    root = ElementTree.parse(main / "AndroidManifest.xml").getroot()
    names = [value for element in root.iter() for value in element.attrib.values() if value.startswith("@mipmap/")]
    assert names == ["@mipmap/ic_launcher"]
    icon = ElementTree.parse(main / "res" / "mipmap-anydpi" / "ic_launcher.xml").getroot()
    for layer in icon:
        (drawable,) = layer.attrib.values()
        ElementTree.parse(main / "res" / f"{drawable.removeprefix('@')}.xml")
    build = (EXAMPLE / "app" / "build.gradle.kts").read_text()
    assert "targetSdk = 36" in build and "compileSdk = 36" in build
    vision = tuple(map(int, re.search(r"tasks-vision:([\d.]+)", build)[1].split(".")))
    assert vision >= (0, 10, 26)  # the first with native code for pages of 16 KB
    assert "gradle-8.13-bin.zip" in (EXAMPLE / "gradle" / "wrapper" / "gradle-wrapper.properties").read_text()
