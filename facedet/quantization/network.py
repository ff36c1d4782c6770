"""graph_rewriter.quantization: quantization-aware training of a functional Keras network, and the same arithmetic for export.

What TFLite computes is simulated (Jacob et al. 2017, arXiv:1712.05877): weights on a symmetric 8-bit grid a channel,
depthwise ones too, after their batch norm is folded in; activations on an asymmetric 8-bit grid a tensor, after their
activation. The ranges of the activations are collected from the first step on; from `delay` on batch norms keep their
statistics and values are rounded, in the forward pass only (straight-through gradients).

The network's own layers and variables are used: nothing is copied, a checkpoint is the float network's plus the ranges.
"""

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from facedet import replicas
from facedet.keras2 import keras
from facedet.quantization.arithmetic import convolve, fake_quant, normalize, round_as_bytes
from facedet.quantization.plan import RUN_AS_CONVOLUTIONS, NotQuantizableError, plan
from facedet.runtime.input_spec import InputSpec

layers = keras.layers
_OBSERVED_IMAGES = 4  # of a (global) batch: its ranges are averaged over many batches
_MOMENTUM = 0.99
INNER_QUANTILE, OUTPUT_QUANTILE = 0.8, 0.97  # of what calibration sees: the first was better than .97 and .5 (configs/RUNS.md)


class QuantizableNetwork:
    """A network with the ranges of its activations.

    network: functional Keras model, normalized image [B, H, W, 3] -> {name: output} or a list of outputs; so are the results here.
    input_range: least and greatest value of a normalized image.
    Raises NotQuantizableError.
    ranges: {name: variable [2], least and greatest value}.
    """

    def __init__(self, network: keras.Model, input_range: tuple[float, float] = (-1.0, 1.0)):
        self.network = network
        self._input_range = min(input_range[0], 0.0), max(input_range[1], 0.0)  # a grid holds zero
        self._outputs = network.output if isinstance(network.output, dict) else network.outputs
        self._steps = plan(network)
        names = [step.name for step in self._steps if step.name]
        self.ranges = {name: replicas.variable([0.0, 0.0], f"range_{name}") for name in names}
        self._kept: set[str] = set()
        observed = {step.name: step.target for step in self._steps if step.name}
        self._observer = keras.Model(network.inputs, [self._outputs, observed])

    def keep_frozen_ranges(self) -> None:
        """From here on ranges that were collected stay as they are where nothing that learns comes before, as the weights there do."""
        frozen = {id(source) for source in self.network.inputs}
        for step in self._steps:
            learns = any(layer.trainable and layer.weights for layer in (step.layer, step.batch_norm) if layer is not None)
            if not learns and all(id(source) in frozen for source in step.sources):
                frozen.add(id(step.target))
                if step.name and self._is_collected(step.name):
                    self._kept.add(step.name)

    def observe(self, images, training: bool):
        """The float network's outputs; the ranges learn from the activations on the way."""
        outputs, activations = self._observer(images, training=training)
        for name, values in activations.items():
            self._observe(name, values)
        return outputs

    def calibrate(
        self,
        batches: Iterable,
        shown: Callable[[dict], dict] = lambda _: {},
        inner_quantile: float = INNER_QUANTILE,
        output_quantile: float = OUTPUT_QUANTILE,
    ) -> None:
        """The ranges of a network that was trained in float: of each picture's least and greatest values a quantile, anew.

        Not of all values: a face is rare in a map, and what it gives must not be cut off. Not the extremes of all pictures: one odd
        picture would take the grid from all others. What is cut off within the network costs less than in its outputs.
        batches: normalized images [B, H, W, 3].
        shown: the outputs -> {name: bool, as its values}, those that count, where not all do (Detector.shown). A picture with none of
        a name's is none of its pictures; where no picture has any, all values count.
        """

        @tf.function(reduce_retracing=True)
        def extremes(images):
            """{name: [2, B, 2]}: least and greatest value of each picture, of all values and of those that count (else infinite)."""
            outputs, activations = self._observer(images, training=False)
            counting, result = shown(outputs), {}
            for name, values in activations.items():
                counts = counting.get(name, True)
                ends = [(values, values), (tf.where(counts, values, np.inf), tf.where(counts, values, -np.inf))]
                result[name] = tf.stack(
                    [tf.stack([tf.reduce_min(low, [1, 2, 3]), tf.reduce_max(high, [1, 2, 3])], 1) for low, high in ends]
                )
            return result

        seen = [{name: values.numpy() for name, values in extremes(images).items()} for images in batches]
        outputs = self._names_of_outputs()
        for name, variable in self.ranges.items():
            quantile = output_quantile if name in outputs else inner_quantile
            every, counting = np.concatenate([batch[name] for batch in seen], 1)
            counting = counting[np.isfinite(counting).all(1)]
            least, greatest = (counting if len(counting) else every).T
            variable.assign([min(np.quantile(least, 1 - quantile), 0.0), max(np.quantile(greatest, quantile), 1e-6)])

    def simulate(self, images, training: bool):
        """The outputs of the network as it will be quantized; while training the ranges go on learning."""
        return self._run(images, quantize=True, training=training, constant=False)

    def inference_graph(self, images, quantize: bool, outputs: dict | list | None = None, normalization: InputSpec | None = None):
        """The network for export, traced inside a tf.function: batch norms folded into constants, ranges constant.

        quantize: weights on their grid and fake quantization of activations; otherwise plain float arithmetic.
        outputs: Keras tensors of the network to give instead of its own outputs, in the structure of the result.
        normalization: images are RGB 0..255 and the graph normalizes them itself; without it they are normalized.
        """
        if normalization is not None:
            images = normalize(images, normalization, quantize)
        return self._run(images, quantize=quantize, training=False, constant=True, outputs=outputs)

    def check_ranges(self) -> None:
        """Raises NotQuantizableError where a range was never collected."""
        empty = [name for name in self.ranges if not self._is_collected(name)]
        if empty:
            raise NotQuantizableError(f"No range was ever collected for {', '.join(empty[:3])} ({len(empty)} in all): calibrate first.")

    def _names_of_outputs(self) -> set[str]:
        """Of the ranges of what the network gives, as it is or moved."""
        ends, names = {id(output) for output in self.network.outputs}, set()
        for step in reversed(self._steps):
            if id(step.target) in ends:
                names |= {step.name} - {None}
                ends |= {id(source) for source in step.sources if step.name is None}
        return names

    def _is_collected(self, name: str) -> bool:
        low, high = self.ranges[name].numpy()
        return bool(low != high)

    def _observe(self, name, values):
        if name in self._kept:
            return
        seen = replicas.first(values, _OBSERVED_IMAGES)
        latest = replicas.extent(tf.stack([tf.minimum(tf.reduce_min(seen), 0.0), tf.maximum(tf.reduce_max(seen), 1e-6)]))
        variable = self.ranges[name]
        first = tf.equal(variable[0], variable[1])
        variable.assign(tf.where(first, latest, _MOMENTUM * variable + (1 - _MOMENTUM) * tf.stop_gradient(latest)))

    def _run(self, images, quantize, training, constant, outputs=None):
        if quantize:
            images = fake_quant(images, *self._input_range) if constant else round_as_bytes(images, *self._input_range)
        tensors = {id(self.network.inputs[0]): images}
        for step in self._steps:
            inputs = [tensors[id(source)] for source in step.sources]
            if isinstance(step.layer, RUN_AS_CONVOLUTIONS):
                values = convolve(step, inputs[0], quantize, constant)
            elif isinstance(step.layer, layers.Dropout):
                values = step.layer(inputs[0], training=training)
            else:
                values = step.layer(inputs if len(inputs) > 1 else inputs[0])
            if step.activation is not None:
                values = step.activation(values)
            if step.name and training:
                self._observe(step.name, values)
            if step.name and quantize:
                bounds = self.ranges[step.name]
                if constant:
                    with tf.init_scope():
                        bounds = bounds.numpy()
                values = fake_quant(values, bounds[0], bounds[1])
            tensors[id(step.target)] = values
        return tf.nest.map_structure(lambda output: tensors[id(output)], self._outputs if outputs is None else outputs)
