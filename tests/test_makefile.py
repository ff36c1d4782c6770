"""What the Makefile takes away and leaves, and what it says before anything is installed."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.fixture
def make(tmp_path):
    """Runs make with a copy of the Makefile."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    environment = {"PATH": os.environ["PATH"]}  # `make test VENV=...` would hand its own variables on

    def run(*arguments) -> subprocess.CompletedProcess:
        return subprocess.run(["make", *map(str, arguments)], cwd=tmp_path, env=environment, text=True, capture_output=True)

    return run


def test_clean_takes_what_was_built_and_spares_the_rest(make, tmp_path):
    built = ("elsewhere", "web/node_modules", "examples/x/node_modules", "build", "dist", "facedet.egg-info", ".pytest_cache")
    kept = ("demo/found.png", "examples/x/detect.cpp", "web/index.html", "facedet/build.py", ".venv/bin/python")
    for name in (*(f"{folder}/inner/file" for folder in built), *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    done = make("clean", "VENV=elsewhere")
    *removed, last = done.stdout.splitlines()
    assert done.returncode == 0 and sorted(removed) == sorted(f"removing {name}" for name in built), done
    assert last.startswith("demo/ is left")
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"Makefile", *kept}


def test_the_page_comes_over_https_where_asked(make, tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "package-lock.json").touch()
    for asked in ([], ["HTTPS=1"]):
        done = make("-n", "web", *asked)
        (served,) = (line.split() for line in done.stdout.splitlines() if "serve_web.py" in line)
        assert ("--https" in served) == bool(asked), done


@pytest.mark.parametrize("python, said", [("newer", "newer is no Python 3.11 or 3.12, which"), ("", "No Python 3.11 or 3.12 was found.")])
def test_another_python_is_refused_in_a_sentence(make, tmp_path, python, said):
    (tmp_path / "requirements.txt").touch()
    newer = tmp_path / "newer"
    checks = f'exec "{sys.executable}" -c "import sys; sys.version_info = (3, 13); $2"'
    newer.write_text(f'#!/bin/sh\n[ "$1" = -c ] || exec echo "called with $*"\n{checks}\n')
    newer.chmod(0o755)
    done = make("demo", f"PYTHON={python and newer}")
    (sentence,) = done.stdout.splitlines()
    assert done.returncode and said in sentence and sentence.endswith("make PYTHON=/path/to/python3.12 ..."), done
    assert all("***" in line for line in done.stderr.splitlines()) and not (tmp_path / ".venv").exists(), done
