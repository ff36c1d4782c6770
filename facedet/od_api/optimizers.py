"""The optimizer of a pipeline config."""

import tensorflow as tf
from object_detection.builders import optimizer_builder


def build(config, step: tf.Variable):
    """train_config.optimizer -> (Keras optimizer that follows `step`, function that gives the learning rate of `step`).

    use_moving_average is the training loop's: it averages batch norm's statistics too.
    """
    plain = type(config)()
    plain.CopyFrom(config)
    plain.use_moving_average = False
    optimizer, (learning_rate,) = optimizer_builder.build(plain, global_step=step)
    return optimizer, (lambda: float(learning_rate())) if callable(learning_rate) else (lambda: float(learning_rate))
