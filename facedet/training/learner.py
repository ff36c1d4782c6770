"""What learns: a detector, its optimizer, and all else that a training step changes."""

import functools

import tensorflow as tf

from facedet import replicas
from facedet.detectors import registry
from facedet.detectors.base import Detector
from facedet.od_api import optimizers
from facedet.quantization.network import QuantizableNetwork
from facedet.recipe.recipe import Recipe
from facedet.training import freezing, precision
from facedet.training.strategy import Devices
from facedet.training.teacher import Teacher
from facedet.weights import checkpoints


class Learner:
    """A recipe's detector before its first step, with random weights, made in the scope of its devices.

    weights: {name: variable} of the network and its ranges; average: their moving averages, {} where the recipe wants none.
    step: the steps that are done.  quantized: whether one of them was trained with fake quantization.
    delay: of graph_rewriter.quantization, None where the recipe does not quantize.
    loss_scale: a precision.LossScale, None where the devices' precision needs none.
    Raises ConfigError, CheckpointError.
    """

    def __init__(self, recipe: Recipe, devices: Devices, say=print):
        self.recipe, self.devices = recipe, devices
        self.delay = recipe.quantization.delay if recipe.quantization else None
        training = recipe.training
        with devices.strategy.scope():
            with precision.of_new_layers(devices.precision):
                self.detector = registry.build(recipe)
            self.quantizable = QuantizableNetwork(self.detector.network, self.detector.input.range)
            self.weights = checkpoints.named_weights(self.quantizable)
            freezing.freeze(self.detector.network, training, say)
            self.teacher = Teacher(training.teacher, self.detector) if training.teacher else None
            self.step = replicas.variable(tf.constant(0, tf.int64), "step")
            self.optimizer, self.learning_rate = optimizers.build(training.optimizer, self.step, training.one_cycle)
            self.optimizer._create_all_weights(self.detector.network.trainable_variables)  # they are there to be restored
            self.loss_scale = precision.loss_scale(devices.precision)
            averaged = self.weights if training.moving_average_decay else {}
            self.average = {name: replicas.variable(weight.numpy()) for name, weight in averaged.items()}
            self.quantized = replicas.variable(False, "quantized")

    @property
    def reached(self) -> int:
        """The steps that are done."""
        return int(self.step.numpy())

    @property
    def quantizing(self) -> bool:
        """Whether the next step is trained with fake quantization."""
        return self.delay is not None and self.reached >= self.delay

    @property
    def forward(self):
        """What the network computes in the next step: float while its ranges are collected, then as it will be quantized."""
        if self.delay is None:
            return self.detector.network
        return self.quantizable.simulate if self.quantizing else self.quantizable.observe

    def begin(self, say=print) -> None:
        """Takes the recipe's initial weights, where it names some. Raises CheckpointError."""
        source = self.recipe.training.initial_weights
        if not source:
            say("Starting at step 0 from random weights.")
        elif self.recipe.training.starts_from_backbone:
            say(f"Starting at step 0 from {source}: {self.detector.initialize(source)} layers set.")
        else:
            taken, wanted = checkpoints.fine_tune(source, self.quantizable, self.recipe.training.backbone_only)
            say(f"Starting at step 0 from {source}: {taken} of {wanted} weights fit.")
        for name, averaged in self.average.items():
            averaged.assign(self.weights[name])

    def keep_frozen_ranges(self) -> None:
        """Frozen layers keep the ranges that a checkpoint brought them; without one, theirs are collected."""
        training = self.recipe.training
        if training.initial_weights and not training.starts_from_backbone and not training.backbone_only:
            self.quantizable.keep_frozen_ranges()

    def averaged(self) -> tuple[Detector, QuantizableNetwork]:
        """The detector with the averaged weights, or its own where it has none, and its network: in float32, for evaluations.

        The next call changes the weights of what this one gave.
        """
        detector, quantizable = self._averaged
        for name, weight in checkpoints.named_weights(quantizable).items():
            weight.assign((self.average or self.weights)[name].numpy())
        return detector, quantizable

    @functools.cached_property
    def _averaged(self):
        detector = registry.build(self.recipe)
        return detector, QuantizableNetwork(detector.network, detector.input.range)
