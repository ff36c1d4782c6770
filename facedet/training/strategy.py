"""On which devices a run trains, by tf.distribute."""

import dataclasses
import os
import subprocess

import tensorflow as tf

from facedet.errors import ConfigError
from facedet.recipe.recipe import Recipe

STRATEGIES = ("auto", "cpu", "gpu", "mirrored")
GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Devices:
    """strategy: in whose scope network and optimizer are made."""

    strategy: tf.distribute.Strategy = dataclasses.field(default_factory=tf.distribute.get_strategy)

    @property
    def num_replicas(self) -> int:
        return self.strategy.num_replicas_in_sync

    def check(self, recipe: Recipe) -> None:
        """ConfigError where the recipe cannot be trained so."""
        size = recipe.training.batch_size
        if size % self.num_replicas:
            raise ConfigError(
                f"{recipe.name}: train_config.batch_size: {size} is that of all {self.num_replicas} replicas together and cannot be divided "
                f"among them: make it a multiple of {self.num_replicas}."
            )

    def describe(self) -> str:
        """Devices and their memory, in a line."""
        gpus = tf.config.get_visible_devices("GPU")
        if gpus:
            names = ", ".join(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus)
            found = f"{names}; memory {_gpu_memory()}"
        else:
            found = f"CPU, {os.cpu_count()} cores; memory {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / GIB:.0f} GiB"
        return f"Device: {found}{f'; {self.num_replicas} replicas' if self.num_replicas > 1 else ''}."


def choose(name: str = "auto") -> Devices:
    """The devices of this machine, by one of STRATEGIES. To be called before TensorFlow does anything.

    auto: every GPU there is, else the CPU.
    ConfigError for a strategy that this machine cannot honour.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if name == "auto":
        name = "mirrored" if len(gpus) > 1 else "gpu" if gpus else "cpu"
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) < 2:
            raise ConfigError(f"--strategy mirrored: two GPUs are wanted, TensorFlow sees {len(gpus)}. auto takes what there is.")
        # sums made on one device: as collective operations they mix up on CPUs, where this is tested
        return Devices(tf.distribute.MirroredStrategy([device.name for device in devices], tf.distribute.ReductionToOneDevice()))
    if name == "gpu" and not gpus:
        raise ConfigError("--strategy gpu: TensorFlow sees none: requirements-gpu.txt has what it needs; auto takes the CPU.")
    tf.config.set_visible_devices(gpus[:1] if name == "gpu" else [], "GPU")
    return Devices()


def _gpu_memory() -> str:
    """Of each GPU, as its driver says."""
    try:
        command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip().replace("\n", ", ")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
