"""A folder's newest checkpoint is that of the most steps; a damaged one is named with its older stand-in; what it is, it says itself."""

import pathlib
import types

import numpy as np
import pytest

from facedet.training import run_record
from facedet.weights import checkpoints

import tensorflow as tf  # isort: skip


def network(value: float = 0.0):
    """What checkpoints need of a QuantizableNetwork."""
    weight = tf.Variable(tf.fill([100], value), name="layer/kernel")
    return types.SimpleNamespace(network=types.SimpleNamespace(weights=[weight]), ranges={"layer": tf.Variable([0.0, value])})


def written(folder: pathlib.Path, *steps: int, quantized: bool = False) -> list[str]:
    return [checkpoints.write_weights(str(folder / f"ckpt-{step}"), network(step), step, quantized) for step in steps]


def test_the_newest_checkpoint_is_that_of_the_most_steps(tmp_path):
    prefixes = written(tmp_path, 800, 10500, 900, 1000)
    assert checkpoints.find(str(tmp_path)) == prefixes[1]
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "ckpt-20000"\n')  # which is not there
    assert checkpoints.find(str(tmp_path)) == prefixes[1]
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "ckpt-900"\n')
    assert checkpoints.find(str(tmp_path)) == prefixes[2]
    assert checkpoints.load(str(tmp_path), network()) == 900


def damage(prefix: str, how: str) -> None:
    index, data = pathlib.Path(prefix + ".index"), pathlib.Path(prefix + ".data-00000-of-00001")
    file = index if "index" in how else data
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    if how == "missing data":
        data.unlink()
    else:
        file.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "corrupt": content}[how.split()[0]])


KINDS = ["cut index", "empty index", "corrupt index", "cut data", "empty data", "corrupt data", "missing data"]


@pytest.mark.parametrize("how", KINDS)
def test_a_damaged_checkpoint_is_named_with_the_older_whole_one(tmp_path, how):
    older, newest = written(tmp_path, 100, 200)
    damage(newest, how)
    for use in (checkpoints.load, lambda path, quantizable: checkpoints.fine_tune(path, quantizable, False)):
        with pytest.raises(checkpoints.CheckpointError, match=f"{newest} is damaged .*{older} is whole: name it instead"):
            use(str(tmp_path), network())
    said = []
    assert checkpoints.newest_whole(str(tmp_path), said.append) == older
    assert f"{newest} is damaged" in said[0] and f"The older {older} is whole and is taken instead" in said[0]
    damage(older, how)
    with pytest.raises(checkpoints.CheckpointError, match=f"{older} is damaged .*from a backup"):
        checkpoints.newest_whole(str(tmp_path), said.append)
    with pytest.raises(checkpoints.CheckpointError, match="is damaged .*from a backup"):
        checkpoints.load(newest, network())


def test_a_checkpoint_that_vanished_is_named_before_an_older_one_is_taken(tmp_path):
    (older,) = written(tmp_path, 100)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "ckpt-200"\n')
    said = []
    assert checkpoints.newest_whole(str(tmp_path), said.append) == older and "ckpt-200 is not there" in said[0]
    assert checkpoints.newest_whole(str(tmp_path / "none"), said.append) is None


def test_a_checkpoint_says_itself_whether_it_is_quantized(tmp_path):
    (yes,), (no,) = written(tmp_path / "yes", 5, quantized=True), written(tmp_path / "no", 5)
    assert checkpoints.quantized(yes) is True and checkpoints.quantized(str(tmp_path / "no")) is False
    there = network()
    before = tf.train.Checkpoint(weights=checkpoints.named_weights(there), step=tf.Variable(5)).write(str(tmp_path / "ckpt-5"))
    assert checkpoints.quantized(before) is None  # as they were written once
    assert checkpoints.load(no, there) == 5 and np.all(there.network.weights[0] == 5)


def test_the_record_is_found_beside_a_prefix_too(tmp_path):
    (prefix,) = written(tmp_path, 100)
    (tmp_path / run_record.NAME).write_text('{"steps": 100}')
    assert run_record.read(prefix) == run_record.read(tmp_path) == {"steps": 100}
    assert run_record.read("imagenet") is None
