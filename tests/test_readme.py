"""The commands and files that the documentation names are there."""

import functools
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, readme_picture

from facedet.runtime import drawing

FOLDERS = (
    ".",
    "configs",
    "dataset_tools",
    "examples/*",
    "exported_models",
    "exported_models/*",
    "facedet/detectors",
    "notebooks",
    "web",
)
PAGES = sorted({*(page for folder in FOLDERS for page in ROOT.glob(f"{folder}/*.md")), *ROOT.glob("configs/*.config")})


def commands(text: str):
    """(script, its flags) of each `python scripts/...` of a page."""
    text = text.replace("\\\n#", " ").replace("\\\n", " ")
    for line in re.findall(r"python ((?:scripts|dataset_tools)/\S+\.py[^`\n#]*)", text):
        script, *arguments = shlex.split(line.replace("'", ""))
        yield script, [argument.split("=")[0] for argument in arguments if argument.startswith("--")]


@functools.cache
def told(script: str) -> str:
    """What a script's --help prints, all of it."""
    flag = "--helpfull" if "absl" in (ROOT / script).read_text() else "--help"
    return subprocess.run([sys.executable, script, flag], cwd=ROOT, text=True, capture_output=True).stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_links_of_a_page_are_real(page):
    text = page.read_text()
    for script, flags in commands(text):
        if flags:
            said = told(script)
            for flag in flags:
                assert re.search(rf"{flag}\b", said), f"{script} has no {flag}"
    for link in re.findall(r"\]\(([^)#:]+)\)", text) + re.findall(r'src="([^":]+)"', text):
        assert (page.parent / link).exists(), link
    for target in re.findall(r"\bmake ([a-z]+)\b(?= *(?:#|`|$))", text, re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"make {target}"


def test_the_readme_names_commands():
    assert len(list(commands((ROOT / "README.md").read_text()))) >= 7


# Of the 29 people, from left to right: where the face is, x and y as shares of the photograph.
FACES = (
    (0.099, 0.507), (0.132, 0.552), (0.188, 0.519), (0.203, 0.380), (0.230, 0.558), (0.272, 0.409), (0.280, 0.506), (0.327, 0.441),
    (0.329, 0.549), (0.385, 0.506), (0.409, 0.420), (0.440, 0.559), (0.492, 0.440), (0.498, 0.495), (0.557, 0.546), (0.571, 0.409),
    (0.587, 0.493), (0.636, 0.419), (0.655, 0.546), (0.680, 0.502), (0.708, 0.413), (0.727, 0.545), (0.780, 0.507), (0.786, 0.407),
    (0.832, 0.547), (0.839, 0.367), (0.869, 0.511), (0.877, 0.412), (0.907, 0.566),
)  # fmt: skip


def test_the_first_picture_is_what_a_shipped_detector_finds():
    """The Solvay conference of 1927, by Benjamin Couprie, in the public domain (Debian's visp-images-data has it): a face in each box, and a
    box of its own for nearly every face. FACEDET_PICTURES=1 writes the README's picture."""
    from PIL import Image, ImageColor

    from facedet import FaceDetector

    found = FaceDetector("320", score_threshold=0.5).detect(ROOT / "tests" / "solvay_1927.jpg")
    sheet = np.asarray(found.draw().resize((960, 661), Image.Resampling.LANCZOS))
    readme_picture("exported_models/found.jpg", sheet)
    size = np.array(found.picture.shape[1::-1])
    begin, end = np.split(found.boxes, 2, axis=1)
    inside = ((np.array(FACES) * size >= begin[:, None]) & (np.array(FACES) * size <= end[:, None])).all(-1)  # box, face
    assert (inside.sum(1) == 1).all() and (inside.sum(0) <= 1).all() and inside.sum() >= 28
    shown = np.asarray(Image.open(ROOT / "exported_models" / "found.jpg"))
    drawn, there = ((np.abs(image.astype(int) - ImageColor.getrgb(drawing.FOUND)) < 80).all(-1) for image in (sheet, shown))
    assert drawn.sum() > 1000 and (drawn & there).sum() > 0.9 * max(drawn.sum(), there.sum())  # scores' last digits differ by the processor
