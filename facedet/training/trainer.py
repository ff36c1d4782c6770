"""Train and evaluate a pipeline config in one process: resumable, quantization-aware, with checkpoints that are always whole."""

import contextlib
import dataclasses
import math
import pathlib
import shutil
import sys
import time
from collections.abc import Sequence

import tensorflow as tf
from tqdm import tqdm

from facedet import errors, replicas
from facedet.augment import pipeline
from facedet.data import records
from facedet.data.places import place
from facedet.detectors import registry
from facedet.detectors.base import Faces
from facedet.evaluation import protocol, validation
from facedet.evaluation.checkpoint_detector import CheckpointDetector
from facedet.od_api import optimizers
from facedet.quantization.network import QuantizableNetwork
from facedet.recipe import pipeline_config
from facedet.recipe.recipe import Recipe
from facedet.training import freezing, run_record, stop_signals
from facedet.training.strategy import Devices
from facedet.training.teacher import Teacher
from facedet.weights import checkpoints

BEST_METRIC = ("WiderFace/medium", "WiderFace/all")  # the first that is there
KEPT_CHECKPOINTS = 2
UNDECODABLE_SHARE = 0.01  # of the training pictures: more that cannot be decoded end a run


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
    Raises ConfigError, RecordsError, CheckpointError before anything long begins.
    """

    def __init__(self, recipe: Recipe, model_dir: str, say=print, commands: Sequence[str] = (), devices: Devices | None = None):
        self.devices = devices or Devices()
        self.devices.check(recipe)
        self.recipe, self.model_dir, self.say, self.commands = recipe, place(model_dir), say, list(commands)
        self.train_paths, self.eval_paths = pipeline_config.check_data(recipe)
        self.delay = recipe.quantization.delay if recipe.quantization else None
        self.decay = recipe.training.moving_average_decay
        with self.devices.strategy.scope():
            self._build()
        state = {"weights": self.weights, "optimizer": self.optimizer, "step": self.step}
        if self.average:
            state["average"] = self.average
        self.best = tf.Variable(-1.0, name="best")
        self.checkpoint = tf.train.Checkpoint(**state, best=self.best, quantized=self.quantized)
        self._restore(state | {"best": self.best})
        self.last = tf.train.CheckpointManager(self.checkpoint, str(self.model_dir), KEPT_CHECKPOINTS, checkpoint_name="ckpt")
        self.best_manager = tf.train.CheckpointManager(self.checkpoint, str(self.model_dir / "best"), 1, checkpoint_name="ckpt")
        self.undecodable: set[str] = set()  # names of pictures that are left out
        self.facts = self._facts()
        self.record = run_record.RunRecord(self.model_dir, self.facts)

    def _build(self) -> None:
        """Network, optimizer and all that the steps change, in the scope of the devices."""
        training = self.recipe.training
        self.detector = registry.build(self.recipe)
        self.quantizable = QuantizableNetwork(self.detector.network, self.detector.input.range)
        self.weights = checkpoints.named_weights(self.quantizable)
        freezing.freeze(self.detector.network, training, self.say)
        self.teacher = Teacher(training.teacher, self.detector) if training.teacher else None
        self.step = replicas.variable(tf.constant(0, tf.int64), "step")
        self.optimizer, self.learning_rate = optimizers.build(training.optimizer, self.step, training.one_cycle)
        self.optimizer._create_all_weights(self.detector.network.trainable_variables)  # they are there to be restored
        self.average = {name: replicas.variable(weight.numpy()) for name, weight in self.weights.items()} if self.decay else {}
        self.quantized = replicas.variable(False, "quantized")  # whether a step was trained with fake quantization

    @property
    def reached(self) -> int:
        """The steps that are done."""
        return int(self.step.numpy())

    @property
    def quantizing(self) -> bool:
        """Whether the next step is trained with fake quantization."""
        return self.delay is not None and self.reached >= self.delay

    def train(self, schedule: Schedule) -> dict:
        """Trains up to schedule.num_steps and returns the last metrics ({} where nothing was evaluated).

        The last step is always saved; so is the step under way when the process is told to stop (SIGTERM, Ctrl-C), which then
        ends by SystemExit. A loss that is not finite raises NotFiniteError and saves nothing. Pictures that cannot be decoded are
        named and left out; more of them than UNDECODABLE_SHARE, and damaged records, raise RecordsError after a save. A full
        disk raises CheckpointError.
        """
        batch_size = self.recipe.training.batch_size
        metrics: dict = {}
        if self.reached >= schedule.num_steps:
            self.say(f"Nothing to train: step {self.reached} of {schedule.num_steps} is reached.")
            return metrics
        self.model_dir.mkdir(parents=True, exist_ok=True)
        self._remove_halves()
        _write_config(self.recipe, self.model_dir)
        writer = tf.summary.create_file_writer(str(self.model_dir / "train"))
        dataset = self.dataset()
        batches = iter(dataset)
        forward, train_step = None, None
        progress = tqdm(total=schedule.num_steps, initial=self.reached, unit="step", desc="train", mininterval=2, file=sys.stderr)
        with self._full_disk_named(), stop_signals.stop_signals() as stop, writer.as_default():
            window = time.perf_counter()
            while self.reached < schedule.num_steps and not stop:
                if forward != (wanted := self.forward()):
                    forward, train_step = wanted, self.build_step(wanted, dataset.element_spec)
                    window = time.perf_counter()
                rate = self.learning_rate()
                batch = self._next(batches)
                losses = {name: float(value) for name, value in train_step(batch).items()}
                step = self.reached
                self._require_finite(losses, step, batch)
                progress.update()
                if step % 10 == 0:
                    speed = 10 * batch_size / (time.perf_counter() - window)
                    progress.set_postfix_str(f"loss {losses['Loss/total_loss']:.3f}, {speed:.1f} img/s, rate {rate:.5f}")
                    for name, value in {**losses, "learning_rate": rate, "images_per_second": speed}.items():
                        tf.summary.scalar(name, value, step)
                    window = time.perf_counter()
                if schedule.save_every and step % schedule.save_every == 0:
                    self.save()
                last = step >= schedule.num_steps
                if self.eval_paths and (last or (schedule.evaluate_every and step % schedule.evaluate_every == 0)):
                    self.save()
                    metrics = self.evaluate(schedule)
                    window = time.perf_counter()
        progress.close()
        self.save()
        if stop:
            self.say(f"Stopped by {stop[0].name} at step {self.reached}; saved. The same command goes on from here.")
            raise SystemExit(128 + stop[0].value)
        return metrics

    def evaluate(self, schedule: Schedule) -> dict:
        """Scores the (averaged) weights on the evaluation records; keeps the checkpoint where it is the best so far."""
        with self._averaged_weights():
            detector = CheckpointDetector(self.detector, self.quantizable, bool(self.quantized.numpy()), protocol.LEAST_SCORE)
            metrics = self._score(detector, self.eval_paths, schedule.eval_sample, "eval")
            if schedule.eval_train_sample:
                self._score(detector, self.train_paths, schedule.eval_train_sample, "eval_train")
        value = next((metrics[name] for name in BEST_METRIC if name in metrics), -1.0)
        # what was never rounded cannot be compared with what is
        begun = self.delay is None or bool(self.quantized.numpy())
        if begun and value > float(self.best):
            self.best.assign(value)
            self._write(self.best_manager)
        return metrics

    def save(self) -> None:
        """Writes the checkpoint of this step, unless it is there. TensorFlow names it as newest only when it is whole.

        CheckpointError where the disk is full.
        """
        if not (self.last.latest_checkpoint or "").endswith(f"-{self.reached}"):
            self._write(self.last)

    def _write(self, manager: tf.train.CheckpointManager) -> None:
        with self._full_disk_named():
            manager.save(checkpoint_number=self.reached)
            self.record.write(self.reached, len(self.undecodable))

    @contextlib.contextmanager
    def _full_disk_named(self):
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            if not errors.is_full_disk(error):
                raise
            self._remove_halves()
            state = (*self.weights.values(), *self.average.values(), *self.optimizer.variables())
            raise checkpoints.CheckpointError(
                f"{self.model_dir}: the disk is full at step {self.reached}. A checkpoint takes "
                f"{sum(variable.numpy().nbytes for variable in state) / 1e6:.1f} MB, {shutil.disk_usage(self.model_dir).free / 1e6:.1f} MB "
                f"are free. {self.last.latest_checkpoint or 'No checkpoint'} is whole: make room, and the same command goes on."
            ) from error

    def _remove_halves(self) -> None:
        """What TensorFlow leaves of a checkpoint that it could not finish, or was killed in."""
        for half in (*self.model_dir.glob("ckpt-*_temp"), *self.model_dir.glob("best/ckpt-*_temp")):
            tf.io.gfile.rmtree(str(half))

    def _next(self, batches):
        try:
            return next(batches)
        except tf.errors.OpError as error:
            self.save()
            if self._too_many_undecodable():
                raise records.RecordsError(
                    f"step {self.reached}: {len(self.undecodable)} of {self._pictures} training pictures cannot be decoded, more than "
                    f"{UNDECODABLE_SHARE:.0%}, such as {', '.join(sorted(self.undecodable)[:3])}. The checkpoint is saved. Convert the data "
                    "set again."
                ) from error
            if isinstance(error, tf.errors.DataLossError):
                for path in self.train_paths:
                    records.read_back(path)  # names the damaged one
            raise

    def _leave_out(self, name: str) -> None:
        """Called by the input pipeline's threads."""
        if name not in self.undecodable:
            self.undecodable.add(name)
            self.say(f"{name} cannot be decoded and is left out ({len(self.undecodable)} of {self._pictures} pictures so far).")
        if self._too_many_undecodable():
            raise records.RecordsError("too many pictures cannot be decoded")

    def _too_many_undecodable(self) -> bool:
        return len(self.undecodable) > UNDECODABLE_SHARE * self._pictures

    @property
    def _pictures(self) -> int:
        return self.facts["train_pictures"]

    def _facts(self) -> dict:
        split = records.check_shards(self.train_paths)
        started_from = self.recipe.training.initial_weights
        return {
            "commands": self.commands,
            "before": run_record.read(started_from) if started_from else None,
            "batch_size": self.recipe.training.batch_size,
            "started_from": started_from or "random weights",
            "train_pictures": sum(shard["examples"] for shard in split["shards"]),
            "train_faces": split["faces"]["written"],
        }

    def _score(self, detector, paths, sample, name) -> dict:
        metrics, pictures = validation.validate(detector, paths, sample)
        step = self.reached
        with tf.summary.create_file_writer(str(self.model_dir / name)).as_default():
            for key, value in metrics.items():
                tf.summary.scalar(key, value, step)
            if pictures:
                tf.summary.image("detections", validation.contact_sheet(pictures)[None], step)
        kind = "as int8" if detector.quantize else "in float"
        line = ", ".join(f"{key} {value:.4f}" for key, value in metrics.items() if key.startswith("WiderFace") or key.endswith("/mAP"))
        self.say(f"step {step} ({name}, {kind}): {line}")
        return metrics

    def forward(self):
        """What the network computes at this step: float while its ranges are collected, then as it will be quantized."""
        if self.delay is None:
            return self.detector.network
        return self.quantizable.simulate if self.quantizing else self.quantizable.observe

    def dataset(self):
        """The endless batches, a part for each replica."""
        size = self.recipe.training.batch_size // self.devices.num_replicas

        def read(_context: tf.distribute.InputContext) -> tf.data.Dataset:
            return pipeline.dataset(self.train_paths, self.recipe.augmentation, self.detector.input, size, on_undecodable=self._leave_out)

        # names have no place on a GPU: what a step takes goes there when it takes it
        options = tf.distribute.InputOptions(experimental_fetch_to_device=False)
        return self.devices.strategy.distribute_datasets_from_function(read, options)

    def build_step(self, forward, batch_spec):
        """The traced training step: batch -> {name of a loss: value}, of the global batch; it applies the gradients and counts the step."""
        quantizing = forward == self.quantizable.simulate
        if quantizing:
            self.say(f"step {self.reached}: fake quantization is on (graph_rewriter.quantization.delay: {self.delay}).")
        training, detector = self.recipe.training, self.detector
        variables, devices = detector.network.trainable_variables, self.devices

        def replica_step(batch):
            """The losses divide by what the global batch holds: their sums over the replicas, and the gradients', are one device's."""
            faces = _faces(batch, training.batch_size // devices.num_replicas)
            with tf.GradientTape() as tape:
                images = detector.input.normalize(batch[pipeline.IMAGE])
                outputs = forward(images, training=not training.freeze_batch_norm)
                losses = detector.losses(outputs, faces)
                if self.teacher:
                    losses |= self.teacher.losses(images, outputs)
                if self.recipe.loss.regularization and detector.network.losses:
                    losses["Loss/regularization_loss"] = tf.add_n(detector.network.losses) / devices.num_replicas
                losses["Loss/total_loss"] = tf.add_n(list(losses.values()))
            gradients = replicas.total(tape.gradient(losses["Loss/total_loss"], variables))
            losses = dict(zip(losses, tf.unstack(replicas.total(tf.stack(list(losses.values())))), strict=True))
            if training.gradient_clipping > 0:
                gradients, losses["gradient_norm"] = tf.clip_by_global_norm(gradients, training.gradient_clipping)
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True), experimental_aggregate_gradients=False)
            self.step.assign_add(1)
            if quantizing:
                self.quantized.assign(True)
            if self.average:
                count = tf.cast(self.step, tf.float32)
                decay = tf.minimum(self.decay, (1.0 + count) / (10.0 + count))
                for name, averaged in self.average.items():
                    averaged.assign_sub((1.0 - decay) * (averaged - self.weights[name]))
            return losses

        @tf.function(input_signature=[batch_spec])  # one trace, however many faces a batch holds
        def train_step(batch):
            return {name: devices.strategy.experimental_local_results(value)[0] for name, value in run(batch).items()}

        def run(batch):
            return devices.strategy.run(replica_step, args=(batch,))

        return train_step

    @contextlib.contextmanager
    def _averaged_weights(self):
        """The network holds the averaged weights inside of this, its own again afterwards."""
        own = {name: self.weights[name].numpy() for name in self.average}
        for name, averaged in self.average.items():
            self.weights[name].assign(averaged)
        try:
            yield
        finally:
            for name, value in own.items():
                self.weights[name].assign(value)

    def _require_finite(self, losses: dict, step: int, batch) -> None:
        if all(math.isfinite(value) for value in losses.values()):
            return
        local = self.devices.strategy.experimental_local_results(batch["name"])
        names = ", ".join(name.decode() for part in local for name in part.numpy())
        raise NotFiniteError(
            f"step {step}: the loss is not finite ({losses}). Pictures of the step: {names}. The last checkpoint, "
            f"{self.last.latest_checkpoint}, is from before; a lower learning rate or gradient_clipping_by_norm may help."
        )

    def _restore(self, unmarked: dict) -> None:
        """unmarked: what a checkpoint holds that is from before it stored whether it is quantized."""
        newest = checkpoints.newest_whole(self.model_dir, self.say)
        if newest:
            quantized = checkpoints.quantized(newest)
            checkpoint = self.checkpoint if quantized is not None else tf.train.Checkpoint(**unmarked)
            try:
                checkpoint.restore(newest).assert_existing_objects_matched()
            except (AssertionError, ValueError) as error:  # a weight is missing, or has another shape
                message = f"{newest} is of another config; name another --model_dir. ({str(error)[:300]})"
                raise checkpoints.CheckpointError(message) from error
            if quantized is None:
                self.quantized.assign(self.delay is not None and self.reached > self.delay)
            # the last checkpoint is from before its evaluation: only the best one knows its value
            best = checkpoints.newest_whole(self.model_dir / "best", self.say)
            self.best.assign(checkpoints.best_value(best) if best else -1.0)
            checkpoints.note_as_newest(newest)
            self.say(f"Going on from {newest} at step {self.reached}.")
            return
        source = self.recipe.training.initial_weights
        if not source:
            self.say("Starting at step 0 from random weights.")
        elif source == "imagenet" or source.endswith(".npz"):
            self.say(f"Starting at step 0 from {source}: {self.detector.initialize(source)} layers set.")
        else:
            taken, wanted = checkpoints.fine_tune(source, self.quantizable, self.recipe.training.backbone_only)
            self.say(f"Starting at step 0 from {source}: {taken} of {wanted} weights fit.")
        for name, averaged in self.average.items():
            averaged.assign(self.weights[name])


def _faces(batch: dict, batch_size: int) -> Faces:
    """The faces of a batch of the input pipeline, without its padding."""
    counts = tf.unstack(batch["num_boxes"], batch_size)
    keys = (pipeline.BOXES, pipeline.WEIGHTS, pipeline.POINTS)
    return Faces(*([batch[key][i, :count] for i, count in enumerate(counts)] for key in keys))


def _write_config(recipe: Recipe, model_dir: pathlib.Path) -> None:
    temporary = model_dir / ".pipeline.config.tmp"
    temporary.write_text(recipe.text)
    temporary.replace(model_dir / "pipeline.config")
