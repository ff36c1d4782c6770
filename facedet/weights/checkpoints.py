"""Checkpoints of a network by the names of its weights: whole or not at all, for resuming, fine-tuning and export."""

import contextlib
import os
import re

import numpy as np
import tensorflow as tf

from facedet.data.places import place
from facedet.quantization.network import QuantizableNetwork

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_BACKBONE = ("Conv1", "bn_Conv1", "expanded_conv_", "block_", "Conv_1")


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message names it, the weight, and the way out."""


def named_weights(quantizable: QuantizableNetwork) -> dict[str, tf.Variable]:
    """The network's weights and the ranges of its activations, by names that do not change with the order of layers."""
    network = {weight.name.removesuffix(":0").replace("/", "."): weight for weight in quantizable.network.weights}
    return {**network, **{f"range.{name}": variable for name, variable in quantizable.ranges.items()}}


def find(path: str) -> str:
    """The checkpoint at a path, which is a folder (its newest is taken) or a checkpoint's prefix."""
    if place(str(path) + ".index").is_file():
        return str(path)
    if not place(path).is_dir():
        raise CheckpointError(f"{path} is neither a folder nor a checkpoint ({path}.index does not exist).")
    found = _newest_first(path)
    if not found:
        raise CheckpointError(f"{path} holds no checkpoint: train first, or name another folder.")
    return found[0]


def newest_whole(folder: str, say=print) -> str | None:
    """The newest checkpoint of a folder that can be read to its last byte, or None where there is none at all.

    One that is passed over is named with its older stand-in. CheckpointError where all are damaged.
    """
    noted, found, passed_over = _noted(folder), _newest_first(folder), []
    if noted and noted not in found:
        passed_over.append(f"{noted} is not there, though it was the newest.")
    for prefix in found:
        try:
            _tensors(prefix)
        except CheckpointError as error:
            passed_over.append(str(error))
            continue
        if passed_over:
            say(f"{' '.join(passed_over)} The older {prefix} is whole and is taken instead.")
        return prefix
    if found:
        raise CheckpointError(f"{' '.join(passed_over)} {folder} holds no older one: bring one back from a backup or name another folder.")
    return None


def note_as_newest(prefix: str) -> None:
    """Makes TensorFlow, and the backup, go on from this checkpoint of its folder."""
    path = place(prefix)
    if _noted(path.parent) != str(path):
        folder, name = (str(path.parent), str(path)) if "://" in prefix else (str(path.parent.resolve()), path.name)
        tf.compat.v1.train.update_checkpoint_state(folder, name)


def load(path: str, quantizable: QuantizableNetwork) -> int:
    """Loads weights and ranges for inference, averaged weights where the checkpoint has them; returns its step.

    CheckpointError where a weight is missing or has another shape (the checkpoint is then of another config), and where the
    checkpoint is damaged; an older whole one of its folder is then named.
    """
    prefix = find(path)
    tensors = _read(prefix)
    for name, variable in named_weights(quantizable).items():
        key = next((key for key in _keys(name) if key in tensors), None)
        if key is None or tensors[key].shape != tuple(variable.shape):
            stored = "is missing" if key is None else f"has shape {list(tensors[key].shape)}"
            raise CheckpointError(
                f"{prefix}: weight {name} {stored}, the config's network has {tuple(variable.shape)}. Is it this config's?"
            )
        variable.assign(tensors[key])
    return int(tensors.get(f"step{_VALUE}", 0))


def quantized(path: str) -> bool | None:
    """Whether the weights were trained with fake quantization; None for a checkpoint from before this was stored."""
    return _stored(find(path), "quantized", bool)


def best_value(path: str) -> float | None:
    """The evaluation's value that made a checkpoint the best of its run."""
    return _stored(find(path), "best", float)


def fine_tune(path: str, quantizable: QuantizableNetwork, backbone_only: bool) -> tuple[int, int]:
    """Takes over every weight of the same name and shape, never the step: (weights taken, weights of the network)."""
    prefix = find(path)
    tensors = _read(prefix)
    wanted = {n: v for n, v in named_weights(quantizable).items() if not backbone_only or n.startswith(_BACKBONE)}
    taken = 0
    for name, variable in wanted.items():
        for key in _keys(name):
            if key in tensors and tensors[key].shape == tuple(variable.shape):
                variable.assign(tensors[key])
                taken += 1
                break
    if not taken:
        raise CheckpointError(f"fine_tune_checkpoint {prefix}: none of its weights fits the config's network.")
    return taken, len(wanted)


def write_weights(prefix: str, quantizable: QuantizableNetwork, step: int, quantized: bool) -> str:
    """Writes weights and ranges alone, without the optimizer's: what is shipped and fine-tuned from."""
    state = {"step": tf.Variable(step, dtype=tf.int64), "quantized": tf.Variable(quantized)}
    return tf.train.Checkpoint(weights=named_weights(quantizable), **state).write(prefix)


def _keys(name: str) -> tuple[str, str]:
    """Where a checkpoint holds a weight, the averaged one first. TensorFlow doubles the dots of a name."""
    escaped = name.replace(".", "..")
    return f"average/{escaped}{_VALUE}", f"weights/{escaped}{_VALUE}"


def _newest_first(folder: str | os.PathLike) -> list[str]:
    """The checkpoints of a folder: the one that TensorFlow noted as newest, then by step."""

    def step(prefix: str) -> int:
        digits = re.search(r"\d+$", prefix)
        return int(digits[0]) if digits else -1

    found = sorted((str(path.with_suffix("")) for path in place(folder).glob("*.index")), key=step, reverse=True)
    noted = _noted(folder)
    return sorted(found, key=lambda prefix: prefix != noted)


def _noted(folder: str | os.PathLike) -> str | None:
    state = tf.train.get_checkpoint_state(str(folder))
    return str(place(state.model_checkpoint_path)) if state else None


def _stored(prefix: str, name: str, kind):
    with _damage_named(prefix):
        reader = tf.compat.v1.train.NewCheckpointReader(prefix)  # load_checkpoint() would ask if it is a folder
        return kind(reader.get_tensor(name + _VALUE)) if reader.has_tensor(name + _VALUE) else None


def _read(prefix: str) -> dict[str, np.ndarray]:
    """_tensors(), with the older whole checkpoint named where this one is damaged."""
    try:
        return _tensors(prefix)
    except CheckpointError as error:
        others = [other for other in _newest_first(place(prefix).parent) if other != prefix and _is_whole(other)]
        way_out = f"{others[0]} is whole: name it instead." if others else "Bring one back from a backup, or train again."
        raise CheckpointError(f"{error} {way_out}") from error


def _is_whole(prefix: str) -> bool:
    with contextlib.suppress(CheckpointError):
        return bool(_tensors(prefix))
    return False


def _tensors(prefix: str) -> dict[str, np.ndarray]:
    """Every value of a checkpoint, each compared with its checksum."""
    with _damage_named(prefix):
        reader = tf.compat.v1.train.NewCheckpointReader(prefix)  # load_checkpoint() would ask if it is a folder
        return {key: np.asarray(reader.get_tensor(key)) for key in reader.get_variable_to_shape_map()}


@contextlib.contextmanager
def _damage_named(prefix: str):
    try:
        yield
    except (tf.errors.OpError, ValueError, IndexError) as error:  # an IndexError: the data file ends too early
        raise CheckpointError(f"{prefix} is damaged ({str(error).rstrip('. ')}).") from error
