"""What the tests of the page share: headless Chromium, a server, and a picture of a face."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

needs_browser = pytest.mark.skipif(
    "CI" not in os.environ and not (CHROMIUM and shutil.which("npm")), reason="chromium or npm is missing: apt-get install chromium npm"
)


@pytest.fixture(scope="module")
def face():
    """RGB 640x480: a face in the left upper quarter."""
    from skimage import data

    picture = np.full((480, 640, 3), 70, np.uint8)
    picture[20:404, 30:414] = cv2.resize(data.astronaut(), (384, 384), interpolation=cv2.INTER_AREA)
    return picture


def write_film(face, path) -> None:
    """For a camera's place."""
    frame = cv2.cvtColor(face, cv2.COLOR_RGB2YUV_I420).tobytes()
    path.write_bytes(b"YUV4MPEG2 W640 H480 F15:1 Ip A1:1 C420jpeg\n" + (b"FRAME\n" + frame) * 30)


def install() -> None:
    """What the page is made of; tests in processes beside this one wait for it."""
    with open(ROOT / "web" / "package-lock.json") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(
            ["make", "web/node_modules/.package-lock.json"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


@contextlib.contextmanager
def serving(*options):
    """Its address."""
    install()
    command = [sys.executable, "scripts/serve_web.py", "--port", "0", *map(str, options)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    yield process.stdout.readline().strip()
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def server():
    with serving() as address:
        yield address


def drive(script: str, *words) -> dict:
    """What a script of web/test saw in the browser."""
    said = subprocess.run(["node", f"test/{script}", *map(str, words)], cwd=ROOT / "web", text=True, capture_output=True, timeout=300)
    assert said.returncode == 0, said.stderr[-3000:]
    return json.loads(said.stdout)


def overlap(a, b) -> float:
    from facedet.runtime import boxes

    return boxes.iou(np.asarray([a], np.float32), np.asarray([b], np.float32))[0, 0]
