"""The environment that the project's commands make, and what scripts/doctor.py says of it."""

import os
import shutil
import subprocess
import sys

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


def test_the_doctor_speaks_where_nothing_is_installed_and_outside_a_clone(tmp_path):
    shutil.copytree(ROOT / "facedet", tmp_path / "facedet", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-S", "-m", "facedet", "doctor"]  # -S: without site-packages
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and not done.stderr and "Run in a clone: pip install ." in done.stdout
    assert "OpenCV: absent; films and the webcam need it" in done.stdout
    assert "camera: not looked for: the webcam needs OpenCV" in done.stdout
    assert "requirements.txt" not in done.stdout


def test_the_doctor_speaks_of_a_camera(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "DEVICES", tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    assert doctor._camera()[1].startswith(f"none (there is no {tmp_path}/video*)") and doctor._camera()[2] is None
    for name in ("video1", "video0"):
        (tmp_path / name).touch()
    assert doctor._camera() == ("camera", f"{tmp_path}/video0, {tmp_path}/video1", None)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "may not be opened" in doctor._camera()[1] and "usermod -aG video" in doctor._camera()[2]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "when it is opened" in doctor._camera()[1] and doctor._camera()[2] is None


def test_the_doctor_names_gpu_and_node(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor._gpu()[1].startswith("none") and doctor._node()[1].startswith("absent")
    for program, code, said in (("nvidia-smi", 0, "Some GPU, 24 GiB"), ("node", 0, "v16.3.0")):
        (tmp_path / program).write_text(f"#!/bin/sh\necho {said}\nexit {code}\n")
        os.chmod(tmp_path / program, 0o755)
    assert doctor._gpu()[1].startswith("Some GPU, 24 GiB") and doctor._gpu()[2] is None
    assert "needs 18 or later" in doctor._node()[1]
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho Driver/library version mismatch\nexit 18\n")
    (tmp_path / "node").write_text("#!/bin/sh\necho v22.1.0\n")
    assert "version mismatch" in doctor._gpu()[1] and doctor._gpu()[2] and doctor._node()[1] == "v22.1.0"


def test_the_doctor_says_in_what_a_training_can_compute(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor, "PROCESSOR", tmp_path / "cpuinfo")
    assert "no arithmetic of 16 bits" in doctor._precision()[1]
    (tmp_path / "cpuinfo").write_text("flags : fpu avx2 amx_bf16\n")
    assert doctor._precision()[1] == "float32; --precision mixed_bfloat16 as well"
    gpu = tmp_path / "nvidia-smi"
    gpu.touch(0o755)
    for capability, said in (
        ("6.1", "no arithmetic"),
        ("7.5", "--precision mixed_float16 as well"),
        ("9.0", "mixed_float16 and mixed_bfloat16"),
        ("N/A", "does not tell"),
    ):
        gpu.write_text(f"#!/bin/sh\necho {capability}\n")
        assert said in doctor._precision()[1] and doctor._precision()[2] is None
