"""The training step: losses of a batch, their gradients, and what these change."""

import tensorflow as tf

from facedet import replicas
from facedet.augment import pipeline
from facedet.detectors.base import Faces
from facedet.training.learner import Learner


def build(learner: Learner, forward, batch_spec):
    """The traced step: (batch, stop) -> ({name of a loss: value}, stopping); it applies the gradients and counts the step.

    Losses are those of the global batch.  stop: whether this process is asked to stop; stopping: whether any is.
    forward: (images, training) -> the network's outputs, such as learner.forward.  batch_spec: a data set's element_spec.
    """
    detector, devices, recipe, scale = learner.detector, learner.devices, learner.recipe, learner.loss_scale
    training, variables = recipe.training, detector.network.trainable_variables
    quantizing = forward == learner.quantizable.simulate

    def differentiate(batch, stop):
        """The losses divide by what the global batch holds: their sums over the replicas, and the gradients', are one device's."""
        faces = _faces(batch, training.batch_size // devices.num_replicas)
        with tf.GradientTape() as tape:
            images = detector.input.normalize(batch[pipeline.IMAGE])
            outputs = forward(images, training=not training.freeze_batch_norm)
            outputs = {name: tf.cast(head, tf.float32) for name, head in outputs.items()}
            losses = detector.losses(outputs, faces)
            if learner.teacher:
                losses |= learner.teacher.losses(images, outputs)
            if recipe.loss.regularization and detector.network.losses:
                losses["Loss/regularization_loss"] = tf.add_n(detector.network.losses) / devices.num_replicas
            losses["Loss/total_loss"] = loss = tf.add_n(list(losses.values()))
            if scale:
                loss *= scale.value
        gradients = replicas.total(tape.gradient(loss, variables))
        *values, stopping = tf.unstack(replicas.total(tf.stack([*losses.values(), tf.cast(stop, tf.float32)])))
        losses, finite = dict(zip(losses, values, strict=True)), tf.constant(True)
        if scale:
            gradients = [gradient / scale.value for gradient in gradients]
            losses |= {"loss_scale": scale.value, "gradient_norm": tf.linalg.global_norm(gradients)}
            finite = tf.math.is_finite(losses["gradient_norm"])
        if training.gradient_clipping > 0:
            gradients, losses["gradient_norm"] = tf.clip_by_global_norm(gradients, training.gradient_clipping)
        if scale:  # 0 for one that a smaller scale may mend
            losses["gradient_norm"] = tf.where(finite | (scale.value <= 1.0), losses["gradient_norm"], 0.0)
        return gradients, finite, losses, stopping > 0.0

    def apply(gradients):
        learner.optimizer.apply_gradients(zip(gradients, variables, strict=True), experimental_aggregate_gradients=False)

    def count(finite):
        learner.step.assign_add(1)
        if scale:
            scale.follow(finite)
        if quantizing:
            learner.quantized.assign(True)
        _average(learner)

    def first(value):
        return devices.strategy.experimental_local_results(value)[0]

    @tf.function(input_signature=[batch_spec, tf.TensorSpec((), tf.bool)])  # one trace, however many faces a batch holds
    def train_step(batch, stop):
        gradients, finite, losses, stopping = devices.strategy.run(differentiate, args=(batch, stop))
        if scale is None or first(finite):
            devices.strategy.run(apply, args=(gradients,))
        devices.strategy.run(count, args=(finite,))
        return {name: first(value) for name, value in losses.items()}, first(stopping)

    return train_step


def _average(learner: Learner) -> None:
    """The moving averages follow the weights, faster in the first steps."""
    if learner.average:
        count = tf.cast(learner.step, tf.float32)
        decay = tf.minimum(learner.recipe.training.moving_average_decay, (1.0 + count) / (10.0 + count))
        for name, averaged in learner.average.items():
            averaged.assign_sub((1.0 - decay) * (averaged - learner.weights[name]))


def _faces(batch: dict, batch_size: int) -> Faces:
    """The faces of a batch of the input pipeline, without its padding."""
    counts = tf.unstack(batch["num_boxes"], batch_size)
    keys = (pipeline.BOXES, pipeline.WEIGHTS, pipeline.POINTS)
    return Faces(*([batch[key][i, :count] for i, count in enumerate(counts)] for key in keys))
