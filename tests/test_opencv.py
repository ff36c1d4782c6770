"""examples/opencv: OpenCV's dnn opens the raw float .onnx of an export, and finds the face that FaceDetector finds."""

import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
from conftest import MAIN_CONFIG, ROOT, SHIPPED, config_text, run
from PIL import Image
from skimage import data

from facedet import FaceDetector

EXAMPLES = ROOT / "examples" / "opencv"
HEADERS = pathlib.Path("/usr/include/opencv4")


@pytest.fixture(scope="module")
def exported_onnx(records_dir, tmp_path_factory) -> pathlib.Path:
    """The shipped checkpoint's files, as the command makes them."""
    folder = tmp_path_factory.mktemp("onnx")
    config = folder / MAIN_CONFIG.name
    config.write_text(config_text(records_dir, MAIN_CONFIG))
    command = ["scripts/export_onnx.py", "--pipeline_config_path", config, "--checkpoint_dir", SHIPPED / "checkpoint"]
    said = run(*command, "--output_dir", folder / "files", "--parity_images", "3")
    assert "6 files are in" in said
    return folder / "files"


def test_python_finds_the_face(exported_onnx, tmp_path):
    Image.fromarray(data.astronaut()).save(tmp_path / "astronaut.png")
    (model,) = exported_onnx.glob("*_float32_raw.onnx")
    said = run(EXAMPLES / "detect.py", model, 224, 224, tmp_path / "astronaut.png").split()
    found, points = np.array(said[:5], float), np.array([point.split(",") for point in said[5:]], float)
    expected = FaceDetector(model).detect(data.astronaut())
    np.testing.assert_allclose(found[0], expected.scores[0], atol=0.03)  # the picture is made smaller in another way
    np.testing.assert_allclose(found[1:], expected.boxes[0], atol=3)
    np.testing.assert_allclose(points, expected.landmarks[0], atol=3)


def test_cpp_compiles_and_links(tmp_path):
    if not HEADERS.is_dir() or not shutil.which("g++"):
        assert "CI" not in os.environ, "apt-get install g++ libopencv-dev"
        return
    libraries = [f"-lopencv_{name}" for name in ("dnn", "imgcodecs", "imgproc", "core")]
    made = tmp_path / "detect"
    subprocess.run(["g++", "-std=c++17", "-Wall", "-Werror", EXAMPLES / "detect.cpp", "-o", made, f"-I{HEADERS}", *libraries], check=True)
    assert subprocess.run([made], capture_output=True).returncode == 1  # says how it is called
