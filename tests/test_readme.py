"""The commands and files that the documentation names are there."""

import functools
import re
import shlex
import subprocess
import sys

import pytest
from conftest import ROOT

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
