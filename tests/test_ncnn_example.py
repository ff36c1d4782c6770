"""examples/ncnn: faces.hpp gives the faces that FaceDetector does, resize.hpp its pictures; detect.cpp fits what it says of ncnn's types."""

import dataclasses
import subprocess

import numpy as np
import pytest
from conftest import ROOT

from facedet.runtime import boxes
from facedet.runtime.input_spec import InputSpec, resize
from facedet.runtime.suppression import suppress

EXAMPLE = ROOT / "examples" / "ncnn"
COMPILE = ["g++", "-std=c++11", "-O1", "-Wall", "-Wextra", "-Werror"]
FITS = {"stretch": 0, "centre": 1, "end": 2}


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    program = tmp_path_factory.mktemp("golden") / "golden"
    subprocess.run([*COMPILE, "-o", program, EXAMPLE / "check" / "golden.cpp"], check=True)
    return program


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(("height", "width"), [(480, 640), (333, 200), (97, 1001)])
@pytest.mark.parametrize("num_points", [0, 5])
def test_the_header_gives_the_faces_that_python_does(golden, fit, height, width, num_points):
    generator = np.random.default_rng(height)
    spec = InputSpec(240, 320)
    if fit != "stretch":
        spec = dataclasses.replace(spec, resize="pad", pad_place=fit)
    rows = np.concatenate([generator.uniform(0.05, 0.95, (400, 2)), generator.uniform(0.05, 0.3, (400, 2))], 1).astype(np.float32)
    scores = np.round(generator.uniform(0, 1, 400), 2).astype(np.float32)  # some are equal
    points = generator.uniform(-0.1, 1.1, (400, num_points, 2)).astype(np.float32)
    limits = (0.4, 0.35, 20)
    found, best, landmarks = suppress(rows, scores, points, *limits)
    placement = spec.prepare(np.zeros((height, width, 3), np.uint8))[1]
    expected = [best[:, None], boxes.clip_xyxy(placement.to_picture(found, height, width), height, width)]
    expected.append(placement.points_to_picture(landmarks, height, width).reshape(len(best), -1))
    columns = np.concatenate([rows, scores[:, None], points.reshape(400, -1)], 1)
    head = [FITS[fit], spec.width, spec.height, width, height, *limits, 400, num_points]
    text = "\n".join(" ".join(format(value, ".9g") for value in line) for line in [head, *columns.tolist()])
    given = subprocess.run([golden], input=text, capture_output=True, text=True, check=True).stdout
    lines = np.asarray([line.split() for line in given.splitlines()], np.float64)
    assert len(lines) == 20  # the cap cuts
    np.testing.assert_allclose(lines, np.concatenate(expected, 1), atol=0.02, rtol=1e-5)


def test_suppression_leaves_what_does_not_overlap(golden):
    """Of two that overlap the better one, and a third beside them; below the least score nothing."""
    rows = ["0.5 0.5 0.4 0.4 0.6", "0.5 0.52 0.4 0.4 0.9", "0.1 0.1 0.1 0.1 0.5", "0.9 0.9 0.1 0.1 0.3"]
    text = "\n".join(["0 100 100 100 100 0.5 0.5 10 4 0", *rows])
    given = subprocess.run([golden], input=text, capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in given.splitlines()] == ["0.899999976", "0.5"]


@pytest.fixture(scope="module")
def resizing(tmp_path_factory):
    program = tmp_path_factory.mktemp("resizing") / "resize"
    subprocess.run([*COMPILE, "-o", program, EXAMPLE / "check" / "resize.cpp"], check=True)
    return program


@pytest.mark.parametrize("height, width, levels", [(224, 224, 1), (512, 512, 1), (683, 1024, 5), (90, 61, 1), (1, 3, 1)])
def test_the_resized_picture_is_facedetectors(resizing, height, width, levels):
    """Pillow rounds twice, and from four times the size on it goes in two steps."""
    from skimage import data

    picture = resize(data.astronaut(), height, width)
    head = f"{width} {height} 224 200 ".encode()
    given = subprocess.run([resizing], input=head + picture.tobytes(), capture_output=True, check=True).stdout
    made, expected = np.frombuffer(given, np.uint8).reshape(200, 224, 3).astype(int), resize(picture, 200, 224)
    assert np.abs(made - expected).max() <= levels and np.abs(made - expected).mean() < 0.5


def test_the_program_fits_its_types():
    stubs = f"-I{EXAMPLE / 'check' / 'stubs'}"
    subprocess.run([*COMPILE, "-fsyntax-only", stubs, EXAMPLE / "detect.cpp"], check=True)
