"""The Colab notebook from the first cell to the last, on the sample, a folder in Drive's place; then with a Drive that fails.

FACEDET_PICTURES=1 has its last cell's pictures written as the README's.
"""

import base64
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import nbclient
import nbformat
import numpy as np
import pytest
from conftest import MAIN_CONFIG, ROOT, readme_picture
from PIL import Image

from facedet.runtime import drawing

NOTEBOOK = ROOT / "notebooks" / "train_on_colab.ipynb"
SETTINGS, ENVIRONMENT = 2, 4  # cells
MOST_LINES = 120  # of a cell: the card of an export has some hundred


@pytest.fixture(scope="module")
def drive(sample_dir, tmp_path_factory) -> pathlib.Path:
    """The zips as they are downloaded."""
    folder = tmp_path_factory.mktemp("drive")
    for part in ("WIDER_train", "WIDER_val", "wider_face_split"):
        shutil.make_archive(str(folder / part), "zip", sample_dir, part)
    staged = tmp_path_factory.mktemp("tools")
    shutil.copytree(sample_dir / "eval_gt", staged / "eval_tools" / "ground_truth")
    shutil.make_archive(str(folder / "eval_tools"), "zip", staged)
    return folder


def execute(drive, work, monkeypatch, num_steps) -> tuple[str, list[np.ndarray]]:
    """What it says, and the pictures of its last cell."""
    monkeypatch.setenv("FACEDET_DRIVE", str(drive))
    monkeypatch.setenv("FACEDET_WORK", str(work))
    monkeypatch.setenv("FACEDET_VENV", sys.prefix)
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)  # the tests' own
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    settings = notebook.cells[SETTINGS]
    assert "NUM_STEPS = None" in settings.source
    settings.source = settings.source.replace("NUM_STEPS = None", f"NUM_STEPS = {num_steps}")
    nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    assert len([cell for cell in notebook.cells if cell.cell_type == "code" and cell.execution_count]) == 8
    cells = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    pictures = [output.data["image/png"] for output in cells[-1] if "image/png" in output.get("data", {})]
    assert len(pictures) == 4  # people look
    said = ["".join(output.get("text", "") for output in outputs) for outputs in cells]
    for text in said:
        assert text.count("\n") < MOST_LINES and "WARNING" not in text and "deprecat" not in text.lower(), text
    return "".join(said), [np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")) for picture in pictures]


def test_notebook_trains_then_goes_on_and_outlives_its_drive(drive, tmp_path, monkeypatch):
    name = MAIN_CONFIG.stem
    said, pictures = execute(drive, tmp_path / "work", monkeypatch, num_steps=4)
    readme_picture("notebooks/result.jpg", drawing.contact_sheet(pictures, columns=2, side=400))
    copies = drive / "checkpoints" / name
    assert "starting from the beginning" in said and f"Step 4 is in {copies}" in said and "4 files are in" in said
    assert (drive / f"{name}.zip").stat().st_size > 1e6 and len(list((tmp_path / "work" / "exported" / name).glob("*.tflite"))) == 4

    commands = json.loads((tmp_path / "work" / "model" / "training.json").read_text())["commands"]
    assert [command.split()[1] for command in commands] == ["scripts/adapt_config.py", "scripts/model_main.py"]

    shutil.rmtree(tmp_path / "work" / "model")  # the runtime was taken away
    (copies / "ckpt-5").mkdir()  # while a copy was under way

    def vanish():
        while not (tmp_path / "work" / "model" / "train").is_dir():  # training has begun
            time.sleep(0.1)
        shutil.move(drive, tmp_path / "gone")
        drive.write_text("a Drive that is not there")

    threading.Thread(target=vanish, daemon=True).start()
    said, _ = execute(drive, tmp_path / "work", monkeypatch, num_steps=8)
    assert "ckpt-5 is not whole" in said and f"Going on from step 4, copied from {copies / 'ckpt-4'}" in said
    assert "step 8 (eval" in said and f"step 8 could not be copied to {copies}" in said and "Drive failed" in said


def test_a_folder_without_the_zips_is_told_what_belongs_there(tmp_path):
    from conftest import run

    said = run("dataset_tools/copy_widerface.py", "--from_dir", tmp_path, "--to_dir", tmp_path / "to", code=1)
    assert "lacks WIDER_train.zip, WIDER_val.zip, wider_face_split.zip" in said


@pytest.fixture
def cell(tmp_path, monkeypatch):
    """A function that runs one of the notebook's cells as in an empty folder and returns the names it sets; further names are set before."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setenv("FACEDET_DRIVE", str(tmp_path))
    monkeypatch.setenv("FACEDET_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("FACEDET_VENV", sys.prefix)
    cells, names = nbformat.read(NOTEBOOK, as_version=4).cells, {}

    def execute(number: int, **given) -> dict:
        names.update(given)
        exec(cells[number].source, names)
        return names

    return execute


def test_the_notebook_shows_what_is_said_while_it_is_said(cell, capsys):
    call = cell(SETTINGS)["call"]
    call(sys.executable, "-c", "import sys; print('first'); print('second', file=sys.stderr)")
    assert capsys.readouterr().out.endswith("first\nsecond\n")


@pytest.mark.parametrize("asked", [False, True])
def test_the_project_is_cloned_from_an_address_that_is_set_or_asked_for(cell, tmp_path, capfd, asked):
    source = tmp_path / "source"
    for file, text in {
        "configs/any.config": "",
        "Makefile": "env:\n",
        "requirements-gpu.txt": "",
        "scripts/doctor.py": "import pathlib; print('doctor of', pathlib.Path.cwd())",
    }.items():
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        (source / file).write_text(text)
    git = ["git", "-C", str(source), "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "all"]):
        subprocess.run([*git, *command], check=True)
    cell(SETTINGS)
    address = source.as_uri()
    cell(ENVIRONMENT, **{"input": lambda prompt: f" {address} "} if asked else {"REPOSITORY": address})
    project = tmp_path / "work" / "facedet"
    assert (project / "configs" / "any.config").is_file() and f"doctor of {project}" in capfd.readouterr().out


def test_no_address_is_told_where_it_belongs(cell, tmp_path):
    cell(SETTINGS)
    with pytest.raises(SystemExit, match="No address: write it into REPOSITORY in the first cell"):
        cell(ENVIRONMENT, input=lambda prompt: " ")
    assert not list((tmp_path / "work").iterdir())


def nvidia_smi(folder: pathlib.Path, code: int) -> pathlib.Path:
    """The folder, with a driver's program that ends with `code`."""
    folder.mkdir()
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\nexit {code}\n")
    (folder / "nvidia-smi").chmod(0o755)
    return folder


@pytest.mark.parametrize(("code", "wanted"), [(0, True), (9, False), (None, False)])  # 9: the driver does not answer
def test_packages_for_the_gpu_are_installed_where_nvidia_smi_answers(cell, tmp_path, monkeypatch, code, wanted):
    (tmp_path / "configs").mkdir()
    monkeypatch.setenv("PATH", "" if code is None else str(nvidia_smi(tmp_path / "driver", code)))
    cell(SETTINGS)
    commands, python = [], str(pathlib.Path(sys.prefix) / "bin" / "python")
    cell(ENVIRONMENT, call=lambda *command: commands.append([str(part) for part in command]))
    assert commands[0][:2] == ["make", "env"] and commands[-1] == [python, "scripts/doctor.py"]
    assert [command[:4] for command in commands if "requirements-gpu.txt" in command] == [[python, "-m", "pip", "install"]] * wanted


@pytest.mark.parametrize("uv_finds_a_python", [True, False])
def test_the_environment_is_made_by_uv_or_without_it(tmp_path, monkeypatch, uv_finds_a_python):
    project, work = tmp_path / "project", tmp_path / "work"
    for folder in ("configs", "scripts"):
        (project / folder).mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", project)
    for name in ("requirements.txt", "requirements-gpu.txt"):
        (project / name).write_text("# none: they are installed by the other tests\n")
    monkeypatch.setenv("PATH", str(nvidia_smi(tmp_path / "driver", 0)), prepend=os.pathsep)
    (project / "scripts" / "doctor.py").write_text("import sys; print(sys.prefix, sys.version_info[:2] in ((3, 11), (3, 12)))")
    monkeypatch.setenv("FACEDET_DRIVE", str(tmp_path))
    monkeypatch.setenv("FACEDET_WORK", str(work))
    monkeypatch.delenv("FACEDET_VENV", raising=False)
    if not uv_finds_a_python:
        monkeypatch.setenv("UV_PYTHON_PREFERENCE", "only-managed")
        monkeypatch.setenv("UV_OFFLINE", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells = notebook.cells[: ENVIRONMENT + 1]
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(project)}}).execute()
    said = "".join(output.get("text", "") for output in notebook.cells[ENVIRONMENT].outputs)
    assert f"{work / 'venv'} True" in said
    assert ("A Python of this machine is tried." in said) is not uv_finds_a_python
    assert "uv = " in (work / "venv" / "pyvenv.cfg").read_text() or not uv_finds_a_python
