"""On which devices a run trains, by tf.distribute, and in which precision it computes."""

import contextlib
import dataclasses
import json
import os
import subprocess

import tensorflow as tf

from facedet.errors import ConfigError
from facedet.keras2 import keras
from facedet.recipe.recipe import Recipe

STRATEGIES = ("auto", "cpu", "gpu", "mirrored", "multi_worker")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
GIB = 2**30
# what the others of a collective operation get where one has died
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)


class WorkerLostError(RuntimeError):
    """Another worker has died or cannot be reached: the message says at which step, and the way out."""


@dataclasses.dataclass(frozen=True)
class Devices:
    """strategy: in whose scope network and optimizer are made.  precision: one of PRECISIONS.

    worker, num_workers: this process among those of TF_CONFIG; the chief is number 0 and alone writes.
    """

    strategy: tf.distribute.Strategy = dataclasses.field(default_factory=tf.distribute.get_strategy)
    precision: str = "float32"
    worker: int = 0
    num_workers: int = 1

    @property
    def is_chief(self) -> bool:
        return self.worker == 0

    @property
    def num_replicas(self) -> int:
        return self.strategy.num_replicas_in_sync

    @contextlib.contextmanager
    def scope(self):
        """Networks made in it are of this strategy and precision."""
        before = keras.mixed_precision.global_policy()
        keras.mixed_precision.set_global_policy(self.precision)
        try:
            with self.strategy.scope():
                yield
        finally:
            keras.mixed_precision.set_global_policy(before)

    def check(self, recipe: Recipe) -> None:
        """ConfigError where the recipe cannot be trained so."""
        size = recipe.training.batch_size
        if size % self.num_replicas:
            raise ConfigError(
                f"{recipe.name}: train_config.batch_size: {size} is that of all {self.num_replicas} replicas together and cannot be divided "
                f"among them: make it a multiple of {self.num_replicas}."
            )
        if self.precision != "float32" and recipe.quantization:
            raise ConfigError(
                f"--precision {self.precision}: {recipe.name} has graph_rewriter.quantization, and rounding 16-bit values to 8 bits gives other "
                "integers than the exported file computes. Train with graph_rewriter taken out, then fine-tune with it in float32."
            )

    def describe(self) -> str:
        """Devices, their memory and the precision, in a line."""
        gpus = tf.config.get_visible_devices("GPU")
        if gpus:
            names = ", ".join(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus)
            found = f"{names}; memory {_gpu_memory()}"
        else:
            found = f"CPU, {os.cpu_count()} cores; memory {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / GIB:.0f} GiB"
        shared = f"; {self.num_replicas} replicas, worker {self.worker} of {self.num_workers}" if self.num_replicas > 1 else ""
        return f"Device: {found}; precision {self.precision}{shared}."

    @contextlib.contextmanager
    def lost_worker_named(self, step):
        """step: () -> the step that is reached."""
        try:
            yield
        except _LOST as error:
            if self.num_workers == 1:
                raise
            raise WorkerLostError(
                f"step {step()}: another of the {self.num_workers} workers has stopped or cannot be reached ({error.message[:200]}). Start the "
                "same command on all of them: they go on from the last checkpoint."
            ) from error


def choose(name: str = "auto", precision: str = "float32") -> Devices:
    """The devices of this machine, or those of TF_CONFIG, by one of STRATEGIES. To be called before TensorFlow does anything.

    auto: multi_worker where TF_CONFIG is set, else every GPU there is, else the CPU.
    multi_worker waits until all the workers are there.
    ConfigError for a strategy that this machine cannot honour.
    """
    cluster = _cluster()
    gpus = tf.config.list_physical_devices("GPU")
    if name == "auto":
        name = "multi_worker" if cluster else "mirrored" if len(gpus) > 1 else "gpu" if gpus else "cpu"
    if name == "multi_worker":
        if not cluster:
            raise ConfigError(
                "--strategy multi_worker: TF_CONFIG is not set. Each worker wants it in its environment, such as "
                """TF_CONFIG='{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'."""
            )
        worker, num_workers = cluster
        for gpu in gpus:  # one process takes what it needs, not all
            tf.config.experimental.set_memory_growth(gpu, True)
        return Devices(tf.distribute.MultiWorkerMirroredStrategy(), precision, worker, num_workers)
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) < 2:
            raise ConfigError(f"--strategy mirrored: two GPUs are wanted, TensorFlow sees {len(gpus)}. auto takes what there is.")
        return Devices(tf.distribute.MirroredStrategy([device.name for device in devices]), precision)
    if name == "gpu" and not gpus:
        raise ConfigError("--strategy gpu: TensorFlow sees none: requirements-gpu.txt has what it needs; auto takes the CPU.")
    tf.config.set_visible_devices(gpus[:1] if name == "gpu" else [], "GPU")
    return Devices(precision=precision)


def _cluster() -> tuple[int, int] | None:
    """(this worker, number of workers) of TF_CONFIG, the chief first; None where it is not set."""
    text = os.environ.get("TF_CONFIG")
    if not text:
        return None
    try:
        said = json.loads(text)
        cluster, kind, index = said["cluster"], said["task"]["type"], int(said["task"]["index"])
        chiefs, workers = len(cluster.get("chief", [])), len(cluster.get("worker", []))
        worker = {"chief": 0, "worker": chiefs}[kind] + index
        sound = 0 <= index < {"chief": chiefs, "worker": workers}[kind]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"TF_CONFIG: {text!r} names no cluster of chief and workers and no task in it ({error!r}).") from error
    if not sound:
        raise ConfigError(f"TF_CONFIG: task {kind} {index} is not in its cluster {cluster}.")
    return worker, chiefs + workers


def _gpu_memory() -> str:
    """Of each GPU, as its driver says."""
    try:
        command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip().replace("\n", ", ")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
