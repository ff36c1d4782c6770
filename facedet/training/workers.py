"""Processes that train together, one a machine as a rule: which of them this one is, what they agree on, and one that is lost."""

import contextlib
import dataclasses
import json
import os
import zlib

import tensorflow as tf

from facedet import replicas
from facedet.errors import ConfigError

VARIABLE = "TF_CONFIG"
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)


class WorkerLostError(RuntimeError):
    """Another worker ended or is out of reach; the message says at which step, and what to do."""


@dataclasses.dataclass(frozen=True)
class Place:
    """index: of this process among `count`; 0 is the chief, who writes.  addresses: of all, in their order."""

    index: int
    addresses: tuple[str, ...]

    @property
    def count(self) -> int:
        return len(self.addresses)

    def __str__(self) -> str:
        return f"worker {self.index} of {self.count}{', which writes' if self.index == 0 else ''}"


ALONE = Place(0, ("localhost",))


def place() -> Place:
    """What TF_CONFIG says. ConfigError where it does not name all workers and this one among them."""
    try:
        said = json.loads(os.environ.get(VARIABLE, ""))
        jobs, kind, index = said["cluster"], said["task"]["type"], int(said["task"]["index"])
        chiefs, others = list(jobs.get("chief", [])), list(jobs.get("worker", []))
        own = {"chief": chiefs, "worker": others}[kind][index]
        if index < 0 or len(chiefs) > 1 or len(set(chiefs + others)) < len(chiefs + others) or ":" not in own:
            raise ValueError
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"--strategy multi_worker: {VARIABLE} has to name all workers, as host:port, and which of them this one is, such as "
            '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}; '
            f"it is {os.environ.get(VARIABLE)!r}."
        ) from error
    return Place(index if kind == "chief" else len(chiefs) + index, (*chiefs, *others))


def require_agreement(strategy: tf.distribute.Strategy, place: Place, values: dict[str, bytes]) -> None:
    """values: {what: this worker's}. ConfigError for the first in which another worker differs from the chief. All have to call it."""
    if place.count == 1:
        return
    every = _gathered(strategy, [zlib.crc32(value) for value in values.values()])
    for what, column in zip(values, every.T, strict=True):
        if (column != column[0]).any():
            raise ConfigError(
                f"worker {place.index} of {place.count}: not all workers have the same {what}. Give all of them the same command, config and "
                "initial weights, and one --model_dir that all see."
            )


def wait_for_all(strategy: tf.distribute.Strategy, place: Place) -> None:
    """Returns when all workers have called it: a process that ends earlier is lost to the others."""
    if place.count > 1:
        _gathered(strategy, [0.0])


def _gathered(strategy: tf.distribute.Strategy, values: list[float]):
    """values: V of this worker -> float64 array [replicas, V], of all."""

    def of_all():
        own = tf.one_hot(tf.distribute.get_replica_context().replica_id_in_sync_group, replicas.count(), dtype=tf.float64)
        return replicas.total(own[:, None] * tf.constant(values, tf.float64))

    return strategy.experimental_local_results(tf.function(lambda: strategy.run(of_all))())[0].numpy()


@contextlib.contextmanager
def loss_named(place: Place, state):
    """Turns what TensorFlow raises when another worker is gone into WorkerLostError. state: () -> what there is to go on from, in words."""
    try:
        yield
    except _LOST as error:
        if place.count == 1:
            raise
        raise WorkerLostError(
            f"worker {place.index} of {place.count}: another worker ended or is out of reach; what it said last tells why. {state()} "
            f"Started again, all of them, the same command goes on. ({type(error).__name__})"
        ) from error
