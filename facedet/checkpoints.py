"""Checkpoints of a network by the names of its weights: whole or not at all, for resuming, fine-tuning and export."""

import pathlib

import tensorflow as tf

from facedet.quantization import QuantizableNetwork

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
    if pathlib.Path(path).is_dir():
        latest = tf.train.latest_checkpoint(path)
        if latest is None:
            found = sorted(pathlib.Path(path).glob("*.index"))
            latest = str(found[-1].with_suffix("")) if found else None
        if latest is None:
            raise CheckpointError(f"{path} holds no checkpoint: train first, or name another folder.")
        return latest
    if not pathlib.Path(str(path) + ".index").is_file():
        raise CheckpointError(f"{path} is neither a folder nor a checkpoint ({path}.index does not exist).")
    return str(path)


def load(path: str, quantizable: QuantizableNetwork) -> int:
    """Loads weights and ranges for inference, averaged weights where the checkpoint has them; returns its step.

    CheckpointError where a weight is missing or has another shape: the checkpoint is then of another config.
    """
    prefix = find(path)
    reader = _reader(prefix)
    shapes = reader.get_variable_to_shape_map()
    for name, variable in named_weights(quantizable).items():
        key = next((key for key in _keys(name) if key in shapes), None)
        if key is None or tuple(shapes[key]) != tuple(variable.shape):
            stored = "is missing" if key is None else f"has shape {shapes[key]}"
            raise CheckpointError(
                f"{prefix}: weight {name} {stored}, the config's network has {tuple(variable.shape)}. Is it this config's?"
            )
        variable.assign(reader.get_tensor(key))
    return int(reader.get_tensor(f"step{_VALUE}")) if f"step{_VALUE}" in shapes else 0


def fine_tune(path: str, quantizable: QuantizableNetwork, backbone_only: bool) -> tuple[int, int]:
    """Takes over every weight of the same name and shape, never the step: (weights taken, weights of the network)."""
    prefix = find(path)
    reader = _reader(prefix)
    shapes = reader.get_variable_to_shape_map()
    wanted = {n: v for n, v in named_weights(quantizable).items() if not backbone_only or n.startswith(_BACKBONE)}
    taken = 0
    for name, variable in wanted.items():
        for key in _keys(name):
            if key in shapes and tuple(shapes[key]) == tuple(variable.shape):
                variable.assign(reader.get_tensor(key))
                taken += 1
                break
    if not taken:
        raise CheckpointError(f"fine_tune_checkpoint {prefix}: none of its weights fits the config's network.")
    return taken, len(wanted)


def write_weights(prefix: str, quantizable: QuantizableNetwork, step: int) -> str:
    """Writes weights and ranges alone, without the optimizer's: what is shipped and fine-tuned from."""
    state = tf.train.Checkpoint(weights=named_weights(quantizable), step=tf.Variable(step, dtype=tf.int64))
    return state.write(prefix)


def _keys(name: str) -> tuple[str, str]:
    """Where a checkpoint holds a weight, the averaged one first. TensorFlow doubles the dots of a name."""
    escaped = name.replace(".", "..")
    return f"average/{escaped}{_VALUE}", f"weights/{escaped}{_VALUE}"


def _reader(prefix: str):
    try:
        return tf.train.load_checkpoint(prefix)
    except (tf.errors.OpError, ValueError) as error:
        raise CheckpointError(f"{prefix} cannot be read ({error}). Take an older one of the same folder.") from error
