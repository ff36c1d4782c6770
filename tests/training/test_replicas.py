"""What replicas know together is what one device knows of the whole batch."""

import os
import subprocess
import sys

from conftest import ROOT

CODE = """
import numpy as np, tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from facedet import replicas
from facedet.keras2 import keras
from facedet.quantization.network import QuantizableNetwork
from facedet.training import strategy

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
    for at in range(4):
        if at in (0, delay):
            forward = quantizable.simulate if at else quantizable.observe
            run = tf.function(lambda batch: devices.strategy.run(step, args=(batch,)))
        losses.append(float(devices.strategy.experimental_local_results(run(whole))[0]))
    return losses, [w.numpy() for w in network.weights], [v.numpy() for v in quantizable.ranges.values()]

one, two = (trained(devices, 2) for devices in (strategy.Devices(), strategy.choose("mirrored")))
assert one[0][0] != one[0][-1]
for single, replicated in zip(one, two):
    for a, b in zip(single, replicated):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
print("equal")
"""


def test_two_replicas_learn_what_one_device_learns_before_and_after_the_delay():
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    found = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, env=environment, text=True, capture_output=True)
    assert found.stdout.strip().endswith("equal"), found.stderr[-3000:]
