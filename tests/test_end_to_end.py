"""The whole path by the README's commands, on the embedded sample; and the tools beside it."""

import json
import re

import cv2
import numpy as np
import pytest
from conftest import MAIN_CONFIG, ROOT, SHIPPED, config_text, run


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


def test_widerface_to_found_faces(work):
    """Sample, convert, train through the delay from the shipped checkpoint, export, evaluate, detect: faces are found by int8."""
    run("dataset_tools/make_sample_dataset.py", "--output_dir", work / "sample", "--num_train", "24", "--num_val", "10")
    said = run("dataset_tools/create_widerface_tf_record.py", "--data_dir", work / "sample", "--output_dir", work / "records")
    assert "= stated" in said
    config = work / MAIN_CONFIG.name
    text = config_text(work / "records", batch_size=4, num_steps=6, total_steps=6, warmup_steps=2, delay=3, learning_rate_base=0.00005, warmup_learning_rate=0.00001)
    text = text.replace('fine_tune_checkpoint: "imagenet"', f'fine_tune_checkpoint: "{SHIPPED / "checkpoint"}"')
    config.write_text(text.replace('type: "classification"', 'type: "full"'))
    said = run("scripts/model_main.py", f"--pipeline_config_path={config}", f"--model_dir={work / 'model'}")
    assert "397 of 397 weights fit" in said and "fake quantization is on" in said
    hard = float(re.findall(r"WiderFace/hard ([\d.]+)", said)[-1])
    assert hard > 0.3  # nothing is forgotten by fine-tuning
    said = run(
        "scripts/export_tflite.py",
        "--pipeline_config_path",
        config,
        "--checkpoint_dir",
        work / "model",
        "--output_dir",
        work / "out",
        "--parity_images",
        "6",
    )
    assert "quantization-aware training" in said and "6 files are in" in said
    (int8,) = (work / "out").glob("*_int8.tflite")
    run("scripts/evaluate.py", "--data_dir", work / "sample", "--tflite", int8, "--output_dir", work / "evaluation")
    results = json.loads((work / "evaluation" / "results.json").read_text())
    ap = results["detectors"][int8.stem]["average_precision"]
    assert ap["easy"] > 0.5 and ap["easy"] + 0.05 >= ap["medium"] >= ap["hard"] - 0.05 and "stretched to 224x224" in results["protocol"]
    assert len(list((work / "evaluation" / int8.stem).rglob("*.txt"))) == 10 and (work / "evaluation" / "precision_recall.png").is_file()
    said = run(
        "scripts/evaluate.py",
        "--data_dir",
        work / "sample",
        "--pipeline_config_path",
        config,
        "--checkpoint_dir",
        work / "model",
        "--limit",
        "4",
    )
    assert "checkpoint_6" in said
    pictures = work / "sample" / "WIDER_val" / "images"
    run("scripts/detect.py", "--tflite", int8, "--output_dir", work / "found", pictures)
    found = [json.loads(path.read_text()) for path in (work / "found").rglob("*.json")]
    assert len(found) == 10 and sum(len(each["scores"]) for each in found) >= 5
    assert len(list((work / "found").rglob("*.found.png"))) == 10


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
    from facedet import pipeline_config

    pipeline_config.parse(text[: text.index("    anchor_generator {")] + ladder + text[text.index("    post_processing {") :])


def test_doctor():
    said = run("scripts/doctor.py")
    assert "ok    Python" in said and "Nothing is wrong" in said
    said = run("scripts/doctor.py", "--data_dir", ROOT / "nowhere", code=1)
    assert "WRONG data" in said and "WIDER FACE page" in said
