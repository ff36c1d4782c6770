"""Train and evaluate a pipeline config in one process: resumable, quantization-aware, with checkpoints that are always whole."""

import dataclasses
import functools
import math
import pathlib
import signal
import sys
import time
from collections.abc import Sequence

import tensorflow as tf
from tqdm import tqdm

from facedet.data import records
from facedet.data.places import place
from facedet.evaluation import protocol, validation
from facedet.evaluation.checkpoint_detector import CheckpointDetector
from facedet.recipe import pipeline_config
from facedet.recipe.recipe import Recipe
from facedet.training import precision, run_record, step, stop_signals, workers
from facedet.training.learner import Learner
from facedet.training.pace import Pace
from facedet.training.pictures import TrainingPictures
from facedet.training.saves import Saves
from facedet.training.strategy import Devices

BEST_METRIC = ("WiderFace/medium", "WiderFace/all")  # the first that is there


class NotFiniteError(RuntimeError):
    """The loss became infinite or no number; the message names step and pictures."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When to stop, save and evaluate, in steps; 0 leaves out. eval_sample: evaluate one of so many pictures."""

    num_steps: int
    save_every: int = 200
    evaluate_every: int = 1000
    eval_sample: int = 1
    eval_train_sample: int = 0


class Trainer:
    """One training run in `model_dir`; a run that is there already is gone on with.

    commands: those that made this run, for its record.
    devices: what it trains on; the recipe's batch is that of all replicas together.
    Of several workers all restore and learn the same; the chief alone writes and evaluates, while the others wait.
    Raises ConfigError, RecordsError, CheckpointError, WorkerLostError before anything long begins.
    """

    def __init__(self, recipe: Recipe, model_dir: str, say=functools.partial(print, flush=True), commands: Sequence[str] = (),
                 devices: Devices | None = None):  # fmt: skip
        self.recipe, self.model_dir, self.say, self.commands = recipe, place(model_dir), say, list(commands)
        self.devices = devices or Devices()
        self.devices.check(recipe)
        precision.check(self.devices.precision, recipe)
        train_paths, self.eval_paths = pipeline_config.check_data(recipe)
        with self._lost_worker_named():
            self.learner = Learner(recipe, self.devices, say)
            self.saves = Saves(self.learner, self.model_dir, self._write_record, say)
            self.learner.keep_frozen_ranges()
            self._require_agreement()
        facts = self._facts(train_paths)
        self.pictures = TrainingPictures(train_paths, recipe, self.devices, facts["train_pictures"], say)
        self.record = run_record.RunRecord(self.model_dir, facts)

    def train(self, schedule: Schedule) -> dict:
        """Trains up to schedule.num_steps and returns the last metrics ({} where nothing was evaluated).

        The last step is always saved; so is the step under way when the process is told to stop (SIGTERM, Ctrl-C), which then
        ends by SystemExit. A loss that is not finite raises NotFiniteError and saves nothing. Pictures that cannot be decoded are
        named and left out; more of them than pictures.UNDECODABLE_SHARE, and damaged records, raise RecordsError after a save. A
        full disk raises CheckpointError, another worker that is gone WorkerLostError; one that is told to stop stops all after the step.
        """
        learner, saves = self.learner, self.saves
        metrics: dict = {}
        if learner.reached >= schedule.num_steps:
            self.say(f"Nothing to train: step {learner.reached} of {schedule.num_steps} is reached.")
            return metrics
        if chief := self.devices.chief:
            self.model_dir.mkdir(parents=True, exist_ok=True)
            saves.remove_halves()
            _write_config(self.recipe, self.model_dir)
        writer = tf.summary.create_file_writer(str(self.model_dir / "train")) if chief else tf.summary.create_noop_writer()
        dataset = self.pictures.dataset()
        batches = iter(dataset)
        forward, train_step, stopping, pace = None, None, False, Pace(self.recipe.training.batch_size, schedule.num_steps)
        shown = {"unit": "step", "desc": "train", "mininterval": 2, "file": sys.stderr, "disable": not chief}
        progress = tqdm(total=schedule.num_steps, initial=learner.reached, **shown)
        with progress, saves.full_disk_named(), stop_signals.stop_signals() as stop, writer.as_default():
            while learner.reached < schedule.num_steps and not stopping:
                if forward != learner.forward:
                    if learner.quantizing:
                        self.say(f"step {learner.reached}: fake quantization is on (graph_rewriter.quantization.delay: {learner.delay}).")
                    forward = learner.forward
                    train_step = step.build(learner, forward, dataset.element_spec)
                    pace.interrupted()
                rate = learner.learning_rate()
                batch = self._next(batches)
                with self._lost_worker_named():
                    losses, stopping = train_step(batch, bool(stop))
                    losses = {name: float(value) for name, value in losses.items()}
                reached = learner.reached
                self._require_finite(losses, reached, batch)
                progress.update()
                if (estimate := pace.after(reached)) and chief:
                    progress.clear()
                    self.say(f"step {reached}: {estimate}")
                if reached % 10 == 0:
                    speed = pace.images_per_second(10)
                    progress.set_postfix_str(f"loss {losses['Loss/total_loss']:.3f}, {speed:.1f} img/s, rate {rate:.5f}")
                    for name, value in {**losses, "learning_rate": rate, "images_per_second": speed}.items():
                        tf.summary.scalar(name, value, reached)
                if schedule.save_every and reached % schedule.save_every == 0:
                    saves.save()
                last = reached >= schedule.num_steps
                if self.eval_paths and (last or (schedule.evaluate_every and reached % schedule.evaluate_every == 0)):
                    saves.save()
                    metrics = self.evaluate(schedule) if chief else {}
                    pace.interrupted()
            saves.save()
            with self._lost_worker_named():
                workers.wait_for_all(self.devices.strategy, self.devices.place)
        if stop or stopping:
            by = stop[0] if stop else signal.SIGTERM
            whom = "" if stop else ", which another worker received,"
            self.say(f"Stopped by {by.name}{whom} at step {learner.reached}; saved. The same command goes on from here.")
            raise SystemExit(128 + by.value)
        return metrics

    def evaluate(self, schedule: Schedule) -> dict:
        """Scores the (averaged) weights on the evaluation records; keeps the checkpoint where it is the best so far."""
        learner, begin = self.learner, time.perf_counter()
        quantized = bool(learner.quantized.numpy())
        detector = CheckpointDetector(*learner.averaged(), quantized, protocol.LEAST_SCORE)
        metrics = self._score(detector, self.eval_paths, schedule.eval_sample, "eval")
        if schedule.eval_train_sample:
            self._score(detector, self.pictures.paths, schedule.eval_train_sample, "eval_train")
        if quantized or learner.delay is None:  # what was never rounded cannot be compared with what is
            self.saves.keep_if_best(next((metrics[name] for name in BEST_METRIC if name in metrics), -1.0))
        if self.devices.place.count > 1:
            self.say(f"step {learner.reached}: the evaluation took {time.perf_counter() - begin:.0f} s, in which the other workers waited.")
        return metrics

    def _next(self, batches):
        try:
            return next(batches)
        except tf.errors.OpError as error:
            self.saves.save()
            self.pictures.explain(error, self.learner.reached, self.saves.newest)
            raise

    def _require_agreement(self) -> None:
        learner = self.learner
        weights = b"".join(variable.numpy().tobytes() for variable in (*learner.weights.values(), *learner.average.values()))
        begun = {
            "config": self.recipe.text.encode(),
            "precision": self.devices.precision.encode(),
            "step to go on from": b"%d" % learner.reached,
            "weights to begin with": weights,
        }
        workers.require_agreement(self.devices.strategy, self.devices.place, begun)

    def _lost_worker_named(self):
        return workers.loss_named(self.devices.place, lambda: f"{self.saves.newest or 'No checkpoint'} is whole.")

    def _facts(self, train_paths) -> dict:
        split = records.check_shards(train_paths)
        started_from = self.recipe.training.initial_weights
        return {
            "commands": self.commands,
            "before": run_record.read(started_from) if started_from else None,
            "batch_size": self.recipe.training.batch_size,
            "started_from": started_from or "random weights",
            "train_pictures": sum(shard["examples"] for shard in split["shards"]),
            "train_faces": split["faces"]["written"],
        }

    def _write_record(self) -> None:
        self.record.write(self.learner.reached, len(self.pictures.undecodable))

    def _score(self, detector, paths, sample, name) -> dict:
        metrics, pictures = validation.validate(detector, paths, sample)
        reached = self.learner.reached
        with tf.summary.create_file_writer(str(self.model_dir / name)).as_default():
            for key, value in metrics.items():
                tf.summary.scalar(key, value, reached)
            if pictures:
                tf.summary.image("detections", validation.contact_sheet(pictures)[None], reached)
        kind = "as int8" if detector.quantize else "in float"
        line = ", ".join(f"{key} {value:.4f}" for key, value in metrics.items() if key.startswith("WiderFace") or key.endswith("/mAP"))
        self.say(f"step {reached} ({name}, {kind}): {line}")
        return metrics

    def _require_finite(self, losses: dict, reached: int, batch) -> None:
        if all(math.isfinite(value) for value in losses.values()):
            return
        local = self.devices.strategy.experimental_local_results(batch["name"])
        names = ", ".join(name.decode() for part in local for name in part.numpy())
        raise NotFiniteError(
            f"step {reached}: the loss is not finite ({losses}). Pictures of the step: {names}. The last checkpoint, "
            f"{self.saves.newest}, is from before; a lower learning rate or gradient_clipping_by_norm may help."
        )


def _write_config(recipe: Recipe, model_dir: pathlib.Path) -> None:
    temporary = model_dir / ".pipeline.config.tmp"
    temporary.write_text(recipe.text)
    temporary.replace(model_dir / "pipeline.config")
