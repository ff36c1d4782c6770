"""What the commands around an export say and refuse, without TensorFlow."""

import importlib.util
import json
import pathlib
import shutil
import sys

import numpy as np
import pytest
from conftest import ROOT, SHIPPED, run

from facedet.evaluation import protocol
from facedet.export import card


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def export(tmp_path) -> pathlib.Path:
    """A folder with the shipped int8 file and its card, which holds full figures."""
    told = json.loads((SHIPPED / "model_card.json").read_text())
    (int8,) = SHIPPED.glob("*_int8.tflite")
    folder = tmp_path / "export"
    folder.mkdir()
    shutil.copy(int8, folder)
    card.write(told, folder)
    return folder


@pytest.fixture
def some_pictures(monkeypatch):
    """Five val pictures in place of WIDER FACE."""
    from facedet.evaluation import dataset

    truth = {f"e/{n}.jpg": protocol.GroundTruth(np.asarray([[1.0, 1, 20, 20]]), np.ones((1, 3), bool)) for n in range(5)}
    monkeypatch.setattr(dataset, "load", lambda *arguments: (None, truth))
    monkeypatch.setattr(dataset, "read_picture", lambda source, name: np.full((64, 64, 3), 90, np.uint8))


@pytest.mark.parametrize("state", ["stated in words", "stated as a number"])
def test_figures_of_few_pictures_do_not_replace_those_of_many(export, some_pictures, capsys, state):
    told = card.read(export)
    if state == "stated as a number":
        told["measured"] |= {"pictures": 606, "protocol": ""}
    card.write(told, export)
    before = {path.name: path.read_bytes() for path in export.iterdir()}
    assert load("measure_export").main([str(export), "--data_dir", "x", "--limit", "3"]) == 1
    said = capsys.readouterr().err
    assert "figures of 606 pictures; those of 3 do not replace them" in said and "--limit" in said
    assert {path.name: path.read_bytes() for path in export.iterdir()} == before


def test_figures_go_into_a_card_without_any_and_replace_fewer(export, some_pictures, monkeypatch):
    command = load("measure_export")
    monkeypatch.setattr(sys, "argv", ["scripts/measure_export.py", "x"])
    told = card.read(export)
    del told["measured"]
    card.write(told, export)
    for limit in ("2", "4"):
        assert command.main([str(export), "--data_dir", "x", "--limit", limit]) == 0
        assert card.read(export)["measured"]["pictures"] == int(limit)
    assert command.main([str(export), "--data_dir", "x", "--limit", "2"]) == 1


@pytest.mark.parametrize(
    "text, said", [("{", "is damaged"), ("[]", "holds no name"), ('{"name": "x"}', "holds no files"), (None, "cannot be read")]
)
def test_a_broken_card_is_named(export, text, said, capsys):
    (export / "model_card.json").unlink() if text is None else (export / "model_card.json").write_text(text)
    assert load("measure_export").main([str(export), "--data_dir", "x"]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {export / 'model_card.json'}") and said in told


@pytest.mark.parametrize("asked, stated", [([], "0.05"), (["--score_threshold", "0.3"], "0.3")])
def test_evaluate_states_the_scores_that_were_counted(export, some_pictures, capsys, tmp_path, asked, stated):
    (int8,) = export.glob("*_int8.tflite")
    out = tmp_path / "out"
    assert load("evaluate").main(["--data_dir", "x", "--tflite", str(int8), "--output_dir", str(out), *asked]) == 0
    assert f"scores from {stated};" in capsys.readouterr().out
    assert f"scores from {stated};" in json.loads((out / "results.json").read_text())["protocol"]


def test_detectors_with_limits_of_their_own_are_told_apart():
    said = load("evaluate")._least_scores(0.02, {"one": 0.05, "other": 0.01})
    assert said == "0.05 (one), 0.02 (other)"


def test_a_card_that_cannot_be_written_stays_whole(export, monkeypatch):
    told = card.read(export)
    monkeypatch.setattr(card.os, "replace", lambda *arguments: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        card.write({**told, "step": 1}, export)
    assert card.read(export) == told and not list(export.glob(".*"))


def test_commands_let_errors_of_the_code_show():
    """A ValueError from deep inside is a bug, and shows as one."""
    for name in ("export_tflite", "evaluate", "measure_export", "check_mediapipe"):
        assert "ValueError" not in (ROOT / "scripts" / f"{name}.py").read_text(), name
    said = run("scripts/check_mediapipe.py", "--tflite", "none.tflite", "--images", "none.jpg", "--venv", pathlib.Path(sys.prefix), code=1)
    assert said.startswith("error: none.jpg is no file")
