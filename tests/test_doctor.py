"""The environment that the project's commands make, and what scripts/doctor.py says of it."""

import cv2
from conftest import ROOT, run

from facedet.commands import doctor


def test_the_opencv_that_is_imported_needs_no_screen():
    """A dependency asks for opencv-python, whose files would lie over those of opencv-python-headless."""
    assert cv2.version.headless, "pip install --no-deps --force-reinstall opencv-python-headless"
    names = [line.partition("==")[0] for line in (ROOT / "requirements.txt").read_text().splitlines()]
    assert [name for name in names if name.startswith("opencv")] == ["opencv-python-headless"]
    lines = [line for line in (ROOT / "Makefile").read_text().splitlines() if "pip install" in line and "-r requirements" in line]
    assert len(lines) == 2 and all("--no-deps" in line for line in lines)


def test_the_doctor_tells_the_two_opencvs_apart(tmp_path):
    package = tmp_path / "cv2"
    package.mkdir()
    (package / "__init__.py").touch()
    code = "import sys; sys.path.insert(0, sys.argv[1]); from facedet.commands import doctor; print(doctor._opencv())"
    for flag, said in (("True", "headless, in"), ("False", "pip uninstall -y opencv-python ")):
        (package / "version.py").write_text(f"headless = {flag}\n")
        assert said in run("-c", code, tmp_path)
    assert doctor._opencv()[2] is None
