"""A run resumes, quantizes from its delay on, saves when told to stop, survives kill -9, and stops at a loss that is not finite."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import types
from unittest import mock

import pytest
from conftest import BOXES_CONFIG, ROOT, config_text, run

from facedet.data import records
from facedet.recipe import pipeline_config
from facedet.recipe.recipe import Quantization
from facedet.training import pictures
from facedet.training import trainer as trainer_module
from facedet.training.trainer import NotFiniteError, Schedule, Trainer
from facedet.weights import checkpoints

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
    trainer = Trainer(config, str(model_dir), say=lambda text: None)
    assert int(trainer.learner.step) == at


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
    trainer = Trainer(config, str(tmp_path / "model"), say=lambda text: None)
    trainer.learner.weights["box_head_0.kernel"].assign(tf.fill(trainer.learner.weights["box_head_0.kernel"].shape, float("nan")))
    with pytest.raises(NotFiniteError, match=r"step 1: .*Pictures of the step: .*sample_train.*jpg"):
        trainer.train(Schedule(num_steps=2))
    assert tf.train.latest_checkpoint(str(tmp_path / "model")) is None


def quick(quick_config, model_dir, **said) -> Trainer:
    return Trainer(pipeline_config.read(str(quick_config)), str(model_dir), **{"say": lambda text: None, **said})


def scored(monkeypatch, value: float) -> None:
    monkeypatch.setattr(trainer_module.validation, "validate", lambda *arguments: ({"WiderFace/medium": value}, []))


def test_a_resumed_run_remembers_its_best_and_a_worse_one_does_not_replace_it(quick_config, tmp_path, monkeypatch):
    model_dir, schedule = tmp_path / "model", Schedule(num_steps=8)
    trainer = quick(quick_config, model_dir)
    trainer.learner.quantized.assign(True)
    for step, value in ((5, 0.8), (6, 0.3)):  # each in a process of its own
        scored(monkeypatch, value)
        trainer.learner.step.assign(step)
        trainer.saves.save()  # as train() does before it evaluates
        trainer.evaluate(schedule)
        trainer = quick(quick_config, model_dir)
        assert float(trainer.saves.best) == pytest.approx(0.8) and int(trainer.learner.step) == step
    assert checkpoints.find(str(model_dir / "best")).endswith("ckpt-5")


def test_trainer_and_reader_agree_on_what_is_quantized_whatever_the_config_in_hand_says(quick_config, tmp_path, monkeypatch):
    from facedet.evaluation.checkpoint_detector import CheckpointDetector

    scored(monkeypatch, 0.5)
    recipe, schedule, said = pipeline_config.read(str(quick_config)), Schedule(num_steps=5, evaluate_every=0), []
    trainer = quick(quick_config, tmp_path / "model", say=said.append)

    def agree(step: int, kind: str, other_delay: int) -> None:
        assert f"step {step} (eval, {kind})" in said[-1]
        other = dataclasses.replace(recipe, quantization=Quantization(other_delay))
        assert CheckpointDetector.from_checkpoint(other, str(tmp_path / "model")).quantize == (kind == "as int8")

    trainer.learner.step.assign(4)  # the delay: the step after it is the first with fake quantization
    trainer.saves.save()
    trainer.evaluate(schedule)
    agree(4, "in float", other_delay=0)
    trainer.train(schedule)
    agree(5, "as int8", other_delay=7)


def test_a_run_from_before_the_mark_is_gone_on_with(quick_config, tmp_path):
    trainer = quick(quick_config, tmp_path / "model")
    trainer.learner.step.assign(6)
    state = {
        "weights": trainer.learner.weights,
        "optimizer": trainer.learner.optimizer,
        "step": trainer.learner.step,
        "average": trainer.learner.average,
    }
    before = tf.train.Checkpoint(**state, best=trainer.saves.best)
    tf.train.CheckpointManager(before, str(tmp_path / "model"), 1, checkpoint_name="ckpt").save(checkpoint_number=6)
    resumed = quick(quick_config, tmp_path / "model")
    assert int(resumed.learner.step) == 6 and bool(resumed.learner.quantized)


def test_a_trainer_can_save_before_it_trains(quick_config, tmp_path):
    quick(quick_config, tmp_path / "model").saves.save()
    assert step_of(tmp_path / "model") == 0 and (tmp_path / "model" / "training.json").is_file()


def test_a_damaged_newest_checkpoint_is_named_and_the_older_one_gone_on_from(quick_config, tmp_path):
    model_dir, said = tmp_path / "model", []
    trainer = quick(quick_config, model_dir)
    for step in (1, 2):
        trainer.learner.step.assign(step)
        trainer.saves.save()
    data = model_dir / "ckpt-2.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:1000])
    resumed = quick(quick_config, model_dir, say=said.append)
    assert int(resumed.learner.step) == 1 and any(re.search("ckpt-2 is damaged .*ckpt-1 is whole and is taken", text) for text in said)
    resumed.learner.step.assign(2)
    resumed.saves.save()  # in place of the damaged one
    assert checkpoints.newest_whole(str(model_dir), said.append) == str(model_dir / "ckpt-2")


def test_a_full_disk_says_what_was_needed_and_what_is_whole(quick_config, tmp_path):
    resource = pytest.importorskip("resource")
    model_dir = tmp_path / "model"
    trainer = quick(quick_config, model_dir)
    trainer.saves.save()
    trainer.learner.step.assign(1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(checkpoints.CheckpointError, match=r"disk is full at step 1. A checkpoint takes [\d.]+ MB, .*ckpt-0 is whole"):
            trainer.saves.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert step_of(model_dir) == 0 and not list(model_dir.glob("*_temp"))
    trainer.saves.save()
    assert step_of(model_dir) == 1


@pytest.fixture
def own_records(records_dir, tmp_path):
    return pathlib.Path(shutil.copytree(records_dir, tmp_path / "records"))


def broken(records: pathlib.Path, split: str, pictures: int) -> list[str]:
    """Makes the JPEGs of a split's first pictures undecodable in whole records; returns their names."""
    from tensorflow.core.example import example_pb2

    (path,) = records.glob(f"*{split}.tfrecord-00000-*")
    examples = [example_pb2.Example.FromString(e) for e in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()]
    names = []
    for example in examples[:pictures]:
        encoded = example.features.feature["image/encoded"].bytes_list.value
        encoded[0] = encoded[0][:200] + bytes(len(encoded[0]) - 200)
        names.append(example.features.feature["image/source_id"].bytes_list.value[0].decode())
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            writer.write(example.SerializeToString())
    manifest = json.loads((records / "manifest.json").read_text())
    for shard in manifest["splits"][split]["shards"]:
        shard["bytes"] = (records / shard["file"]).stat().st_size
    (records / "manifest.json").write_text(json.dumps(manifest))
    return names


def test_a_picture_that_cannot_be_decoded_is_named_and_left_out(quick_config, records_dir, own_records, tmp_path, monkeypatch):
    scored(monkeypatch, 0.5)
    (name,) = broken(own_records, "train", 1)
    quick_config.write_text(quick_config.read_text().replace(str(records_dir), str(own_records)))
    monkeypatch.setattr(pictures, "UNDECODABLE_SHARE", 0.05)
    text = re.sub("(num|total)_steps: 8", r"\1_steps: 40", quick_config.read_text().replace("delay: 4", "delay: 39"))
    quick_config.write_text(text)  # long enough for every picture to have had its turn
    said = []
    quick(quick_config, tmp_path / "model", say=said.append).train(Schedule(num_steps=38, save_every=0, evaluate_every=0))
    assert [text for text in said if name in text] == [f"{name} cannot be decoded and is left out (1 of 24 pictures so far)."]
    assert step_of(tmp_path / "model") == 38
    assert json.loads((tmp_path / "model" / "training.json").read_text())["pictures_left_out"] == 1


def test_too_many_of_them_end_the_run_with_a_checkpoint(quick_config, records_dir, own_records, tmp_path):
    names = broken(own_records, "train", 24)  # all
    quick_config.write_text(quick_config.read_text().replace(str(records_dir), str(own_records)))
    with pytest.raises(records.RecordsError, match=r"of 24 training pictures cannot be decoded, more than 1%, such as .*jpg") as told:
        quick(quick_config, tmp_path / "model").train(Schedule(num_steps=8))
    assert any(name in str(told.value) for name in names) and step_of(tmp_path / "model") == 0


def test_a_damaged_validation_shard_is_found_before_the_first_step(quick_config, records_dir, own_records, tmp_path):
    (shard,) = own_records.glob("*val.tfrecord-00000-*")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 255
    shard.write_bytes(content)
    quick_config.write_text(quick_config.read_text().replace(str(records_dir), str(own_records)))
    with pytest.raises(records.RecordsError, match=shard.name):
        quick(quick_config, tmp_path / "model")


def test_a_bug_shows_as_one(quick_config, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import model_main

    flags = types.SimpleNamespace(pipeline_config_path=str(quick_config), model_dir=str(tmp_path / "m"), num_train_steps=None,
                                  checkpoint_dir=None, hparams_overrides=None)  # fmt: skip
    monkeypatch.setattr(model_main, "FLAGS", flags)
    for error, shown in ((ValueError("deep inside"), ValueError), (checkpoints.CheckpointError("named"), SystemExit)):
        monkeypatch.setattr(trainer_module, "Trainer", mock.Mock(side_effect=error))
        with pytest.raises(shown):
            model_main.main(None)


def test_records_without_manifest_and_too_small_caps_are_refused(records_dir, tmp_path):
    config = pipeline_config.parse(config_text(records_dir, max_number_of_boxes=2), "my.config")
    with pytest.raises(pipeline_config.ConfigError, match="max_number_of_boxes: 2, but a picture of the records holds"):
        Trainer(config, str(tmp_path))
    config = pipeline_config.parse(config_text(tmp_path))
    with pytest.raises(pipeline_config.ConfigError, match="matches no file"):
        Trainer(config, str(tmp_path))


def test_fine_tuning_takes_weights_and_never_the_step(quick_config, tmp_path):
    recipe = pipeline_config.read(str(quick_config))
    first = Trainer(recipe, str(tmp_path / "first"), say=lambda text: None)
    first.learner.step.assign(3)
    prefix = checkpoints.write_weights(str(tmp_path / "weights" / "ckpt-3"), first.learner.quantizable, 3, quantized=False)
    training = dataclasses.replace(recipe.training, initial_weights=str(tmp_path / "weights"), backbone_only=False)
    said = []
    second = Trainer(dataclasses.replace(recipe, training=training), str(tmp_path / "second"), say=said.append)
    assert int(second.learner.step) == 0
    assert f"{len(first.learner.weights)} of {len(first.learner.weights)} weights fit" in said[-1]
    for name, weight in first.learner.weights.items():
        assert (second.learner.weights[name].numpy() == weight.numpy()).all() and (
            second.learner.average[name].numpy() == weight.numpy()
        ).all()
    wrong = pipeline_config.parse(BOXES_CONFIG.read_text().replace("additional_layer_depth: 64", "additional_layer_depth: 32"))
    from facedet.evaluation.checkpoint_detector import CheckpointDetector

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
