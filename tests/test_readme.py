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


def test_the_first_picture_is_what_the_default_detector_finds():
    """Two portraits in the public domain; FACEDET_PICTURES=1 writes it."""
    import matplotlib.cbook
    from PIL import Image, ImageColor
    from skimage import data

    from facedet import FaceDetector

    detector = FaceDetector(score_threshold=0.5)
    portraits = [Image.fromarray(data.astronaut()), Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))]
    found = [detector.detect(portrait) for portrait in portraits]
    assert [len(faces) for faces in found] == [1, 1]
    sheet = drawing.contact_sheet([np.asarray(faces.draw()) for faces in found], columns=2, side=420)
    readme_picture("exported_models/found.jpg", sheet)
    shown = np.asarray(Image.open(ROOT / "exported_models" / "found.jpg"))
    drawn, there = ((np.abs(image.astype(int) - ImageColor.getrgb(drawing.FOUND)) < 80).all(-1) for image in (sheet, shown))
    assert drawn.sum() > 1000 and (drawn & there).sum() > 0.9 * max(drawn.sum(), there.sum())  # scores' last digits differ by the processor
