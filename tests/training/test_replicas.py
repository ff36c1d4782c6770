"""What replicas know together is what one device knows of the whole batch."""

import os
import subprocess
import sys

from cluster import tf_configs
from conftest import ROOT

CODE = """
import sys
import numpy as np, tensorflow as tf
name = sys.argv[1]
if name == "mirrored":
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from facedet import replicas
from facedet.keras2 import keras
from facedet.quantization.network import QuantizableNetwork
from facedet.errors import ConfigError
from facedet.training import strategy, workers

layers = keras.layers
images = np.random.default_rng(0).normal(3, 2, (8, 6, 6, 3)).astype(np.float32) * np.arange(1, 9, dtype=np.float32)[:, None, None, None]
kernel = np.random.default_rng(1).normal(0, 1, (3, 3, 3, 4)).astype(np.float32)

def trained(devices, delay):
    with devices.strategy.scope():
        image = keras.Input((6, 6, 3))
        kind = layers.BatchNormalization if replicas.count() == 1 else replicas.SynchronizedBatchNormalization
        x = layers.ReLU(name="relu")(kind(momentum=0.5, name="norm")(layers.Conv2D(4, 3, use_bias=False, name="conv")(image)))
        network = keras.Model(image, {"head": layers.Conv2D(2, 1, name="head", kernel_initializer="ones")(x)})
        network.get_layer("conv").kernel.assign(kernel)
        quantizable = QuantizableNetwork(network)
        optimizer = keras.optimizers.legacy.SGD(0.01)
    share = 8 // devices.num_replicas
    def step(images):
        with tf.GradientTape() as tape:
            squares = tf.square(forward(images, training=True)["head"] - 1.0)
            counted = replicas.total(tf.reduce_sum(tf.cast(images > 3.0, tf.float32)))
            loss = tf.reduce_sum(squares) / counted
        gradients = replicas.total(tape.gradient(loss, network.trainable_variables))
        optimizer.apply_gradients(zip(gradients, network.trainable_variables), experimental_aggregate_gradients=False)
        return replicas.total(loss)
    part = lambda context: tf.constant(images[context.replica_id_in_sync_group * share :][:share])
    whole = tf.constant(images) if share == 8 else devices.strategy.experimental_distribute_values_from_function(part)
    losses = []
    for at in range(10):
        if at in (0, delay):
            forward = quantizable.simulate if at else quantizable.observe
            run = tf.function(lambda batch: devices.strategy.run(step, args=(batch,)))
        losses.append(float(devices.strategy.experimental_local_results(run(whole))[0]))
    return losses, [w.numpy() for w in network.weights], [v.numpy() for v in quantizable.ranges.values()]

chosen = strategy.choose(name)
assert chosen.num_replicas == 2
two = trained(chosen, 5)
one = trained(strategy.Devices(), 5)
assert one[0][0] != one[0][-1]
for single, replicated in zip(one, two):
    for a, b in zip(single, replicated):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
if name == "multi_worker":
    workers.require_agreement(chosen.strategy, chosen.place, {"config": b"same", "step": b"7"})
    try:
        workers.require_agreement(chosen.strategy, chosen.place, {"config": b"same", "step": b"%d" % chosen.place.index})
        raise AssertionError("two that differ were taken for alike")
    except ConfigError as error:
        assert "not all workers have the same step." in str(error)
    workers.wait_for_all(chosen.strategy, chosen.place)
print("equal")
"""


def started(name, **variables):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), **variables}
    options = {"cwd": ROOT, "env": environment, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", CODE, name], **options)


def require_equal(processes):
    try:
        for process in processes:
            output, errors = process.communicate(timeout=120)
            assert output.strip().endswith("equal"), errors[-3000:]
    finally:
        for process in processes:
            process.kill()


def test_two_replicas_learn_what_one_device_learns_before_and_after_the_delay():
    require_equal([started("mirrored")])


def test_two_workers_learn_what_one_device_learns_before_and_after_the_delay():
    require_equal([started("multi_worker", TF_CONFIG=told) for told in tf_configs()])
