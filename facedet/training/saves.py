"""The checkpoints of a run: the newest ones and the best, always whole, also where the disk is full or the process is killed."""

import contextlib
import shutil

import tensorflow as tf

from facedet import errors
from facedet.data.places import place
from facedet.training.learner import Learner
from facedet.weights import checkpoints

KEPT = 2


class Saves:
    """Those of a learner in `model_dir`. Where the folder holds one, the learner goes on from it, else from its recipe's initial weights.

    Of several workers all read them, and the chief alone writes; what saves is nothing for the others.
    written: called after each checkpoint.
    best: the highest value that was kept.
    Raises CheckpointError where the folder's checkpoints are of another config, or none of them is whole.
    """

    def __init__(self, learner: Learner, model_dir, written=lambda: None, say=print):
        self.model_dir, self.best = place(model_dir), tf.Variable(-1.0, name="best")
        self._learner, self._written = learner, written
        unmarked = {"weights": learner.weights, "optimizer": learner.optimizer, "step": learner.step, "best": self.best}
        if learner.average:
            unmarked["average"] = learner.average
        checkpoint = tf.train.Checkpoint(**unmarked, quantized=learner.quantized)
        newest = checkpoints.newest_whole(self.model_dir, say)
        if newest:
            marked = checkpoints.quantized(newest) is not None
            self._restore(newest, checkpoint if marked else tf.train.Checkpoint(**unmarked), marked, say)
        else:
            learner.begin(say)
        if learner.devices.chief:
            self._last = tf.train.CheckpointManager(checkpoint, str(self.model_dir), KEPT, checkpoint_name="ckpt")
            self._best = tf.train.CheckpointManager(checkpoint, str(self.model_dir / "best"), 1, checkpoint_name="ckpt")

    @property
    def newest(self) -> str | None:
        return self._last.latest_checkpoint if self._learner.devices.chief else tf.train.latest_checkpoint(str(self.model_dir))

    def save(self) -> None:
        """Writes the checkpoint of this step, unless it is there. TensorFlow names it as newest only when it is whole.

        CheckpointError where the disk is full.
        """
        if self._learner.devices.chief and not (self.newest or "").endswith(f"-{self._learner.reached}"):
            self._write(self._last)

    def keep_if_best(self, value: float) -> None:
        """Keeps the checkpoint of this step where none had a higher value."""
        if value > float(self.best):
            self.best.assign(value)
            self._write(self._best)

    @contextlib.contextmanager
    def full_disk_named(self):
        """A full disk raises CheckpointError: what was needed, what is whole, and the way out."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            if not errors.is_full_disk(error):
                raise
            self.remove_halves()
            learner = self._learner
            state = (*learner.weights.values(), *learner.average.values(), *learner.optimizer.variables())
            raise checkpoints.CheckpointError(
                f"{self.model_dir}: the disk is full at step {learner.reached}. A checkpoint takes "
                f"{sum(variable.numpy().nbytes for variable in state) / 1e6:.1f} MB, {shutil.disk_usage(self.model_dir).free / 1e6:.1f} MB "
                f"are free. {self.newest or 'No checkpoint'} is whole: make room, and the same command goes on."
            ) from error

    def remove_halves(self) -> None:
        """What TensorFlow leaves of a checkpoint that it could not finish, or was killed in."""
        for half in (*self.model_dir.glob("ckpt-*_temp"), *self.model_dir.glob("best/ckpt-*_temp")):
            tf.io.gfile.rmtree(str(half))

    def _write(self, manager: tf.train.CheckpointManager) -> None:
        with self.full_disk_named():
            manager.save(checkpoint_number=self._learner.reached)
            self._written()

    def _restore(self, newest: str, checkpoint: tf.train.Checkpoint, marked: bool, say) -> None:
        """marked: whether the checkpoint stores if it is quantized; an old one does not."""
        learner = self._learner
        try:
            checkpoint.restore(newest).assert_existing_objects_matched()
        except (AssertionError, ValueError) as error:  # a weight is missing, or has another shape
            message = f"{newest} is of another config; name another --model_dir. ({str(error)[:300]})"
            raise checkpoints.CheckpointError(message) from error
        if not marked:
            learner.quantized.assign(learner.delay is not None and learner.reached > learner.delay)
        # the last checkpoint is from before its evaluation: only the best one knows its value
        best = checkpoints.newest_whole(self.model_dir / "best", say)
        self.best.assign(checkpoints.best_value(best) if best else -1.0)
        if learner.devices.chief:
            checkpoints.note_as_newest(newest)
        say(f"Going on from {newest} at step {learner.reached}.")
