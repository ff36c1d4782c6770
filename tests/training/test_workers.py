"""Several workers: one is lost, all stop and go on; only the chief writes; records and checkpoints anywhere TensorFlow can read."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from unittest import mock

import pytest
from cluster import tf_configs
from conftest import ROOT
from small_network import small

from facedet.errors import ConfigError
from facedet.recipe import pipeline_config
from facedet.training import strategy, workers
from facedet.training.pictures import TrainingPictures
from facedet.training.trainer import Schedule, Trainer

import tensorflow as tf  # isort: skip

SECONDS = 240  # that a busy machine may take


@pytest.fixture
def config(records_dir, tmp_path):
    path = tmp_path / "small.config"
    path.write_text(pipeline_config.from_message(small(records_dir, 100_000)).text)
    return path


def started(config, *model_dirs) -> list[subprocess.Popen]:
    """A worker for each folder, by the command that a user gives."""
    flags = [f"--pipeline_config_path={config}", "--checkpoint_every_n=1", "--eval_every_n=0"]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return [
        subprocess.Popen(
            [sys.executable, "scripts/model_main.py", *flags, f"--model_dir={folder}"],
            cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1", "TF_CONFIG": told}, **output,
        )
        for folder, told in zip(model_dirs, tf_configs(len(model_dirs)), strict=True)
    ]  # fmt: skip


def newest(folder: pathlib.Path) -> int:
    return max((int(path.stem.split("-")[1]) for path in folder.glob("ckpt-*.index")), default=-1)


def wait_for(processes, folder: pathlib.Path, step: int) -> None:
    end = time.monotonic() + SECONDS
    while newest(folder) < step:
        early = [process.stdout.read()[-3000:] for process in processes if process.poll() is not None]
        assert not early, early
        assert time.monotonic() < end, f"no checkpoint {step}"
        time.sleep(0.1)


def test_a_killed_worker_stops_the_other_and_the_same_command_resumes_both(config, tmp_path):
    chief_dir, other_dir = tmp_path / "model", tmp_path / "of the other alone"
    processes = started(config, chief_dir, other_dir)
    try:
        wait_for(processes, chief_dir, 3)
        processes[1].kill()
        said, _ = processes[0].communicate(timeout=SECONDS)
        assert processes[0].returncode == 1
        assert re.search(
            r"^error: worker 0 of 2: another worker ended .*ckpt-\d+ is whole\. Started again, all of them", said, re.MULTILINE
        )
        assert "Device: CPU" in said and "worker 0 of 2, which writes." in said
        assert not other_dir.exists()  # it wrote nothing

        at = newest(chief_dir)
        processes += started(config, chief_dir, chief_dir)
        wait_for(processes[2:], chief_dir, at + 2)
        processes[3].send_signal(signal.SIGTERM)  # one is told, all stop
        for process, words in zip(processes[2:], ("SIGTERM, which another worker received, at", "SIGTERM at"), strict=True):
            said, _ = process.communicate(timeout=SECONDS)
            assert process.returncode == 128 + signal.SIGTERM, said[-3000:]
            assert f"Going on from {chief_dir}/ckpt-{at} at step {at}" in said
            stopped = re.search(rf"Stopped by {words} step (\d+); saved", said)
            assert stopped and newest(chief_dir) == int(stopped[1]), said[-3000:]
    finally:
        for process in processes:
            process.kill()


def test_each_worker_reads_shards_of_its_own(records_dir, config, tmp_path):
    (path,) = records_dir.glob("*train.tfrecord-*")
    examples = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    halves = [str(tmp_path / f"half-{half}") for half in range(2)]
    for half, name in enumerate(halves):
        with tf.io.TFRecordWriter(name) as writer:
            for example in examples[half::2]:
                writer.write(example)
    recipe, read = pipeline_config.read(str(config)), []
    for index in range(2):
        context = tf.distribute.InputContext(2, index, 2)
        devices = mock.Mock(num_replicas=2)
        devices.strategy.distribute_datasets_from_function = lambda make, options, context=context: make(context)
        batches = TrainingPictures(halves, recipe, devices, len(examples)).dataset()
        read.append({name for batch in batches.take(len(examples) * 3) for name in batch["name"].numpy()})
    assert not read[0] & read[1] and len(read[0] | read[1]) == len(examples)


@pytest.mark.parametrize(
    "said",
    [
        None,
        "",
        "[]",
        "{}",
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": -1}}',
        '{"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a", "b"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"ps": ["a:1"], "worker": ["b:1"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
def test_what_tf_config_does_not_say_is_asked_for(monkeypatch, said):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if said is not None:
        monkeypatch.setenv("TF_CONFIG", said)
    with pytest.raises(ConfigError, match=r"--strategy multi_worker: TF_CONFIG has to name all workers.*such as \{.*it is "):
        strategy.choose("multi_worker")


def test_a_chief_comes_first(monkeypatch):
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    for kind, index, own in (("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)):
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}}))
        assert workers.place() == workers.Place(own, ("a:1", "b:1", "c:1"))


def test_records_and_checkpoints_lie_on_a_file_system_that_is_not_local(records_dir, tmp_path):
    where = f"ram://{tmp_path.name}"
    for path in records_dir.iterdir():
        with tf.io.gfile.GFile(f"{where}/records/{path.name}", "wb") as file:
            file.write(path.read_bytes())
    recipe = pipeline_config.from_message(small(f"{where}/records", 3))
    said = []
    Trainer(recipe, f"{where}/model").train(Schedule(2))
    resumed = Trainer(recipe, f"{where}/model", say=said.append)
    assert resumed.learner.reached == 2 and f"Going on from {where}/model/ckpt-2 at step 2." in said
    assert {"ckpt-2.index", "checkpoint", "training.json", "pipeline.config", "train"} <= set(tf.io.gfile.listdir(f"{where}/model"))
