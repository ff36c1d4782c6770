"""What adds up the gradients of replicas is chosen by the kind of their devices."""

from unittest import mock

import pytest

from facedet.training import strategy

import tensorflow as tf  # isort: skip


@pytest.mark.parametrize("kind", ["GPU", "CPU"])
def test_gpus_add_up_as_tensorflow_chooses_and_processors_on_one_of_them(monkeypatch, kind):
    names = [f"/{kind.lower()}:{index}" for index in range(2)]
    there = [mock.Mock() for _ in names]
    for device, name in zip(there, names, strict=True):
        device.name = name
    made = mock.Mock()
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", made)
    for listing in ("list_logical_devices", "list_physical_devices"):
        monkeypatch.setattr(tf.config, listing, lambda asked: there if asked == kind else [])
    devices = strategy.choose("mirrored", "mixed_bfloat16")
    (found, sums), _ = made.call_args
    assert found == names and devices.precision == "mixed_bfloat16"
    assert sums is None if kind == "GPU" else isinstance(sums, tf.distribute.ReductionToOneDevice)
