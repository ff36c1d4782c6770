"""The Colab notebook from the first cell to the last, on the sample, a folder in Drive's place; then with a Drive that fails."""

import json
import pathlib
import shutil
import sys
import threading
import time

import nbclient
import nbformat
import pytest
from conftest import MAIN_CONFIG, ROOT

NOTEBOOK = ROOT / "notebooks" / "train_on_colab.ipynb"


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


def execute(drive, work, monkeypatch, num_steps) -> str:
    monkeypatch.setenv("FACEDET_DRIVE", str(drive))
    monkeypatch.setenv("FACEDET_WORK", str(work))
    monkeypatch.setenv("FACEDET_VENV", sys.prefix)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    settings = notebook.cells[2]
    assert "NUM_STEPS = None" in settings.source
    settings.source = settings.source.replace("NUM_STEPS = None", f"NUM_STEPS = {num_steps}")
    nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    assert len([cell for cell in notebook.cells if cell.cell_type == "code" and cell.execution_count]) == 8
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 4  # people look
    return "".join(output.get("text", "") for output in outputs)


def test_notebook_trains_then_goes_on_and_outlives_its_drive(drive, tmp_path, monkeypatch):
    name = MAIN_CONFIG.stem
    said = execute(drive, tmp_path / "work", monkeypatch, num_steps=4)
    copies = drive / "checkpoints" / name
    assert "starting from the beginning" in said and f"Step 4 is in {copies}" in said and "6 files are in" in said
    assert (drive / f"{name}.zip").stat().st_size > 1e6 and len(list((tmp_path / "work" / "exported" / name).glob("*.tflite"))) == 6

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
    said = execute(drive, tmp_path / "work", monkeypatch, num_steps=8)
    assert "ckpt-5 is not whole" in said and f"Going on from step 4, copied from {copies / 'ckpt-4'}" in said
    assert "step 8 (eval" in said and f"step 8 could not be copied to {copies}" in said and "Drive failed" in said


def test_a_folder_without_the_zips_is_told_what_belongs_there(tmp_path):
    from conftest import run

    said = run("dataset_tools/copy_widerface.py", "--from_dir", tmp_path, "--to_dir", tmp_path / "to", code=1)
    assert "lacks WIDER_train.zip, WIDER_val.zip, wider_face_split.zip" in said


@pytest.mark.parametrize("uv_finds_a_python", [True, False])
def test_the_environment_is_made_by_uv_or_without_it(tmp_path, monkeypatch, uv_finds_a_python):
    project, work = tmp_path / "project", tmp_path / "work"
    for folder in ("configs", "scripts"):
        (project / folder).mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", project)
    (project / "requirements.txt").write_text("# none: they are installed by the other tests\n")
    (project / "scripts" / "doctor.py").write_text("import sys; print(sys.prefix, sys.version_info[:2] in ((3, 11), (3, 12)))")
    monkeypatch.setenv("FACEDET_DRIVE", str(tmp_path))
    monkeypatch.setenv("FACEDET_WORK", str(work))
    monkeypatch.delenv("FACEDET_VENV", raising=False)
    if not uv_finds_a_python:
        monkeypatch.setenv("UV_PYTHON_PREFERENCE", "only-managed")
        monkeypatch.setenv("UV_OFFLINE", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells = notebook.cells[:5]
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(project)}}).execute()
    said = "".join(output.get("text", "") for output in notebook.cells[4].outputs)
    assert f"{work / 'venv'} True" in said
    assert ("A Python of this machine is tried." in said) is not uv_finds_a_python
    assert "uv = " in (work / "venv" / "pyvenv.cfg").read_text() or not uv_finds_a_python
