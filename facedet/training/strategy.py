"""On which devices a run trains, by tf.distribute, and in which precision."""

import dataclasses
import os
import subprocess

import tensorflow as tf

from facedet.errors import ConfigError
from facedet.recipe.recipe import Recipe
from facedet.training import workers

STRATEGIES = ("auto", "cpu", "gpu", "mirrored", "multi_worker")
GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Devices:
    """strategy: in whose scope network and optimizer are made.  place: of this process among those that train together.

    precision: one of precision.PRECISIONS, of the network while it is trained.
    """

    strategy: tf.distribute.Strategy = dataclasses.field(default_factory=tf.distribute.get_strategy)
    place: workers.Place = workers.ALONE
    precision: str = "float32"

    @property
    def num_replicas(self) -> int:
        return self.strategy.num_replicas_in_sync

    @property
    def chief(self) -> bool:
        """Whether it is this process that writes and evaluates."""
        return self.place.index == 0

    def check(self, recipe: Recipe) -> None:
        """ConfigError where the recipe cannot be trained so."""
        size = recipe.training.batch_size
        if size % self.num_replicas:
            raise ConfigError(
                f"{recipe.name}: train_config.batch_size: {size} is that of all {self.num_replicas} replicas together and cannot be divided "
                f"among them: make it a multiple of {self.num_replicas}."
            )

    def describe(self) -> str:
        """Devices, their memory and the precision, in a line."""
        gpus = tf.config.get_visible_devices("GPU")
        if gpus:
            names = ", ".join(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus)
            found = f"{names}; memory {_gpu_memory()}"
        else:
            found = f"CPU, {os.cpu_count()} cores; memory {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / GIB:.0f} GiB"
        worker = f"; {self.place}" if self.place.count > 1 else ""
        replicas = f"; {self.num_replicas} replicas" if self.num_replicas > 1 else ""
        return f"Device: {found}; precision {self.precision}{replicas}{worker}."


def choose(name: str = "auto", precision: str = "float32", say=print) -> Devices:
    """The devices of this machine, by one of STRATEGIES. To be called before TensorFlow does anything.

    auto: all workers that TF_CONFIG names, else every GPU there is, else the CPU. With workers it returns when all of them are there.
    ConfigError for a strategy that this machine cannot honour.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if name == "multi_worker" or (name == "auto" and os.environ.get(workers.VARIABLE)):
        place = workers.place()
        say(f"Worker {place.index} of {place.count} waits until all are there: {', '.join(place.addresses)}.")
        return Devices(tf.distribute.MultiWorkerMirroredStrategy(), place, precision)
    if name == "auto":
        name = "mirrored" if len(gpus) > 1 else "gpu" if gpus else "cpu"
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) < 2:
            raise ConfigError(f"--strategy mirrored: two GPUs are wanted, TensorFlow sees {len(gpus)}. auto takes what there is.")
        # on CPUs sums are made on one of them: as collective operations they mix up there; on GPUs TensorFlow's choice is NCCL
        sums = None if gpus else tf.distribute.ReductionToOneDevice()
        return Devices(tf.distribute.MirroredStrategy([device.name for device in devices], sums), precision=precision)
    if name == "gpu" and not gpus:
        raise ConfigError("--strategy gpu: TensorFlow sees none: requirements-gpu.txt has what it needs; auto takes the CPU.")
    tf.config.set_visible_devices(gpus[:1] if name == "gpu" else [], "GPU")
    return Devices(precision=precision)


def _gpu_memory() -> str:
    """Of each GPU, as its driver says."""
    try:
        command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip().replace("\n", ", ")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
