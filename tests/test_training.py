"""A run resumes, quantizes from its delay on, saves when told to stop, survives kill -9, and stops at a loss that is not finite."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import MAIN_CONFIG, ROOT, config_text, run

from facedet import checkpoints, pipeline_config, training

import tensorflow as tf  # isort: skip

COMMAND = "scripts/model_main.py"


def arguments(config, model_dir, **flags):
    return [COMMAND, f"--pipeline_config_path={config}", f"--model_dir={model_dir}", *(f"--{key}={value}" for key, value in flags.items())]


def step_of(model_dir) -> int:
    return int(tf.train.load_checkpoint(tf.train.latest_checkpoint(str(model_dir))).get_tensor("step/.ATTRIBUTES/VARIABLE_VALUE"))


def test_trains_quantizes_saves_and_resumes(quick_config, tmp_path):
    model_dir = tmp_path / "model"
    said = run(*arguments(quick_config, model_dir, num_train_steps=6, eval_every_n=0))
    assert "Starting at step 0 from random weights" in said
    assert "step 3: fake quantization is on" in said
    assert re.search(
        r"step 6 \(eval, as int8\): WiderFace/easy [\d.]+, WiderFace/medium [\d.]+, WiderFace/hard [\d.]+, DetectionBoxes_Precision/mAP",
        said,
    )
    assert step_of(model_dir) == 6 and list(model_dir.glob("train/events*")) and list(model_dir.glob("eval/events*"))
    said = run(*arguments(quick_config, model_dir))
    assert "ckpt-6 at step 6" in said and step_of(model_dir) == 8
    said = run(*arguments(quick_config, model_dir))
    assert "Nothing to train: step 8 of 8" in said
    said = run(COMMAND, f"--pipeline_config_path={quick_config}", f"--checkpoint_dir={model_dir}", "--run_once")
    assert "WiderFace/hard" in said and "DetectionBoxes_Recall/AR@100" in said


def started(config, model_dir, **flags):
    command = [sys.executable, *arguments(config, model_dir, **flags)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )


def wait_for_checkpoint(process, model_dir: pathlib.Path, step: int):
    for _ in range(1200):
        if process.poll() is not None:
            pytest.fail(f"the run ended early:\n{process.stdout.read()[-3000:]}")
        if any(int(path.stem.split("-")[1]) >= step for path in model_dir.glob("ckpt-*.index")):
            return
        time.sleep(0.1)
    process.kill()
    pytest.fail("no checkpoint came")


def test_kill_loses_no_more_than_the_steps_since_the_last_checkpoint(quick_config, tmp_path):
    model_dir = tmp_path / "model"
    quick_config.write_text(re.sub("(num|total)_steps: 8", r"\1_steps: 4000", quick_config.read_text()))
    process = started(quick_config, model_dir, checkpoint_every_n=1, eval_every_n=0)
    wait_for_checkpoint(process, model_dir, 3)
    process.kill()
    process.wait()
    at = step_of(model_dir)  # it can be read
    assert at >= 2
    config = pipeline_config.read(str(quick_config))
    trainer = training.Trainer(config, str(model_dir), say=lambda text: None)
    assert int(trainer.step) == at


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_saves_first(quick_config, tmp_path, number):
    model_dir = tmp_path / "model"
    quick_config.write_text(re.sub("(num|total)_steps: 8", r"\1_steps: 4000", quick_config.read_text()))
    process = started(quick_config, model_dir, checkpoint_every_n=2, eval_every_n=0)
    wait_for_checkpoint(process, model_dir, 2)
    process.send_signal(number)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    stopped = re.search(rf"Stopped by {number.name} at step (\d+); saved", said)
    assert stopped and step_of(model_dir) == int(stopped.group(1))


def test_a_loss_that_is_not_finite_names_step_and_pictures(quick_config, tmp_path):
    config = pipeline_config.read(str(quick_config))
    trainer = training.Trainer(config, str(tmp_path / "model"), say=lambda text: None)
    trainer.weights["box_head_0.kernel"].assign(tf.fill(trainer.weights["box_head_0.kernel"].shape, float("nan")))
    with pytest.raises(training.NotFiniteError, match=r"step 1: .*Pictures of the step: .*sample_train.*jpg"):
        trainer.train(training.Schedule(num_steps=2))
    assert tf.train.latest_checkpoint(str(tmp_path / "model")) is None


def test_records_without_manifest_and_too_small_caps_are_refused(records_dir, tmp_path):
    config = pipeline_config.parse(config_text(records_dir, max_number_of_boxes=2), "my.config")
    with pytest.raises(pipeline_config.ConfigError, match="max_number_of_boxes: 2, but a picture of the records holds"):
        training.Trainer(config, str(tmp_path))
    config = pipeline_config.parse(config_text(tmp_path))
    with pytest.raises(pipeline_config.ConfigError, match="matches no file"):
        training.Trainer(config, str(tmp_path))


def test_fine_tuning_takes_weights_and_never_the_step(quick_config, tmp_path):
    config = pipeline_config.read(str(quick_config))
    first = training.Trainer(config, str(tmp_path / "first"), say=lambda text: None)
    first.step.assign(3)
    prefix = checkpoints.write_weights(str(tmp_path / "weights" / "ckpt-3"), first.quantizable, 3)
    config.train_config.fine_tune_checkpoint = str(tmp_path / "weights")
    config.train_config.fine_tune_checkpoint_type = "full"
    said = []
    second = training.Trainer(config, str(tmp_path / "second"), say=said.append)
    assert int(second.step) == 0
    assert f"{len(first.weights)} of {len(first.weights)} weights fit" in said[-1]
    for name, weight in first.weights.items():
        assert (second.weights[name].numpy() == weight.numpy()).all() and (second.average[name].numpy() == weight.numpy()).all()
    wrong = pipeline_config.parse(MAIN_CONFIG.read_text().replace("additional_layer_depth: 64", "additional_layer_depth: 32"))
    from facedet.checkpoint_detector import CheckpointDetector

    with pytest.raises(checkpoints.CheckpointError, match="Is it this config's"):
        CheckpointDetector.from_checkpoint(wrong, prefix)


def test_the_notebook_habit_works(quick_config, tmp_path):
    code = f"""
import sys, types; sys.path.insert(0, "scripts")
import model_main
model_main.FLAGS = types.SimpleNamespace(pipeline_config_path={str(quick_config)!r}, model_dir={str(tmp_path / "m")!r}, num_train_steps=5,
                                         checkpoint_dir=None, hparams_overrides=None)
model_main.main(None)
"""
    run("-c", code)
    assert step_of(tmp_path / "m") == 5


def test_hparams_overrides_are_refused_with_what_to_use(quick_config, tmp_path):
    said = run(*arguments(quick_config, tmp_path, hparams_overrides="x=1"), code=1)
    assert "write the values into a copy of the config" in said


def test_the_manifest_is_what_the_converter_wrote(records_dir):
    manifest = json.loads((records_dir / "manifest.json").read_text())
    assert set(manifest["splits"]) == {"train", "val"}
