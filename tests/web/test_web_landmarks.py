"""Landmarks, padded and oblong inputs in the page, and files that do not fit their details."""

import json
import pathlib
import subprocess

import landmark_file
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from web_page import CHROMIUM, drive, needs_browser, serving

from facedet import FaceDetector
from facedet.runtime.input_spec import InputSpec

RED = (255, 0, 0)  # what the network of landmark_file looks for
LANDMARK_FILES = {  # kind: options of landmark_file.make()
    "float32_raw": {"raw": True, "padding": landmark_file.padding("end")},
    "int8_raw": {"raw": True, "precision": "int8", "padding": landmark_file.padding("centre")},
    "float32": {},
    "int8": {"precision": "int8", "padding": landmark_file.padding("end")},
    "float32_six": {"points": 6, "padding": landmark_file.padding("centre")},
    "int8_raw_six": {"raw": True, "points": 6, "precision": "int8"},
    "float16": {"padding": landmark_file.padding("centre", RED)},
    "float16_raw": {"raw": True, "points": 0, "padding": landmark_file.padding("centre")},
}


@pytest.fixture(scope="module")
def landmarks_seen(tmp_path_factory):
    """The files' folder, {kind: {picture: what the page found} or {refused: why}}, {path: picture}; three more files do not fit their details."""
    work = tmp_path_factory.mktemp("landmarks")
    folder = work / "models" / "red"
    folder.mkdir(parents=True)
    data = {kind: landmark_file.make(**options) for kind, options in LANDMARK_FILES.items()}
    data["bare"] = data["int8"][: data["int8"].index(b"PK\x03\x04")]
    data["seven"] = landmark_file.make(landmarks=7)
    data["none"] = landmark_file.make(landmarks=0)
    for kind, content in data.items():
        (folder / f"red_{kind}.tflite").write_bytes(content)
    shape = {"height": landmark_file.HEIGHT, "width": landmark_file.WIDTH}
    files = [{"file": f"red_{kind}.tflite", "kind": kind, "bytes": 1} for kind in data]
    (folder / "model_card.json").write_text(json.dumps({"name": "red", "parameters": 1, "input": shape, "files": files}))
    cells, rows, columns = [(1, 2), (4, 9)], landmark_file.ROWS, landmark_file.COLUMNS
    forms = {"square": (2, 2, rows, rows), "wide": (2, 2, rows // 2, columns), "pulled": (3, 2)}
    pictures = {str(work / f"{name}.png"): landmark_file.picture(cells, *form) for name, form in forms.items()}
    for path, picture in pictures.items():
        Image.fromarray(picture).save(path)
    with serving("--models_dir", work / "models") as address:
        seen = drive("landmarks.mjs", address, CHROMIUM, work / "landmarks.png", *pictures)
    size = f"{landmark_file.WIDTH}x{landmark_file.HEIGHT}"
    kind_of = {" ".join([size, "red", *kind.split("_")]).replace(" int8", ""): kind for kind in data}
    return folder, {kind_of[label]: told for label, told in seen.items()}, pictures


@needs_browser
@pytest.mark.parametrize("kind", sorted(LANDMARK_FILES.keys() - {"float16"}))
def test_boxes_and_landmarks_of_padded_and_oblong_inputs(landmarks_seen, kind):
    folder, seen, pictures = landmarks_seen
    detector = FaceDetector(folder / f"red_{kind}.tflite", 0.05)
    fitting = ["square", "wide"] if "padding" in LANDMARK_FILES[kind] else ["pulled"]  # cells lie on cells: no two are equally red
    for path, picture in pictures.items():
        if pathlib.Path(path).stem not in fitting:
            continue
        expected, told = detector.detect(picture), seen[kind][path]
        assert len(told["faces"]) == len(expected) >= 2 and told["status"] == f"{len(expected)} faces"
        np.testing.assert_allclose([face["box"] for face in told["faces"]], expected.boxes, atol=1e-3)
        np.testing.assert_allclose([face["score"] for face in told["faces"]], expected.scores, atol=0.03)
        if detector.has_landmarks:
            np.testing.assert_allclose([face["landmarks"] for face in told["faces"]], expected.landmarks, atol=1e-3)
            assert told["yellow"] == told["inside"] > 5
        else:
            assert all(face["landmarks"] is None for face in told["faces"]) and told["yellow"] == 0


@needs_browser
def test_padding_has_the_colour_of_the_file(landmarks_seen):
    """Filled with red it is full of what the network looks for, up to the most that the file gives."""
    _, seen, pictures = landmarks_seen
    for path in pictures:
        if pathlib.Path(path).stem in ("square", "wide"):
            assert len(seen["float16"][path]["faces"]) == landmark_file.MOST
            assert min(face["score"] for face in seen["float16"][path]["faces"]) > 0.5


@needs_browser
def test_files_whose_details_do_not_fit_are_refused_in_a_sentence(landmarks_seen):
    _, seen, _ = landmarks_seen
    told = {kind: seen[kind]["refused"] for kind in ("seven", "bare", "none")}
    assert all("cannot be used: " in text and text.endswith("Choose another detector.") for text in told.values())
    assert "landmarks in its facedet.json is 7: export the file anew" in told["seven"]
    assert "holds no facedet.json" in told["bare"] and "detection_classes" in told["none"]


@needs_browser
def test_the_page_places_pictures_as_input_spec_does():
    """Every side to 70 px in small inputs: halves, and sides that would vanish, are among them."""
    inputs = [(h, w, place) for h, w in ((12, 16), (16, 12), (16, 16), (7, 9), (240, 320)) for place in (None, "centre", "end")]
    sides = [(height, width) for height in range(1, 71) for width in range(1, 71)]
    script = """
    const { Placement } = await import('./placement.js');
    const { inputs, sides } = JSON.parse(await new Response(process.stdin).text());
    console.log(JSON.stringify(inputs.map(([height, width, place]) => sides.map((side) => {
      const p = Placement.fit({ height, width }, place && { place }, ...side);
      return [p.height, p.width, p.top, p.left];
    }))));"""
    command, given = ["node", "--input-type=module", "-e", script], json.dumps({"inputs": inputs, "sides": sides})
    said = subprocess.run(command, input=given, cwd=ROOT / "web", text=True, capture_output=True, check=True, timeout=60)
    for (height, width, place), placed in zip(inputs, json.loads(said.stdout), strict=True):
        spec = InputSpec(height, width, **({"resize": "pad", "pad_place": place} if place else {}))
        assert [tuple(place) for place in placed] == [sum(spec.fit(*size), ()) for size in sides]
