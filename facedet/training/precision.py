"""In what a network computes while it is trained: Keras' mixed precision (Micikevicius et al. 2018, arXiv:1710.03740).

Variables, losses, gradients' sums and evaluations are float32 whatever the precision is, so that one checkpoint serves all.
"""

import contextlib

import tensorflow as tf

from facedet import replicas
from facedet.errors import ConfigError
from facedet.keras2 import keras
from facedet.recipe.recipe import Recipe

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def check(name: str, recipe: Recipe) -> None:
    """ConfigError where the recipe quantizes and the precision is another than float32.

    A bfloat16 has 8 binary digits and cannot hold an 8-bit grid that does not begin at 0: of the shipped 224 detector it changed the
    scale of 73 of 82 activations, and with their values rounded to it three in four of the heads' integers.
    """
    if recipe.quantization and name != "float32":
        raise ConfigError(
            f"{recipe.name}: --precision {name} does not go with graph_rewriter.quantization: fake quantization in another precision than "
            f"float32 changes the exported integers. Train a copy of the config without graph_rewriter in {name}; then go on from its "
            'checkpoint with this config in float32: train_config.fine_tune_checkpoint: its --model_dir, fine_tune_checkpoint_type: "full".'
        )


@contextlib.contextmanager
def of_new_layers(name: str):
    """Layers that are made inside of this compute in the precision of that name."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def loss_scale(name: str) -> "LossScale | None":
    """None where the precision has the range of float32."""
    return LossScale() if name == "mixed_float16" else None


class LossScale:
    """A loss is multiplied by it and its gradients are divided by it again: it lifts small ones into the range of float16.

    Halved where a gradient overflows, whose step is then left out, and doubled after GROWS_AFTER steps without. No checkpoint holds it: a
    run that is gone on with finds its own anew. value: a variable, 1 or more. To be made in the scope of the devices, as the learner is.
    """

    GROWS_AFTER = 2000

    def __init__(self):
        self.value, self._good_steps = replicas.variable(2.0**15, "loss_scale"), replicas.variable(0, "good_steps")

    def follow(self, finite) -> None:
        """finite: whether all gradients of a step were so."""
        good_steps = tf.where(finite, self._good_steps + 1, 0)
        grows = good_steps == self.GROWS_AFTER
        self._good_steps.assign(tf.where(grows, 0, good_steps))
        self.value.assign(tf.where(finite, tf.where(grows, self.value * 2.0, self.value), tf.maximum(self.value / 2.0, 1.0)))
