"""What the replicas of a training step (tf.distribute) know together: sums, extremes and statistics over the global batch.

With one replica each of them is what that replica gives. To be called in a replica's context, by all replicas in one order.
"""

import tensorflow as tf

from facedet.keras2 import keras


def count() -> int:
    """Of the strategy in whose scope, or step, this is called."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def total(values):
    """The sums over all replicas of a tensor or a structure of tensors."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values) if count() > 1 else values


def extent(least_and_greatest):
    """[2], least and greatest of each replica's -> [2] of all; nothing in it takes a gradient."""
    if count() == 1:
        return least_and_greatest
    own = tf.one_hot(tf.distribute.get_replica_context().replica_id_in_sync_group, count())
    every = total(own[:, None] * tf.stop_gradient(least_and_greatest))  # [replicas, 2]
    return tf.stack([tf.reduce_min(every[:, 0]), tf.reduce_max(every[:, 1])])


def first(values, wanted: int):
    """[B, ...] of this replica -> [b, ...]: those among the first `wanted` of the global batch, which is in the order of the replicas."""
    if count() == 1:
        return values[:wanted]
    before = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32) * tf.shape(values)[0]
    return values[: tf.maximum(wanted - before, 0)]


def variable(value, name: str | None = None) -> tf.Variable:
    """One that each replica keeps and changes for itself, all in the same way: it is read and written without the others."""
    kept = {"synchronization": tf.VariableSynchronization.ON_READ, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
    return tf.Variable(value, trainable=False, name=name, **kept)


class SynchronizedBatchNormalization(keras.layers.BatchNormalization):
    """Statistics of the global batch. The variance that is kept is the unbiased one, as the fused batch norm of one device keeps it."""

    def __init__(self, **kwargs):
        super().__init__(synchronized=True, **kwargs)

    def build(self, input_shape):
        with tf.variable_creator_scope(_kept_by_each):
            super().build(input_shape)

    def _moments(self, inputs, reduction_axes, keep_dims, mask=None):
        values = tf.size(inputs) / inputs.shape[-1] * count()
        self._unbiased = tf.cast(values / tf.maximum(values - 1.0, 1.0), tf.float32)
        return super()._moments(inputs, reduction_axes, keep_dims, mask)

    def _assign_moving_average(self, variable, value, momentum, inputs_size):
        if variable is self.moving_variance:
            value = value * self._unbiased
        return super()._assign_moving_average(variable, value, momentum, inputs_size)


def _kept_by_each(create, **kwargs):
    """Statistics are the same on all replicas: reading them asks none of the others, so that one worker alone can save them."""
    if kwargs.get("synchronization") == tf.VariableSynchronization.ON_READ:
        kwargs["aggregation"] = tf.VariableAggregation.ONLY_FIRST_REPLICA
    return create(**kwargs)
