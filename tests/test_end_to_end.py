"""The whole path by the README's commands, on the embedded sample; and the tools beside it."""

import json
import re

import cv2
import numpy as np
import pytest
from conftest import MAIN_CONFIG, ROOT, SHIPPED, run


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def demo(work):
    """What `make demo` leaves, with fewer steps."""
    said = run("scripts/demo.py", "--output_dir", work / "demo", "--num_steps", "10")
    return work / "demo", said


def test_demo_goes_from_widerface_to_found_faces(demo):
    """Sample, convert, train through the delay from the shipped checkpoint, export, evaluate, detect."""
    directory, said = demo
    assert "= stated" in said and re.search(r"(\d+) of \1 weights fit", said) and "step 6: fake quantization is on" in said
    assert "quantization-aware training" in said and "9 files are in" in said
    assert "deprecat" not in said.lower()  # of what the libraries do among themselves
    hard = float(re.findall(r"WiderFace/hard ([\d.]+)", said)[-1])
    assert hard > 0.3  # nothing is forgotten by fine-tuning
    results = json.loads((directory / "evaluation" / "results.json").read_text())
    assert len(results["detectors"]) == 2 and "stretched to 224x224" in results["protocol"]
    for label, result in results["detectors"].items():
        assert result["average_precision"]["easy"] > 0.5, label
        assert len(list((directory / "evaluation" / label).rglob("*.txt"))) == 40
    assert (directory / "evaluation" / "precision_recall.png").is_file()
    found = [json.loads(path.read_text()) for path in (directory / "found").rglob("*.json")]
    assert len(found) == 12 and sum(len(each["scores"]) for each in found) >= 10
    assert (directory / "found.png").stat().st_size > 50000 and "| int8" in (directory / "report.md").read_text()


def test_a_checkpoint_is_evaluated_as_its_int8_file_is(demo, work):
    directory, _ = demo
    (config,) = directory.glob("*.config")
    run("scripts/evaluate.py", "--data_dir", directory / "sample", "--pipeline_config_path", config, "--checkpoint_dir", directory / "model",
        "--output_dir", work / "checkpoint")  # fmt: skip
    (checkpoint,) = json.loads((work / "checkpoint" / "results.json").read_text())["detectors"].values()
    exported = json.loads((directory / "evaluation" / "results.json").read_text())["detectors"]
    (int8,) = [result for label, result in exported.items() if label.endswith("_int8")]
    for subset, value in checkpoint["average_precision"].items():
        assert abs(value - int8["average_precision"][subset]) < 0.03


def test_an_export_brings_its_checkpoint_and_what_training_took(demo):
    exported = demo[0] / "exported"
    card = json.loads((exported / "model_card.json").read_text())
    told = json.loads((exported / "checkpoint" / "training.json").read_text())
    assert told == card["training"] and told["steps"] == 10 and told["cpu_minutes"] > 0 and told["train_pictures"] > 0
    assert f"ckpt-{card['step']}.index" in {path.name for path in (exported / "checkpoint").iterdir()}
    assert 50e6 < card["multiply_adds"] < 1e9 and "Trained on" in (exported / "model_card.md").read_text()


def test_the_card_holds_the_commands_that_made_it(demo):
    """The demo's own, and before them those of the shipped detector that it starts from."""
    card = json.loads((demo[0] / "exported" / "model_card.json").read_text())
    shipped = json.loads((SHIPPED / "model_card.json").read_text())
    assert card["training"]["before"] == shipped["training"] and "model_main.py" in card["training"]["commands"][-1]
    text = (demo[0] / "exported" / "model_card.md").read_text()
    commands = text[text.index("## How it was made") :].split("```")[1].splitlines()
    wanted = [*shipped["training"]["commands"], *card["training"]["commands"], card["export"]["command"]]
    assert [line for line in commands if line in wanted] == wanted and wanted[-1].startswith("python scripts/export_tflite.py")


def test_measured_figures_go_into_the_card(demo):
    exported = demo[0] / "exported"
    (config,) = demo[0].glob("*.config")
    run("scripts/measure_export.py", exported, "--data_dir", demo[0] / "sample", "--limit", "8", "--pipeline_config_path", config)
    measured = json.loads((exported / "model_card.json").read_text(), parse_constant=pytest.fail)["measured"]
    assert set(measured["accuracy"]) == {"checkpoint in float", *measured["latency"]} and len(measured["latency"]) == 9
    assert measured["accuracy"]["int8"]["average_precision"]["easy"] > 0.5
    assert measured["accuracy"]["checkpoint in float"] == measured["accuracy"]["float32"] != measured["accuracy"]["int8"]
    for subset in ("easy", "medium"):  # it was taught upright faces
        turned = measured["recall_by_rotation"][subset]
        assert turned["0"] > max(turned["60"], turned["90"])
    assert all(0 < row["wall_ms_p50"] <= row["wall_ms_p95"] for row in measured["latency"].values())
    text = (exported / "model_card.md").read_text()
    assert all(heading in text for heading in ("## Accuracy", "## Latency", "turned by so many degrees"))


def test_benchmark_compares_files_and_threads(work):
    (int8,) = SHIPPED.glob("*_int8.tflite")
    said = run("scripts/benchmark.py", int8, "--threads", "1", "2", "--rounds", "2", "--output", work / "benchmark.json")
    rows = json.loads((work / "benchmark.json").read_text())["rows"]
    assert [row["threads"] for row in rows] == [1, 2] and rows[0]["cpu_ratio"] == 1
    assert all(row["bytes"] == int8.stat().st_size and row["memory_bytes"] > row["bytes"] and row["wall_ms_p50"] > 0 for row in rows)
    assert "2 threads" in said
    assert "does not exist" in run("scripts/benchmark.py", work / "nothing.tflite", code=1)


def test_video(work):
    from skimage import data

    frame = cv2.cvtColor(cv2.resize(data.astronaut(), (320, 320)), cv2.COLOR_RGB2BGR)
    film = cv2.VideoWriter(str(work / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 320))
    for shift in range(5):
        film.write(np.roll(frame, 4 * shift, axis=1))
    film.release()
    (int8,) = SHIPPED.glob("*_int8.tflite")
    run("scripts/detect.py", "--tflite", int8, "--output_dir", work / "video", work / "film.avi")
    found = json.loads((work / "video" / "film.avi.json").read_text())
    assert len(found["frames"]) == 5 and sum(len(f["scores"]) == 1 for f in found["frames"]) >= 4
    assert (work / "video" / "film.avi.found.mp4").stat().st_size > 1000


def test_bad_inputs_are_named_and_the_rest_is_done(work):
    (int8,) = SHIPPED.glob("*_int8.tflite")
    (work / "broken.jpg").write_bytes(b"nothing")
    from PIL import Image

    Image.new("RGB", (50, 40)).save(work / "fine.png")
    said = run("scripts/detect.py", "--tflite", int8, "--output_dir", work / "some", work / "broken.jpg", work / "fine.png", code=1)
    assert "error: " in said and "broken.jpg" in said and (work / "some" / "fine.png.json").is_file()
    said = run("scripts/evaluate.py", "--data_dir", work / "nowhere", "--tflite", int8, code=1)
    assert "has to hold WIDER FACE" in said


def test_inspect_and_tune(records_dir, work):
    said = run(
        "dataset_tools/inspect_tf_record.py", "--records", records_dir / "widerface_train.tfrecord-*", "--contact_sheet", work / "sheet.png"
    )
    assert "checksums right" in said and (work / "sheet.png").stat().st_size > 10000
    said = run("dataset_tools/tune_anchors.py", "--pipeline_config_path", MAIN_CONFIG, "--records", records_dir / "widerface_val.tfrecord-*",
               "--plot", work / "coverage.png")  # fmt: skip
    assert "| Easy" in said and "11,564 anchors" in said and (work / "coverage.png").is_file()
    ladder = said[said.index("anchor_generator {") :]
    text = MAIN_CONFIG.read_text()
    from facedet.recipe import pipeline_config

    pipeline_config.parse(text[: text.index("    anchor_generator {")] + ladder + text[text.index("    post_processing {") :])


def test_doctor():
    said = run("scripts/doctor.py")
    assert "ok    Python" in said and "Nothing is wrong" in said
    said = run("scripts/doctor.py", "--data_dir", ROOT / "nowhere", code=1)
    assert "WRONG data" in said and "WIDER FACE page" in said
