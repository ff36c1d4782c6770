"""The optimizer of a pipeline config, and the one-cycle schedule that [facedet.training] may put in place of its rate and momentum."""

import math
from collections.abc import Callable

import tensorflow as tf
from object_detection.builders import optimizer_builder

_MOMENTA = ("momentum", "beta_1")  # Adam's momentum is its beta_1


def build(config, step: tf.Variable, one_cycle=None):
    """train_config.optimizer -> (Keras optimizer that follows `step`, function that gives the learning rate of `step`).

    one_cycle: facedet.OneCycle in place of the config's rate and momentum, or None; ValueError where it states no total_steps, or the
    optimizer has no momentum.
    use_moving_average is the training loop's: it averages batch norm's statistics too.
    """
    plain = type(config)()
    plain.CopyFrom(config)
    plain.use_moving_average = False
    if one_cycle is not None:
        getattr(plain, plain.WhichOneof("optimizer")).learning_rate.constant_learning_rate.SetInParent()  # replaced below
    optimizer, (learning_rate,) = optimizer_builder.build(plain, global_step=step)
    if one_cycle is not None:
        learning_rate = _follow(optimizer, one_cycle, step)
    return optimizer, (lambda: float(learning_rate())) if callable(learning_rate) else (lambda: float(learning_rate))


def _follow(optimizer, one_cycle, step: tf.Variable) -> Callable:
    """Gives the optimizer the cycle's rate and momentum; returns the rate's function."""
    if one_cycle.total_steps < 1:
        raise ValueError("total_steps is wanted in it: the steps of the whole cycle, train_config.num_steps as a rule")
    momentum = next((name for name in _MOMENTA if optimizer._hyper.get(name)), None)
    if momentum is None:
        raise ValueError("it moves the momentum, and train_config.optimizer has none: momentum_optimizer_value: 0.9 gives it one")
    high, low = one_cycle.max_momentum, one_cycle.min_momentum
    optimizer.learning_rate = rate = _cycle(
        one_cycle, step, one_cycle.start_learning_rate, one_cycle.max_learning_rate, one_cycle.end_learning_rate
    )
    setattr(optimizer, momentum, _cycle(one_cycle, step, high, low, high))
    return rate


def _cycle(one_cycle, step: tf.Variable, start: float, middle: float, end: float) -> Callable:
    """From start to middle in warmup_share of the steps and to end in the rest, by halves of a cosine, as PyTorch's OneCycleLR.

    Of step: the first of total_steps has `start` (`middle` where there is no way up), the last, and what follows it, `end`.
    """
    last = one_cycle.total_steps - 1
    top = min(max(one_cycle.warmup_share * one_cycle.total_steps - 1, 0.0), last)

    def value():
        at = tf.cast(step, tf.float64)
        up = tf.minimum(at / top, 1.0) if top else tf.constant(1.0, tf.float64)
        down = tf.clip_by_value((at - top) / max(last - top, 1e-9), 0.0, 1.0)
        risen, fallen = ((1.0 - tf.cos(math.pi * share)) / 2.0 for share in (up, down))
        return tf.cast(start + (middle - start) * risen + (end - middle) * fallen, tf.float32)

    return value
