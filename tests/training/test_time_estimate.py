"""A run says once, and at once, how long it will take, from steps at their usual pace."""

import dataclasses
import io
import itertools
import os
import re
import signal
import sys
import types

import pytest
from small_network import small

from facedet.recipe import pipeline_config
from facedet.recipe.recipe import Quantization
from facedet.training import pace
from facedet.training import trainer as trainer_module
from facedet.training.trainer import Schedule, Trainer


@pytest.fixture
def recipe(records_dir):
    return pipeline_config.from_message(small(records_dir, 100_000))


class Stopped(list):
    """What a run says, which it is told to stop as soon as it has said how long it will take."""

    def append(self, text: str) -> None:
        super().append(text)
        if "img/s" in text:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_says_how_fast_it_is_and_how_long_it_will_take(recipe, tmp_path):
    said = Stopped()
    with pytest.raises(SystemExit):
        Trainer(recipe, str(tmp_path), say=said.append).train(Schedule(4000, save_every=0))
    (speed,) = [text for text in said if "img/s" in text]
    assert re.fullmatch(r"step 21: [\d.]+ img/s; about [\d.]+ \w+ for the remaining 3,979 steps, evaluations not counted.", speed)


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The trainer's, with steps that learn nothing: half a second for two pictures, a minute more for a step that is traced."""
    now = [0.0]

    def build(learner, *arguments):
        seconds = itertools.chain([60.5], itertools.repeat(0.5))

        def train_step(batch, stop):
            now[0] += next(seconds)
            learner.step.assign_add(1)
            return {"Loss/total_loss": 1.0}, stop

        return train_step

    monkeypatch.setattr(trainer_module.step, "build", build)
    for module in (trainer_module, pace):
        monkeypatch.setattr(module, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    return now


def test_the_time_is_that_of_the_remaining_steps_if_they_are_many(recipe, clock, tmp_path):
    trainer = Trainer(recipe, str(tmp_path), say=lambda text: None)
    for num_steps, about in {121: "50 seconds", 4000: "33 minutes", 40_000: "5.6 hours"}.items():
        trainer.say = (said := Stopped()).append
        trainer.learner.step.assign(0)
        with pytest.raises(SystemExit):
            trainer.train(Schedule(num_steps, save_every=0))
        assert f"step 21: 4.0 img/s; about {about} for the remaining {num_steps - 21:,} steps, evaluations not counted." in said
    trainer.say = (said := []).append
    trainer.learner.step.assign(0)
    trainer.train(Schedule(120, save_every=0))
    assert said == []


def test_it_is_said_once_though_a_later_step_is_traced_again(recipe, clock, tmp_path):
    said = []
    trainer = Trainer(dataclasses.replace(recipe, quantization=Quantization(30)), str(tmp_path), say=said.append)
    trainer.train(Schedule(160, save_every=0))
    assert [text.split(":")[0] for text in said if "img/s" in text] == ["step 21"]


def test_a_run_gone_on_with_counts_no_evaluation_and_says_it_at_once(recipe, clock, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written := io.BytesIO()))  # a pipe's, which keeps what is not flushed
    trainer = Trainer(recipe, str(tmp_path))
    trainer.learner.step.assign(990)
    trainer.eval_paths = ["one"]
    monkeypatch.setattr(trainer, "evaluate", lambda schedule: clock.__setitem__(0, clock[0] + 600))
    trainer.train(Schedule(1121, save_every=0))
    assert b"\nstep 1021: 4.0 img/s; about 50 seconds for the remaining 100 steps" in written.getvalue()
